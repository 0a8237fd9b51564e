"""Linear-fractional metrics of a guess: accuracy, balanced accuracy, cost, F-beta, Jaccard, or any other."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, final

import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from mace_jax import _validate
from mace_jax.estimators import Objective

__all__ = ["LinearFractional", "accuracy", "balanced_accuracy", "cost", "f_beta", "jaccard", "named_metric"]

_SMALLEST = 1e-6  # float32, in which rules are fitted, keeps a digit of a prior or a cost down to here
_Weights = tuple[float, float, float, float, float]


@final
@dataclasses.dataclass(frozen=True)
class LinearFractional:
    """(a0 + a11 TP + a10 FP + a01 FN + a00 TN) / (b0 + b11 TP + b10 FP + b01 FN + b00 TN).

    TP, FP, FN, TN are population confusion entries at the adversary's prior: TP = prior * TPR, FP = (1 - prior) * FPR.
    The metric must rise in TPR, fall in FPR and equal 1 for a perfect guess. It is normalized as
    (L - L_trivial) / (1 - L_trivial), with L_trivial the best constant guess, so that 0 means nothing learned.

    Args:
        name: Shown in reports.
        weights: Function of the prior that returns the numerator (a0, a11, a10, a01, a00) and the denominator
            (b0, b11, b10, b01, b00).

    References: Koyejo et al. (2014) for the family.

    Example:
        >>> jaccard.value(0.8, 0.1, prior=0.5)
        0.7272727272727273
    """

    name: str
    weights: Callable[[float], tuple[_Weights, _Weights]]

    def _coefficients(self, prior: float) -> np.ndarray:
        prior = _validate.in_open_unit(prior=prior)

        def reduce(weights: _Weights) -> tuple[float, float, float]:
            w0, w11, w10, w01, w00 = weights
            return w0 + w01 * prior + w00 * (1.0 - prior), w11 - w10 - w01 + w00, w10 - w00

        numerator, denominator = self.weights(prior)
        return np.asarray([*reduce(numerator), *reduce(denominator)], dtype=np.float64)

    def value(self, true_positive_rate: ArrayLike, false_positive_rate: ArrayLike, *, prior: float = 0.5) -> Any:
        """The metric at given rates (any shape), in the metric's own unit."""
        c0, c1, c2, d0, d1, d2 = self._coefficients(prior)
        positives = prior * np.asarray(true_positive_rate, dtype=np.float64)
        guesses = positives + (1.0 - prior) * np.asarray(false_positive_rate, dtype=np.float64)
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
        return Objective(jnp.asarray(coefficients, dtype=jnp.float32), jnp.asarray(prior, dtype=jnp.float32))

    def optimum(self, posterior: ArrayLike, weights: ArrayLike, *, prior: float = 0.5) -> float:
        """Largest metric of any deterministic rule on a finite set of outputs, by Dinkelbach's iteration.

        Args:
            posterior: P(member | output) at ``prior``, ``(K,)``.
            weights: P(output) at ``prior``, ``(K,)``, summing to 1.
            prior: Probability that a record is a member.

        Example:
            >>> round(balanced_accuracy.optimum([0.75, 0.25], [0.5, 0.5]), 12)
            0.75
        """
        posterior, weights = np.asarray(posterior, np.float64), np.asarray(weights, np.float64)
        c0, c1, c2, d0, d1, d2 = self._coefficients(prior)
        reached = self.trivial(prior=prior)
        while True:
            chosen = (c1 - reached * d1) * posterior + (c2 - reached * d2) > 0.0
            positives, guesses = float((posterior * weights)[chosen].sum()), float(weights[chosen].sum())
            value = (c0 + c1 * positives + c2 * guesses) / (d0 + d1 * positives + d2 * guesses)
            if value <= reached:
                return reached
            reached = float(value)


def _accuracy(prior: float) -> tuple[_Weights, _Weights]:
    return (0, 1, 0, 0, 1), (1, 0, 0, 0, 0)


def _balanced(prior: float) -> tuple[_Weights, _Weights]:
    return (0, 0.5 / prior, 0, 0, 0.5 / (1.0 - prior)), (1, 0, 0, 0, 0)


def _jaccard(prior: float) -> tuple[_Weights, _Weights]:
    return (0, 1, 0, 0, 0), (0, 1, 1, 1, 0)


accuracy = LinearFractional("accuracy", _accuracy)
"""Share of right guesses at the prior."""
balanced_accuracy = LinearFractional("balanced_accuracy", _balanced)
"""(TPR + TNR) / 2; its normalized optimum is the total variation distance, at any prior."""
jaccard = LinearFractional("jaccard", _jaccard)
"""TP / (TP + FP + FN)."""


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


_NAMED = {metric.name: metric for metric in (accuracy, balanced_accuracy, jaccard)} | {"f_1": f_beta(1.0)}


def named_metric(metric: LinearFractional | str) -> LinearFractional:
    """A metric by name, or the metric itself."""
    if isinstance(metric, LinearFractional):
        return metric
    if metric not in _NAMED:
        raise ValueError(f"metric={metric!r} is not known; pass one of {sorted(_NAMED)} or a LinearFractional.")
    return _NAMED[metric]
