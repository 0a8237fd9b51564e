"""Precision and recall of accusing every record above a risk score: overall, by class and by slice."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from mace_jax import _validate
from mace_jax._binomial import clopper_pearson_lower, clopper_pearson_upper
from mace_jax._types import FloatArray
from mace_jax.attacks._risk_reports import unit_scores
from mace_jax.attacks._score_groups import groups_of

__all__ = ["RiskRow", "RiskTable", "risk_table"]


@dataclasses.dataclass(frozen=True)
class RiskRow:
    """Records of one group at or above one threshold; what nobody is there to tell is None, with limits 0 and 1."""

    group: str
    threshold: float
    flagged_members: int
    flagged_nonmembers: int
    n_members: int
    n_nonmembers: int
    precision: float | None
    precision_low: float
    precision_high: float
    recall: float | None
    recall_low: float
    recall_high: float


@dataclasses.dataclass(frozen=True)
class RiskTable:
    """Precision and recall of "member if the score is at least t", by group and threshold."""

    rows: tuple[RiskRow, ...]
    prior: float | None
    confidence_level: float

    def of(self, group: str) -> tuple[RiskRow, ...]:
        """The rows of one group: ``"all"``, ``"class 3"`` or the name of a slice."""
        found = tuple(row for row in self.rows if row.group == group)
        if not found:
            known = ", ".join(dict.fromkeys(row.group for row in self.rows))
            raise ValueError(f"group={group!r} is not in the table; pass one of {known}.")
        return found

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return dataclasses.asdict(self)


def risk_table(
    posterior_members: ArrayLike,
    posterior_nonmembers: ArrayLike,
    *,
    thresholds: Sequence[float] = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5),
    member_labels: ArrayLike | None = None,
    nonmember_labels: ArrayLike | None = None,
    slices: Mapping[str, tuple[ArrayLike, ArrayLike]] | None = None,
    prior: float | None = None,
    confidence_level: float = 0.95,
) -> RiskTable:
    """Precision and recall of accusing every record whose score is at least t: overall, by class and by slice.

    precision = accused members / accused, recall = accused members / members, both with Clopper-Pearson limits. With
    ``prior`` the odds of the precision are carried from the sample's share of members to that prior.

    Args:
        posterior_members: Scores of members, ``(n1,)``.
        posterior_nonmembers: Scores of non-members, ``(n0,)``.
        thresholds: Values of t.
        member_labels: Classes of the members, if rows by class are wanted; with ``nonmember_labels``.
        nonmember_labels: Classes of the non-members.
        slices: For each name a mask of the members and one of the non-members.
        prior: P(member) at which precision is stated; None takes the share in the sample.
        confidence_level: Of the limits of each cell by itself.

    Returns:
        ``RiskTable``.

    Raises:
        TypeError: labels that are neither whole numbers nor strings, or some of either.
        ValueError: scores outside [0, 1], or labels or masks of another length.

    References: Clopper and Pearson (1934).

    Example:
        >>> row, _ = risk_table([.91, 1, .92, .82, .75], [.81, .7, .75, .25, .3], thresholds=[.8, .7]).rows
        >>> row.precision, row.recall
        (0.8, 0.8)
    """
    sides = [unit_scores(posterior_members=posterior_members), unit_scores(posterior_nonmembers=posterior_nonmembers)]
    limits = np.asarray(list(thresholds), np.float64)
    if not len(limits) or not np.isfinite(limits).all():
        raise ValueError(f"thresholds={list(thresholds)!r} must be finite numbers, at least one.")
    level = _validate.in_open_unit(confidence_level=confidence_level)
    if prior is not None:
        prior = _validate.in_open_unit(prior=prior)
    groups = groups_of([len(side) for side in sides], member_labels, nonmember_labels, slices)
    counts = np.array(
        [
            [[*(side[mask] >= t).nonzero()[0].shape, int(mask.sum())] for side, mask in zip(sides, masks, strict=True)]
            for masks in groups.values()
            for t in limits
        ]
    )
    names = [(name, float(t)) for name in groups for t in limits]
    tail = (1.0 - level) / 2.0
    (hits, n1), (alarms, n0) = counts[:, 0].T, counts[:, 1].T
    precision = _cell(hits, hits + alarms, tail)
    if prior is not None:
        with np.errstate(divide="ignore", invalid="ignore"):
            shift = special.logit(prior) - (np.log(n1) - np.log(n0))
        known = (n1 > 0) & (n0 > 0)
        moved = [special.expit(special.logit(value) + np.where(known, shift, 0.0)) for value in precision[:3]]
        valid = precision[3] & known
        precision = moved[0], np.where(valid, moved[1], 0.0), np.where(valid, moved[2], 1.0), valid
    recall = _cell(hits, n1, tail)
    rows = [
        RiskRow(
            group,
            t,
            int(hits[i]),
            int(alarms[i]),
            int(n1[i]),
            int(n0[i]),
            float(precision[0][i]) if precision[3][i] else None,
            float(precision[1][i]),
            float(precision[2][i]),
            float(recall[0][i]) if recall[3][i] else None,
            float(recall[1][i]),
            float(recall[2][i]),
        )
        for i, (group, t) in enumerate(names)
    ]
    return RiskTable(tuple(rows), prior, level)


_Cell = tuple[FloatArray, FloatArray, FloatArray, np.ndarray]


def _cell(hits: np.ndarray, total: np.ndarray, tail: float) -> _Cell:
    """Share, its limits, and whether there is a share at all."""
    valid = total > 0
    low, high = clopper_pearson_lower(hits, total, tail), clopper_pearson_upper(hits, total, tail)
    return hits / np.maximum(total, 1), np.where(valid, low, 0.0), np.where(valid, high, 1.0), valid
