"""Sorting once, on the host: two groups of scores become tiles of one descending list."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from mace_jax_kernels._tiling import Rows, bucket

__all__ = ["Plan", "plan_ranks"]

TILE = 64


class Plan(NamedTuple):
    """Both groups in one list, best score first, ``t`` tiles of ``TILE`` rows of which ``n_tiles`` are in use."""

    ids: Rows  # (t, TILE) uint32: row ids within the group
    member: Rows  # (t, TILE) bool; False for padding
    nonmember: Rows  # (t, TILE) bool; False for padding
    level: Rows  # (t, TILE) int32: equal scores share a level, levels ascend along the list
    before: Rows  # (t,) int32: level of the row before the tile, -1 at the top
    last: Rows  # (t, TILE) bool: nothing after this row has its score
    n_tiles: Any


def plan_ranks(members: np.ndarray, nonmembers: np.ndarray, member_ids: np.ndarray, nonmember_ids: np.ndarray) -> Plan:
    """Sort the pool in descending order, members first among equals; order of equal members does not matter.

    The number of tiles is rounded up to a power of two, so that close sizes share compiled code.
    """
    n, total = len(members), len(members) + len(nonmembers)
    pooled = np.concatenate([members, nonmembers])
    order = np.lexsort((np.arange(total) >= n, -pooled))
    values = pooled[order]
    starts = np.concatenate([[True], values[1:] != values[:-1]])
    level = np.cumsum(starts, dtype=np.int32) - 1
    used = -(-total // TILE)
    tiles = bucket(used, 4)

    def tiled(row: np.ndarray, fill: int | bool) -> np.ndarray:
        padded = np.full(tiles * TILE, fill, row.dtype)
        padded[:total] = row
        return padded.reshape(tiles, TILE)

    levels = tiled(level, np.iinfo(np.int32).max)
    return Plan(
        tiled(np.concatenate([member_ids, nonmember_ids]).astype(np.uint32)[order], 0),
        tiled(order < n, False),
        tiled(order >= n, False),
        levels,
        np.concatenate([[-1], levels[:-1, -1]]).astype(np.int32),
        tiled(np.concatenate([starts[1:], [True]]), False),
        np.int32(used),
    )
