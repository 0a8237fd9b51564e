"""Discrete against counting by hand, and its bounds against simulation and closed forms."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from mace_jax import MembershipSample, optimal_membership_advantage
from mace_jax.estimators import Discrete, discrete_bounds
from mace_jax.metrics import balanced_accuracy, f_beta

OBJECTIVE = balanced_accuracy.objective()


def share(c1, c0, n1, n0):
    return 0.5 if c1 + c0 == 0 else (c1 / n1) / (c1 / n1 + c0 / n0)


@pytest.mark.parametrize("width", [1, 2])
def test_posteriors_equal_counting_by_hand(width, rng):
    train, test = (rng.integers(0, 4, (n, width)).astype(float) for n in (60, 40))
    train[0], test[0] = -0.0, 0.0
    labels = rng.permutation(np.repeat([1, 0], [15, 45]))
    plan = Discrete().plan(train, test, seed=0)
    outcome = Discrete().fit_fold(plan, jnp.asarray(labels), OBJECTIVE)
    for row, query in enumerate(test):
        same = (train == query).all(axis=1)
        expected = share(labels[same].sum(), (1 - labels)[same].sum(), 15, 45)
        assert outcome.posterior[row] == pytest.approx(expected, abs=1e-6)
    for row, query in enumerate(train):
        same = (train == query).all(axis=1)
        same[row] = False
        y = labels[row]
        expected = share(labels[same].sum(), (1 - labels)[same].sum(), 15 - y, 45 - (1 - y))
        assert outcome.own_posterior[row] == pytest.approx(expected, abs=1e-6)
    np.testing.assert_array_equal(outcome.decisions, np.asarray(outcome.posterior) > 0.5)


def test_unseen_values_are_a_coin_flip_and_guessed_nonmembers():
    plan = Discrete().plan(np.asarray([[1.0], [2.0]]), np.asarray([[0.0], [1.5], [9.0]]), seed=0)
    outcome = Discrete().fit_fold(plan, jnp.asarray([1, 0]), OBJECTIVE)
    assert outcome.posterior.tolist() == [0.5, 0.5, 0.5]
    assert not outcome.decisions.any()
    assert Discrete().neighbors(plan, 0) is None and Discrete().supports(7)


def test_no_leak_on_atoms_gives_no_advantage():
    found = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        sample = MembershipSample(rng.integers(0, 20, 500), rng.integers(0, 20, 500))
        found.append(optimal_membership_advantage(sample, estimator=Discrete(), n_permutations=0, seed=seed))
    assert abs(np.mean([estimate.lower_rule for estimate in found])) < 3 * 0.08 / np.sqrt(8)
    assert np.mean([estimate.plug_in for estimate in found]) > 0.1  # the plug-in errs upwards


@pytest.mark.parametrize(("n", "m", "null_mean"), [(500, 500, 0.1766), (500, 4500, 0.1316)])
def test_null_mean_of_fifty_values(n, m, null_mean, rng):
    """sqrt(2/pi)/2 sqrt(49 (1/n + 1/m)), and what 400 draws give."""
    even = discrete_bounds([n // 50] * 50, [m // 50] * 50)
    assert even.null_mean == pytest.approx(null_mean, abs=1e-4)
    assert even.null_mean == pytest.approx(np.sqrt(2 / np.pi) * even.largest_bias)
    drawn = [discrete_bounds(rng.multinomial(n, [0.02] * 50), rng.multinomial(m, [0.02] * 50)) for _ in range(400)]
    assert np.mean([bounds.total_variation for bounds in drawn]) == pytest.approx(null_mean, abs=0.004)
    assert all(bounds.bias <= bounds.largest_bias for bounds in drawn)


def test_bounds_hold_and_the_bias_is_within_its_limit(rng):
    p, q = np.asarray([0.4, 0.3, 0.2, 0.1]), np.asarray([0.1, 0.3, 0.3, 0.3])
    truth = 0.5 * np.abs(p - q).sum()
    drawn = [discrete_bounds(rng.multinomial(200, p), rng.multinomial(400, q)) for _ in range(300)]
    assert all(bounds.lower <= truth <= bounds.upper for bounds in drawn)
    excess = np.mean([bounds.total_variation for bounds in drawn]) - truth
    assert -0.01 < excess < drawn[0].largest_bias
    assert drawn[0].deviation == pytest.approx(np.sqrt((1 / 200 + 1 / 400) * np.log(20) / 2))
    assert set(drawn[0].to_dict()) >= {"lower", "upper", "null_mean"}


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ([1, 2], [1], "counts_members has 2 values but counts_nonmembers has 1"),
        ([0.5, 0.5], [1, 1], "counts_members must hold whole numbers"),
        ([1, 1], [0, 0], "counts_nonmembers counts no record"),
        ([[1]], [[1]], "counts_members has shape"),
    ],
)
def test_bad_counts_are_refused(first, second, message):
    with pytest.raises(ValueError, match=message):
        discrete_bounds(first, second)


def test_decide_fold_is_fit_folds_decisions(rng):
    train, test = rng.integers(0, 9, (200, 1)).astype(float), rng.integers(0, 9, (100, 1)).astype(float)
    labels = jnp.asarray((train[:, 0] + rng.normal(0, 3, 200) > 5).astype(np.int32))
    plan = Discrete().plan(train, test, seed=0)
    for objective in (OBJECTIVE, f_beta(1.0).objective(prior=0.1)):
        np.testing.assert_array_equal(
            Discrete().fit_fold(plan, labels, objective).decisions, Discrete().decide_fold(plan, labels, objective)
        )
