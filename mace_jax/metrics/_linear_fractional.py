"""Linear-fractional metrics of a guess: accuracy, balanced accuracy, cost, F-beta, Jaccard, precision, or any other."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, final

import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from mace_jax import _validate
from mace_jax._types import FloatArray
from mace_jax.estimators import Objective
from mace_jax.metrics._host_optimum import Coefficients, best_on_path, best_rule
from mace_jax.metrics._objectives import FractionalObjective, LinearObjective, RecallObjective

__all__ = [
    "LinearFractional",
    "accuracy",
    "balanced_accuracy",
    "cost",
    "f_beta",
    "jaccard",
    "named_metric",
    "precision",
]

_SMALLEST = 1e-6  # float32, in which rules are fitted, keeps a digit of a prior or a cost down to here
_Weights = tuple[float, float, float, float, float]


@final
@dataclasses.dataclass(frozen=True)
class LinearFractional:
    """(a0 + a11 TP + a10 FP + a01 FN + a00 TN) / (b0 + b11 TP + b10 FP + b01 FN + b00 TN).

    TP, FP, FN, TN are population confusion entries at the adversary's prior: TP = prior * TPR, FP = (1 - prior) * FPR.
    The metric must rise in TPR, fall in FPR and equal 1 for a perfect guess. It is normalized as
    (L - L_trivial) / (1 - L_trivial), with L_trivial the best constant guess, so that 0 means nothing learned.

    A metric may ask for a minimum recall r, as precision must, which no guess at all leaves undefined. A rule with a
    smaller TPR is then completed by random guesses of "member" up to TPR = r before it is valued, so that every rule
    has a value and a better rule never a smaller one. Calling a metric changes r: ``precision(min_recall=0.3)``.

    Args:
        name: Shown in reports.
        weights: Function of the prior that returns the numerator (a0, a11, a10, a01, a00) and the denominator
            (b0, b11, b10, b01, b00).
        min_recall: Smallest TPR of a rule, in [0, 1); rules are fitted to it for metrics that are true fractions only.

    References: Koyejo et al. (2014) for the family.

    Example:
        >>> jaccard.value(0.8, 0.1, prior=0.5)
        0.7272727272727273
    """

    name: str
    weights: Callable[[Any], tuple[_Weights, _Weights]]
    min_recall: float = 0.0

    def __post_init__(self) -> None:
        _validate.probability(min_recall=self.min_recall)
        if self.min_recall == 0.0 and self.reduced(0.5)[3] == 0.0:
            raise ValueError(f"metric={self.name!r} is 0/0 where nothing is guessed; give it a min_recall above 0.")

    def __call__(self, *, min_recall: float) -> LinearFractional:
        """The same metric of rules with at least this TPR."""
        name = self.name.split("_at_recall_")[0]
        if min_recall != _PRECISION_RECALL or name != "precision":
            name = f"{name}_at_recall_{min_recall:g}"
        return dataclasses.replace(self, name=name, min_recall=float(min_recall))

    def reduced(self, prior: Any) -> tuple[Any, ...]:
        """c0, c1, c2, d0, d1, d2 of L = (c0 + c1 TP + c2 G) / (d0 + d1 TP + d2 G), G = TP + FP; no check of prior."""

        def reduce(weights: _Weights) -> tuple[Any, Any, Any]:
            w0, w11, w10, w01, w00 = weights
            return w0 + w01 * prior + w00 * (1.0 - prior), w11 - w10 - w01 + w00, w10 - w00

        numerator, denominator = self.weights(prior)
        return (*reduce(numerator), *reduce(denominator))

    def _coefficients(self, prior: float) -> np.ndarray:
        return np.asarray(self.reduced(_validate.in_open_unit(prior=prior)), dtype=np.float64)

    def value(self, true_positive_rate: ArrayLike, false_positive_rate: ArrayLike, *, prior: float = 0.5) -> Any:
        """The metric at given rates (any shape), in the metric's own unit."""
        c0, c1, c2, d0, d1, d2 = self._coefficients(prior)
        tpr = np.asarray(true_positive_rate, dtype=np.float64)
        fpr = np.asarray(false_positive_rate, dtype=np.float64)
        if self.min_recall > 0.0:
            at_random = np.maximum(self.min_recall - tpr, 0.0) / np.maximum(1.0 - tpr, 1.0 - self.min_recall)
            tpr, fpr = tpr + at_random * (1.0 - tpr), fpr + at_random * (1.0 - fpr)
        positives = prior * tpr
        guesses = positives + (1.0 - prior) * fpr
        out = (c0 + c1 * positives + c2 * guesses) / (d0 + d1 * positives + d2 * guesses)
        return float(out) if np.ndim(out) == 0 else out

    def trivial(self, *, prior: float = 0.5) -> float:
        """The best constant guess: always or never "member"."""
        return max(self.value(1.0, 1.0, prior=prior), self.value(0.0, 0.0, prior=prior))

    def normalize(self, value: ArrayLike, *, prior: float = 0.5) -> Any:
        """0 at the best constant guess, 1 at a perfect one."""
        trivial = self.trivial(prior=prior)
        out = (np.asarray(value, dtype=np.float64) - trivial) / (1.0 - trivial)
        return float(out) if np.ndim(out) == 0 else out

    def objective(self, *, prior: float = 0.5) -> Objective:
        """The form that estimators fit: the normalized metric, which is 0 at the best constant guess."""
        if not _SMALLEST <= prior <= 1.0 - _SMALLEST:
            raise ValueError(
                f"prior={prior!r} must lie between {_SMALLEST} and 1 - {_SMALLEST} for rules to be fitted."
            )
        coefficients, trivial = self._coefficients(prior), self.trivial(prior=prior)
        # subtracted here in float64: in float32 a small gain over a large trivial value would be lost
        coefficients[:3] = (coefficients[:3] - trivial * coefficients[3:]) / (1.0 - trivial)
        arrays = jnp.asarray(coefficients, dtype=jnp.float32), jnp.asarray(prior, dtype=jnp.float32)
        linear = not coefficients[4:].any()
        if self.min_recall > 0.0:
            if linear:
                raise ValueError(
                    f"metric={self.name!r} has one threshold whatever its value, so rules cannot be fitted to "
                    f"min_recall={self.min_recall}; leave it at 0, or use precision, f_beta or jaccard."
                )
            return RecallObjective(*arrays, jnp.asarray(self.min_recall, dtype=jnp.float32))
        return LinearObjective(*arrays) if linear else FractionalObjective(*arrays)

    def optimum(self, posterior: ArrayLike, weights: ArrayLike, *, prior: float = 0.5) -> float:
        """Largest metric of any rule on a finite set of outputs, in float64; ``optimum`` is the same for JAX.

        Without a minimum recall a deterministic rule attains it, found by Dinkelbach's iteration. With one, outputs are
        guessed "member" in descending order of posterior, and a last one with the probability that makes the recall
        exactly ``min_recall`` where the best rule would fall short of it: a point on the convex hull of the ROC, which
        no rule of any kind exceeds.

        Args:
            posterior: P(member | output) at ``prior``, ``(K,)``.
            weights: P(output) at ``prior``, ``(K,)``, summing to 1.
            prior: Probability that a record is a member.

        References: Dinkelbach (1967); Neyman and Pearson (1933).

        Example:
            >>> round(balanced_accuracy.optimum([0.75, 0.25], [0.5, 0.5]), 12)
            0.75
        """
        posterior, weights = np.asarray(posterior, np.float64), np.asarray(weights, np.float64)
        coefficients: Coefficients = tuple(self._coefficients(prior))
        if self.min_recall > 0.0:
            order = np.argsort(-posterior, kind="stable")
            guesses, positives = (np.append(0.0, np.cumsum(x[order])) for x in (weights, posterior * weights))
            return self.best_on_path(guesses, positives, prior=prior)
        return best_rule(coefficients, posterior, weights, start=self.trivial(prior=prior))

    def best_on_path(self, guesses: FloatArray, positives: FloatArray, *, prior: float = 0.5) -> float:
        """The same from running totals of weight, and of posterior times weight, in descending order of posterior.

        Both start at 0, ``(K + 1,)``. One sort serves all metrics and priors: the order is the same at every prior.
        """
        coefficients: Coefficients = tuple(self._coefficients(prior))
        return best_on_path(coefficients, guesses, positives, min_recall=self.min_recall)


def _accuracy(prior: float) -> tuple[_Weights, _Weights]:
    return (0, 1, 0, 0, 1), (1, 0, 0, 0, 0)


def _balanced(prior: float) -> tuple[_Weights, _Weights]:
    return (0, 0.5 / prior, 0, 0, 0.5 / (1.0 - prior)), (1, 0, 0, 0, 0)


def _jaccard(prior: float) -> tuple[_Weights, _Weights]:
    return (0, 1, 0, 0, 0), (0, 1, 1, 1, 0)


def _precision(prior: float) -> tuple[_Weights, _Weights]:
    return (0, 1, 0, 0, 0), (0, 1, 1, 0, 0)


_PRECISION_RECALL = 0.1

accuracy = LinearFractional("accuracy", _accuracy)
"""Share of right guesses at the prior."""
balanced_accuracy = LinearFractional("balanced_accuracy", _balanced)
"""(TPR + TNR) / 2; its normalized optimum is the total variation distance, at any prior."""
jaccard = LinearFractional("jaccard", _jaccard)
"""TP / (TP + FP + FN)."""
precision = LinearFractional("precision", _precision, _PRECISION_RECALL)
"""TP / (TP + FP) of rules with a recall of at least 0.1; ``precision(min_recall=r)`` for another minimum."""


@dataclasses.dataclass(frozen=True)
class _FBeta:
    square: float

    def __call__(self, prior: float) -> tuple[_Weights, _Weights]:
        return (0, 1 + self.square, 0, 0, 0), (0, 1 + self.square, 1, self.square, 0)


@dataclasses.dataclass(frozen=True)
class _Cost:
    false_positive: float
    false_negative: float

    def __call__(self, prior: float) -> tuple[_Weights, _Weights]:
        return (1, 0, -self.false_positive, -self.false_negative, 0), (1, 0, 0, 0, 0)


def f_beta(beta: float = 1.0) -> LinearFractional:
    """F_beta: recall weighs ``beta`` times as much as precision (van Rijsbergen 1979)."""
    beta = _validate.non_negative(beta=beta)
    if beta == 0.0:
        raise ValueError("beta=0 leaves precision alone, which no guess at all makes undefined; pass beta > 0.")
    return LinearFractional(f"f_{beta:g}", _FBeta(beta**2))


def cost(false_positive: float, false_negative: float) -> LinearFractional:
    """1 minus the expected cost of wrong guesses at the prior; costs in any common unit."""
    first = _validate.non_negative(false_positive=false_positive)
    second = _validate.non_negative(false_negative=false_negative)
    if min(first, second) < _SMALLEST or max(first, second) > 1.0 / _SMALLEST:
        raise ValueError(
            f"false_positive={false_positive!r}, false_negative={false_negative!r}: both costs must lie between "
            f"{_SMALLEST} and {1.0 / _SMALLEST:g}; at 0 a constant guess is already perfect."
        )
    return LinearFractional(f"cost_{first:g}_{second:g}", _Cost(first, second))


_NAMED = {metric.name: metric for metric in (accuracy, balanced_accuracy, jaccard, precision)} | {"f_1": f_beta(1.0)}


def named_metric(metric: LinearFractional | str) -> LinearFractional:
    """A metric by name, or the metric itself."""
    if isinstance(metric, LinearFractional):
        return metric
    if metric not in _NAMED:
        raise ValueError(f"metric={metric!r} is not known; pass one of {sorted(_NAMED)} or a LinearFractional.")
    return _NAMED[metric]
