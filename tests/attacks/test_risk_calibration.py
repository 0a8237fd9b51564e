"""Are risk scores right as often as they say? By simulation with known truth, from few calibration rows per class."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special

from mace_jax.attacks._risk_bins import class_bins
from mace_jax.attacks._risk_reports import risk_calibration
from mace_jax.attacks._risk_score import privacy_risk_score

pytestmark = pytest.mark.slow

N_CLASSES, N_EVALUATED = 30, 1000
PUBLISHED = {"smoothing": 0.0, "parity": True}
ADDITIVE = {"smoothing": 0.5, "shrinkage": 0.0}
REPETITIONS = 30


class World:
    """ln of a member's score is N(mu_c, 1), of a non-member's N(mu_c + d_c, 1); one draw of mu and d per class."""

    def __init__(self, rng, separation=(0.5, 2.0)):
        self.rng, self.place = rng, rng.normal(size=N_CLASSES)
        self.separation = rng.uniform(*separation, N_CLASSES)

    def sample(self, rows):
        y = np.repeat(np.arange(N_CLASSES), rows)
        noise = self.rng.normal(size=(2, len(y)))
        return np.exp(self.place[y] + noise[0]), np.exp(self.place[y] + self.separation[y] + noise[1]), y

    def score(self, rows, **settings):
        """Scores of new members and of new non-members, after calibration on ``rows`` per class and side."""
        member, other, y = self.sample(rows)
        new_member, new_other, z = self.sample(N_EVALUATED)
        found = privacy_risk_score(
            member, y, other, y, np.concatenate([new_member, new_other]), np.tile(z, 2), **settings
        )
        return found.posterior[: len(z)], found.posterior[len(z) :]


def error(members, nonmembers):
    """Sum over 10 bins of equal width of mass times |mean score - share of members|; nothing is taken off."""
    score = np.concatenate([members, nonmembers])
    place = np.minimum((score * 10).astype(int), 9)
    label = np.arange(len(score)) < len(members)
    return np.abs(np.bincount(place, score - label)).sum() / len(score)


def mean_error(rows, separation=(0.5, 2.0), repetitions=REPETITIONS, **settings):
    """Mean over calibration sets and its standard error."""
    found = [
        error(*World(np.random.default_rng([seed, rows]), separation).score(rows, **settings))
        for seed in range(repetitions)
    ]
    return np.mean(found), np.std(found, ddof=1) / np.sqrt(repetitions)


def test_five_rows_per_class_are_enough_where_the_published_rule_is_off_by_far():
    published, _ = mean_error(5, **PUBLISHED)
    ours, spread = mean_error(5, repetitions=120)
    assert published > 0.15
    assert ours + 2.0 * spread < 0.03


@pytest.mark.parametrize("rows", [5, 16, 50, 200])
def test_shrinking_lowers_the_error_at_any_size(rows):
    published, spread = mean_error(rows, **PUBLISHED)
    ours, own_spread = mean_error(rows)
    assert ours < published - 2.0 * np.hypot(spread, own_spread)
    if rows <= 16:
        additive, _ = mean_error(rows, **ADDITIVE)
        assert ours < additive < published


def test_scores_say_nothing_where_there_is_nothing_to_say():
    published, _ = mean_error(5, separation=(0.0, 0.0), **PUBLISHED)
    ours, spread = mean_error(5, separation=(0.0, 0.0))
    assert published > 0.25
    assert ours + 3.0 * spread < 0.02


def test_certain_scores_of_the_published_rule_are_often_wrong():
    """At 5 rows a score of 1 is right for two members in three, and the smoothed rule has no such score."""
    right = total = 0
    for seed in range(10):
        members, nonmembers = World(np.random.default_rng(seed)).score(5, **PUBLISHED)
        right, total = right + (members == 1).sum(), total + (members == 1).sum() + (nonmembers == 1).sum()
        assert max(side.max() for side in World(np.random.default_rng(seed)).score(5)) < 1.0
    assert 0.6 < right / total < 0.8


def test_the_error_of_the_error_is_small_with_this_many_records():
    """Labels drawn from the scores themselves: the upward bias of the calibration error in these figures."""
    members, nonmembers = World(np.random.default_rng(0)).score(5)
    found = risk_calibration(members, nonmembers, binning="width", n_resamples=50, seed=0)
    assert found.ece_by_chance < 0.006
    assert found.ece == pytest.approx(error(members, nonmembers), rel=1e-9)


def covered(rows, **settings):
    """Share of new records whose limits hold the true share of members in their bin."""
    held = []
    for seed in range(20):
        world = World(np.random.default_rng([seed, rows, 1]))
        member, other, y = world.sample(rows)
        new_member, new_other, z = world.sample(50)
        values, of = np.concatenate([new_member, new_other]), np.tile(z, 2)
        bins = class_bins(member, y, other, y, N_CLASSES, bins=5, log=True, parity=False)
        place, ends = bins.place(of, values), bins.edges.copy()
        ends[:, 0], ends[:, -1] = 1e-300, np.inf  # values beyond the edges are in the end bins
        cuts = np.log(ends[of, place]) - world.place[of], np.log(ends[of, place + 1]) - world.place[of]
        p = special.ndtr(cuts[1]) - special.ndtr(cuts[0])
        q = special.ndtr(cuts[1] - world.separation[of]) - special.ndtr(cuts[0] - world.separation[of])
        found = privacy_risk_score(member, y, other, y, values, of, **settings)
        held.append(((found.low <= p / (p + q)) & (p / (p + q) <= found.high)).mean())
    return float(np.mean(held))


@pytest.mark.parametrize("rows", [5, 16, 50, 200])
def test_limits_hold_the_truth_about_as_often_as_they_say(rows):
    assert 0.92 < covered(rows) < 0.99
    assert 0.92 < covered(rows, **ADDITIVE) < 0.99
