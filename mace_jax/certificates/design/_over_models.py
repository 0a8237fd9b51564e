"""Bounds over independently trained models: of one candidate's error rates, or of the mean advantage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mace_jax import _validate
from mace_jax._types import FloatArray
from mace_jax.certificates._certificate import Certificate
from mace_jax.certificates._counted import (
    METHOD_NAMES,
    checked_epsilons,
    checked_method,
    counted,
    method_assumptions,
    profile_of,
)
from mace_jax.certificates._epsilon import epsilon_from_advantage
from mace_jax.certificates._rules import Scores, advantage_rule, epsilon_rule
from mace_jax.certificates.design._guesses import GuessRule, several
from mace_jax.certificates.design._models import mean_lower_limit
from mace_jax.certificates.design._one_run import LOWER_BOUND, Coins, digest

__all__ = ["certify_candidates", "certify_models"]


def certify_models(
    coins: Coins, scores: FloatArray, rules: Sequence[GuessRule], *, delta: float, confidence_level: float
) -> Certificate:
    """The mean over models of (right - wrong guesses) / candidates, which is the mean of TPR - FPR over candidates."""
    delta = _validate.probability(delta=delta)
    confidence_level = _validate.in_open_unit(confidence_level=confidence_level)
    n_models, n_records = coins.included.shape
    counts: list[dict[str, Any]] = []
    for rule in rules:
        per_model = []
        for row, included in zip(scores, coins.included, strict=True):
            guessed = rule(row[None], included[None])
            per_model.append((2 * guessed.n_correct - guessed.n_positive - guessed.n_negative) / n_records)
        gains = np.asarray(per_model, np.float64)
        low = mean_lower_limit((1.0 + gains) / 2.0, (1.0 - confidence_level) / len(rules))
        advantage = max(0.0, 2.0 * low - 1.0)
        counts.append(
            {
                "query": "scores",
                "purpose": "advantage",
                "rule": str(rule),
                "models": n_models,
                "candidates": n_records,
                "mean_advantage": float(gains.mean()),
                "advantage": advantage,
                "epsilon": float(epsilon_from_advantage(advantage, delta=delta)),
            }
        )
    corrected = f", Bonferroni over {len(rules)} rules" if len(rules) > 1 else ""
    return Certificate(
        epsilon=max(entry["epsilon"] for entry in counts),
        advantage=max(entry["advantage"] for entry in counts),
        confidence_level=confidence_level,
        delta=delta,
        claim="the training algorithm",
        method="mean over retrainings, betting bound" + corrected,
        assumptions=(*coins.assumptions, _RULE, _MEAN, LOWER_BOUND),
        counts=tuple(counts),
        fingerprint=digest(coins.fingerprint, scores, [counts, "models", delta, confidence_level]),
        neighbors=coins.neighbors,
    )


def certify_candidates(
    coins: Coins,
    scores: Mapping[int, FloatArray],
    *,
    method: str,
    threshold: float | Sequence[float] | None,
    delta: float,
    confidence_level: float,
    epsilons: Sequence[float],
) -> Certificate:
    """One candidate's TPR and FPR over models, Bonferroni over candidates and thresholds."""
    delta = _validate.probability(delta=delta)
    confidence_level = _validate.in_open_unit(confidence_level=confidence_level)
    checked_method(method, delta)
    wanted = checked_epsilons(epsilons)
    thresholds: list[Any] = [None] if threshold is None else [float(value) for value in several(threshold)]
    if not thresholds or any(value is not None and np.isnan(value) for value in thresholds):
        raise ValueError(f"threshold={threshold!r} must be one number or several.")
    error = (1.0 - confidence_level) / (len(scores) * len(thresholds))
    half = len(coins.included) // 2
    counts: list[dict[str, Any]] = []
    for row, values in scores.items():
        member = coins.included[:, row]
        for value in thresholds:
            if value is None:
                chosen = _chosen(values, member, half, delta=delta, error=error)
                rule, judged, inside = f"score above {chosen:.6g}", values[half:] > chosen, member[half:]
            else:
                rule, judged, inside = f"score above {value:.6g}", values > value, member
            n_in, n_out = int(inside.sum()), int((~inside).sum())
            hits, alarms = int(judged[inside].sum()), int(judged[~inside].sum())
            bound = _counted(hits, n_in, alarms, n_out, method=method, delta=delta, error=error)
            counts.append({"query": f"candidate {row}", "purpose": "epsilon", "rule": rule, **bound})
    parts = [f"{len(scores)} candidates"] if len(scores) > 1 else []
    parts += [f"{len(thresholds)} thresholds"] if len(thresholds) > 1 else []
    name = f"counts over retrainings, {METHOD_NAMES[method]}" + (
        f", Bonferroni over {' and '.join(parts)}" if parts else ""
    )
    stacked = np.stack(list(scores.values()))
    settings = [counts, method, delta, confidence_level, list(wanted)]
    return Certificate(
        epsilon=max(entry["epsilon"] for entry in counts),
        advantage=max(entry["advantage"] for entry in counts),
        confidence_level=confidence_level,
        delta=delta,
        claim="the training algorithm",
        method=name,
        assumptions=(
            *coins.assumptions,
            _SPLIT if threshold is None else _FIXED,
            *(() if len(scores) > 1 else (_CANDIDATE,)),
            *method_assumptions(method),
            LOWER_BOUND,
        ),
        counts=tuple(counts),
        fingerprint=digest(coins.fingerprint, stacked, settings),
        neighbors=coins.neighbors,
        profile=profile_of(counts, wanted),
    )


def _chosen(values: FloatArray, member: np.ndarray, half: int, *, delta: float, error: float) -> float:
    """The cut that looks best among the first half of the models."""
    fit = member[:half]
    if fit.all() or not fit.any():
        return float("inf")
    choices = [Scores("score", values[:half], values[half:], False)]
    found = epsilon_rule(choices, fit, delta=delta, error=error)
    return (advantage_rule(choices, fit) if found is None else found).threshold


def _counted(
    hits: int, n_in: int, alarms: int, n_out: int, *, method: str, delta: float, error: float
) -> dict[str, Any]:
    """The bound, or nothing at all where the coins left one side empty."""
    if n_in and n_out:
        return counted(hits, n_in, alarms, n_out, method=method, delta=delta, error=error)
    return {
        "true_positives": hits,
        "members": n_in,
        "false_positives": alarms,
        "nonmembers": n_out,
        "true_positive_rate_low": 0.0,
        "false_positive_rate_high": 1.0,
        "advantage": 0.0,
        "epsilon": 0.0,
    }


_RULE = (
    "Scores were computed, and the guess rule and its numbers were fixed, without knowledge of the coins; which "
    "candidates are guessed follows from the scores of the same model alone."
)
_MEAN = (
    "The advantage is the mean over candidates of TPR - FPR, over the randomness of training and of all coins; models "
    "are independent, candidates of one model need not be."
)
_FIXED = "The threshold was fixed before the scores were seen."
_SPLIT = (
    "The threshold was chosen on the first half of the models and counted once on the second half; the score of a "
    "model does not depend on other models."
)
_CANDIDATE = "The candidate was chosen before the scores were seen."
