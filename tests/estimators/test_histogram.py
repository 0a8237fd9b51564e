"""Histogram against bins counted by hand; ties, equal mass, and the choice of the number of bins."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from mace_jax import MembershipSample, optimal_membership_advantage
from mace_jax.estimators import Histogram
from mace_jax.estimators._histogram import _SIZES, _cuts, _midpoints
from mace_jax.metrics import balanced_accuracy, f_beta

OBJECTIVE = balanced_accuracy.objective()


def loss_by_hand(place, labels):
    """Leave-one-out log-loss with half a record in each class, averaged over both classes."""
    n1, n0 = labels.sum(), (1 - labels).sum()
    losses = np.empty(len(labels))
    for row in range(len(labels)):
        same = place == place[row]
        same[row] = False
        c1, c0 = labels[same].sum() + 0.5, (1 - labels)[same].sum() + 0.5
        eta = (c1 / n1) / (c1 / n1 + c0 / n0)
        losses[row] = -np.log(eta if labels[row] else 1 - eta)
    return losses[labels == 1].mean() + losses[labels == 0].mean()


@pytest.mark.parametrize("ties", [False, True])
def test_posteriors_and_the_choice_equal_counting_by_hand(ties, rng):
    train, test = rng.normal(size=(120, 1)), rng.normal(size=(50, 1))
    if ties:
        train, test = np.round(train * 3) / 3, np.round(test * 3) / 3
    labels = (train[:, 0] + rng.normal(size=120) > 0.8).astype(np.int32)
    n1, n0 = labels.sum(), (1 - labels).sum()
    plan = Histogram().plan(train, test, seed=0)
    outcome = Histogram().fit_fold(plan, jnp.asarray(labels), OBJECTIVE)
    sizes = [size for size in _SIZES if size * 10 <= 120]
    values = np.sort(train[:, 0])
    losses, places = [], []
    for size in sizes:
        cuts = _midpoints(values, _cuts(values, size))
        places.append((np.searchsorted(cuts, train[:, 0]), np.searchsorted(cuts, test[:, 0])))
        losses.append(loss_by_hand(places[-1][0], labels))
    assert int(outcome.chosen) == np.argmin(losses)
    mine, theirs = places[np.argmin(losses)]
    for row, place in enumerate(theirs):
        c1, c0 = labels[mine == place].sum() / n1, (1 - labels)[mine == place].sum() / n0
        assert outcome.posterior[row] == pytest.approx(c1 / (c1 + c0), abs=1e-6)
    for row, place in enumerate(mine):
        same = mine == place
        same[row] = False
        c1 = labels[same].sum() / (n1 - labels[row])
        c0 = (1 - labels)[same].sum() / (n0 - 1 + labels[row])
        assert outcome.own_posterior[row] == pytest.approx(c1 / (c1 + c0) if c1 + c0 else 0.5, abs=1e-6)


@pytest.mark.parametrize("bins", [2, 7, 40])
def test_bins_have_equal_mass_and_never_split_ties(bins, rng):
    values = np.sort(rng.normal(size=401))
    sizes = np.diff([0, *_cuts(values, bins), 401])
    assert sizes.max() - sizes.min() <= 1 and len(sizes) == bins
    tied = np.sort(np.where(rng.random(401) < 0.5, 0.0, np.round(values, 1)))
    cuts = _cuts(tied, bins)
    assert (tied[cuts] > tied[cuts - 1]).all()
    assert len(_cuts(np.zeros(50), bins)) == 0


def test_neighboring_floats_get_a_cut_between_them():
    low, high = 1.0, np.nextafter(1.0, 2.0)
    train = np.asarray([[low], [low], [high], [high]])
    outcome = Histogram(2).fit_fold(Histogram(2).plan(train, train, seed=0), jnp.asarray([0, 0, 1, 1]), OBJECTIVE)
    np.testing.assert_array_equal(outcome.decisions, [False, False, True, True])


def test_a_constant_score_says_nothing():
    plan = Histogram().plan(np.ones((40, 1)), np.ones((9, 1)), seed=0)
    outcome = Histogram().fit_fold(plan, jnp.arange(40) % 2, OBJECTIVE)
    np.testing.assert_allclose(outcome.posterior, 0.5)
    assert not outcome.decisions.any()


def test_row_order_does_not_matter_and_decide_fold_agrees(rng):
    train, test = np.round(rng.normal(size=(300, 1)), 1), np.round(rng.normal(size=(80, 1)), 1)
    labels = (train[:, 0] + rng.normal(size=300) > 0).astype(np.int32)
    for objective in (OBJECTIVE, f_beta(1.0).objective(prior=0.1)):
        first = Histogram().fit_fold(Histogram().plan(train, test, seed=0), jnp.asarray(labels), objective)
        order = rng.permutation(300)
        plan = Histogram().plan(train[order], test, seed=0)
        again = Histogram().fit_fold(plan, jnp.asarray(labels[order]), objective)
        np.testing.assert_array_equal(first.posterior, again.posterior)
        decisions = Histogram().decide_fold(plan, jnp.asarray(labels[order]), objective)
        np.testing.assert_array_equal(first.decisions, decisions)


def test_fifty_bins_at_the_null_have_the_predicted_plug_in():
    """sqrt(2/pi)/2 sqrt(49 * 2/1000) per fold of 1000 + 1000 records, halves of 500."""
    found = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        sample = MembershipSample(rng.normal(size=1000), rng.normal(size=1000))
        found.append(optimal_membership_advantage(sample, estimator=Histogram(50), n_permutations=0, seed=seed))
    assert np.mean([estimate.plug_in for estimate in found]) == pytest.approx(0.1766, abs=0.015)
    assert abs(np.mean([estimate.lower_rule for estimate in found])) < 0.04


def test_what_cannot_be_binned_is_refused():
    with pytest.raises(ValueError, match="bins=1 must be at least 2"):
        Histogram(bins=1)
    with pytest.raises(ValueError, match="Histogram cannot use 2 query outputs per record: bins of equal mass need an"):
        Histogram().plan(np.zeros((9, 2)), np.zeros((9, 2)), seed=0)
    with pytest.raises(ValueError, match="bins=50 were asked for but a training part has only 20 records"):
        Histogram(bins=50).plan(np.zeros((20, 1)), np.zeros((20, 1)), seed=0)
    assert Histogram().neighbors(Histogram(2).plan(np.zeros((20, 1)), np.zeros((2, 1)), seed=0), 0) is None
