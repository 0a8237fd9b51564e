"""One query of an audit: cross-fits, estimates, ROC, histogram and its own certificate."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from mace_jax._types import FloatArray
from mace_jax.bootstrap import bootstrap
from mace_jax.bootstrap._roc_results import rate_limits
from mace_jax.bootstrap._roc_sample import roc_sample
from mace_jax.certificates._api import certify_crossfits
from mace_jax.data import MembershipSample
from mace_jax.estimators import KNN, Threshold
from mace_jax.metrics import LinearFractional, roc
from mace_jax.metrics._advantage import estimate_advantage
from mace_jax.metrics._crossfit import CrossFit, cross_fit, refit
from mace_jax.report import AdvantageResult, Histogram, OperatingPoint, QueryResult, RocResult

__all__ = ["EvaluatedQuery", "Settings", "audit_query", "estimate_query", "fit_query"]

_TARGETS = (0.01, 0.001)
_ROC_POINTS = 512
_BINS = 40
_POSTERIOR_BINS = 20  # a posterior of k neighbors moves in steps of about 1/k: finer bins would show those


@dataclasses.dataclass(frozen=True)
class Settings:
    """What the user chose, checked."""

    metrics: tuple[LinearFractional, ...]
    prior: float
    delta: float
    confidence_level: float
    n_resamples: int
    n_permutations: int
    seed: int

    def to_dict(self) -> dict[str, Any]:
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return fields | {"metrics": [metric.name for metric in self.metrics]}


@dataclasses.dataclass(frozen=True, eq=False)
class EvaluatedQuery:
    """A query and what it returned."""

    name: str
    description: str
    sample: MembershipSample

    def note_constants(self, notes: list[str]) -> None:
        """Warn about outputs that never change."""
        pooled = np.concatenate([self.sample.members, self.sample.nonmembers])
        constant = np.flatnonzero(pooled.max(axis=0) == pooled.min(axis=0))
        if len(constant):
            which = "its output is" if pooled.shape[1] == 1 else f"{len(constant)} of its {pooled.shape[1]} outputs are"
            notes.append(f"Query {self.name!r}: {which} constant over all records; kept, but nothing can be learned.")


def fit_query(query: EvaluatedQuery, settings: Settings) -> dict[str, CrossFit]:
    """Cross-fits by estimator name, all over the same halves; neighbors are searched here and nowhere else."""
    objective = settings.metrics[0].objective(prior=settings.prior)
    estimators = {"KNN": KNN(), "Threshold": Threshold()}
    return {
        name: cross_fit(query.sample, estimator, objective, seed=settings.seed)
        for name, estimator in estimators.items()
        if estimator.supports(query.sample.n_outputs)
    }


def estimate_query(
    fits: dict[str, CrossFit], settings: Settings, on_progress: Callable[[float], None]
) -> tuple[AdvantageResult, ...]:
    """Estimates under every metric by every estimator; the first is the headline."""
    jobs = [(metric, name, fitted) for metric in settings.metrics for name, fitted in fits.items()]
    return tuple(
        _estimate(
            name,
            fitted,
            metric,
            settings,
            lambda fraction, done=done: on_progress((done + fraction) / len(jobs)),
        )
        for done, (metric, name, fitted) in enumerate(jobs)
    )


def _estimate(
    name: str,
    fitted: CrossFit,
    metric: LinearFractional,
    settings: Settings,
    on_progress: Callable[[float], None],
) -> AdvantageResult:
    objective = metric.objective(prior=settings.prior)
    if metric is not settings.metrics[0]:
        fitted = refit(fitted.sample, fitted.estimator, objective, fitted.labels, fitted.fold_of, fitted.folds)
    estimate = estimate_advantage(
        fitted,
        objective,
        metric,
        settings.prior,
        n_permutations=settings.n_permutations,
        seed=settings.seed,
        on_progress=on_progress,
    )
    interval = bootstrap(
        estimate, n_resamples=settings.n_resamples, confidence_level=settings.confidence_level, seed=settings.seed
    )
    return AdvantageResult(
        estimator=name,
        metric=metric.name,
        prior=settings.prior,
        value=estimate.value,
        advantage=estimate.advantage,
        plug_in=estimate.plug_in,
        low=interval.low,
        high=interval.high,
        confidence_level=settings.confidence_level,
        null_mean=estimate.null_mean,
        null_high=float(np.quantile(estimate.null, settings.confidence_level)),
        p_value=estimate.p_value,
        n_permutations=settings.n_permutations,
        true_positive_rate=estimate.held_out.true_positive_rate,
        false_positive_rate=estimate.held_out.false_positive_rate,
        covers=interval.covers,
        status=(estimate.status | interval.status).sentences,
    )


def audit_query(
    query: EvaluatedQuery, fits: dict[str, CrossFit], settings: Settings, on_progress: Callable[[float], None]
) -> QueryResult:
    """Everything the report says about one query."""
    scalar = query.sample.n_outputs == 1
    if scalar:
        label = "query output"
        members, nonmembers = query.sample.members[:, 0], query.sample.nonmembers[:, 0]
    else:
        label = "membership posterior from the other half"
        posterior = fits["KNN"].pooled("posterior").astype(np.float64)
        members, nonmembers = posterior[: len(query.sample.members)], posterior[len(query.sample.members) :]
    return QueryResult(
        name=query.name,
        description=query.description,
        kind="scalar" if scalar else "vector",
        n_outputs=query.sample.n_outputs,
        advantages=estimate_query(fits, settings, on_progress),
        roc=_roc(members, nonmembers, label, settings.confidence_level),
        histogram=_histogram(members, nonmembers, label, _BINS if scalar else _POSTERIOR_BINS),
        certificate=certify_crossfits(
            {query.name: list(fits.values())},
            delta=settings.delta,
            confidence_level=settings.confidence_level,
            seed=settings.seed,
        ),
    )


def _roc(members: FloatArray, nonmembers: FloatArray, label: str, confidence_level: float) -> RocResult:
    curve = roc(members, nonmembers)
    low, high = curve.auc_interval(confidence_level)
    fpr, tpr = curve.false_positive_rate, curve.true_positive_rate
    keep = np.arange(len(fpr))
    if len(fpr) > _ROC_POINTS:
        # dense where FPR is small, where the log-log plot looks; every kept vertex is exact
        spread = [np.linspace(0, 1, _ROC_POINTS // 2), np.geomspace(1 / len(fpr), 1, _ROC_POINTS // 2 - 1)]
        keep = np.unique(np.rint(np.concatenate(spread) * (len(fpr) - 1)).astype(int))
    points, ranked = [], roc_sample(members, nonmembers, None)
    for target in _TARGETS:
        point = curve.tpr_at_fpr(target, confidence_level=confidence_level)
        limits = rate_limits(ranked, target, (1.0 - confidence_level) / 2.0)
        points.append(OperatingPoint(target, point.realized_fpr, point.tpr, float(limits.low), float(limits.high)))
    return RocResult(label, curve.auc, low, high, tuple(fpr[keep].tolist()), tuple(tpr[keep].tolist()), tuple(points))


def _histogram(members: FloatArray, nonmembers: FloatArray, label: str, bins: int) -> Histogram:
    pooled = np.concatenate([members, nonmembers])
    low, high = np.quantile(pooled, [0.001, 0.999], method="nearest")  # interpolation could overflow
    if not high > low:
        low, high = pooled.min(), pooled.max()
    edges = 2.0 * np.linspace(low / 2, high / 2, bins + 1) if high > low else np.asarray([low - 0.5, high + 0.5])
    # outliers are counted in the outermost bins
    inside = [np.clip(scores, edges[0], edges[-1]) for scores in (members, nonmembers)]
    counts = [np.histogram(scores, edges)[0].tolist() for scores in inside]
    return Histogram(label, tuple(edges.tolist()), tuple(counts[0]), tuple(counts[1]))
