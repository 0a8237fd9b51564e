"""The top-n rule: exact on small cases, ties, intervals that cover."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import optimize, stats

from mace_jax.attacks import excess_ratio, top_n_accuracy


def by_definition(members: np.ndarray, nonmembers: np.ndarray) -> float:
    """Mean over all orders of tied records of the share of members among the first n."""
    n = len(members)
    scores, labels = np.concatenate([members, nonmembers]), np.repeat([1, 0], [n, len(nonmembers)])
    shares = []
    for order in itertools.permutations(range(len(scores))):
        ranked = np.array(order)[np.argsort(-scores[list(order)], kind="stable")]
        shares.append(labels[ranked[:n]].mean())
    return float(np.mean(shares))


@pytest.mark.parametrize(
    ("members", "nonmembers"),
    [([1.0, 1.0, 0.0], [1.0, 0.0, 0.0]), ([2.0, 1.0], [1.0, 1.0, 0.0]), ([0.0, 0.0], [0.0, 0.0, 0.0]), ([3.0], [1.0])],
)
def test_ties_count_in_proportion(members, nonmembers):
    found = top_n_accuracy(members, nonmembers, n_resamples=10, seed=0)
    assert found.value == pytest.approx(by_definition(np.array(members), np.array(nonmembers)), abs=1e-12)
    assert found.chance == len(members) / (len(members) + len(nonmembers))


def test_order_of_the_records_does_not_matter():
    rng = np.random.default_rng(0)
    members, nonmembers = rng.integers(0, 9, 40), rng.integers(0, 7, 300)
    values = {top_n_accuracy(rng.permutation(members), rng.permutation(nonmembers), seed=0).value for _ in range(5)}
    assert len(values) == 1


def test_separated_scores_have_an_interval_that_is_not_a_point():
    found = top_n_accuracy(np.arange(50) + 100.0, np.arange(50), n_resamples=50, seed=0)
    assert found.value == found.high == 1.0
    assert found.low == pytest.approx(0.025 ** (1 / 50))


def test_the_ratio_of_excesses_is_paired():
    rng = np.random.default_rng(1)
    members, nonmembers = rng.normal(1.0, 1.0, 500), rng.normal(size=4500)
    plain = top_n_accuracy(members, nonmembers, seed=3)
    assert excess_ratio(top_n_accuracy(members, nonmembers, seed=3), plain) == (1.0, 1.0, 1.0)
    ratio, low, high = excess_ratio(top_n_accuracy(members - 0.5, nonmembers, seed=3), plain)
    assert low < ratio < high < 1.0
    with pytest.raises(ValueError, match="different records"):
        excess_ratio(top_n_accuracy(members[:9], nonmembers, seed=3), plain)
    with pytest.raises(ValueError, match="does not exceed chance"):
        excess_ratio(plain, top_n_accuracy(members - 9.0, nonmembers, seed=3))


@pytest.mark.parametrize("argument", [{"member_scores": [np.nan]}, {"nonmember_scores": [[1.0, 2.0]]}])
def test_bad_scores_are_named(argument):
    with pytest.raises(ValueError, match=next(iter(argument))):
        top_n_accuracy(**{"member_scores": [1.0], "nonmember_scores": [0.0], **argument}, seed=0)


@pytest.mark.slow
@pytest.mark.parametrize("shift", [0.0, 1.0, 2.5])
def test_intervals_cover_the_law(shift):
    """The truth: the cut t with ``pi P(S > t) + (1 - pi) Q(S > t) = pi``, and ``P(S > t)`` there."""
    n, m = 200, 1800
    share = n / (n + m)
    cut = optimize.brentq(lambda t: share * stats.norm.sf(t - shift) + (1 - share) * stats.norm.sf(t) - share, -5, 9)
    truth = stats.norm.sf(cut - shift)
    covered = 0
    for seed in range(400):
        rng = np.random.default_rng(seed)
        found = top_n_accuracy(rng.normal(shift, 1.0, n), rng.normal(size=m), n_resamples=500, seed=seed)
        covered += found.low <= truth <= found.high
    assert 0.915 <= covered / 400 <= 0.985
