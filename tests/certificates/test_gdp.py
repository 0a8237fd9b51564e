"""Gaussian differential privacy: worked values, conversions to the far tail, and validity on a Gaussian mechanism."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mace_jax.certificates import epsilon_from_counts, epsilon_gdp, gdp_delta, gdp_epsilon


@pytest.mark.parametrize(
    "mu, at_percent, at_1e5, at_1e6",
    [
        (0.5, 0.919458, 1.993091, 2.254085),
        (1.0, 2.317789, 4.377178, 4.886554),
        (2.0, 5.997893, 9.997256, 10.997151),
        (4.0, 16.522789, 24.381611, 26.356964),
    ],
)
def test_worked_epsilons(mu, at_percent, at_1e5, at_1e6):
    for delta, epsilon in ((1e-2, at_percent), (1e-5, at_1e5), (1e-6, at_1e6)):
        assert gdp_epsilon(mu, delta) == pytest.approx(epsilon, abs=6e-7)


def test_worked_audits():
    weak, strong = epsilon_gdp(100, 1000, 100, 1000, delta=1e-5), epsilon_gdp(0, 500, 0, 500, delta=1e-5)
    assert weak.mu == pytest.approx(2.347097, abs=6e-7) and weak.epsilon == pytest.approx(12.197563, abs=6e-7)
    assert strong.mu == pytest.approx(4.879314, abs=6e-7) and strong.epsilon == pytest.approx(31.997408, abs=6e-7)
    # the assumption of a Gaussian curve is what lies between
    assert epsilon_from_counts(500, 500, 0, 500, delta=1e-5) == pytest.approx(4.905584, abs=6e-7)


@given(mu=st.floats(0.01, 20.0), delta=st.sampled_from([1e-300, 1e-40, 1e-9, 1e-5, 1e-2, 0.3]))
def test_round_trip(mu, delta):
    epsilon = gdp_epsilon(mu, delta)
    assert gdp_delta(mu, epsilon) <= delta * (1 + 1e-9) or epsilon == 0.0
    if epsilon > 0.0:
        assert gdp_delta(mu, epsilon) == pytest.approx(delta, rel=1e-9)


@pytest.mark.parametrize("mu, epsilon", [(0.01, 0.3), (0.5, 0.0), (1.0, 1.0), (1.0, 35.0), (6.0, 2.0), (8.0, 300.0)])
def test_delta_against_many_digits(mu, epsilon):
    mpmath = pytest.importorskip("mpmath")
    with mpmath.workdps(60):
        m, e = mpmath.mpf(mu), mpmath.mpf(epsilon)
        truth = mpmath.ncdf(-e / m + m / 2) - mpmath.exp(e) * mpmath.ncdf(-e / m - m / 2)
        assert gdp_delta(mu, epsilon) == pytest.approx(float(truth), rel=1e-10)


def test_extremes_and_arrays():
    assert gdp_epsilon(0.0, 0.0) == 0.0 and gdp_epsilon(1e-9, 0.0) == np.inf
    assert gdp_epsilon(0.1, 0.5) == 0.0 and gdp_delta(0.0, 1.0) == 0.0
    assert gdp_delta(50.0, 1e5) == 0.0 and gdp_delta(60.0, 1.0) == pytest.approx(1.0)
    curve = gdp_delta(1.0, np.linspace(0, 5, 11).reshape(1, 11))
    assert curve.shape == (1, 11) and (np.diff(curve[0]) < 0).all()
    assert epsilon_gdp(9, 10, 9, 10, delta=1e-5) == (0.0, 0.0)
    # for a large mu, delta is about Phi(-epsilon / mu + mu / 2)
    assert gdp_epsilon(1e5, 1e-5) == pytest.approx(5e9 - 1e5 * stats.norm.ppf(1e-5), rel=1e-9)
    assert gdp_epsilon(1e300, 1e-5) == np.inf


def test_bound_holds_for_a_gaussian_mechanism():
    rng = np.random.default_rng(0)
    mu, n, runs = 1.0, 200, 400
    for cut in (-0.5, 0.5, 2.0):
        missed = rng.binomial(n, stats.norm.cdf(cut - mu), runs)
        alarms = rng.binomial(n, stats.norm.sf(cut), runs)
        bounds = [epsilon_gdp(int(a), n, int(b), n, delta=1e-3) for a, b in zip(missed, alarms, strict=True)]
        above = np.mean([bound.mu > mu for bound in bounds])
        assert above <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / runs)
        assert above == np.mean([bound.epsilon > gdp_epsilon(mu, 1e-3) for bound in bounds])


def test_bad_arguments():
    with pytest.raises(ValueError, match="false_negatives=11 exceeds its total 10"):
        epsilon_gdp(11, 10, 0, 10, delta=1e-5)
    with pytest.raises(ValueError, match="delta=0.*no finite epsilon"):
        epsilon_gdp(1, 10, 0, 10, delta=0)
    with pytest.raises(TypeError, match="false_positives must be an integer"):
        epsilon_gdp(1, 10, 0.5, 10, delta=1e-5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="mu=-1"):
        gdp_epsilon(-1, 1e-5)
    with pytest.raises(ValueError, match="epsilon=-1.0 must be finite"):
        gdp_delta(1.0, -1.0)
