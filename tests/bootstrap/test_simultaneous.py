"""Simultaneous bands and step-down p-values: brute force, known laws, family-wise error."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from mace_jax.bootstrap._simultaneous import simultaneous_band, step_down


def brute_force_step_down(estimates, replicates, null, two_sided):
    """Straight from the definition, one hypothesis at a time."""
    errors = replicates.std(axis=0, ddof=1)
    size = (estimates - null) / errors
    deviation = (replicates - estimates) / errors
    if two_sided:
        size, deviation = np.abs(size), np.abs(deviation)
    remaining, adjusted, previous = set(range(len(estimates))), np.zeros(len(estimates)), 0.0
    while remaining:
        leader = max(sorted(remaining), key=lambda q: size[q])
        reached = sum(max(row[q] for q in remaining) >= size[leader] for row in deviation)
        previous = adjusted[leader] = max(previous, (1 + reached) / (len(replicates) + 1))
        remaining.remove(leader)
    return adjusted


@pytest.mark.parametrize("two_sided", [True, False])
def test_step_down_equals_brute_force(rng, two_sided):
    for q in (1, 2, 7):
        estimates = rng.normal(0.5, 1.5, q)
        replicates = estimates + rng.normal(size=(200, q)) @ rng.normal(size=(q, q))
        null = rng.normal(size=q)
        found = step_down(estimates, replicates, null, alternative="two-sided" if two_sided else "greater")
        np.testing.assert_allclose(found, brute_force_step_down(estimates, replicates, null, two_sided))


def test_a_band_of_one_statistic_is_normal_and_copies_cost_nothing(rng):
    draws = rng.normal(3.0, 2.0, (40_000, 1))
    low, high = simultaneous_band([3.0], draws, 0.9)
    assert (3.0 - low[0]) / 2.0 == pytest.approx(stats.norm.ppf(0.95), abs=0.04)
    copied_low, copied_high = simultaneous_band([3.0] * 5, np.repeat(draws, 5, axis=1), 0.9)
    np.testing.assert_allclose(copied_low, low[0])
    np.testing.assert_allclose(copied_high, high[0])


def test_a_band_of_independent_statistics_has_the_sidak_reach(rng):
    low, high = simultaneous_band(np.zeros(8), rng.normal(size=(40_000, 8)))
    np.testing.assert_allclose(high, stats.norm.ppf(0.5 + 0.95 ** (1 / 8) / 2), atol=0.06)
    np.testing.assert_allclose(low, -high)


def test_a_statistic_without_spread_is_known(rng):
    replicates = np.column_stack([np.ones(500), rng.normal(size=500), np.full(500, 2.0)])
    low, high = simultaneous_band([1.0, 0.0, 2.0], replicates)
    assert low[0] == high[0] == 1.0 and low[1] < -1.8
    assert step_down([1.0, 0.0, 2.0], replicates, [1.0, 0.0, 0.0]).round(3).tolist() == [1.0, 1.0, 0.002]
    assert step_down([1.0, 0.0, 2.0], replicates, 3.0, alternative="greater").tolist() == [1.0, 1.0, 1.0]


def test_adjusted_p_values_follow_the_order_of_the_estimates(rng):
    replicates = rng.normal(size=(999, 4))
    estimates = np.array([0.1, 4.0, 2.0, 2.5])
    found = step_down(estimates, estimates + replicates)
    assert found[1] < found[3] < found[2] < found[0]
    assert (found >= 1 / 1000).all() and (found <= 1).all()


def test_family_wise_error_of_correlated_means(rng):
    """Six correlated means, four true nulls: step-down errs about 5 % of the time, and rejects more than the band."""
    q, n, runs, n_resamples = 6, 60, 400, 300
    truth = np.array([0, 0, 0, 0, 0.45, 0.45])
    mixing = np.eye(q) + 0.5
    wrong = missed = found = banded = 0
    for _ in range(runs):
        values = truth + rng.normal(size=(n, q)) @ mixing.T / np.sqrt((mixing**2).sum(axis=1))
        weights = rng.poisson(1.0, (n_resamples, n))
        means = weights @ values / weights.sum(axis=1, keepdims=True)
        estimate = values.mean(axis=0)
        low, high = simultaneous_band(estimate, means)
        rejected = step_down(estimate, means) <= 0.05
        wrong += rejected[:4].any()
        missed += not ((low <= truth) & (truth <= high)).all()
        found += rejected[4:].sum()
        banded += ((low > 0) | (high < 0))[4:].sum()
    slack = 3 * np.sqrt(0.05 * 0.95 / runs)
    assert wrong / runs < 0.06 + slack and 0.01 < missed / runs < 0.07 + slack  # resampling 60 rows is a little narrow
    assert found >= banded > 0.5 * runs


def test_bad_arguments(rng):
    draws = rng.normal(size=(200, 3))
    with pytest.raises(ValueError, match=r"pass \(q,\) and \(B, q\)"):
        simultaneous_band(np.zeros(2), draws)
    with pytest.raises(ValueError, match=r"pass \(q,\) and \(B, q\)"):
        step_down(0.0, draws[:, 0])
    with pytest.raises(ValueError, match="at least 100"):
        simultaneous_band(np.zeros(3), draws[:50])
    with pytest.raises(ValueError, match="must be finite"):
        step_down([0.0, np.nan, 1.0], draws)
    with pytest.raises(ValueError, match="confidence_level=1.5"):
        simultaneous_band(np.zeros(3), draws, 1.5)
    with pytest.raises(ValueError, match="alternative='less' is not known"):
        step_down(np.zeros(3), draws, alternative="less")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="null must be one finite number or one per estimate"):
        step_down(np.zeros(3), draws, [0.0, 1.0])
