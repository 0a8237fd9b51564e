"""certify: rules fixed on one half of the records, exact binomial limits on the other half."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from mace_jax import _validate
from mace_jax._binomial import clopper_pearson_lower, clopper_pearson_upper
from mace_jax._random import as_seed
from mace_jax._types import Seed
from mace_jax.certificates._certificate import Certificate
from mace_jax.certificates._epsilon import epsilon_from_rates
from mace_jax.certificates._rules import Rule, advantage_rule, epsilon_rule, scores_of
from mace_jax.data import MembershipSample
from mace_jax.estimators import KNN, AbstractEstimator, Threshold
from mace_jax.metrics import balanced_accuracy
from mace_jax.metrics._crossfit import CrossFit, cross_fit

__all__ = ["certify", "certify_crossfits"]

_CERTIFYING_FOLD = 1


def certify(
    sample: MembershipSample,
    *,
    estimator: AbstractEstimator | None = None,
    delta: float = 0.0,
    confidence_level: float = 0.95,
    seed: Seed,
) -> Certificate:
    """A lower bound on the leakage of this model through this query.

    Half of the records, drawn at random, fix two rules: the one with the largest advantage and the one with the largest
    epsilon bound there. Each rule is then counted once on the other half. Clopper-Pearson limits of its TPR and FPR
    give an advantage TPR - FPR and an epsilon; all limits hold together at ``confidence_level``.

    Args:
        sample: Query outputs of members ``(n, q)`` and non-members ``(m, q)``.
        estimator: What fits rules; by default a kNN, and cuts of the score itself when it is scalar.
        delta: Of (epsilon, delta)-indistinguishability.
        confidence_level: The bounds exceed the truth with probability at most 1 minus this.
        seed: Fixes the halves.

    Raises:
        ValueError: delta outside [0, 1), confidence_level outside (0, 1), an estimator that cannot use the sample.

    References: Clopper and Pearson (1934); Jagielski, Ullman and Oprea (2020).

    Example:
        >>> rng = np.random.default_rng(0)
        >>> certificate = certify(MembershipSample(rng.normal(1, 1, 900), rng.normal(0, 1, 900)), seed=0)
        >>> bool(0.2 < certificate.advantage < 0.383)
        True
    """
    delta = _validate.probability(delta=delta)
    confidence_level = _validate.in_open_unit(confidence_level=confidence_level)
    objective = balanced_accuracy.objective()
    if estimator is None:
        estimators = [choice for choice in (Threshold(), KNN()) if choice.supports(sample.n_outputs)]
    else:
        estimators = [estimator]
    fitted = [cross_fit(sample, choice, objective, seed=seed) for choice in estimators]
    return certify_crossfits({"query": fitted}, delta=delta, confidence_level=confidence_level, seed=as_seed(seed))


def certify_crossfits(
    queries: dict[str, Sequence[CrossFit]], *, delta: float, confidence_level: float, seed: int
) -> Certificate:
    """The same over several queries that share their halves, from existing cross-fits (Bonferroni over queries)."""
    error = (1.0 - confidence_level) / len(queries)
    epsilon = advantage = 0.0
    counts: list[dict[str, Any]] = []
    digest = hashlib.sha256()
    for name, fitted in queries.items():
        first = fitted[0]
        digest.update(first.sample.members.tobytes() + first.sample.nonmembers.tobytes())
        fold = first.folds[_CERTIFYING_FOLD]
        fit_member, member = first.labels[fold.train] == 1, first.labels[fold.test] == 1
        choices = [scores for one in fitted for scores in scores_of(one, _CERTIFYING_FOLD)]
        rules = [("advantage", advantage_rule(choices, fit_member))]
        for_epsilon = epsilon_rule(choices, fit_member, delta=delta, error=error / 2.0)
        if for_epsilon is not None and not for_epsilon.same_as(rules[0][1]):
            rules.append(("epsilon", for_epsilon))
        for purpose, rule in rules:
            bound = _count(rule, member, error / len(rules), delta)
            counts.append({"query": name, "purpose": purpose, "rule": str(rule), **bound})
            epsilon, advantage = max(epsilon, bound["epsilon"]), max(advantage, bound["advantage"])
    settings = [counts, delta, confidence_level, seed]
    digest.update(json.dumps(settings, sort_keys=True).encode())
    method = "one split, Clopper-Pearson"
    if len(queries) > 1:
        method += f", Bonferroni over {len(queries)} queries"
    return Certificate(
        epsilon=epsilon,
        advantage=advantage,
        confidence_level=confidence_level,
        delta=delta,
        claim="this model",
        method=method,
        assumptions=_ASSUMPTIONS,
        counts=tuple(counts),
        fingerprint=digest.hexdigest(),
    )


def _count(rule: Rule, member: np.ndarray, error: float, delta: float) -> dict[str, Any]:
    guessed = rule.scores.certify > rule.threshold
    hits, alarms = int(guessed[member].sum()), int(guessed[~member].sum())
    tpr = float(clopper_pearson_lower(hits, member.sum(), error / 2.0))
    fpr = float(clopper_pearson_upper(alarms, (~member).sum(), error / 2.0))
    return {
        "true_positives": hits,
        "members": int(member.sum()),
        "false_positives": alarms,
        "nonmembers": int((~member).sum()),
        "true_positive_rate_low": tpr,
        "false_positive_rate_high": fpr,
        "advantage": max(0.0, tpr - fpr),
        "epsilon": float(epsilon_from_rates(tpr, fpr, delta=delta)),
    }


_ASSUMPTIONS = (
    "The members audited are a uniformly random part of the model's training records, chosen without looking at the "
    "model.",
    "The non-members are independent draws from the population the training records came from, prepared the same way, "
    "and none of them was trained on; otherwise the numbers measure that difference instead of leakage.",
    "The rules were fixed on one random half of the records and counted once on the other half.",
    "The model, its synthetic records and the queries were fixed before these records were looked at.",
    "The claim is about this one trained model and these records' population. It says nothing certain about the "
    "algorithm that trained it: that needs records included by independent coins, or several trainings.",
    "It is a lower bound for the rules that were tried. A stronger adversary may do better, so a small value is no "
    "proof of privacy.",
)
