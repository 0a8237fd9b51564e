"""The verdict: one sentence, and the decision behind it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mace_jax.certificates import Certificate
from mace_jax.report._report import ControlResult, QueryResult
from mace_jax.report._text import at_least, per_cent

__all__ = ["is_leak", "rejected", "verdict_sentence"]


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted for looking at several queries (Holm 1979)."""
    order = np.argsort(p_values, kind="stable")
    scaled = np.asarray(p_values, dtype=np.float64)[order] * np.arange(len(order), 0, -1)
    adjusted = np.empty(len(order))
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(scaled))
    return adjusted.tolist()


def rejected(p_values: Sequence[float], confidence_level: float) -> list[bool]:
    """Which one-sided nulls fall after Holm's correction, at the level of the lower limit of a two-sided interval."""
    level = (1.0 - confidence_level) / 2.0 + 1e-12  # 1 - 0.9 is below 0.1
    return [p_value <= level for p_value in holm(p_values)]


def is_leak(queries: Sequence[QueryResult], certificate: Certificate, confidence_level: float) -> bool:
    """Whether an epsilon is certified, or a permutation null is rejected."""
    return certificate.epsilon > 0.0 or any(rejected([query.advantage.p_value for query in queries], confidence_level))


def verdict_sentence(
    queries: Sequence[QueryResult], certificate: Certificate, leak: bool, control: ControlResult | None
) -> str:
    """What a data-release officer should take away."""
    strongest = max(queries, key=lambda query: (query.advantage.low, query.advantage.advantage))
    found = strongest.advantage
    interval = f"{per_cent(found.confidence_level)} interval {found.low:.2f} to {found.high:.2f}"
    if not leak:
        which = f"the strongest of {len(queries)} queries" if len(queries) > 1 else "the only query"
        sentence = (
            f"No leak was detected: {which} gains an advantage of {found.advantage:.2f} "
            f"({interval}) over guessing who was a training record. This is no proof of privacy."
        )
    elif found.low == 0.0:
        proof = max(queries, key=lambda query: query.certificate.epsilon)
        sentence = (
            f"The model leaks who was in its training data: a rule on {proof.name} proves, with "
            f"{per_cent(certificate.confidence_level)} confidence, an epsilon of at least "
            f"{at_least(certificate.epsilon, 2)}. The advantage over all records is small: {found.advantage:.2f} "
            f"({interval}; 0 is guessing, 1 is certainty)."
        )
    else:
        sentence = (
            f"The model leaks who was in its training data: by {strongest.name}, an adversary gains an advantage of "
            f"{found.advantage:.2f} ({interval}; 0 is guessing, 1 is certainty)"
        )
        if certificate.epsilon > 0.0:
            sentence += (
                f", and its epsilon is at least {at_least(certificate.epsilon, 2)} with "
                f"{per_cent(certificate.confidence_level)} confidence"
            )
        sentence += "."
    if control is not None and not control.passed:
        sentence += " The negative control failed, so read this with caution."
    return sentence
