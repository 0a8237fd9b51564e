"""bootstrap_roc: intervals for the area under a ROC curve, for the TPR at low FPRs, and a band for the whole curve."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal, get_args

import jax
import numpy as np
from scipy import special

from mace_jax import _validate
from mace_jax._random import key
from mace_jax._status import Status
from mace_jax._types import FloatArray, Seed
from mace_jax.bootstrap._result import BootstrapResult
from mace_jax.bootstrap._roc_results import RocMethod, area_result, rate_limits, tpr_result, trouble
from mace_jax.bootstrap._roc_sample import RocSample, roc_sample
from mace_jax.bootstrap._simultaneous import largest_deviation
from mace_jax_kernels.ranked_sums import ranked_sums

__all__ = ["RocBand", "RocBootstrap", "bootstrap_roc"]

RocWeights = Literal["poisson", "bayesian", "double_or_nothing"]


@dataclasses.dataclass(frozen=True, eq=False)
class RocBand:
    """Limits of the TPR at every FPR together; between the rates given, ``low`` of the rate before, ``high`` after."""

    false_positive_rates: FloatArray  # (q,) ascending
    low: FloatArray
    high: FloatArray
    confidence_level: float
    covers: str
    status: Status

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {
            "false_positive_rates": self.false_positive_rates.tolist(),
            "low": self.low.tolist(),
            "high": self.high.tolist(),
            "confidence_level": self.confidence_level,
            "covers": self.covers,
            "status": list(self.status.sentences),
        }


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class RocBootstrap:
    """Estimates with intervals; replicate b of every statistic has the same weights."""

    auc: BootstrapResult
    tpr: tuple[BootstrapResult, ...]  # one per rate
    auc_estimate: float
    tpr_estimates: tuple[float, ...]
    false_positive_rates: tuple[float, ...]
    _sample: RocSample
    _settings: dict[str, Any]

    def band(
        self, false_positive_rates: Sequence[float] | None = None, *, confidence_level: float | None = None
    ) -> RocBand:
        """A band for the whole ROC curve: limits that hold at all false positive rates together.

        Every rate gets the interval that ``tpr`` has, at the level at which the intervals hold together: it comes from
        the largest deviation over rates in replicates that share their weights, on the logit scale. Since a ROC curve
        never falls, limits at neighboring rates tighten each other.

        Args:
            false_positive_rates: Ascending rates in (0, 1); by default 40 of them, from 1 / (2 m) to 0.98.
            confidence_level: Of the band as a whole; by default that of the intervals.

        Raises:
            ValueError: rates outside (0, 1) or not ascending, level outside (0, 1).

        Memory: ``52 n_resamples q`` bytes.
        """
        level = self.auc.confidence_level if confidence_level is None else confidence_level
        level = _validate.in_open_unit(confidence_level=level)
        sample = self._sample
        if false_positive_rates is None:
            first, last = special.ndtri(0.5 / len(sample.nonmembers)), special.ndtri(0.98)
            false_positive_rates = tuple(special.ndtr(np.linspace(first, last, 40)).tolist())
        rates = _checked_rates(false_positive_rates)
        if len(rates) == 0 or (np.diff(rates) <= 0).any():
            raise ValueError("false_positive_rates must ascend, at least one of them.")
        _, replicates = _replicates(sample, rates, self._settings)
        half = 0.5 / len(sample.members)
        estimates = special.logit(np.clip([sample.tpr(rate) for rate in rates], half, 1.0 - half))
        reach = largest_deviation(estimates, special.logit(np.clip(replicates, half, 1.0 - half)), level)
        tail = float(special.ndtr(-reach))
        limits = [rate_limits(sample, rate, tail) for rate in rates]
        low = np.maximum.accumulate([float(each.low) for each in limits])
        high = np.minimum.accumulate([float(each.high) for each in limits][::-1])[::-1]
        status = trouble(sample)
        if any(bool(each.conservative) for each in limits):
            status |= Status.RARE_COUNTS
        return RocBand(
            np.asarray(rates),
            low,
            np.maximum(high, low),
            level,
            "the TPR at each true false positive rate, at all rates together",
            status,
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {
            "auc_estimate": self.auc_estimate,
            "auc": self.auc.to_dict(),
            "false_positive_rates": list(self.false_positive_rates),
            "tpr_estimates": list(self.tpr_estimates),
            "tpr": [result.to_dict() for result in self.tpr],
        }

    def __repr__(self) -> str:
        rates = ", ".join(
            f"TPR {value:.4f} [{result.low:.4f}, {result.high:.4f}] at FPR {rate:g}"
            for value, result, rate in zip(self.tpr_estimates, self.tpr, self.false_positive_rates, strict=True)
        )
        area = f"AUC {self.auc_estimate:.4f} [{self.auc.low:.4f}, {self.auc.high:.4f}]"
        return f"RocBootstrap({', '.join(filter(None, (area, rates)))})"


def bootstrap_roc(
    member_scores: Any,
    nonmember_scores: Any,
    *,
    false_positive_rates: Sequence[float] = (0.001, 0.01, 0.1),
    n_resamples: int = 10_000,
    confidence_level: float = 0.95,
    method: RocMethod = "auto",
    weights: RocWeights = "poisson",
    clusters: tuple[Any, Any] | None = None,
    seed: Seed,
) -> RocBootstrap:
    """Intervals for the area under the ROC curve of a score and for its TPR at given false positive rates.

    Scores are sorted once; each replicate weighs members and non-members at random and gets its area and its TPRs in
    one pass over the sorted list. With weights ``u`` and ``v``:
    ``AUC* = sum u_i v_j (1{x_i > y_j} + 1{x_i = y_j} / 2) / (sum u sum v)``, and ``TPR*(f)`` is the weighted share of
    members at or above the lowest threshold whose weighted FPR is at most ``f``.

    ``method="auto"`` chooses what was measured to cover, at 95 %, between 93.5 % and 96.5 % of the time for 200 to
    2,000 members, as many or nine times as many non-members and normal scores 0 to 3 standard deviations apart:

    - area: the standard error of the replicates on the logit scale, with a Student quantile whose degrees of freedom
      match the kurtosis of the influence values (near 1, few records make the error);
    - TPR: the law of the count of members above a non-member score of random rank (a binomial at a beta-distributed
      FPR), inverted at mid-P, or exactly and flagged with fewer than 10 members on a side. The threshold's own error
      is in it. Replicates serve ``standard_error`` and ``band``;
    - TPR with fewer than 20 false positives expected (or 20 true negatives): Clopper-Pearson limits at order statistics
      that enclose the threshold. Conservative, flagged ``Status.RARE_COUNTS``, and taken for every method.

    The other methods take limits from the replicates: for a TPR they cover less well ("bca" without acceleration, since
    a quantile has no smooth influence).

    Args:
        member_scores: ``(n,)``, higher = more member-like.
        nonmember_scores: ``(m,)``.
        false_positive_rates: In (0, 1).
        n_resamples: Bootstrap replicates.
        confidence_level: Two-sided; each limit has half the error.
        method: "auto", "bca", "percentile" or "basic".
        weights: "poisson", "bayesian" (exponential) or "double_or_nothing" (0 or 2; without skewness, not for "bca").
        clusters: Ids of who a record belongs to, ``((n,), (m,))``: records of one cluster share a weight. Ids are
            matched within members and within non-members. Counts behind a TPR are scaled to the number of clusters.
        seed: Fixes the weights: that of a record depends on the seed, the replicate and the row number alone.

    Returns:
        ``RocBootstrap`` with ``auc``, ``tpr`` (one result per rate) and ``band()``.

    Time ``O(n_resamples (n + m))``. Memory beyond the scores: 64 bytes per record,
    ``20 n_resamples (q + 3)`` bytes and 12 MiB.

    Raises:
        TypeError: scores that are not numeric.
        ValueError: empty, vector-valued, NaN or infinite scores; a rate or level outside (0, 1); n_resamples below 100;
            unknown method or weights; clusters that do not fit.

    References: DeLong, DeLong and Clarke-Pearson (1988) for the influence values; Efron (1987) for BCa; Hsieh and
    Turnbull (1996) for the two sources of error of a TPR at an estimated threshold.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> result = bootstrap_roc(rng.normal(1, 1, 500), rng.normal(0, 1, 500), false_positive_rates=(0.1,), seed=0)
        >>> result.auc.low < 0.7602 < result.auc.high and result.tpr[0].low < 0.3891 < result.tpr[0].high
        True
    """
    n_resamples = _validate.positive_int(minimum=100, n_resamples=n_resamples)
    level = _validate.in_open_unit(confidence_level=confidence_level)
    _validate.one_of(get_args(RocMethod), method=method)
    _validate.one_of(get_args(RocWeights), weights=weights)
    if weights == "double_or_nothing" and method == "bca":
        raise ValueError("weights='double_or_nothing' have no skewness for method='bca'; pass weights='poisson'.")
    rates = _checked_rates(false_positive_rates)
    sample = roc_sample(member_scores, nonmember_scores, clusters)
    settings = {"n_resamples": n_resamples, "weights": weights, "seed": seed}
    areas, hits = _replicates(sample, rates, settings)
    return RocBootstrap(
        auc=area_result(sample, areas, level, method),
        tpr=tuple(tpr_result(sample, rate, hits[:, place], level, method) for place, rate in enumerate(rates)),
        auc_estimate=sample.area,
        tpr_estimates=tuple(sample.tpr(rate) for rate in rates),
        false_positive_rates=rates,
        _sample=sample,
        _settings=settings,
    )


def _checked_rates(rates: Sequence[float]) -> tuple[float, ...]:
    return tuple(_validate.in_open_unit(false_positive_rates=rate) for rate in np.asarray(rates, np.float64).ravel())


def _replicates(sample: RocSample, rates: tuple[float, ...], settings: dict[str, Any]) -> tuple[FloatArray, FloatArray]:
    """``(B,)`` areas and ``(B, q)`` TPRs; a replicate whose weights are all 0 keeps the estimate."""
    ours, theirs = (
        np.asarray(jax.random.key_data(key(settings["seed"], "bootstrap", group)))
        for group in ("members", "nonmembers")
    )
    sums = ranked_sums(
        sample.members,
        sample.nonmembers,
        rates,
        ours,
        theirs,
        settings["n_resamples"],
        kind=settings["weights"],
        member_ids=sample.member_ids,
        nonmember_ids=sample.nonmember_ids,
    )
    wins, hits, members, others = (np.asarray(array, np.float64) for array in sums)
    empty = (members == 0) | (others == 0)
    areas = np.where(empty, sample.area, wins / np.where(empty, 1.0, members * others))
    estimates = np.asarray([sample.tpr(rate) for rate in rates]).reshape(1, len(rates))
    return areas, np.where(empty[:, None], estimates, hits / np.where(empty, 1.0, members)[:, None])
