"""The joint-beta interval: worked values, posterior draws, and calibration under its own prior."""

from __future__ import annotations

import numpy as np
import pytest

from mace_jax.certificates import epsilon_joint_beta
from mace_jax.certificates._epsilon import epsilon_from_rates


def test_worked_intervals():
    low, high = epsilon_joint_beta(487, 0, 512, 1, delta=1e-5)
    assert low == pytest.approx(0.143895, abs=6e-7) and high == pytest.approx(6.415596, abs=6e-7)
    low, high = epsilon_joint_beta(500, 0, 0, 500, delta=1e-5)
    assert low == pytest.approx(6.51315, abs=6e-6) and high == pytest.approx(13.8076, abs=6e-5)


def smallest_epsilon(fnr, fpr, delta):
    """Of both a rule and its opposite."""
    return np.maximum(epsilon_from_rates(1.0 - fnr, fpr, delta=delta), epsilon_from_rates(fnr, 1.0 - fpr, delta=delta))


@pytest.mark.parametrize(
    "tp, fn, fp, tn, delta",
    [(30, 70, 12, 88, 0.0), (30, 70, 12, 88, 0.1), (0, 20, 20, 0, 0.01), (5, 5, 5, 5, 0.0), (900, 100, 3, 2000, 1e-3)],
)
def test_quantiles_of_posterior_draws(tp, fn, fp, tn, delta):
    rng = np.random.default_rng(0)
    draws = 400_000
    epsilon = smallest_epsilon(rng.beta(0.5 + fn, 0.5 + tp, draws), rng.beta(0.5 + fp, 0.5 + tn, draws), delta)
    for level in (0.5, 0.9):
        low, high = epsilon_joint_beta(tp, fn, fp, tn, delta=delta, confidence_level=level)
        assert np.mean(epsilon <= low) == pytest.approx((1 - level) / 2, abs=4e-3) or low == 0.0
        assert np.mean(epsilon <= high) == pytest.approx(1 - (1 - level) / 2, abs=4e-3)


def test_mirrored_counts_give_the_same_interval():
    one = epsilon_joint_beta(30, 70, 12, 88, delta=0.02)
    assert epsilon_joint_beta(70, 30, 88, 12, delta=0.02) == pytest.approx(one, abs=1e-9)  # the opposite rule
    assert epsilon_joint_beta(88, 12, 70, 30, delta=0.02) == pytest.approx(one, abs=1e-9)  # worlds exchanged


def test_large_counts_narrow_to_the_truth_and_no_evidence_starts_at_zero():
    low, high = epsilon_joint_beta(731_059, 268_941, 268_941, 731_059)
    assert low < 1.0 < high and high - low < 0.01
    low, high = epsilon_joint_beta(500, 500, 500, 500, delta=0.1)
    assert low == 0.0 and high == 0.0  # delta alone explains all of the posterior


@pytest.mark.slow
def test_credible_under_its_own_prior():
    rng = np.random.default_rng(2)
    runs, n = 300, 40
    fnr, fpr = rng.beta(0.5, 0.5, (2, runs))
    missed, alarms = rng.binomial(n, fnr), rng.binomial(n, fpr)
    truth = smallest_epsilon(fnr, fpr, 0.0)
    held = 0
    for i in range(runs):
        low, high = epsilon_joint_beta(n - int(missed[i]), int(missed[i]), int(alarms[i]), n - int(alarms[i]))
        held += low <= truth[i] <= high
    assert held / runs == pytest.approx(0.9, abs=3 * np.sqrt(0.09 / runs))


def test_bad_arguments():
    with pytest.raises(ValueError, match="true_negatives=-1"):
        epsilon_joint_beta(1, 1, 1, -1)
    with pytest.raises(TypeError, match="false_positives must be an integer"):
        epsilon_joint_beta(1, 1, 1.5, 1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="hold no non-member"):
        epsilon_joint_beta(1, 1, 0, 0)
    with pytest.raises(ValueError, match="confidence_level=1.5"):
        epsilon_joint_beta(1, 1, 1, 1, confidence_level=1.5)
