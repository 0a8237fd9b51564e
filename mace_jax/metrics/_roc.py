"""ROC curve of a score: Mann-Whitney area with DeLong interval, TPR at low FPR, simultaneous band."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from mace_jax import _validate
from mace_jax._binomial import clopper_pearson_lower, clopper_pearson_upper
from mace_jax._types import FloatArray

__all__ = ["Roc", "TprAtFpr", "roc"]


@dataclasses.dataclass(frozen=True)
class TprAtFpr:
    """The most members caught by a threshold whose empirical FPR does not exceed ``target``."""

    target: float
    realized_fpr: float
    tpr: float
    low: float  # Clopper-Pearson limits of the TPR at this threshold, pointwise
    high: float
    threshold: float  # guess "member" at scores of at least this; infinity = never


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Roc:
    """Empirical ROC: guess "member" at scores of at least each threshold; equal scores move together."""

    thresholds: FloatArray  # (t,) descending, first +inf
    false_positives: FloatArray  # (t,) counts
    true_positives: FloatArray
    n_members: int
    n_nonmembers: int
    auc: float  # Mann-Whitney: P(member > non-member) + P(equal) / 2
    auc_standard_error: float  # DeLong

    @property
    def false_positive_rate(self) -> FloatArray:
        return self.false_positives / self.n_nonmembers

    @property
    def true_positive_rate(self) -> FloatArray:
        return self.true_positives / self.n_members

    @property
    def advantage(self) -> float:
        """Largest TPR - FPR over thresholds on these same records: biased upwards, 0 if members score lower."""
        return float(np.max(self.true_positive_rate - self.false_positive_rate))

    def tpr_at_fpr(self, target: float, *, confidence_level: float = 0.95) -> TprAtFpr:
        """TPR of the lowest threshold whose empirical FPR is at most ``target``."""
        target = _validate.probability(target=target)
        tail = (1.0 - _validate.in_open_unit(confidence_level=confidence_level)) / 2.0
        place = (
            int(np.searchsorted(self.false_positives, np.floor(target * self.n_nonmembers + 1e-9), side="right")) - 1
        )
        hits = self.true_positives[place]
        low = clopper_pearson_lower(hits, self.n_members, tail)
        high = clopper_pearson_upper(hits, self.n_members, tail)
        return TprAtFpr(
            target,
            float(self.false_positive_rate[place]),
            float(self.true_positive_rate[place]),
            float(low),
            float(high),
            float(self.thresholds[place]),
        )

    def auc_interval(self, confidence_level: float = 0.95) -> tuple[float, float]:
        """DeLong interval on the logit scale.

        Where its error is 0, as under perfect separation, or unknown, as for a single record: the Clopper-Pearson
        interval of as many disjoint pairs as the smaller group allows.
        """
        level = _validate.in_open_unit(confidence_level=confidence_level)
        pairs, auc = min(self.n_members, self.n_nonmembers), self.auc
        if pairs < 2 or self.auc_standard_error == 0.0:
            tail, hits = (1.0 - level) / 2.0, auc * pairs
            return float(clopper_pearson_lower(hits, pairs, tail)), float(clopper_pearson_upper(hits, pairs, tail))
        reach = special.ndtri((1.0 + level) / 2.0) * self.auc_standard_error / (auc * (1.0 - auc))
        low, high = special.expit(special.logit(auc) + np.asarray([-reach, reach]))
        return float(low), float(high)

    def band(self, confidence_level: float = 0.95) -> tuple[FloatArray, FloatArray]:
        """Lower and upper TPR, ``(t,)``, that hold at all thresholds together with the FPR moved by its own share.

        Each class has a Dvoretzky-Kiefer-Wolfowitz band (Massart 1990) at half the error; the curve
        (FPR + a, TPR - b) and the curve (FPR - a, TPR + b) enclose the true one. Evaluated at this ROC's FPR.
        """
        error = 1.0 - _validate.in_open_unit(confidence_level=confidence_level)
        a = np.sqrt(np.log(4.0 / error) / (2.0 * self.n_nonmembers))
        b = np.sqrt(np.log(4.0 / error) / (2.0 * self.n_members))
        fpr, tpr = self.false_positive_rate, self.true_positive_rate
        low = np.interp(fpr - a, fpr, tpr, left=0.0) - b
        high = np.interp(fpr + a, fpr, tpr, right=1.0) + b
        return np.clip(low, 0.0, 1.0), np.clip(high, 0.0, 1.0)

    def to_dict(self) -> dict[str, Any]:
        """Rates, not thresholds: plain lists, ready for JSON."""
        return {
            "auc": self.auc,
            "auc_standard_error": self.auc_standard_error,
            "false_positive_rate": self.false_positive_rate.tolist(),
            "true_positive_rate": self.true_positive_rate.tolist(),
        }

    def __repr__(self) -> str:
        return f"Roc(auc={self.auc:.4f}, members={self.n_members}, nonmembers={self.n_nonmembers})"


def roc(member_scores: ArrayLike, nonmember_scores: ArrayLike) -> Roc:
    """The ROC curve of a score, higher = more member-like.

    Args:
        member_scores: ``(n,)``.
        nonmember_scores: ``(m,)``.

    Raises:
        ValueError: empty, vector-valued, NaN or infinite scores.

    References: DeLong, DeLong and Clarke-Pearson (1988) for the standard error.

    Example:
        >>> roc([0, 4, 6, 7], [1, 2, 3, 5]).auc
        0.6875
    """
    members, others = (
        _validate.finite(**{name: _validate.min_rows(1, **{name: _validate.as_records(**{name: scores})})})
        for name, scores in (("member_scores", member_scores), ("nonmember_scores", nonmember_scores))
    )
    if members.shape[1] != 1 or others.shape[1] != 1:
        raise ValueError(
            f"scores must be one number per record, got shapes {members.shape} and {others.shape}; "
            "pass one column, or a posterior."
        )
    members, others = np.sort(members[:, 0]), np.sort(others[:, 0])
    n, m = len(members), len(others)
    values = np.unique(np.concatenate([members, others]))[::-1]
    hits = n - np.searchsorted(members, values, side="left")
    alarms = m - np.searchsorted(others, values, side="left")

    def placements(scores: FloatArray, sorted_others: FloatArray) -> FloatArray:
        below = np.searchsorted(sorted_others, scores, side="left")
        up_to = np.searchsorted(sorted_others, scores, side="right")
        return (below + up_to) / (2.0 * len(sorted_others))

    of_members, of_others = placements(members, others), 1.0 - placements(others, members)
    variance = (of_members.var(ddof=1) / n if n > 1 else 0.0) + (of_others.var(ddof=1) / m if m > 1 else 0.0)
    return Roc(
        np.concatenate([[np.inf], values]),
        np.concatenate([[0], alarms]),
        np.concatenate([[0], hits]),
        n,
        m,
        float(of_members.mean()),
        float(np.sqrt(variance)),
    )
