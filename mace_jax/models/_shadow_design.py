"""Which shadow model is trained on which record."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mace_jax import _random
from mace_jax._types import Seed

__all__ = ["balanced_membership", "checked_membership"]

_BLOCK = 65_536


def balanced_membership(n_models: int, n_records: int, fraction: float, seed: Seed) -> NDArray[np.bool_]:
    """For every record a random set of ``fraction`` of the models, ``(n_models, n_records)``.

    Where ``fraction n_models`` is no whole number, records get the next lower or higher one at random. Sets of
    different records are independent: no model's members are a function of another's unless there are two models.
    """
    rng = _random.generator(seed, "shadow membership")
    found = np.empty((n_models, n_records), bool)
    for first in range(0, n_records, _BLOCK):
        block = found[:, first : first + _BLOCK]
        draws = rng.random((block.shape[1], n_models + 1))
        size = np.floor(np.round(fraction * n_models, 9) + draws[:, 0]).astype(int)
        ranks = draws[:, 1:].argsort(axis=1).argsort(axis=1)
        block[:] = (ranks < size[:, None]).T
    return found


def checked_membership(included: Any, n_models: int | None, n_records: int) -> NDArray[np.bool_]:
    """A given design: one row of truth values per model, with a member and a non-member in each."""
    given = np.asarray(included)
    if given.dtype != np.bool_:
        raise TypeError(f"included has dtype {given.dtype}; pass truth values, one row per model.")
    if given.ndim != 2 or given.shape[1] != n_records or (n_models is not None and len(given) != n_models):
        rows = "n_models" if n_models is None else n_models
        raise ValueError(f"included has shape {given.shape}; pass one row per model and a column per record: "
                         f"({rows}, {n_records}).")  # fmt: skip
    if not len(given):
        raise ValueError("included has no rows; pass one per model.")
    empty = np.flatnonzero(~given.any(axis=1))
    if len(empty):
        raise ValueError(f"included leaves model {empty[0]} without any member; give it some.")
    return given.copy()
