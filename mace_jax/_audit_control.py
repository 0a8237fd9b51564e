"""The negative control: the audit between two halves of the non-members, where nothing can be found."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from mace_jax._audit_query import EvaluatedQuery, Settings, estimate_query, fit_query
from mace_jax._progress import Stages
from mace_jax._random import generator
from mace_jax.certificates._api import certify_crossfits
from mace_jax.data import MembershipSample
from mace_jax.report import AdvantageResult, ControlResult
from mace_jax.report._verdict import rejected

__all__ = ["run_control"]

_FEWEST = 8


def run_control(
    queries: Sequence[EvaluatedQuery], settings: Settings, stages: Stages
) -> tuple[ControlResult | None, str | None]:
    """The control, or the reason it was not run. The queries' outputs are reused, nothing else is."""
    total = len(queries[0].sample.nonmembers)
    if total < _FEWEST:
        return None, f"The negative control needs at least {_FEWEST} non-members, and there are {total}."
    order = generator(settings.seed, "control").permutation(total)
    pretended, rest = np.sort(order[: total // 2]), np.sort(order[total // 2 :])
    headline = dataclasses.replace(settings, metrics=settings.metrics[:1])
    fits, estimates = {}, []
    for query in queries:
        outputs = query.sample.nonmembers
        halves = EvaluatedQuery(query.name, query.description, MembershipSample(outputs[pretended], outputs[rest]))
        with stages.stage(f"negative control: {query.name}") as on_progress:
            fits[query.name] = fit_query(halves, headline)
            estimates.append((query.name, estimate_query(fits[query.name], headline, on_progress)[0]))
    certificate = certify_crossfits(
        {name: list(fitted.values()) for name, fitted in fits.items()},
        delta=settings.delta,
        confidence_level=settings.confidence_level,
        seed=settings.seed,
    )
    found = _found(estimates, settings.confidence_level)
    passed = not found and certificate.epsilon == 0.0
    return (
        ControlResult(
            passed=passed,
            sentence=_sentence(found, certificate.epsilon, passed),
            n_members=len(pretended),
            n_nonmembers=len(rest),
            queries=tuple(estimates),
            certificate=certificate,
        ),
        None,
    )


def _found(estimates: Sequence[tuple[str, AdvantageResult]], confidence_level: float) -> list[str]:
    fallen = rejected([estimate.p_value for _, estimate in estimates], confidence_level)
    return [name for (name, _), falls in zip(estimates, fallen, strict=True) if falls]


def _sentence(found: list[str], epsilon: float, passed: bool) -> str:
    if passed:
        return "Between two halves of the non-members, where there is nothing to find, the audit found nothing."
    what = f"a difference in {', '.join(map(repr, found))}" if found else f"an epsilon of {epsilon:.3g}"
    return (
        f"Between two halves of the non-members, where there is nothing to find, the audit found {what}. Chance does "
        "this at the rate the confidence level allows. Run again with another seed: if the control fails again, the "
        "results above cannot be trusted."
    )
