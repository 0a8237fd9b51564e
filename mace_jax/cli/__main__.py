"""``python -m mace_jax.cli``."""

from __future__ import annotations

from mace_jax.cli import main

if __name__ == "__main__":
    main()
