"""Rows of one cluster share a weight, so a cluster is as good as the sum of its rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from mace_jax._types import FloatArray

__all__ = ["cluster_places", "cluster_sums"]


def cluster_places(clusters: Any, n: int) -> Any:
    """The place ``(n,)`` of every row's cluster among the distinct ids in sorted order."""
    ids = _as_ids(clusters)
    if ids.shape != (n,):
        raise ValueError(f"clusters has shape {ids.shape}; it must be ({n},), one id per row.")
    return np.unique(ids, return_inverse=True)[1]


def cluster_sums(values: FloatArray, places: Any, center: FloatArray | None = None) -> FloatArray:
    """Sums of the rows of a cluster, less the center, and their number in the last column: ``(clusters, c + 1)``."""
    c = values.shape[1]
    sums = np.empty((int(places.max()) + 1, c + 1))
    for column in range(c):
        shift = 0.0 if center is None else center[column]
        sums[:, column] = np.bincount(places, values[:, column] - shift)
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
