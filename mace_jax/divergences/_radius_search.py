"""Neighbor radii without the neighbors: for forms that never ask which record lies there, or what is near Q records."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree  # pyright: ignore[reportAttributeAccessIssue]

from mace_jax._status import Status
from mace_jax._types import FloatArray
from mace_jax.neighbors import knn
from mace_jax.neighbors._choose import choose
from mace_jax.neighbors._duplicates import group_rows
from mace_jax.neighbors._threads import in_threads, processors

__all__ = ["Radii", "along_a_tree", "lists_at_p", "radii"]

_TREE_FEATURES = 10  # more are searched by tiled products, to which order means nothing
_WORTH_SORTING = 4096
_LARGEST = 1e150
_LEAF_ROWS = 16
_QUERY_ROWS = 4096


class Radii(NamedTuple):
    """Squared distances to P and to Q, ascending, of all pooled rows or of the P rows alone."""

    to_p: FloatArray
    to_q: FloatArray
    searched: Status


def along_a_tree(rows: FloatArray) -> NDArray[np.int64]:
    """Row numbers in which neighbors in space are neighbors in memory, where a tree will be searched."""
    if rows.shape[1] == 1 or rows.shape[1] > _TREE_FEATURES or len(rows) < _WORTH_SORTING:
        return np.arange(len(rows))
    return np.asarray(cKDTree(rows, 16, compact_nodes=False, balanced_tree=False).indices)


def radii(p: FloatArray, q: FloatArray, width: int, *, at_q: bool) -> Radii | None:
    """Distances as a k-d tree rounds them, which may differ from those of ``knn`` in the last digit.

    None where a tree is not the tool, and for records with copies or too large to square: these need ``paired_knn``.
    """
    if not _plain(p, q) or choose(len(p) + at_q * len(q), max(len(p), len(q)), p.shape[1], width).name != "tree":
        return None
    samples = (p, q)
    orders = in_threads(along_a_tree, samples)
    p, q = (rows[order] for rows, order in zip(samples, orders, strict=True))
    trees = in_threads(lambda rows: cKDTree(rows, _LEAF_ROWS), (p, q))
    asked = [(p, orders[0], 0), (q, len(p) + orders[1], 1)][: 1 + at_q]
    found = tuple(np.empty((len(p) + at_q * len(q), width)) for _ in trees)
    step = max(1, min(_QUERY_ROWS, -(-len(p) // (4 * processors()))))
    parts = [
        (label, queries[at : at + step], places[at : at + step], label == own)
        for label in (0, 1)
        for queries, places, own in asked
        for at in range(0, len(queries), step)
    ]

    def search(part: tuple[int, FloatArray, NDArray[np.int64], bool]) -> None:
        label, queries, places, itself = part
        found[label][places] = trees[label].query(queries, np.arange(1, width + 1) + itself)[0]

    in_threads(search, parts)
    to_p, to_q = (np.square(distances, out=distances) for distances in found)
    if (to_p[:, 0] == 0.0).any() or (to_q[:, 0] == 0.0).any():  # squares of tiny differences vanish
        return None
    return Radii(to_p, to_q, Status.OK)


def lists_at_p(p: FloatArray, q: FloatArray, width: int) -> Radii | None:
    """Distances of the P rows alone, as ``knn`` measures them; None for records with copies."""
    if not _plain(p, q):
        return None
    order = along_a_tree(p)
    sorted_p, back = p[order], np.argsort(order)
    own = knn(sorted_p, sorted_p, width, exclude_self=True)
    other = knn(sorted_p, q[along_a_tree(q)], width)
    to_p, to_q = (np.asarray(found.squared_distances)[back] for found in (own, other))
    if (to_p[:, 0] == 0.0).any() or (to_q[:, 0] == 0.0).any():
        return None
    return Radii(to_p, to_q, Status(int(own.status) | int(other.status)))


def _plain(p: FloatArray, q: FloatArray) -> bool:
    """Whether all pooled rows differ and have squares."""
    if max(max(rows.max(), -rows.min()) for rows in (p, q)) > _LARGEST:
        return False
    return group_rows(np.concatenate([p, q])) is None
