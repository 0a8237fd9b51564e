"""Posteriors for every k, shared fold plans and candidate lists, against one KNN at a time."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from mace_jax import MembershipSample
from mace_jax.data import stratified_folds
from mace_jax.estimators import KNN, Histogram, knn_posteriors, plan_folds
from mace_jax.estimators._lists import edges, shells
from mace_jax.metrics import balanced_accuracy, f_beta
from tests._support import rest_slow

OBJECTIVE = balanced_accuracy.objective()


def draw(kind, rng, width):
    members, others = rng.normal(0.7, 1, (60, width)), rng.normal(size=(140, width))
    if kind == "atoms":
        return np.round(members), np.round(others)
    if kind == "half zeros":
        members[::2], others[::2] = 0.0, 0.0
    return members, others


@pytest.mark.parametrize(
    ("width", "kind"), rest_slow([(1, "atoms"), (2, "continuous"), (2, "half zeros")], (2, "half zeros").__eq__)
)
def test_every_k_equals_knn_at_that_k(width, kind, rng):
    members, others = draw(kind, rng, width)
    rows, labels = np.concatenate([members, others]), np.repeat([1, 0], [60, 140])
    fold_of = np.concatenate(stratified_folds(60, 140, 3, seed=0))
    posteriors = knn_posteriors(MembershipSample(members, others), 30, fold_of=fold_of, scale=False)
    held_out = posteriors.held_out()
    assert held_out.shape == (30, 200) and "k=1..30, records=200, folds=3" in repr(posteriors)
    for k in (30,) if kind == "continuous" else (7,):
        estimator = KNN(k=k, scale=False)
        for fold, plan in enumerate(plan_folds(estimator, rows, fold_of, seed=0)):
            if fold == 1 or (fold == 2 and kind != "continuous"):  # folds 0 and 2 differ in size
                continue
            train, test = fold_of != fold, fold_of == fold
            direct = estimator.plan(rows[train], rows[test], seed=0)
            expected = estimator.fit_fold(direct, jnp.asarray(labels[train]), OBJECTIVE)
            shared = estimator.fit_fold(plan, jnp.asarray(labels[train]), OBJECTIVE)
            np.testing.assert_allclose(shared.posterior, expected.posterior, atol=1e-5)
            np.testing.assert_allclose(shared.own_posterior, expected.own_posterior, atol=1e-5)
            np.testing.assert_allclose(held_out[k - 1, test], expected.posterior, atol=1e-5)
            own = posteriors.trained_without(fold)
            np.testing.assert_allclose(own[k - 1, train], expected.own_posterior, atol=1e-5)
            assert np.isnan(own[:, test]).all()


def test_without_folds_one_record_is_left_out(rng):
    members, others = rng.normal(1, 1, (30, 2)), rng.normal(size=(50, 2))
    found = knn_posteriors(MembershipSample(members, others), 9, scale=False).held_out()
    rows, labels = np.concatenate([members, others]), np.repeat([1, 0], [30, 50])
    for row in range(80):
        distance = ((rows - rows[row]) ** 2).sum(axis=1)
        distance[row] = np.inf
        k1 = labels[np.argsort(distance)[:9]].sum()
        a, b = k1 / (30 - labels[row]), (9 - k1) / (50 - 1 + labels[row])
        assert found[8, row] == pytest.approx(a / (a + b), abs=1e-6)


def test_a_reducer_sees_every_record_once(rng):
    sample = MembershipSample(rng.normal(1, 1, 500), rng.normal(0, 1, 500))
    fold_of = np.concatenate(stratified_folds(500, 500, 5, seed=0))
    posteriors = knn_posteriors(sample, 60, fold_of=fold_of)
    whole = posteriors.held_out()
    parts = posteriors.held_out(lambda rows, eta: (rows, (eta > 0.5).sum(axis=1)))
    assert np.sort(np.concatenate([rows for rows, _ in parts])).tolist() == list(range(1000))
    np.testing.assert_array_equal(sum(count for _, count in parts), (whole > 0.5).sum(axis=1))
    guesses = whole > 0.5
    rule = guesses[:, :500].mean(axis=1) - guesses[:, 500:].mean(axis=1)
    assert rule[44] == pytest.approx(0.3829, abs=0.09)
    plug_in = np.abs(2 * whole - 1).mean(axis=1)
    assert plug_in[4] > plug_in[19] > plug_in[59] - 0.02  # small k: noise


def test_row_order_does_not_matter(rng):
    members, others = draw("half zeros", rng, 2)
    first = knn_posteriors(MembershipSample(members, others), 20).held_out()
    order = rng.permutation(60)
    again = knn_posteriors(MembershipSample(members[order], others), 20).held_out()
    np.testing.assert_allclose(first[:, :60][:, order], again[:, :60], atol=1e-6)


def test_lists_are_searched_again_when_too_short(rng):
    """Fold 0 holds the near half of the records, so that lists of the usual length are empty outside it."""
    rows = np.concatenate([rng.normal(0, 0.01, (150, 2)), rng.normal(0, 3, (150, 2))])
    order = rng.permutation(150)
    members = np.concatenate([rows[order[:75]], rows[150 + order[:75]]])
    others = np.concatenate([rows[order[75:]], rows[150 + order[75:]]])
    fold_of = np.tile(np.repeat([0, 1], 75), 2)
    found = knn_posteriors(MembershipSample(members, others), 20, fold_of=fold_of, scale=False).held_out()
    pooled, labels = np.concatenate([members, others]), np.repeat([1, 0], 150)
    for row in np.flatnonzero(fold_of == 0)[:10]:
        distance = np.where(fold_of == 0, np.inf, ((pooled - pooled[row]) ** 2).sum(axis=1))
        assert found[19, row] == pytest.approx(labels[np.argsort(distance)[:20]].mean(), abs=1e-6)


def test_edges_of_weighted_lists_are_those_of_repeated_entries(rng):
    squared = np.sort(rng.integers(0, 6, (20, 15)).astype(float), axis=1)
    weight = rng.integers(0, 4, (20, 15))
    k = np.arange(1, weight.sum(axis=1).min() + 1)
    near, tied, share = edges(weight, *shells(squared), k)
    for row in range(20):
        distances = np.repeat(squared[row], weight[row])
        for column, wanted in enumerate(k):
            radius = np.sort(distances)[wanted - 1]
            assert near[row, column] == (squared[row] < radius).sum()
            assert tied[row, column] == (squared[row] <= radius).sum()
            inside = (distances < radius).sum()
            assert share[row, column] == pytest.approx((wanted - inside) / (distances == radius).sum())
    with pytest.raises(RuntimeError, match="ends before the 99 records"):
        edges(weight, *shells(squared), np.asarray([99]))


@pytest.mark.parametrize("width", rest_slow([1, 2], (2).__eq__))
def test_candidates_can_be_given(width, rng):
    rows = rng.normal(size=(300, width))
    labels = jnp.asarray((rows[:, 0] + rng.normal(size=300) > 0).astype(np.int32))
    several = KNN(k=range(1, 41))
    assert several == KNN(k=np.arange(40, 0, -1)) and hash(several) == hash(KNN(k=tuple(range(1, 41))))
    assert isinstance(KNN(k=np.int64(3)).k, int)
    plan = several.plan(rows, rows[:50], seed=0)
    objective = f_beta(1.0).objective(prior=0.3)
    outcome = several.fit_fold(plan, labels, objective)
    k = several.neighbors(plan, int(outcome.chosen))
    assert 3 < k <= 40
    alone = KNN(k=k)
    expected = alone.fit_fold(alone.plan(rows, rows[:50], seed=0), labels, objective)
    np.testing.assert_allclose(outcome.posterior, expected.posterior, atol=1e-6)
    np.testing.assert_array_equal(outcome.own_decisions, expected.own_decisions)


def test_other_estimators_are_planned_fold_by_fold(rng):
    rows, fold_of = rng.normal(size=(40, 1)), np.arange(40) % 4
    plans = plan_folds(Histogram(4), rows, fold_of, seed=0)
    direct = Histogram(4).plan(rows[fold_of != 1], rows[fold_of == 1], seed=0)
    np.testing.assert_array_equal(plans[1].test, direct.test)


def test_bad_arguments_are_refused(rng):
    sample = MembershipSample(rng.normal(size=20), rng.normal(size=30))
    with pytest.raises(ValueError, match=r"fold_of has shape \(3,\); pass one fold per record, \(50,\)"):
        knn_posteriors(sample, 3, fold_of=[0, 1, 0])
    with pytest.raises(ValueError, match="fold_of goes from 0 to 0; number at least 2 folds from 0"):
        knn_posteriors(sample, 3, fold_of=np.zeros(50))
    with pytest.raises(ValueError, match="largest_k=50 does not fit: only 49 neighbors"):
        knn_posteriors(sample, 50)
    with pytest.raises(ValueError, match="fold 0 of fold_of holds all records of one class"):
        knn_posteriors(sample, 3, fold_of=np.repeat([0, 1], [20, 30]))
    with pytest.raises(ValueError, match="k holds no candidate"):
        KNN(k=())
    with pytest.raises(ValueError, match="k=40 neighbors were asked for but a training part has only 20 records"):
        KNN(k=(3, 40)).plan(np.zeros((20, 2)), np.zeros((20, 2)), seed=0)
