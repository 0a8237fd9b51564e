"""audit_predictions: a report from what a classifier says of members and non-members, and nothing else."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from mace_jax import _validate
from mace_jax._audit import audit
from mace_jax._random import as_seed
from mace_jax._types import FloatArray, Seed
from mace_jax.attacks import ClassThresholds, Predictions, privacy_risk_score
from mace_jax.data import split_records
from mace_jax.metrics import LinearFractional
from mace_jax.report import Report

__all__ = ["audit_predictions"]

_SIGNALS = {
    "correctness": "correctness",
    "confidence": "confidence",
    "entropy": "entropy",
    "modified entropy": "modified_entropy",
}
_MODIFIED, _BY_CLASS, _RISK = "modified entropy", "modified entropy above the threshold of the class", "privacy risk"


class _Parts(NamedTuple):
    """Whose scores choose thresholds and bins, and who is attacked with them."""

    known_members: Predictions
    known_nonmembers: Predictions
    members: Predictions
    nonmembers: Predictions
    note: str


def audit_predictions(
    members: Predictions,
    nonmembers: Predictions,
    *,
    shadow_members: Predictions | None = None,
    shadow_nonmembers: Predictions | None = None,
    metrics: Sequence[LinearFractional | str] = ("balanced_accuracy",),
    prior: float = 0.5,
    delta: float = 0.0,
    confidence_level: float = 0.95,
    n_resamples: int = 10_000,
    n_permutations: int = 999,
    seed: Seed = 0,
    progress: bool | Callable[[str, float], None] = False,
) -> Report:
    """How much a classifier's answers tell about who trained it: the metric attacks as queries of one audit.

    Queries are correctness, confidence of the true class, negated entropy and modified entropy, modified entropy
    against the threshold of the record's class, the privacy risk score of its class and bin, and all of them together.
    The last two need records whose membership the attacker knows. They come from a shadow model, trained and queried
    by the attacker; without one a random half of the records on either side plays that part (partial knowledge), and
    the report is of the other half.

    Args:
        members: Answers for n training records.
        nonmembers: Answers of the same model for m other records from the same source.
        shadow_members: Answers of a shadow model for its own training records, none of them under audit.
        shadow_nonmembers: And for records it was not trained on.
        metrics: As in ``audit``, like all others.
        prior: See there.
        delta: See there.
        confidence_level: See there.
        n_resamples: See there.
        n_permutations: See there.
        seed: Fixes everything random, the halves included.
        progress: See there.

    Returns:
        The report of ``audit``. Its rows are those of the attacked records in ascending order; which part that is
        stands in ``warnings`` if it is not all of them.

    Raises:
        ValueError: different numbers of classes, one of the two shadow sides alone, or fewer than 4 records on a side
            where no shadow model is given.

    References:
        Song and Mittal (2021), Systematic evaluation of privacy risks of machine learning models.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> labels = rng.integers(0, 2, 200)
        >>> sure, unsure = (Predictions(labels, logits=np.eye(2)[labels] * scale + rng.normal(size=(200, 2)))
        ...                 for scale in (6.0, 1.0))
        >>> report = audit_predictions(sure, unsure, n_permutations=319, n_resamples=200)
        >>> report.leak_detected
        True
    """
    given = {"members": members, "nonmembers": nonmembers}
    shadow = {"shadow_members": shadow_members, "shadow_nonmembers": shadow_nonmembers}
    present = {name: part for name, part in shadow.items() if part is not None}
    if len(present) == 1:
        missing = next(name for name in shadow if name not in present)
        raise ValueError(f"{missing} is missing; a shadow model is described by both sides.")
    for name, part in {**given, **present}.items():
        if part.n_classes != members.n_classes:
            raise ValueError(
                f"{name} has {part.n_classes} classes but members has {members.n_classes}; pass answers of models "
                "with the same classes."
            )
    seed = as_seed(seed)
    if present:
        parts = _Parts(present["shadow_members"], present["shadow_nonmembers"], members, nonmembers, "")
    else:
        parts = _halves(members, nonmembers, seed)
    report = audit(
        _queries(parts, parts.members),
        _queries(parts, parts.nonmembers),
        column_names=[*_SIGNALS, _BY_CLASS, _RISK],
        metrics=metrics,
        prior=prior,
        delta=delta,
        confidence_level=confidence_level,
        n_resamples=n_resamples,
        n_permutations=n_permutations,
        seed=seed,
        progress=progress,
    )
    facts = {
        "model_accuracy_on_members": members.accuracy,
        "model_accuracy_on_nonmembers": nonmembers.accuracy,
        "thresholds_from": "a shadow model" if present else "half of the records",
    }
    return dataclasses.replace(
        report, warnings=tuple(filter(None, (parts.note, *report.warnings))), settings={**report.settings, **facts}
    )


def _halves(members: Predictions, nonmembers: Predictions, seed: int) -> _Parts:
    """Partial knowledge: a random half of either side is known to the attacker, the other is attacked."""
    split: dict[str, tuple[Predictions, Predictions]] = {}
    for name, part in (("members", members), ("nonmembers", nonmembers)):
        if len(part) < 4:
            raise ValueError(
                f"{name} has {len(part)} records, too few for two halves; pass at least 4, or shadow_members and "
                "shadow_nonmembers."
            )
        half = len(part) // 2
        known, attacked = split_records(len(part), (half, len(part) - half), seed=seed)
        split[name] = part.take(np.sort(known)), part.take(np.sort(attacked))
    note = (
        f"Without a shadow model {len(split['members'][0])} members and {len(split['nonmembers'][0])} non-members, "
        "drawn at random, chose thresholds and bins; this report is of the others."
    )
    return _Parts(split["members"][0], split["nonmembers"][0], split["members"][1], split["nonmembers"][1], note)


def _queries(parts: _Parts, attacked: Predictions) -> FloatArray:
    """One column per query, higher = more member-like."""
    first, second = parts.known_members, parts.known_nonmembers
    columns: dict[str, Any] = {name: attacked.score(signal) for name, signal in _SIGNALS.items()}
    inside, outside = (part.score(_SIGNALS[_MODIFIED]) for part in (first, second))
    thresholds = ClassThresholds.fit(inside, first.groups, outside, second.groups)
    columns[_BY_CLASS] = columns[_MODIFIED] - thresholds.at(attacked.groups)
    # the published score bins the modified entropy itself, lower = more member-like, on a logarithmic scale
    risk = privacy_risk_score(-inside, first.groups, -outside, second.groups, -columns[_MODIFIED], attacked.groups)
    columns[_RISK] = risk.posterior
    return _validate.finite(queries=np.stack([np.asarray(column, np.float64) for column in columns.values()], axis=1))
