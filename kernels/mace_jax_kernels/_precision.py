"""How products are rounded: the precision every dot names, and the error bound that follows from it."""

from __future__ import annotations

import jax
import numpy as np
from jax import lax
from jax.typing import DTypeLike

__all__ = ["dot_precision", "relative_slack", "unit_roundoff"]

# Full float32 (or float64) products everywhere: the default would be TF32 on recent GPUs and bfloat16 on TPUs.
_PRECISION = {"cpu": lax.Precision.HIGHEST, "gpu": lax.Precision.HIGHEST, "tpu": lax.Precision.HIGHEST}
# Accelerators may truncate inside a sum, and a TPU splits a float32 into three bfloat16 parts.
_SLACK = {"cpu": 2.0, "gpu": 4.0, "tpu": 16.0}


def _platform() -> str:
    name = jax.default_backend()
    return name if name in _PRECISION else "gpu"


def dot_precision() -> lax.Precision:
    """The precision of every matrix product in this package on the platform in use."""
    return _PRECISION[_platform()]


def unit_roundoff(dtype: DTypeLike) -> float:
    """Largest relative error of one rounding: 2^-24 for float32, 2^-53 for float64."""
    return float(np.finfo(dtype).eps) / 2


def relative_slack(d: int, dtype: DTypeLike) -> float:
    """``c`` with ``|matmul form - exact| <= c (|x|^2 + |y|^2)`` for ``|x|^2 + |y|^2 - 2 x.y`` over ``d`` features.

    A sum of ``d`` products errs by at most ``d u |x| |y|``, a squared norm by ``d u |x|^2`` and the two last additions
    by ``2u`` each; entries rounded by ``u`` when they were centered move ``2 x.y`` by at most ``2u (|x|^2 + |y|^2)``
    and the norms by as much again. ``2 (d + 10) u`` covers the sum, and accelerators get a multiple of it.
    """
    return _SLACK[_platform()] * (d + 10) * unit_roundoff(dtype)
