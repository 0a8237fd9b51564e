"""The gate for heavy or optional imports: one place, one message."""

from __future__ import annotations

import importlib
from types import ModuleType

__all__ = ["require"]


def require(module: str, *, extra: str | None = None) -> ModuleType:
    """Import ``module`` or say which installation brings it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        remedy = f"pip install 'mace-jax[{extra}]'" if extra else f"pip install {module.partition('.')[0]}"
        raise ImportError(f"{module} is needed here but is not installed; run: {remedy}") from error
