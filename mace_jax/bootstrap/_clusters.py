"""Rows of one cluster share a weight, so a cluster is as good as the sum of its rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from mace_jax._types import FloatArray

__all__ = ["cluster_sums"]


def cluster_sums(values: FloatArray, clusters: Any) -> FloatArray:
    """Per cluster the sum of its rows and, in the last column, their number: ``(clusters, c + 1)``, in sorted order."""
    n, c = values.shape
    ids = _as_ids(clusters)
    if ids.shape != (n,):
        raise ValueError(f"clusters has shape {ids.shape}; it must be ({n},), one id per row.")
    _, places = np.unique(ids, return_inverse=True)
    sums = np.empty((int(places.max()) + 1, c + 1))
    for column in range(c):
        sums[:, column] = np.bincount(places, values[:, column])
    sums[:, c] = np.bincount(places)
    return sums


def _as_ids(clusters: Any) -> Any:
    """An array that sorts: ids that are objects become whole numbers, in the order of appearance."""
    ids = np.asarray(clusters) if hasattr(clusters, "__array__") else _from_list(list(clusters))
    if ids.dtype != object:
        return ids
    known: dict[Any, int] = {}
    return np.asarray([known.setdefault(one, len(known)) for one in ids.tolist()], np.int64)


def _from_list(clusters: list[Any]) -> Any:
    """A list as it is: tuples stay ids, and numbers and strings are not mixed."""
    kinds = {type(one) for one in clusters}
    if len(kinds) == 1 and kinds <= {int, str, bytes, float, bool}:
        return np.asarray(clusters)
    ids = np.empty(len(clusters), object)
    ids[:] = clusters
    return ids
