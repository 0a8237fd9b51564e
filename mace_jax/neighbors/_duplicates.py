"""Equal reference rows: searched once, listed in full."""

from __future__ import annotations

import dataclasses

import numpy as np

from mace_jax._types import FloatArray, IntArray
from mace_jax.neighbors._pairs import nearest_of_ragged, row_chunks
from mace_jax.neighbors._threads import in_threads

__all__ = ["Groups", "group_rows"]

_CHUNK_ENTRIES = 1 << 20
_HASH_BYTES = 1 << 22


@dataclasses.dataclass(frozen=True, eq=False)
class Groups:
    """A partition of the reference rows into groups of equal rows, in order of their first row."""

    first: IntArray  # (u,) first row of each group: ascending
    group_of: IntArray  # (m,) group of each row
    order: IntArray  # (m,) rows sorted by group, ascending inside
    starts: IntArray  # (u,) where each group begins in `order`
    counts: IntArray  # (u,) rows in each group

    def __len__(self) -> int:
        return len(self.first)

    def wanted(self, k: int, exclude_ids: IntArray | None) -> int:
        """Nearest groups that hold the k nearest rows: one more if the row left out may have been its group's first."""
        return min(len(self.first), k + (exclude_ids is not None))

    def expand(
        self, squared: FloatArray, groups: IntArray, k: int, exclude_ids: IntArray | None
    ) -> tuple[FloatArray, IntArray]:
        """The ``k`` nearest rows from each query's nearest groups, ordered by (squared distance, id).

        ``groups`` holds the ``wanted`` nearest groups of each query by (squared distance, group).
        """
        n = len(groups)
        excluded = np.full(n, -1) if exclude_ids is None else exclude_ids
        own = np.where(excluded >= 0, self.group_of[excluded], -1)
        copies = self.counts[groups]
        left = copies - (groups == own[:, None])
        # A group can matter only if fewer than k rows are strictly closer than it.
        before = np.cumsum(left, axis=1) - left
        opens = np.ones_like(groups, dtype=bool)
        opens[:, 1:] = squared[:, 1:] > squared[:, :-1]
        closer = np.maximum.accumulate(np.where(opens, before, 0), axis=1)
        take = np.where(closer < k, np.minimum(copies, k + 1), 0)

        out = np.empty((n, k)), np.empty((n, k), dtype=np.int64)
        if groups.shape[1] >= k:
            out[0][:], out[1][:] = squared[:, :k], self.first[groups[:, :k]]
        busy = np.flatnonzero((take != 1).any(axis=1) | (groups.shape[1] < k) | (own >= 0))
        take, groups, squared, excluded = take[busy], groups[busy], squared[busy], excluded[busy]
        load = np.concatenate([[0], np.cumsum(take.sum(axis=1))])
        begin = 0
        while begin < len(busy):
            end = max(begin + 1, int(np.searchsorted(load, load[begin] + _CHUNK_ENTRIES, side="right")) - 1)
            part = slice(begin, end)
            amount = take[part].ravel()
            rank = np.arange(amount.sum()) - np.repeat(np.cumsum(amount) - amount, amount)
            ids = self.order[np.repeat(self.starts[groups[part].ravel()], amount) + rank]
            rows = np.repeat(np.repeat(np.arange(end - begin), groups.shape[1]), amount)
            distance = np.repeat(squared[part].ravel(), amount)
            kept = ids != excluded[part][rows]
            near = nearest_of_ragged(distance[kept], rows[kept], ids[kept], end - begin, k)
            out[0][busy[part]], out[1][busy[part]] = near
            begin = end
        return out


def group_rows(reference: FloatArray) -> Groups | None:
    """Groups of equal rows, or None if all rows differ; ``O(m d)`` through a 64-bit hash that is checked."""
    m, d = reference.shape
    paired = reference.dtype == np.float32 and d % 2 == 0  # two entries make one word
    words = d // 2 if paired else d
    weights = np.random.default_rng(0).integers(1 << 63, size=words, dtype=np.uint64) | np.uint64(1)
    hashes = np.empty(m, dtype=np.uint64)

    def fill(part: slice) -> None:
        rows = np.add(reference[part], reference.dtype.type(0), order="C")  # adding zero turns -0.0 into 0.0
        one_each = rows.dtype == np.float32 and not paired
        bits = rows.view(np.uint32).astype(np.uint64) if one_each else rows.view(np.uint64)
        bits ^= bits >> np.uint64(32)
        bits *= weights
        hashes[part] = bits.sum(axis=1, dtype=np.uint64)

    in_threads(fill, row_chunks(m, 16 * words, _HASH_BYTES))
    ordered = np.sort(hashes)
    if not (ordered[1:] == ordered[:-1]).any():
        return None
    _, first, group_of = np.unique(hashes, return_index=True, return_inverse=True)
    leader = first[group_of]
    suspects = np.flatnonzero(leader != np.arange(m))
    for part in row_chunks(len(suspects), 16 * d):
        rows = suspects[part]
        differs = (reference[rows] != reference[leader[rows]]).any(axis=1)
        leader[rows[differs]] = rows[differs]
    first, group_of, counts = np.unique(leader, return_inverse=True, return_counts=True)
    if len(first) == m:
        return None
    order = np.argsort(group_of, kind="stable")
    return Groups(first, group_of, order, np.cumsum(counts) - counts, counts)
