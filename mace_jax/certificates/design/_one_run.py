"""The certificate of a design whose candidates were included by independent coins, from guesses about the coins."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mace_jax import _validate
from mace_jax._types import FloatArray
from mace_jax.certificates._certificate import Certificate, Neighbors
from mace_jax.certificates._counted import FAMILY
from mace_jax.certificates._gdp import positive_delta
from mace_jax.certificates._one_run import epsilon_one_run, epsilon_one_run_prior
from mace_jax.certificates._one_run_fdp import epsilon_one_run_fdp
from mace_jax.certificates.design._guesses import Guessed, GuessRule

__all__ = ["LOWER_BOUND", "ONE_RUN_METHODS", "Coins", "OneRunMethod", "certify_coins", "digest"]

OneRunMethod = Literal["one_run", "one_run_fdp"]
ONE_RUN_METHODS: tuple[str, ...] = ("one_run", "one_run_fdp")
_NAMES = {"one_run": "one run, independent coins", "one_run_fdp": "one run, independent coins, Gaussian family"}


@dataclasses.dataclass(frozen=True, eq=False)
class Coins:
    """What a design hands over: its coins, and what a claim about them rests on."""

    included: NDArray[np.bool_]  # one row per model, or per pair
    n_coins: int
    inclusion_probability: float
    neighbors: Neighbors
    assumptions: tuple[str, ...]
    fingerprint: str


def certify_coins(
    coins: Coins,
    scores: FloatArray,
    rules: Sequence[GuessRule],
    *,
    method: str,
    delta: float,
    confidence_level: float,
) -> Certificate:
    """Epsilon from right guesses; several rules share the error (Bonferroni), whatever the scores say about them."""
    if method not in ONE_RUN_METHODS:
        raise ValueError(f"method={method!r} is not known for this design; pass 'one_run' or 'one_run_fdp'.")
    delta = _validate.probability(delta=delta)
    confidence_level = _validate.in_open_unit(confidence_level=confidence_level)
    if coins.inclusion_probability != 0.5 and (method == "one_run_fdp" or delta > 0.0):
        raise ValueError(
            f"inclusion_probability={coins.inclusion_probability} has a bound for method='one_run' at delta=0 only; "
            "draw fair coins for delta > 0 or for 'one_run_fdp'."
        )
    if method == "one_run_fdp":
        positive_delta(delta)
    level = 1.0 - (1.0 - confidence_level) / len(rules)
    counts: list[dict[str, Any]] = []
    for rule in rules:
        guessed = rule(scores, coins.included)
        counts.append(
            {
                "query": "scores",
                "purpose": "epsilon",
                "rule": str(rule),
                "canaries": coins.n_coins,
                "guesses": guessed.n_positive + guessed.n_negative,
                "correct": guessed.n_correct,
                "epsilon": float(_epsilon(coins, guessed, method, delta, level)),
            }
        )
    corrected = f", Bonferroni over {len(rules)} rules" if len(rules) > 1 else ""
    family = (FAMILY,) if method == "one_run_fdp" else ()
    return Certificate(
        epsilon=max(entry["epsilon"] for entry in counts),
        advantage=0.0,
        confidence_level=confidence_level,
        delta=delta,
        claim="the training algorithm",
        method=_NAMES[method] + corrected,
        assumptions=(*coins.assumptions, *family, _RULE, _NO_ADVANTAGE, LOWER_BOUND),
        counts=tuple(counts),
        fingerprint=digest(coins.fingerprint, scores, [counts, method, delta, confidence_level]),
        neighbors=coins.neighbors,
    )


def _epsilon(coins: Coins, guessed: Guessed, method: str, delta: float, level: float) -> float:
    total = guessed.n_positive + guessed.n_negative
    if method == "one_run_fdp":
        return epsilon_one_run_fdp(coins.n_coins, total, guessed.n_correct, delta=delta, confidence_level=level)
    if coins.inclusion_probability == 0.5:
        return epsilon_one_run(coins.n_coins, total, guessed.n_correct, delta=delta, confidence_level=level)
    return epsilon_one_run_prior(
        guessed.n_positive,
        guessed.n_negative,
        guessed.n_correct,
        inclusion_probability=coins.inclusion_probability,
        confidence_level=level,
    )


def digest(fingerprint: str, scores: FloatArray, settings: Any) -> str:
    """SHA-256 of the design, the scores and the settings."""
    whole = hashlib.sha256(fingerprint.encode())
    whole.update(scores.tobytes())
    whole.update(json.dumps(settings, sort_keys=True).encode())
    return whole.hexdigest()


_RULE = (
    "Scores were computed, and the guess rule and its numbers were fixed, without knowledge of the coins; which "
    "candidates are guessed follows from the scores alone."
)
_NO_ADVANTAGE = (
    "Only epsilon is certified. The advantage is stated as 0 because right guesses within one run depend on each other."
)
LOWER_BOUND = (
    "It is a lower bound for the candidates and scores that were tried. A stronger adversary or other records may show "
    "more, so a small value is no proof of privacy."
)
