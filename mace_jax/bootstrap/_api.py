"""bootstrap: an interval for an estimate, from counts or influence values, never from a new search."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal, Protocol, get_args

import numpy as np

from mace_jax import _validate
from mace_jax._binomial import clopper_pearson_lower, clopper_pearson_upper
from mace_jax._random import generator
from mace_jax._status import Status
from mace_jax._types import FloatArray, Seed
from mace_jax.bootstrap._cells import resample_rate
from mace_jax.bootstrap._intervals import Method, limit

__all__ = ["BootstrapResult", "bootstrap"]

_RARE = 10


class Counts(Protocol):
    """What a rule did to members and non-members."""

    @property
    def true_positives(self) -> int: ...
    @property
    def n_members(self) -> int: ...
    @property
    def false_positives(self) -> int: ...
    @property
    def n_nonmembers(self) -> int: ...
    @property
    def rarest(self) -> int: ...


class CellEstimate(Protocol):
    """An estimate that is a function of confusion counts: of held-out rules, and of rules on their own records."""

    @property
    def held_out(self) -> Counts: ...
    @property
    def own(self) -> Counts: ...
    @property
    def null(self) -> FloatArray: ...
    @property
    def p_value(self) -> float: ...
    @property
    def lower_rule(self) -> float: ...
    @property
    def in_sample(self) -> float: ...
    def at_rates(self, true_positive_rate: Any, false_positive_rate: Any) -> Any: ...


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class BootstrapResult:
    """An interval and the replicates behind it. ``covers`` says for what the interval is meant."""

    low: float
    high: float
    standard_error: float
    distribution: FloatArray  # (n_resamples,) replicates of the held-out estimate
    confidence_level: float
    method: Method
    covers: str
    status: Status

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {
            "low": self.low,
            "high": self.high,
            "standard_error": self.standard_error,
            "distribution": self.distribution.tolist(),
            "confidence_level": self.confidence_level,
            "method": self.method,
            "covers": self.covers,
            "status": list(self.status.sentences),
        }

    def __repr__(self) -> str:
        return f"BootstrapResult([{self.low:.4f}, {self.high:.4f}], confidence_level={self.confidence_level})"


def bootstrap(
    estimate: CellEstimate,
    *,
    n_resamples: int = 10_000,
    confidence_level: float = 0.95,
    method: Method = "bca",
    weights: Literal["poisson", "multinomial"] = "poisson",
    seed: Seed,
) -> BootstrapResult:
    """A confidence interval for an optimal membership advantage.

    The lower limit comes from the cross-fitted rules on records they never saw, which cannot exceed the optimum in
    expectation; the upper limit from the same rules on the records they were fitted on, which does not fall below it in
    expectation for the class of rules they were chosen from. The lower limit is 0 unless the permutation null is
    rejected at the same one-sided level, because cross-fitted error counts are dependent when nothing is leaked; the
    upper limit is not below what that null reaches, because smaller advantages cannot be told from chance.
    Resampled counts are binomial (or Poisson), which is Efron's bootstrap itself, without touching the records:
    time and memory O(n_resamples).

    Args:
        estimate: From ``optimal_membership_advantage``, with permutations.
        n_resamples: Bootstrap replicates.
        confidence_level: Two-sided; each limit has half the error.
        method: "bca", "percentile", "basic" or "studentized".
        weights: "poisson" or "multinomial" (sampling with replacement).
        seed: Fixes the replicates.

    Raises:
        TypeError: not an advantage estimate.
        ValueError: unknown method or weights, level outside (0, 1), n_resamples below 100.

    Where a count is below 10 the limits are widened to the Clopper-Pearson ones.

    References: Efron (1987) for BCa; Hall (1992) for studentized limits.

    Example:
        >>> from mace_jax import MembershipSample, optimal_membership_advantage
        >>> rng = np.random.default_rng(0)
        >>> sample = MembershipSample(rng.normal(1, 1, 900), rng.normal(0, 1, 900))
        >>> result = bootstrap(optimal_membership_advantage(sample, n_permutations=99, seed=0), seed=0)
        >>> result.low < 0.383 < result.high
        True
    """
    if not hasattr(estimate, "held_out") or not hasattr(estimate, "at_rates"):
        raise TypeError(
            f"estimate has type {type(estimate).__name__}; pass the result of optimal_membership_advantage(...)."
        )
    n_resamples = _validate.positive_int(minimum=100, n_resamples=n_resamples)
    error = 1.0 - _validate.in_open_unit(confidence_level=confidence_level)
    if method not in get_args(Method):
        raise ValueError(f"method={method!r} is not known; pass one of {', '.join(map(repr, get_args(Method)))}.")
    if weights not in ("poisson", "multinomial"):
        raise ValueError(f"weights={weights!r} is not known; pass 'poisson' or 'multinomial'.")
    status, tail = Status.OK, error / 2.0
    held_out = _replicates(estimate, estimate.held_out, n_resamples, weights, generator(seed, "held out"))
    low = _limit(tail, estimate, estimate.held_out, estimate.lower_rule, held_out, method)
    own = _replicates(estimate, estimate.own, n_resamples, weights, generator(seed, "own"))
    high = max(
        _limit(1.0 - tail, estimate, estimate.own, estimate.in_sample, own, method),
        _limit(1.0 - tail, estimate, estimate.held_out, estimate.lower_rule, held_out, method),
        float(np.quantile(estimate.null, 1.0 - tail)) if len(estimate.null) else 0.0,
    )
    if estimate.held_out.rarest < _RARE:
        status |= Status.RARE_COUNTS
        low = min(low, _exact(estimate, estimate.held_out, tail, lower=True))
    if estimate.own.rarest < _RARE:
        status |= Status.RARE_COUNTS
        high = max(high, _exact(estimate, estimate.own, tail, lower=False))
    if not estimate.p_value <= tail + 1e-12:  # (1 - 0.9) / 2 is below 0.05
        low = 0.0
    low = float(np.clip(low, 0.0, 1.0))
    return BootstrapResult(
        low=low,
        high=float(np.clip(high, low, 1.0)),
        standard_error=float(held_out[0].std(ddof=1)),
        distribution=held_out[0],
        confidence_level=confidence_level,
        method=method,
        covers=(
            "the best advantage within the rules that were fitted; rules of another kind, or fitted on more records, "
            "may do better"
        ),
        status=status,
    )


def _replicates(
    estimate: CellEstimate,
    counts: Counts,
    n_resamples: int,
    weights: Literal["poisson", "multinomial"],
    rng: np.random.Generator,
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Replicates of the advantage, of the TPR and of the FPR."""
    tpr = resample_rate(counts.true_positives, counts.n_members, n_resamples, weights=weights, rng=rng)
    fpr = resample_rate(counts.false_positives, counts.n_nonmembers, n_resamples, weights=weights, rng=rng)
    return np.asarray(estimate.at_rates(tpr, fpr)), tpr, fpr


def _slopes(estimate: CellEstimate, tpr: FloatArray, fpr: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Derivatives of the metric in TPR and FPR by central differences inside [0, 1]."""
    step = 1e-6
    up, down = np.minimum(tpr + step, 1.0), np.maximum(tpr - step, 0.0)
    by_tpr = (estimate.at_rates(up, fpr) - estimate.at_rates(down, fpr)) / (up - down)
    up, down = np.minimum(fpr + step, 1.0), np.maximum(fpr - step, 0.0)
    return np.asarray(by_tpr), np.asarray((estimate.at_rates(tpr, up) - estimate.at_rates(tpr, down)) / (up - down))


def _standard_error(estimate: CellEstimate, counts: Counts, tpr: FloatArray, fpr: FloatArray) -> FloatArray:
    by_tpr, by_fpr = _slopes(estimate, tpr, fpr)
    return np.sqrt(
        by_tpr**2 * tpr * (1.0 - tpr) / counts.n_members + by_fpr**2 * fpr * (1.0 - fpr) / counts.n_nonmembers
    )


def _acceleration(estimate: CellEstimate, counts: Counts, tpr: float, fpr: float) -> float:
    """BCa acceleration from the influence values of both samples, which here take two values each."""
    by_tpr, by_fpr = (float(slope) for slope in _slopes(estimate, np.asarray(tpr), np.asarray(fpr)))
    second = third = 0.0
    for slope, rate, n in ((by_tpr, tpr, counts.n_members), (by_fpr, fpr, counts.n_nonmembers)):
        spread = rate * (1.0 - rate)
        second += slope**2 * spread / n
        third += slope**3 * spread * (1.0 - 2.0 * rate) / n**2
    return third / (6.0 * second**1.5) if second > 0 else 0.0


def _limit(
    level: float,
    estimate: CellEstimate,
    counts: Counts,
    value: float,
    replicates: tuple[FloatArray, FloatArray, FloatArray],
    method: Method,
) -> float:
    drawn, tpr, fpr = replicates
    at = counts.true_positives / counts.n_members, counts.false_positives / counts.n_nonmembers
    studentized = method == "studentized"
    return limit(
        level,
        value,
        drawn,
        method=method,
        acceleration=_acceleration(estimate, counts, *at) if method == "bca" else 0.0,
        standard_error=float(_standard_error(estimate, counts, *map(np.asarray, at))) if studentized else 0.0,
        replicate_errors=_standard_error(estimate, counts, tpr, fpr) if studentized else None,
    )


def _exact(estimate: CellEstimate, counts: Counts, tail: float, *, lower: bool) -> float:
    """The metric at Clopper-Pearson limits of both rates, half of ``tail`` each."""
    for_tpr, for_fpr = clopper_pearson_lower, clopper_pearson_upper
    if not lower:
        for_tpr, for_fpr = for_fpr, for_tpr
    tpr = for_tpr(counts.true_positives, counts.n_members, tail / 2.0)
    fpr = for_fpr(counts.false_positives, counts.n_nonmembers, tail / 2.0)
    return float(estimate.at_rates(tpr, fpr))
