"""Searching thresholds: every choice is paid for, with ties, several queries and adversarial scores."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from scipy import stats

from mace_jax.certificates import epsilon_from_counts, epsilon_from_rates, epsilon_from_scores
from mace_jax.certificates._cuts import cuts_between, rank_grid

SEARCHES = ("bonferroni", "dkw", "split", "fixed_sequence")
RUNS = 300
ALLOWED = 0.05 + 3 * math.sqrt(0.05 * 0.95 / RUNS)


def laplace(rng, n, m, epsilon=1.0):
    return rng.laplace(epsilon, 1.0, n), rng.laplace(0.0, 1.0, m)


def null_with_ties(rng, n, m):
    return rng.integers(0, 4, n).astype(float), rng.integers(0, 4, m).astype(float)


def response_with_ties(rng, n, m):
    kept = math.e / (1 + math.e)
    return (rng.random(n) < kept).astype(float), (rng.random(m) < 1 - kept).astype(float)


def several(rng, n, m):
    """One leaking query, one reversed, one of noise."""
    inside, outside = laplace(rng, n, m)
    return np.column_stack([inside, -inside, rng.normal(size=n)]), np.column_stack(
        [outside, -outside, rng.normal(size=m)]
    )


@pytest.mark.parametrize("search", SEARCHES)
@pytest.mark.parametrize(
    "draw, truth, n, m",
    [
        (laplace, 1.0, 60, 200),
        (null_with_ties, 0.0, 50, 50),
        (response_with_ties, 1.0, 120, 80),
        (several, 1.0, 90, 90),
    ],
)
def test_no_search_exceeds_too_often(search, draw, truth, n, m):
    rng = np.random.default_rng(0)
    bounds = [epsilon_from_scores(*draw(rng, n, m), search=search, seed=seed).epsilon for seed in range(RUNS)]
    assert np.mean(np.array(bounds) > truth) <= ALLOWED


def test_a_bare_maximum_would_exceed():
    """Why a search has to be paid for: the largest uncorrected bound over all cuts, on scores without any leak."""
    rng = np.random.default_rng(1)
    above = 0
    for _ in range(RUNS):
        inside, outside = rng.normal(size=500), rng.normal(size=500)
        cuts = cuts_between(np.concatenate([inside, outside]))
        hits, alarms = (np.sum(x[None, :] > cuts[:, None], axis=1) for x in (inside, outside))
        low = stats.beta.ppf(0.025, np.maximum(hits, 1), 501 - hits) * (hits > 0)
        high = np.where(alarms < 500, stats.beta.ppf(0.975, alarms + 1, np.maximum(500 - alarms, 1)), 1.0)
        above += np.max(epsilon_from_rates(low, high)) > 0.0
    assert above / RUNS > 0.04


def test_given_thresholds():
    rng = np.random.default_rng(2)
    inside, outside = laplace(rng, 800, 700)
    one = epsilon_from_scores(inside, outside, search=1.0)
    counts = int((inside > 1).sum()), 800, int((outside > 1).sum()), 700
    assert one.epsilon == epsilon_from_counts(*counts)
    assert (one.true_positives, one.n_members, one.false_positives, one.n_nonmembers) == counts
    four = epsilon_from_scores(inside, outside, thresholds=[-1.0, 0.0, 1.0, 2.0])
    best = max(
        epsilon_from_counts(int((inside > t).sum()), 800, int((outside > t).sum()), 700, confidence_level=1 - 0.05 / 4)
        for t in (-1.0, 0.0, 1.0, 2.0)
    )
    assert four.epsilon == pytest.approx(best, abs=1e-12) and "4 thresholds fixed beforehand" in four.method


def test_fixed_sequence_stops_at_the_first_shortfall():
    rng = np.random.default_rng(3)
    inside, outside = laplace(rng, 5000, 5000)
    alone = {t: epsilon_from_scores(inside, outside, search=float(t)).epsilon for t in (0.0, 1.0, 50.0)}

    def walk(thresholds, targets):
        return epsilon_from_scores(inside, outside, search="fixed_sequence", thresholds=thresholds, targets=targets)

    assert alone[0.0] < alone[1.0] and alone[50.0] == 0.0
    assert walk([0.0, 1.0], [0.3]).epsilon == alone[1.0]
    assert walk([0.0, 1.0], [5.0]).epsilon == alone[0.0]  # the first falls short of its target
    assert walk([1.0, 0.0], [0.5]).epsilon == alone[0.0]  # the first is good for no more than its target
    assert walk([1.0, 0.0], [0.9 * alone[1.0]]).epsilon == pytest.approx(max(0.9 * alone[1.0], alone[0.0]))
    assert walk([1.0, 50.0], [0.6]).epsilon == 0.6
    assert walk([1.0], None).epsilon == alone[1.0]


def test_strong_leaks_are_found_by_every_search():
    rng = np.random.default_rng(4)
    inside, outside = rng.normal(3, 1, 2000), rng.normal(0, 1, 2000)
    found = {search: epsilon_from_scores(inside, outside, search=search, seed=0) for search in SEARCHES}
    assert found["bonferroni"].epsilon > 4 and found["split"].epsilon > 3.5 and found["fixed_sequence"].epsilon > 3.5
    assert 2 < found["dkw"].epsilon < found["bonferroni"].epsilon
    for bound in found.values():
        json.dumps(bound.to_dict())
        assert repr(bound).startswith("ScoreBound(epsilon >= ")
    columns = np.column_stack([rng.normal(size=2000), inside]), np.column_stack([rng.normal(size=2000), outside])
    for search in SEARCHES:
        one = epsilon_from_scores(*columns, search=search, seed=0)
        assert one.query == 1 and one.epsilon <= found[search].epsilon + 0.7


def test_seed_fixes_the_halves_and_order_of_other_searches_does_not_matter():
    rng = np.random.default_rng(5)
    inside, outside = laplace(rng, 300, 300)
    split = [epsilon_from_scores(inside, outside, search="split", seed=seed) for seed in (0, 0, 1)]
    assert split[0] == split[1] != split[2] and split[0].n_members == 150
    for search in ("bonferroni", "dkw"):
        shuffled = epsilon_from_scores(rng.permutation(inside), rng.permutation(outside), search=search)
        assert shuffled == epsilon_from_scores(inside, outside, search=search)


def test_ranks_depend_on_the_number_alone():
    for n in (1, 2, 3, 10, 1000, 10_000):
        ranks = rank_grid(n)
        assert ranks.min() == 1 and ranks.max() == n and len(ranks) == len(set(ranks)) <= 6 * max(1, np.log2(n)) + 1
        assert (ranks == np.sort(n + 1 - ranks)).all()


def test_fpr_above_a_rank_is_below_its_limit():
    """P(FPR above the k-th largest > limit) is the level for continuous scores, and no more with ties."""
    rng = np.random.default_rng(6)
    m, runs = 50, 4000
    for k in (1, 5, 30):
        limit = stats.beta.ppf(0.9, k, m - k + 1)
        above = np.sort(rng.random((runs, m)), axis=1)[:, m - k]
        assert np.mean(1 - above > limit) == pytest.approx(0.1, abs=3 * math.sqrt(0.09 / runs))
        tied = np.sort(rng.integers(0, 6, (runs, m)), axis=1)[:, m - k]
        assert np.mean((5 - tied) / 6 > limit) <= 0.1 + 3 * math.sqrt(0.09 / runs)


@pytest.mark.parametrize("search", SEARCHES)
def test_small_and_constant_scores(search):
    assert epsilon_from_scores([1.0, 1.0], [1.0, 1.0], search=search).epsilon == 0.0
    assert epsilon_from_scores([1.0, 2.0], [0.0, 0.5], search=search).epsilon == 0.0
    assert epsilon_from_scores([1e308, -1e308] * 9, [1e308, -1e308] * 9, search=search).epsilon == 0.0


def test_delta_lowers_the_bound():
    rng = np.random.default_rng(7)
    scores = rng.normal(2, 1, 500), rng.normal(0, 1, 500)
    for search in SEARCHES:
        pure, slack = (epsilon_from_scores(*scores, search=search, delta=delta).epsilon for delta in (0.0, 0.05))
        assert slack < pure


def test_bad_arguments():
    good = ([1.0, 2.0], [0.0, 1.0])
    for arguments, error, message in (
        ({"search": "best"}, ValueError, "search='best' is not known"),
        ({"search": True}, TypeError, "search=True"),
        ({"search": None}, TypeError, "search=None"),
        ({"search": float("nan")}, ValueError, "search=nan"),
        ({"search": 1.0, "thresholds": [1.0]}, ValueError, "one of the two"),
        ({"search": "dkw", "thresholds": [1.0]}, ValueError, "no use with search='dkw'"),
        ({"thresholds": []}, ValueError, "at least one number"),
        ({"thresholds": [float("nan")]}, ValueError, "at least one number"),
        ({"search": "split", "targets": [1.0]}, ValueError, "targets belong"),
        ({"search": "fixed_sequence", "thresholds": [1.0, 2.0]}, ValueError, "targets=None must be 1 ascending"),
        ({"search": "fixed_sequence", "thresholds": [1.0, 2.0, 3.0], "targets": [2.0, 1.0]}, ValueError, "ascending"),
        ({"delta": 1.0}, ValueError, "delta=1.0"),
        ({"confidence_level": 0.0}, ValueError, "confidence_level=0.0"),
    ):
        with pytest.raises(error, match=message):
            epsilon_from_scores(*good, **arguments)
    with pytest.raises(ValueError, match="nonmember_scores has 0 rows"):
        epsilon_from_scores([1.0], np.empty(0))
    with pytest.raises(ValueError, match="member_scores has 1 rows; at least 2"):
        epsilon_from_scores([1.0], [1.0, 2.0], search="split")
    with pytest.raises(ValueError, match="member_scores has NaN"):
        epsilon_from_scores([float("nan")], [1.0])
    with pytest.raises(ValueError, match="1 columns but nonmember_scores has 2"):
        epsilon_from_scores([1.0], [[1.0, 2.0]])
    with pytest.raises(ValueError, match="of one query, but the scores have 2 columns"):
        epsilon_from_scores([[1.0, 2.0]], [[1.0, 2.0]], search=0.5)
