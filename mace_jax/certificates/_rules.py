"""Choosing rules on the fit half: one for the advantage, one for epsilon."""

from __future__ import annotations

import dataclasses

import numpy as np

from mace_jax._binomial import clopper_pearson_lower, clopper_pearson_upper
from mace_jax._types import FloatArray
from mace_jax.certificates._epsilon import epsilon_from_rates
from mace_jax.estimators import KNN
from mace_jax.metrics._crossfit import CrossFit

__all__ = ["Rule", "Scores", "advantage_rule", "epsilon_rule", "scores_of"]

_MOST_CUTS = 512


@dataclasses.dataclass(frozen=True, eq=False)
class Scores:
    """One scoring of the records, higher = more member-like: of the fit half, and of the half that certifies."""

    name: str
    fit: FloatArray
    certify: FloatArray
    is_posterior: bool


@dataclasses.dataclass(frozen=True, eq=False)
class Rule:
    """Guess "member" where the score exceeds the threshold."""

    scores: Scores
    threshold: float

    def same_as(self, other: Rule) -> bool:
        return self.scores is other.scores and self.threshold == other.threshold

    def __str__(self) -> str:
        return f"{self.scores.name} above {self.threshold:.6g}"


def scores_of(fitted: CrossFit, fold: int) -> list[Scores]:
    """The scorings one cross-fit offers when ``fold`` certifies."""
    data, outcome = fitted.folds[fold], fitted.outcomes[fold]
    if isinstance(fitted.estimator, KNN):
        name = f"{fitted.neighbors[fold]}-nearest-neighbor posterior"
        return [Scores(name, outcome.own_posterior.astype(np.float64), outcome.posterior.astype(np.float64), True)]
    values = np.concatenate([fitted.sample.members, fitted.sample.nonmembers])[:, 0]
    return [
        Scores(name, sign * values[data.train], sign * values[data.test], False)
        for name, sign in (("score", 1.0), ("negated score", -1.0))
    ]


def _cuts(scores: FloatArray) -> FloatArray:
    """Thresholds between neighboring distinct scores: all of them, or those with the tails kept dense."""
    values = np.unique(scores)
    if len(values) > _MOST_CUTS:
        places = np.unique(np.geomspace(1, len(values) // 2, _MOST_CUTS // 2).astype(int))
        values = values[np.unique(np.concatenate([places - 1, places, len(values) - places, len(values) - 1 - places]))]
    middle = values[:-1] + (values[1:] - values[:-1]) / 2.0
    return np.where(middle >= values[1:], values[:-1], middle)


def _counts_above(scores: FloatArray, member: np.ndarray, cuts: FloatArray) -> tuple[np.ndarray, np.ndarray]:
    inside, outside = np.sort(scores[member]), np.sort(scores[~member])
    return (
        len(inside) - np.searchsorted(inside, cuts, side="right"),
        len(outside) - np.searchsorted(outside, cuts, side="right"),
    )


def advantage_rule(choices: list[Scores], member: np.ndarray) -> Rule:
    """The cut with the largest TPR - FPR on the fit half; a posterior is cut at one half."""
    best, found = -np.inf, None
    for scores in choices:
        cuts = np.asarray([0.5]) if scores.is_posterior else _cuts(scores.fit)
        if not len(cuts):
            continue
        hits, alarms = _counts_above(scores.fit, member, cuts)
        gain = hits / member.sum() - alarms / (~member).sum()
        place = int(np.argmax(gain))
        if gain[place] > best:
            best, found = float(gain[place]), Rule(scores, float(cuts[place]))
    return found if found is not None else Rule(choices[0], float("inf"))


def epsilon_rule(choices: list[Scores], member: np.ndarray, *, delta: float, error: float) -> Rule | None:
    """The cut whose epsilon bound, computed on the fit half, is largest; None if every bound is 0."""
    best, found = 0.0, None
    for scores in choices:
        cuts = _cuts(scores.fit)
        if not len(cuts):
            continue
        hits, alarms = _counts_above(scores.fit, member, cuts)
        bound = epsilon_from_rates(
            clopper_pearson_lower(hits, member.sum(), error / 2.0),
            clopper_pearson_upper(alarms, (~member).sum(), error / 2.0),
            delta=delta,
        )
        place = int(np.argmax(bound))
        if bound[place] > best:
            best, found = float(bound[place]), Rule(scores, float(cuts[place]))
    return found
