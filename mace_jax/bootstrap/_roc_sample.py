"""Two groups of scores, checked and sorted once: the area, TPRs, influence values and member counts by rank."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from mace_jax import _validate
from mace_jax._types import FloatArray

__all__ = ["RocSample", "roc_sample"]


@dataclasses.dataclass(frozen=True, eq=False)
class RocSample:
    """What intervals need to know of the scores. Units are records, or clusters where there are any."""

    members: FloatArray  # (n,) in the order given
    nonmembers: FloatArray  # (m,)
    member_ids: Any  # (n,) cluster numbers, or None
    nonmember_ids: Any
    units: tuple[int, int]
    area: float
    influence: tuple[FloatArray, FloatArray]  # centered, per unit: squares sum to the variance times units squared
    above: FloatArray  # (m + 2,) members above the k-th largest non-member, k = 0 to m + 1
    level_or_above: FloatArray

    def tpr(self, rate: float) -> float:
        """Share of members at or above the lowest threshold whose empirical FPR is at most ``rate``."""
        m = len(self.nonmembers)
        return float(self.above[min(int(np.floor(rate * m + 1e-9)) + 1, m + 1)] / len(self.members))


def roc_sample(member_scores: Any, nonmember_scores: Any, clusters: tuple[Any, Any] | None) -> RocSample:
    """Checked scores with everything that sorting gives."""
    members = _validate.scores(member_scores=member_scores)
    nonmembers = _validate.scores(nonmember_scores=nonmember_scores)
    if clusters is not None and (not isinstance(clusters, tuple | list) or len(clusters) != 2):
        raise ValueError("clusters must be a pair of arrays: ids of the members and ids of the non-members.")
    ids = [
        None if clusters is None else _ids(given, scores)
        for given, scores in zip(clusters or (None, None), (members, nonmembers), strict=True)
    ]
    ranked, other = np.sort(members), np.sort(nonmembers)
    n = len(members)
    wins, losses = _placements(members, other), 1.0 - _placements(nonmembers, ranked)
    influence = tuple(
        _by_unit(values - values.mean(), owner) for values, owner in zip((wins, losses), ids, strict=True)
    )
    falling = other[::-1]
    return RocSample(
        members,
        nonmembers,
        *ids,
        units=(len(influence[0]), len(influence[1])),
        area=float(wins.mean()),
        influence=(influence[0], influence[1]),
        above=np.concatenate([[0.0], n - np.searchsorted(ranked, falling, side="right"), [n]]).astype(np.float64),
        level_or_above=np.concatenate([[0.0], n - np.searchsorted(ranked, falling, side="left"), [n]]).astype(
            np.float64
        ),
    )


def _ids(given: Any, scores: FloatArray) -> Any:
    array = np.asarray(given)
    if array.shape != scores.shape:
        raise ValueError(f"clusters have shape {array.shape} for {len(scores)} scores; pass one id per record.")
    return np.unique(array, return_inverse=True)[1].astype(np.int64)


def _placements(scores: FloatArray, others: FloatArray) -> FloatArray:
    """Share of the other group below each score, equal ones counted half."""
    return (np.searchsorted(others, scores, "left") + np.searchsorted(others, scores, "right")) / (2.0 * len(others))


def _by_unit(values: FloatArray, owner: Any) -> FloatArray:
    if owner is None:
        return values
    return np.bincount(owner, values) * (int(owner.max()) + 1) / len(values)
