"""Bootstrap intervals. The package is also the function: ``mace_jax.bootstrap(estimate, seed=0)``."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

from mace_jax.bootstrap._api import BootstrapResult, bootstrap
from mace_jax.bootstrap._roc import RocBand, RocBootstrap, bootstrap_roc
from mace_jax.bootstrap._simultaneous import simultaneous_band, step_down
from mace_jax.bootstrap._sums import SumsAccumulator, replicate_sums

__all__ = [
    "BootstrapResult",
    "RocBand",
    "RocBootstrap",
    "SumsAccumulator",
    "bootstrap",
    "bootstrap_roc",
    "replicate_sums",
    "simultaneous_band",
    "step_down",
]


class _CallableModule(ModuleType):
    """Importing a submodule makes the package an attribute of its parent, so the package answers calls itself."""

    def __call__(self, *args: Any, **kwargs: Any) -> BootstrapResult:
        return bootstrap(*args, **kwargs)


sys.modules[__name__].__class__ = _CallableModule
