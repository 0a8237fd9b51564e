"""KNN against a brute-force twin, on lines and in space, with ties, and its cross-fitting parts."""

from __future__ import annotations

import itertools

import jax.numpy as jnp
import numpy as np
import pytest

from mace_jax.estimators import KNN
from mace_jax.estimators._base import running_total
from mace_jax.estimators._candidates import candidate_neighbors
from mace_jax.metrics import balanced_accuracy, f_beta
from tests._support import rest_slow

OBJECTIVE = balanced_accuracy.objective()


def expected_members(train, labels, query, k, itself):
    """Mean number of members among the k nearest under random tie-breaking; row ``itself`` is left out."""
    distances = ((train - query) ** 2).sum(axis=1)
    if itself is not None:
        distances, labels = np.delete(distances, itself), np.delete(labels, itself)
    radius = np.sort(distances)[k - 1]
    near, tied = distances < radius, distances == radius
    return labels[near].sum() + (k - near.sum()) * labels[tied].mean()


def draw(kind, rng, n, width):
    if kind == "continuous":
        return rng.normal(size=(n, width))
    if kind == "atoms":
        return rng.integers(0, 4, (n, width)).astype(float)
    return np.where(rng.random((n, 1)) < 0.5, 0.0, rng.normal(size=(n, width)))


@pytest.mark.parametrize(
    ("width", "kind", "k"),
    rest_slow(
        list(itertools.product([1, 2, 12], ["continuous", "atoms", "half zeros"], [1, 39])), lambda run: run[2] == 39
    ),
)
def test_posteriors_equal_a_brute_force_twin(kind, width, k, rng):
    train, test = draw(kind, rng, 40, width), draw(kind, rng, 25, width)
    labels = rng.permutation(np.repeat([1, 0], [16, 24]))
    estimator = KNN(k=k, scale=False)
    outcome = estimator.fit_fold(estimator.plan(train, test, seed=0), jnp.asarray(labels), OBJECTIVE)
    for row, query in enumerate(test):
        k1 = expected_members(train, labels, query, k, None)
        member, other = k1 / 16, (k - k1) / 24
        assert outcome.posterior[row] == pytest.approx(member / (member + other), abs=1e-5)
    for row, query in enumerate(train):
        k1 = expected_members(train, labels, query, k, row)
        member, other = k1 / (16 - labels[row]), (k - k1) / (24 - (1 - labels[row]))
        assert outcome.own_posterior[row] == pytest.approx(member / (member + other), abs=1e-5)


@pytest.mark.parametrize("width", [1, 3])
def test_row_order_and_duplicates_do_not_matter(width, rng):
    train, test = draw("half zeros", rng, 60, width), draw("half zeros", rng, 31, width)
    labels = rng.permutation(np.repeat([1, 0], 30))
    estimator = KNN(k=9)
    first = estimator.fit_fold(estimator.plan(train, test, seed=0), jnp.asarray(labels), OBJECTIVE)
    order = rng.permutation(60)
    again = estimator.fit_fold(estimator.plan(train[order], test, seed=0), jnp.asarray(labels[order]), OBJECTIVE)
    np.testing.assert_allclose(first.posterior, again.posterior, atol=1e-6)
    np.testing.assert_allclose(np.asarray(first.own_posterior)[order], again.own_posterior, atol=1e-6)


def test_members_first_in_a_tie_are_not_favored():
    """k + 1 member copies of an atom come first: a search by index would return members only."""
    train = np.zeros((40, 2))
    labels = np.repeat([1, 0], 20)
    estimator = KNN(k=5)
    outcome = estimator.fit_fold(estimator.plan(train, np.zeros((3, 2)), seed=0), jnp.asarray(labels), OBJECTIVE)
    np.testing.assert_allclose(outcome.posterior, 0.5, atol=1e-6)
    assert not outcome.decisions.any()


def test_decide_fold_is_fit_folds_decisions(rng):
    for width, objective in ((1, OBJECTIVE), (2, f_beta(1.0).objective(prior=0.1))):
        train, test = rng.normal(size=(200, width)), rng.normal(size=(150, width))
        labels = jnp.asarray((train[:, 0] + rng.normal(size=200) > 0).astype(np.int32))
        estimator = KNN()
        plan = estimator.plan(train, test, seed=0)
        np.testing.assert_array_equal(
            estimator.fit_fold(plan, labels, objective).decisions, estimator.decide_fold(plan, labels, objective)
        )


def test_k_is_chosen_small_for_a_narrow_leak_and_large_for_none(rng):
    narrow = np.concatenate([rng.normal(0, 1e-3, 300), rng.normal(size=1700)])
    labels = np.concatenate([np.ones(300, int), rng.integers(0, 2, 1700)])
    estimator = KNN()
    plan = estimator.plan(narrow[:, None], narrow[:, None], seed=0)
    chosen = estimator.neighbors(plan, int(estimator.fit_fold(plan, jnp.asarray(labels), OBJECTIVE).chosen))
    blind = rng.permutation(labels)
    unchosen = estimator.neighbors(plan, int(estimator.fit_fold(plan, jnp.asarray(blind), OBJECTIVE).chosen))
    assert chosen < 202 < unchosen


def test_own_decisions_count_the_record_itself(rng):
    train = rng.normal(size=(101, 1))
    labels = jnp.asarray(rng.permutation(np.repeat([1, 0], [50, 51])))
    estimator = KNN(k=1)
    outcome = estimator.fit_fold(estimator.plan(train, train[:2], seed=0), labels, OBJECTIVE)
    # with itself a record has two voters: it keeps its own label unless the other one has equal weight
    assert np.mean(np.asarray(outcome.own_decisions) == np.asarray(labels)) > 0.6


@pytest.mark.parametrize("n", [2, 3, 10, 100, 10_000])
@pytest.mark.parametrize("width", [1, 5])
def test_candidates_are_usable(n, width):
    k = candidate_neighbors(n, width, largest=255)
    assert (k >= 1).all() and (k <= max(1, n // 2)).all() and len(k) == 6
    assert (np.diff(k) >= 0).all() and (k % 2 == 1).all()


def test_running_total_is_cumsum(rng):
    for n in (1, 63, 64, 65, 5000):
        labels = rng.integers(0, 2, n)
        np.testing.assert_array_equal(running_total(jnp.asarray(labels)), np.cumsum(labels))


def test_bad_k_is_refused():
    with pytest.raises(ValueError, match="k=0 must be at least 1"):
        KNN(k=0)
    with pytest.raises(ValueError, match="k=50 neighbors were asked for but a training part has only 20 records"):
        KNN(k=50).plan(np.zeros((20, 1)), np.zeros((20, 1)), seed=0)


@pytest.mark.parametrize("scale", [1e-300, 1e-170, 1e160, 1e300])
def test_the_unit_of_vector_outputs_does_not_matter(scale, rng):
    train, test, labels = rng.normal(size=(60, 2)), rng.normal(size=(40, 2)), rng.integers(0, 2, 60)
    train[labels == 1] += 1.0
    objective = balanced_accuracy.objective()

    def posterior(factor):
        plan = KNN(k=9).plan(train * factor, test * factor, seed=0)
        return np.asarray(KNN(k=9).fit_fold(plan, jnp.asarray(labels, jnp.int32), objective).posterior)

    np.testing.assert_array_equal(posterior(scale), posterior(1.0))


def test_a_column_constant_in_training_is_not_blown_up(rng):
    """The standard deviation of many copies of 0.1 rounds to more than 0."""
    train = np.column_stack([rng.normal(size=61), np.full(61, 0.1)])
    test = np.asarray([[0.0, 0.1], [0.0, 0.2]])
    labels = jnp.asarray(train[:, 0] > 0, jnp.int32)
    found = KNN(k=9).fit_fold(KNN(k=9).plan(train, test, seed=0), labels, balanced_accuracy.objective()).posterior
    assert float(found[0]) == float(found[1])
