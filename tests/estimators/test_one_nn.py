"""The 1-NN bracket against brute force, subsampling and the closed form; the Dvoretzky-Kiefer-Wolfowitz bound."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import integrate, stats

from mace_jax import MembershipSample
from mace_jax.estimators import dkw_bound, one_nn_bracket


def error_by_hand(members, nonmembers):
    """Leave-one-out with equally near neighbors shared, for classes of one size."""
    rows = np.concatenate([members, nonmembers])
    labels = np.repeat([1, 0], [len(members), len(nonmembers)])
    wrong = np.empty(len(rows))
    for row in range(len(rows)):
        squared = ((rows - rows[row]) ** 2).sum(axis=1)
        squared[row] = np.inf
        wrong[row] = (labels[squared == squared.min()] != labels[row]).mean()
    return (wrong[labels == 1].mean() + wrong[labels == 0].mean()) / 2


@pytest.mark.parametrize("width", [1, 3])
@pytest.mark.parametrize("kind", ["continuous", "atoms", "half zeros"])
def test_equal_classes_equal_brute_force(width, kind, rng):
    rows = rng.normal(size=(120, width)) if kind != "atoms" else rng.integers(0, 3, (120, width)).astype(float)
    if kind == "half zeros":
        rows[rng.random(120) < 0.5] = 0.0
    found = one_nn_bracket(MembershipSample(rows[:60], rows[60:]), scale=False)
    expected = error_by_hand(rows[:60], rows[60:])
    assert found.error == pytest.approx(expected, abs=1e-9)
    assert found.upper == pytest.approx(np.sqrt(max(0.0, 1 - 2 * expected)))
    swapped = one_nn_bracket(MembershipSample(rows[60:], rows[:60]), scale=False)
    assert swapped.error == pytest.approx(found.error, abs=1e-12)


@pytest.mark.parametrize("kind", ["continuous", "atoms"])
def test_unequal_classes_equal_the_mean_over_subsets(kind, rng):
    members, others = rng.normal(0.8, 1, (40, 1)), rng.normal(0, 1, (160, 1))
    if kind == "atoms":
        members, others = np.round(members * 2), np.round(others * 2)
    found = one_nn_bracket(MembershipSample(members, others))
    drawn = [error_by_hand(members, others[rng.choice(160, 40, replace=False)]) for _ in range(600)]
    standard_error = np.std(drawn) / np.sqrt(600)
    assert found.error == pytest.approx(np.mean(drawn), abs=4 * standard_error + 0.004)


def test_the_error_tends_to_its_limit_and_brackets_the_truth(rng):
    """R1 = E 2 eta (1 - eta) = int f1 f0 / (f1 + f0) for a Gaussian shift of 1; TV = .3829."""

    def density(t):
        first, second = stats.norm.pdf(t, 1), stats.norm.pdf(t)
        return first * second / (first + second)

    limit = integrate.quad(density, -9, 10)[0]
    found = one_nn_bracket(MembershipSample(rng.normal(1, 1, 20000), rng.normal(0, 1, 20000)))
    assert found.error == pytest.approx(limit, abs=4 * 0.5 / np.sqrt(20000))
    assert found.lower < 0.3829 < found.upper


def test_extremes():
    assert one_nn_bracket(MembershipSample([0.0] * 50, [0.0] * 50)).error == pytest.approx(50 / 99)
    assert one_nn_bracket(MembershipSample([[0.0, 1.0]] * 9, [[5.0, 1.0]] * 30)).upper == pytest.approx(1.0, abs=1e-4)
    with pytest.raises(ValueError, match="too unequal for one_nn_bracket"):
        one_nn_bracket(MembershipSample(np.zeros(2), np.arange(4000.0)))


def test_dkw_is_the_two_sided_distance_less_two_radii(rng):
    members, others = rng.normal(1, 1, 300), rng.normal(0, 1, 700)
    ks, lower = dkw_bound(members, others, confidence_level=0.9)
    assert ks == pytest.approx(stats.ks_2samp(members, others).statistic)
    assert lower == pytest.approx(ks - np.sqrt(np.log(40) / 600) - np.sqrt(np.log(40) / 1400))
    assert dkw_bound(-members, -others).ks == pytest.approx(ks)
    tied = dkw_bound(np.round(members), np.round(others)).ks
    assert tied == pytest.approx(stats.ks_2samp(np.round(members), np.round(others)).statistic)
    assert dkw_bound([0.0, 1.0], [0.5, 1.0]).lower == 0.0


def test_dkw_holds_in_simulation(rng):
    truth = 2 * stats.norm.cdf(0.5) - 1
    drawn = [dkw_bound(rng.normal(1, 1, 80), rng.normal(0, 1, 80), confidence_level=0.5) for _ in range(500)]
    assert sum(bound.lower > truth for bound in drawn) <= 250


def test_dkw_refuses_vectors():
    with pytest.raises(ValueError, match="nonmember_scores has 2 columns"):
        dkw_bound([1.0], [[1.0, 2.0]])
