"""The command line: a thin door to ``audit``, training and the certificates; heavy imports wait for a command.

Exit codes: 0 done, 1 a gate failed, 2 bad input, 3 an unexpected error (with its traceback), 130 interrupted.
"""

from __future__ import annotations

from mace_jax.cli import _audit, _certify, _train  # noqa: F401  (the commands register themselves)
from mace_jax.cli._app import app

__all__ = ["app", "main"]


def main() -> None:
    """Run the command line and exit with its code."""
    app(prog_name="mace-jax")
