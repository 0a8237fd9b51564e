"""Decisions under several objectives from one set of neighbor counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mace_jax.estimators import AbstractEstimator, Objective

__all__ = ["decide_all", "decide_all_on_host", "stack_objectives"]


def stack_objectives(objectives: Sequence[Objective]) -> tuple[tuple[np.ndarray, ...], tuple[Objective, ...]]:
    """Objectives of one type as one with a leading axis, and where each of them stood."""
    kinds = list(dict.fromkeys(type(objective) for objective in objectives))
    places = tuple(np.flatnonzero([type(objective) is kind for objective in objectives]) for kind in kinds)
    stacked = tuple(
        jax.tree.map(lambda *leaves: jnp.stack(leaves), *(objectives[int(place)] for place in group))
        for group in places
    )
    return places, stacked


def decide_all(
    estimator: AbstractEstimator, plan: Any, labels: jax.Array, stacked: Sequence[Objective]
) -> list[jax.Array]:
    """``(J, t)`` decisions per group; what does not depend on the objective is computed once."""
    return [
        jax.vmap(estimator.decide_fold, in_axes=(None, None, 0))(plan, labels, group)
        if group.prior.shape[0] > 1
        else estimator.decide_fold(plan, labels, jax.tree.map(lambda leaf: leaf[0], group))[None]
        for group in stacked
    ]


def decide_all_on_host(
    estimator: AbstractEstimator, plan: Any, labels: np.ndarray, objectives: Sequence[Objective]
) -> np.ndarray:
    """``(J, t)`` decisions of an estimator that JAX cannot trace: one fit, then one threshold per objective."""
    if len(objectives) == 1:
        return np.asarray(estimator.decide_fold(plan, labels, objectives[0]))[None]  # type: ignore[arg-type]
    outcome = estimator.fit_fold(plan, labels, objectives[0])  # type: ignore[arg-type]
    posterior, own, known = (
        jnp.asarray(part) for part in (outcome.posterior, outcome.own_posterior, np.asarray(labels, np.int32))
    )
    return np.stack([objective.decide(posterior, objective.optimum(own, known)) for objective in objectives])
