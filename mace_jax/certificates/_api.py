"""certify: rules fixed on one half of the records, exact binomial limits on the other half."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from mace_jax import _validate
from mace_jax._random import as_seed
from mace_jax._types import Seed
from mace_jax.certificates._certificate import Certificate
from mace_jax.certificates._counted import (
    METHOD_NAMES,
    CountMethod,
    checked_epsilons,
    checked_method,
    counted,
    method_assumptions,
    profile_of,
)
from mace_jax.certificates._rules import Rule, advantage_rule, epsilon_rule, scores_of
from mace_jax.certificates._scored import WHOLE_SEARCHES, WholeSearch, certify_scores
from mace_jax.certificates.design import CoinDesign, PairedDesign, RetrainingDesign
from mace_jax.certificates.design._one_run import OneRunMethod
from mace_jax.data import MembershipSample
from mace_jax.estimators import KNN, AbstractEstimator, Threshold
from mace_jax.metrics import balanced_accuracy
from mace_jax.metrics._crossfit import CrossFit, cross_fit

__all__ = ["certify", "certify_crossfits"]

_CERTIFYING_FOLD = 1


def certify(
    sample: Any,
    *,
    estimator: AbstractEstimator | None = None,
    delta: float = 0.0,
    confidence_level: float = 0.95,
    method: CountMethod | OneRunMethod | Literal["models"] | None = None,
    search: Literal["split"] | WholeSearch = "split",
    design: CoinDesign | PairedDesign | RetrainingDesign | None = None,
    n_guesses: int | Sequence[int] | None = None,
    epsilons: Sequence[float] = (),
    seed: Seed | None = None,
) -> Certificate:
    """A lower bound on the leakage of this model through this query, or, with a design, of the training algorithm.

    Half of the records, drawn at random, fix two rules: the one with the largest advantage and the one with the largest
    epsilon bound there. Each rule is then counted once on the other half. Clopper-Pearson limits of its TPR and FPR
    give an advantage TPR - FPR and an epsilon; all limits hold together at ``confidence_level``.

    Args:
        sample: ``MembershipSample`` with query outputs of members ``(n, q)`` and non-members ``(m, q)``; with
            ``design`` the scores of its candidates instead, in its order.
        estimator: What fits rules; by default a kNN, and cuts of the score itself when it is scalar.
        delta: Of (epsilon, delta)-indistinguishability.
        confidence_level: The bounds exceed the truth with probability at most 1 minus this.
        method: "clopper_pearson" by default. "gdp" if the trade-off curve is Gaussian, at delta > 0; "katz",
            "adjusted_log", "bailey" and "inverse_sinh" are large-sample bounds of a ratio. With ``design``: "one_run"
            by default, and what its ``certify`` lists.
        search: How the rule is found. "split" as above. On scalar scores, cut upwards without a fit: "bonferroni"
            (ranks of the non-members), "dkw" (all thresholds) or "fixed_sequence", see ``epsilon_from_scores``.
        design: Coins that decided, before training, who was trained on (``mace_jax.certificates.design``).
        n_guesses: With ``design``: how many coins to guess, all by default.
        epsilons: Where to bound the privacy profile too: ``profile`` then has pairs (epsilon, delta), the delta
            below which no (epsilon, delta) can hold. They use the same limits, and cost nothing.
        seed: Fixes the halves; needed unless a design is given.

    Raises:
        TypeError: no sample where one is needed, no seed.
        ValueError: delta outside [0, 1), confidence_level outside (0, 1), an estimator that cannot use the sample, an
            unknown method or search, or arguments that have no meaning together.

    References: Clopper and Pearson (1934); Jagielski, Ullman and Oprea (2020); Steinke, Nasr and Jagielski (2023).

    Example:
        >>> rng = np.random.default_rng(0)
        >>> certificate = certify(MembershipSample(rng.normal(1, 1, 900), rng.normal(0, 1, 900)), seed=0)
        >>> bool(0.2 < certificate.advantage < 0.383)
        True
    """
    if design is not None:
        return _by_design(
            sample, design, estimator, method, search, n_guesses, epsilons, delta=delta, level=confidence_level
        )
    if not isinstance(sample, MembershipSample):
        raise TypeError(f"sample has type {type(sample).__name__}; pass a MembershipSample, or scores with design=.")
    if seed is None:
        raise TypeError("seed is missing: it fixes which half of the records certifies; pass for example seed=0.")
    if n_guesses is not None:
        raise ValueError("n_guesses belongs to a design; pass design= too, or leave it out.")
    delta = _validate.probability(delta=delta)
    confidence_level = _validate.in_open_unit(confidence_level=confidence_level)
    wanted = checked_epsilons(epsilons)
    if search != "split":
        _check_search(sample, search, estimator, method)
        return certify_scores(
            sample,
            search=search,
            delta=delta,
            confidence_level=confidence_level,
            epsilons=wanted,
            assumptions=(*_SAMPLED, _SEARCHES[search], *_CLAIMED),
            seed=as_seed(seed),
        )
    method = "clopper_pearson" if method is None else method
    checked_method(method, delta)
    objective = balanced_accuracy.objective()
    if estimator is None:
        estimators = [choice for choice in (Threshold(), KNN()) if choice.supports(sample.n_outputs)]
    else:
        estimators = [estimator]
    fitted = [cross_fit(sample, choice, objective, seed=seed) for choice in estimators]
    return certify_crossfits(
        {"query": fitted},
        delta=delta,
        confidence_level=confidence_level,
        seed=as_seed(seed),
        method=method,
        epsilons=wanted,
    )


def certify_crossfits(
    queries: dict[str, Sequence[CrossFit]],
    *,
    delta: float,
    confidence_level: float,
    seed: int,
    method: str = "clopper_pearson",
    epsilons: Sequence[float] = (),
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
            bound = _count(rule, member, error / len(rules), method, delta)
            counts.append({"query": name, "purpose": purpose, "rule": str(rule), **bound})
            epsilon, advantage = max(epsilon, bound["epsilon"]), max(advantage, bound["advantage"])
    settings: list[Any] = [counts, delta, confidence_level, seed]
    if method != "clopper_pearson" or epsilons:
        settings += [method, list(epsilons)]
    digest.update(json.dumps(settings, sort_keys=True).encode())
    description = f"one split, {METHOD_NAMES[method]}"
    if len(queries) > 1:
        description += f", Bonferroni over {len(queries)} queries"
    return Certificate(
        epsilon=epsilon,
        advantage=advantage,
        confidence_level=confidence_level,
        delta=delta,
        claim="this model",
        method=description,
        assumptions=(*_SAMPLED, _SPLIT, *method_assumptions(method), *_CLAIMED),
        counts=tuple(counts),
        fingerprint=digest.hexdigest(),
        profile=profile_of(counts, epsilons),
    )


def _count(rule: Rule, member: np.ndarray, error: float, method: str, delta: float) -> dict[str, Any]:
    guessed = rule.scores.certify > rule.threshold
    hits, alarms = int(guessed[member].sum()), int(guessed[~member].sum())
    return counted(hits, int(member.sum()), alarms, int((~member).sum()), method=method, delta=delta, error=error)


def _check_search(sample: MembershipSample, search: str, estimator: Any, method: str | None) -> None:
    if search not in WHOLE_SEARCHES:
        known = ", ".join(map(repr, ("split", *WHOLE_SEARCHES)))
        raise ValueError(f"search={search!r} is not known; pass one of {known}.")
    if sample.n_outputs > 1:
        raise ValueError(
            f"search={search!r} cuts a scalar score, but the sample has {sample.n_outputs} outputs per record; use "
            "search='split'."
        )
    if estimator is not None:
        raise ValueError(f"search={search!r} cuts the score itself and fits nothing; leave estimator out.")
    if method not in (None, "clopper_pearson"):
        raise ValueError(f"search={search!r} has a bound of its own; method={method!r} goes with search='split'.")


def _by_design(
    scores: Any,
    design: Any,
    estimator: Any,
    method: str | None,
    search: str,
    n_guesses: Any,
    epsilons: Sequence[float],
    *,
    delta: float,
    level: float,
) -> Certificate:
    """A claim about the algorithm, by the design's own ``certify``."""
    if not isinstance(design, CoinDesign | PairedDesign | RetrainingDesign):
        raise TypeError(
            f"design has type {type(design).__name__}; draw one with mace_jax.certificates.design, or load_design."
        )
    if estimator is not None or search != "split":
        raise ValueError("with design= the scores are ranked as they are; leave estimator and search out.")
    settings: dict[str, Any] = {} if method is None else {"method": method}
    if n_guesses is not None:
        settings["n_guesses"] = n_guesses
    if len(epsilons):
        if not isinstance(design, RetrainingDesign):
            raise ValueError(
                "epsilons= needs error rates, which one run does not have; use retrainings with method="
                "'clopper_pearson'."
            )
        settings["epsilons"] = epsilons
    return design.certify(scores, delta=delta, confidence_level=level, **settings)


_SAMPLED = (
    "The members audited are a uniformly random part of the model's training records, chosen without looking at the "
    "model.",
    "The non-members are independent draws from the population the training records came from, prepared the same way, "
    "and none of them was trained on; otherwise the numbers measure that difference instead of leakage.",
)
_SPLIT = "The rules were fixed on one random half of the records and counted once on the other half."
_SEARCHES = {
    "bonferroni": "The thresholds are ranks of the non-members that their number alone fixes; each of them has its "
    "share of the error.",
    "dkw": "The threshold was chosen on the same records; the limits hold at all thresholds at once.",
    "fixed_sequence": "The thresholds and their order were fixed on one random half of the records and counted on the "
    "other half, up to the first that fell short; the advantage holds at all thresholds at once.",
}
_CLAIMED = (
    "The model, its synthetic records and the queries were fixed before these records were looked at.",
    "The claim is about this one trained model and these records' population. It says nothing certain about the "
    "algorithm that trained it: that needs records included by independent coins, or several trainings.",
    "It is a lower bound for the rules that were tried. A stronger adversary may do better, so a small value is no "
    "proof of privacy.",
)
