"""``select_k``: the k smallest values of each row and where they stand."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

from mace_jax_kernels.select_k import reference, xla

__all__ = ["Selected", "select_k"]

_IMPLEMENTATIONS = {None: xla.select_k, "xla": xla.select_k, "reference": reference.select_k}


class Selected(NamedTuple):
    """``values`` ascending and their column ``indices`` (int32), each ``(..., k)``."""

    values: Float[Array, "*rows k"]
    indices: Int[Array, "*rows k"]


def select_k(values: ArrayLike, k: int, *, implementation: str | None = None) -> Selected:
    """The ``k`` smallest entries along the last axis, equal entries in order of their column.

    ``values`` must hold no NaN; infinities are ordinary values. Peak memory beyond the input: ``n / b + k b`` entries
    per row for block size ``b`` near ``sqrt(n / k)``, or one sorted row where ``k > n / 128``.

    Raises:
        ValueError: ``k`` is not between 1 and the row length, or ``values`` are not floating point.
        NotImplementedError: unknown ``implementation``.

    Example:
        >>> select_k([[3.0, 1.0, 2.0, 1.0]], 3).indices.tolist()
        [[1, 3, 2]]
    """
    values = jnp.asarray(values)
    if values.ndim == 0 or not 1 <= k <= values.shape[-1]:
        raise ValueError(f"k={k!r} must be between 1 and the row length; values has shape {values.shape}.")
    if not jnp.issubdtype(values.dtype, jnp.floating):
        raise ValueError(f"values must be floating point, got {values.dtype}.")
    if implementation not in _IMPLEMENTATIONS:
        raise NotImplementedError(f"implementation={implementation!r} does not exist; use 'xla' or 'reference'.")
    return Selected(*(jnp.asarray(part) for part in _IMPLEMENTATIONS[implementation](values, k)))
