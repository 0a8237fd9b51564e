"""Threshold against all cuts tried one by one."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from mace_jax.estimators import Threshold
from mace_jax.metrics import accuracy, balanced_accuracy, f_beta


@pytest.mark.parametrize("metric", [balanced_accuracy, accuracy, f_beta(1.0)], ids=lambda metric: metric.name)
@pytest.mark.parametrize("direction", [1.0, -1.0])
@pytest.mark.parametrize("atoms", [None, 4])
def test_the_cut_is_the_best_of_all(metric, direction, atoms, rng):
    labels = rng.integers(0, 2, 90)
    scores = direction * (rng.normal(size=90) + labels)
    if atoms:
        scores = np.round(scores * atoms / 4)
    estimator = Threshold()
    plan = estimator.plan(scores[:, None], scores[:, None], seed=0)
    outcome = estimator.fit_fold(plan, jnp.asarray(labels), metric.objective(prior=0.3))
    own = np.asarray(outcome.own_decisions)
    reached = metric.value(own[labels == 1].mean(), own[labels == 0].mean(), prior=0.3)
    best = metric.trivial(prior=0.3)
    for cut in np.unique(scores):
        for guess in (scores > cut, scores <= cut):
            best = max(best, metric.value(guess[labels == 1].mean(), guess[labels == 0].mean(), prior=0.3))
    assert reached == pytest.approx(best, abs=1e-6)
    np.testing.assert_array_equal(outcome.decisions, own)
    np.testing.assert_array_equal(estimator.decide_fold(plan, jnp.asarray(labels), metric.objective(prior=0.3)), own)


def test_equal_scores_are_never_separated_and_cuts_lie_midway():
    scores, labels = np.asarray([0.0, 0.0, 0.0, 1.0, 1.0]), np.asarray([1, 0, 0, 1, 1])
    unseen = np.asarray([[0.49], [0.51], [-5.0], [5.0]])
    estimator = Threshold()
    outcome = estimator.fit_fold(
        estimator.plan(scores[:, None], unseen, seed=0), jnp.asarray(labels), balanced_accuracy.objective()
    )
    np.testing.assert_array_equal(outcome.own_decisions, [False, False, False, True, True])
    np.testing.assert_array_equal(outcome.decisions, [False, True, False, True])


def test_neighboring_floats_are_still_separated():
    low = 1.0
    high = np.nextafter(low, 2.0)
    scores, labels = np.asarray([low, low, high, high]), np.asarray([0, 0, 1, 1])
    estimator = Threshold()
    plan = estimator.plan(scores[:, None], scores[:, None], seed=0)
    outcome = estimator.fit_fold(plan, jnp.asarray(labels), balanced_accuracy.objective())
    np.testing.assert_array_equal(outcome.decisions, [False, False, True, True])


def test_a_constant_score_gives_a_constant_guess():
    estimator = Threshold()
    plan = estimator.plan(np.ones((6, 1)), np.ones((4, 1)), seed=0)
    outcome = estimator.fit_fold(plan, jnp.asarray([1, 0, 1, 0, 1, 0]), balanced_accuracy.objective())
    assert len(set(np.asarray(outcome.decisions).tolist())) == 1
    assert not estimator.supports(2)
    assert estimator.neighbors(plan, 0) is None
