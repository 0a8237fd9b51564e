"""bootstrap: an interval for an estimate, from counts, influence values or records, never from a new search."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Protocol, get_args

import numpy as np

from mace_jax import _validate
from mace_jax._status import Status
from mace_jax._types import FloatArray, Seed
from mace_jax.bootstrap._advantage import FEW_FOR_NEIGHBORS, CellEstimate, optimum_interval, own_interval
from mace_jax.bootstrap._intervals import Method
from mace_jax.bootstrap._linear import Stratum, linear_interval
from mace_jax.bootstrap._result import BootstrapResult
from mace_jax.bootstrap._sums import ResampleWeights

__all__ = ["BootstrapResult", "bootstrap"]

Target = Literal["truth", "estimator"]
Statistic = Callable[..., Any]
_STEP = 1e-3  # of a standard error of the mean, for slopes


class InfluenceEstimate(Protocol):
    """An estimate that knows how much every record of its two samples adds to it."""

    @property
    def value(self) -> Any: ...
    @property
    def influence(self) -> tuple[Any, Any] | None: ...
    @property
    def status(self) -> Status: ...
    @property
    def target(self) -> str: ...
    @property
    def details(self) -> dict[str, Any]: ...


def bootstrap(
    estimate_or_values: CellEstimate | InfluenceEstimate | Any,
    *,
    n_resamples: int = 10_000,
    confidence_level: float = 0.95,
    method: Method = "bca",
    weights: ResampleWeights = "poisson",
    clusters: Any = None,
    statistic: Statistic | None = None,
    target: Target | None = None,
    seed: Seed,
) -> BootstrapResult:
    """A confidence interval for an estimate, or for the mean (or a function of means) of per-record values.

    What is resampled depends on what is passed, and neighbors are never searched again:

    - an optimal membership advantage: its confusion counts, drawn as counts. With ``target="truth"`` (the default) the
      lower limit comes from cross-fitted rules on records they never saw, which cannot exceed the optimum in
      expectation; the upper limit from the same rules on the records they were fitted on, which does not fall below it
      in expectation for the class of rules they were chosen from. The lower limit is 0 unless the permutation null is
      rejected at the same one-sided level; the upper limit is not below what that null reaches. This covers the
      optimum more often than the level says. With ``target="estimator"`` the interval is for the mean of
      ``lower_rule``, centered at it, with the spread the permutation null has (at least 99 permutations);
    - a divergence: weights on the influence values of both samples. The interval is for what the estimator estimates,
      its smoothing bias included, not for the divergence itself;
    - values ``(n,)`` or ``(n, q)``: weights on the records, for the mean of every column. A tuple of arrays holds
      independent samples (strata); then ``statistic`` gets the means of each. Weights are shared by all columns, so
      ``distribution`` serves simultaneous statements too (``simultaneous_band``, ``step_down``).

    Args:
        estimate_or_values: From ``optimal_membership_advantage`` or ``divergences``, an array, or a tuple of arrays.
        n_resamples: Bootstrap replicates; the Monte Carlo error of a limit is about .027 standard errors at 10,000.
        confidence_level: Two-sided; each limit has half the error.
        method: "bca", "percentile", "basic" or "studentized".
        weights: "poisson", "multinomial" (sampling with replacement), "bayesian" (exponential) or "double_or_nothing"
            (0 or 2; without skewness, so not for "bca"). The first two for advantages.
        clusters: Ids of who a record belongs to, ``(n,)``, or a tuple with one array per sample: records of one cluster
            share a weight. Ids are matched within a sample. Not for advantages.
        statistic: Smooth function of means, ``statistic(means)`` with ``means (..., q)``, or
            ``statistic(means_1, means_2, ...)`` for a tuple; returns ``(...)`` or ``(..., s)``. By default the means.
        target: "truth" or "estimator", see above; by default "truth" for advantages and "estimator" for divergences,
            whose bias no bootstrap sees. For values both are the same.
        seed: Fixes the replicates, whatever the batch size or the number of devices.

    Returns:
        ``BootstrapResult``; ``covers`` says for what, ``status`` what to beware of.

    Where a count behind an advantage is below 10 the limits for the truth are widened to the Clopper-Pearson ones.
    Memory beyond the values: ``32 n_resamples (q + 1)`` bytes, ``24 n`` for one statistic at a time and about 20 MiB of
    weights per processor, never ``n_resamples n``; "multinomial" adds ``5 n (q + 1)``, at most 120 MiB, and
    32 MiB; "studentized" two copies of the values and more, clusters ``8 (q + 2)`` per cluster.

    Raises:
        TypeError: not numeric.
        ValueError: unknown method, weights or target; level outside (0, 1); n_resamples below 100; fewer than 2 records
            or clusters; values that are not finite; clusters that do not fit; a statistic that is not finite; a
            divergence made with ``influence=False``.

    References: Efron (1987) for BCa; Hall (1992) for studentized limits; Rubin (1981) for exponential weights; Chamandy
    et al. (2012) for Poisson weights.

    Example:
        >>> values = np.random.default_rng(1).exponential(size=400)
        >>> result = bootstrap(values, seed=0)
        >>> result.low < 1.0 < result.high
        True
    """
    n_resamples = _validate.positive_int(minimum=100, n_resamples=n_resamples)
    confidence_level = _validate.in_open_unit(confidence_level=confidence_level)
    _validate.one_of(get_args(Method), method=method)
    _validate.one_of(get_args(ResampleWeights), weights=weights)
    if target not in (None, *get_args(Target)):
        raise ValueError(f"target={target!r} is not known; pass 'truth' or 'estimator'.")
    if weights == "double_or_nothing" and method == "bca":
        raise ValueError(
            "weights='double_or_nothing' have no skewness, which method='bca' reads off the replicates; "
            "pass method='percentile' or weights='poisson'."
        )
    given: Any = estimate_or_values
    if hasattr(given, "held_out") and hasattr(given, "at_rates"):
        _refuse("an advantage", clusters=clusters, statistic=statistic)
        if weights not in ("poisson", "multinomial"):
            raise ValueError(f"weights={weights!r} are not for counts; pass 'poisson' or 'multinomial'.")
        interval = own_interval if target == "estimator" else optimum_interval
        return interval(
            given,
            n_resamples=n_resamples,
            confidence_level=confidence_level,
            method=method,
            weights=weights,
            seed=seed,
        )
    settings: dict[str, Any] = {
        "n_resamples": n_resamples,
        "confidence_level": confidence_level,
        "method": method,
        "weights": weights,
        "seed": seed,
    }
    if hasattr(given, "influence") and hasattr(given, "value"):
        _refuse("a divergence", statistic=statistic)
        if target == "truth":
            raise ValueError(
                "target='truth': the smoothing bias of a divergence estimate is not bounded, so no interval around it "
                "covers the truth at a known rate; pass target='estimator', or use certify for a bound."
            )
        return _of_influence(given, clusters, settings)
    return _of_values(given, clusters, statistic, settings)


def _refuse(what: str, **arguments: Any) -> None:
    for name, value in arguments.items():
        if value is not None:
            raise ValueError(f"{name} does not apply to {what}; leave it out, or pass per-record values.")


def _of_influence(estimate: InfluenceEstimate, clusters: Any, settings: dict[str, Any]) -> BootstrapResult:
    if estimate.influence is None:
        raise ValueError(
            "the estimate is a value alone, made with influence=False, and a divergence is resampled by the influence "
            "values of its records; make it with influence=True."
        )
    parts = [np.atleast_2d(np.asarray(part, np.float64)).T for part in estimate.influence]
    ids = _cluster_ids(clusters, [len(part) for part in parts], tuple_expected=True)
    strata = [
        Stratum(name, part, np.eye(part.shape[1]), own)
        for name, part, own in zip(("p_samples", "q_samples"), parts, ids, strict=True)
    ]
    value = np.asarray(estimate.value, np.float64)
    return linear_interval(
        value,
        strata,
        lambda means: np.atleast_1d(value) + means[0] + means[1],
        covers=f"what the estimator estimates, bias included: {estimate.target}",
        status=estimate.status | (Status.SMALL_FOR_INTERVAL if min(map(len, parts)) < FEW_FOR_NEIGHBORS else Status.OK),
        skewness=estimate.details.get("skewness"),
        **settings,
    )


def _of_values(values: Any, clusters: Any, statistic: Statistic | None, settings: dict[str, Any]) -> BootstrapResult:
    several = isinstance(values, tuple)
    samples = [_checked(sample, several, place) for place, sample in enumerate(values if several else (values,))]
    ids = _cluster_ids(clusters, [len(sample) for sample in samples], tuple_expected=several)
    if statistic is None and len(samples) > 1:
        raise ValueError(
            f"{len(samples)} samples were passed without statistic, which says how their means make one number; "
            "pass for example statistic=lambda a, b: a - b."
        )
    centers = [sample.mean(axis=0) for sample in samples]
    scales = [np.array([column.std() for column in one.T]) / np.sqrt(len(one)) for one in samples]  # no copy of all
    function = _Function(statistic, scales)
    value, slopes = function.at(centers), function.slopes(centers)
    flat = all(np.ndim(sample) == 1 for sample in (values if several else (values,)))
    scalar = np.ndim(value) == 0 or (flat and np.size(value) == 1)
    strata = [
        Stratum(f"sample {place}" if several else "values", sample, np.atleast_2d(slope), own)
        for place, (sample, slope, own) in enumerate(zip(samples, slopes, ids, strict=True))
    ]

    def combine(means: list[FloatArray]) -> FloatArray:
        drawn = function.at([center + part for center, part in zip(centers, means, strict=True)])
        drawn = drawn.reshape(len(means[0]), -1)
        if not np.isfinite(drawn).all():
            raise ValueError(
                "statistic is not finite at some resampled means; keep it defined around the means of the values."
            )
        return drawn

    what = "the population mean" if statistic is None else "the statistic at the population means"
    return linear_interval(
        np.asarray(value).reshape(-1)[0] if scalar else np.asarray(value),
        strata,
        combine,
        covers=f"{what} of the values, if {'records' if clusters is None else 'clusters'} are independent draws",
        **settings,
    )


class _Function:
    """A statistic of means with its slopes by central differences."""

    def __init__(self, statistic: Statistic | None, scales: list[FloatArray]) -> None:
        self._statistic = statistic
        self._scales = scales

    def at(self, means: list[FloatArray]) -> FloatArray:
        if self._statistic is None:
            return means[0]
        found = np.asarray(self._statistic(*means), np.float64)
        lead = np.shape(means[0])[:-1]
        if found.shape[: len(lead)] != lead or found.ndim > len(lead) + 1:
            raise ValueError(
                f"statistic gave shape {found.shape} for means of shape {np.shape(means[0])}; the last axis of the "
                f"means is the columns, and the answer must have shape {lead} or {(*lead, 's')}."
            )
        return found

    def slopes(self, centers: list[FloatArray]) -> list[FloatArray]:
        """Per sample ``(s, q)``."""
        if self._statistic is None:
            return [np.eye(len(centers[0]))]
        found = []
        for place, (center, scale) in enumerate(zip(centers, self._scales, strict=True)):
            columns = []
            for column in range(len(center)):
                step = _STEP * scale[column] or 1e-6 * (1.0 + abs(center[column]))
                ends = []
                for sign in (1.0, -1.0):
                    moved = [one.copy() for one in centers]
                    moved[place][column] += sign * step
                    ends.append(np.atleast_1d(self.at(moved)))
                columns.append((ends[0] - ends[1]) / (2.0 * step))
            found.append(np.stack(columns, axis=1))
        if not all(np.isfinite(slope).all() for slope in found):
            raise ValueError("statistic or its slope is not finite at the means of the values.")
        return found


def _checked(sample: Any, several: bool, place: int) -> FloatArray:
    name = f"values[{place}]" if several else "values"
    return _validate.finite(**{name: _validate.min_rows(2, **{name: _validate.as_records(**{name: sample})})})


def _cluster_ids(clusters: Any, sizes: list[int], *, tuple_expected: bool) -> list[Any]:
    """Per sample None, or cluster numbers from 0 in the order of the ids."""
    if clusters is None:
        return [None] * len(sizes)
    given = list(clusters) if tuple_expected else [clusters]
    if len(given) != len(sizes):
        raise ValueError(f"clusters has {len(given)} arrays for {len(sizes)} samples; pass one per sample.")
    ids = [np.asarray(one) for one in given]
    for one, size in zip(ids, sizes, strict=True):
        if one.shape != (size,):
            raise ValueError(f"clusters has shape {one.shape}, but there are {size} records; pass one id per record.")
    numbered = [np.unique(one, return_inverse=True)[1] for one in ids]
    if any(one.max() == 0 for one in numbered):
        raise ValueError("clusters has a single id: at least 2 clusters are needed to see how they vary.")
    return numbered
