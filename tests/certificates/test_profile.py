"""Privacy profiles: the crossing with epsilon_from_counts, validity over the whole curve, the mixture form."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mace_jax.certificates import delta_from_mixture, epsilon_from_counts, gdp_delta, privacy_profile_bound


@given(
    hits=st.integers(0, 200), alarms=st.integers(0, 150), delta=st.sampled_from([0.0, 1e-6, 0.01, 0.3]),
    level=st.sampled_from([0.5, 0.95, 1 - 1e-9]),
)  # fmt: skip
def test_curve_crosses_delta_at_the_epsilon_of_the_counts(hits, alarms, delta, level):
    counts = (hits, 200, alarms, 150)
    epsilon = epsilon_from_counts(*counts, delta=delta, confidence_level=level)
    below, at, beyond = privacy_profile_bound(*counts, [max(0.0, epsilon - 1e-6), epsilon, epsilon + 1e-6],
                                              confidence_level=level)  # fmt: skip
    assert beyond <= delta + 1e-12
    if epsilon > 0.0:
        assert at == pytest.approx(delta, abs=1e-12) and below >= delta


def test_whole_curve_holds_for_a_gaussian_mechanism():
    rng = np.random.default_rng(0)
    mu, n, runs, grid = 1.0, 300, 400, np.linspace(0, 4, 41)
    truth = gdp_delta(mu, grid)
    for cut in (0.5, 1.5, -0.5):
        hits, alarms = rng.binomial(n, stats.norm.sf(cut - mu), runs), rng.binomial(n, stats.norm.sf(cut), runs)
        above = [
            (privacy_profile_bound(int(a), n, int(b), n, grid) > truth).any() for a, b in zip(hits, alarms, strict=True)
        ]
        assert np.mean(above) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / runs)


def test_mixture_is_the_hockey_stick_of_a_classifier():
    rng = np.random.default_rng(1)
    mu, epsilon, n, runs = 2.0, 0.5, 2000, 300
    share = 1 / (1 + math.exp(epsilon))
    cut = epsilon / mu + mu / 2  # where the likelihood ratio is e^epsilon
    accuracy = share * stats.norm.sf(cut - mu) + (1 - share) * stats.norm.cdf(cut)
    bounds = np.array([delta_from_mixture(int(c), n, epsilon) for c in rng.binomial(n, accuracy, runs)])
    truth = float(gdp_delta(mu, epsilon))
    assert accuracy * (1 + math.exp(epsilon)) - math.exp(epsilon) == pytest.approx(truth, abs=1e-12)
    assert np.mean(bounds > truth) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / runs)
    assert np.median(bounds) > truth - 0.08


def test_extremes_and_shapes():
    curve = privacy_profile_bound(500, 500, 0, 500, np.array([[0.0, 1e4], [1.0, 1e308]]))
    assert curve.shape == (2, 2) and curve[0, 1] == 0.0 == curve[1, 1]
    assert privacy_profile_bound(0, 5, 0, 5, 0.0) == 0.0
    assert delta_from_mixture(10, 10, 1e4) == 0.0 == delta_from_mixture(0, 10, 0.0)


def test_bad_arguments():
    with pytest.raises(ValueError, match="epsilons="):
        privacy_profile_bound(1, 5, 0, 5, [-1.0])
    with pytest.raises(ValueError, match="epsilons="):
        privacy_profile_bound(1, 5, 0, 5, [float("nan")])
    with pytest.raises(ValueError, match="false_positives=6"):
        privacy_profile_bound(1, 5, 6, 5, [1.0])
    with pytest.raises(ValueError, match="n_correct=6"):
        delta_from_mixture(6, 5, 1.0)
    with pytest.raises(ValueError, match="epsilon=-1"):
        delta_from_mixture(4, 5, -1)
