"""General f-differential privacy: families, agreement with the special cases, validity."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mace_jax.certificates import (
    approximate_trade_off,
    epsilon_from_counts,
    epsilon_gdp,
    f_dp_parameter,
    gaussian_trade_off,
    laplace_trade_off,
)


@given(missed=st.integers(0, 60), alarms=st.integers(0, 80), level=st.sampled_from([0.6, 0.95, 0.9999]))
def test_special_cases(missed, alarms, level):
    counts = (missed, 60, alarms, 80)
    gaussian = f_dp_parameter(*counts, gaussian_trade_off, confidence_level=level)
    assert gaussian == pytest.approx(epsilon_gdp(*counts, delta=0.1, confidence_level=level).mu, abs=1e-9)
    for delta in (0.0, 0.03):
        pair = epsilon_from_counts(60 - missed, 60, alarms, 80, delta=delta, confidence_level=level)
        found = f_dp_parameter(*counts, approximate_trade_off(delta), confidence_level=level)
        assert found == pytest.approx(pair, abs=1e-9)


@pytest.mark.parametrize("epsilon", [0.3, 1.0, 4.0])
def test_laplace_curve_is_that_of_its_thresholds(epsilon):
    cuts = np.linspace(-3, 3 + epsilon, 41)
    for cut in cuts:
        fpr, fnr = stats.laplace.sf(cut), stats.laplace.cdf(cut, loc=epsilon)
        assert laplace_trade_off(fpr, epsilon) == pytest.approx(fnr, abs=1e-12)


@pytest.mark.parametrize("trade_off", [gaussian_trade_off, laplace_trade_off, approximate_trade_off(0.01)])
def test_families_fall_in_both_and_are_symmetric(trade_off):
    grid = np.linspace(1e-6, 1 - 1e-6, 301)
    for parameter in (0.0, 0.5, 3.0):
        curve = np.array([trade_off(x, parameter) for x in grid])
        assert (np.diff(curve) <= 1e-12).all()
        proper = curve > 1e-9
        back = np.array([trade_off(y, parameter) for y in curve[proper]])
        assert back == pytest.approx(grid[proper], abs=1e-9)
        assert (np.array([trade_off(x, parameter + 0.1) for x in grid]) <= curve + 1e-12).all()


def test_laplace_bound_lies_between_pure_and_gaussian_and_holds():
    rng = np.random.default_rng(1)
    truth, n, runs = 1.0, 400, 300
    for cut in (0.2, 1.0):
        missed = rng.binomial(n, stats.laplace.cdf(cut, loc=truth), runs)
        alarms = rng.binomial(n, stats.laplace.sf(cut), runs)
        bounds = [f_dp_parameter(int(a), n, int(b), n, laplace_trade_off) for a, b in zip(missed, alarms, strict=True)]
        assert np.mean(np.array(bounds) > truth) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / runs)
        assert (
            np.median(bounds)
            > np.median([epsilon_from_counts(n - int(a), n, int(b), n) for a, b in zip(missed, alarms, strict=True)])
            - 1e-9
        )


def test_bounds_of_the_parameter():
    counts = (0, 500, 0, 500)
    assert f_dp_parameter(*counts, gaussian_trade_off, bounds=(0.0, 2.0)) == 2.0
    assert f_dp_parameter(250, 500, 250, 500, gaussian_trade_off, bounds=(0.5, 2.0)) == 0.5
    with pytest.raises(ValueError, match="ascending"):
        f_dp_parameter(*counts, gaussian_trade_off, bounds=(2.0, 1.0))


def test_bad_arguments():
    with pytest.raises(ValueError, match="false_positives=501 exceeds"):
        f_dp_parameter(0, 500, 501, 500, gaussian_trade_off)
    with pytest.raises(ValueError, match="fall in its parameter"):
        f_dp_parameter(0, 500, 0, 500, lambda fpr, parameter: min(1.0, parameter / 100.0))
    with pytest.raises(ValueError, match=r"lie in \[0, 1\]"):
        f_dp_parameter(0, 500, 0, 500, lambda fpr, parameter: float("nan"))
    with pytest.raises(ValueError, match="confidence_level=1"):
        f_dp_parameter(0, 500, 0, 500, gaussian_trade_off, confidence_level=1)
    with pytest.raises(ValueError, match="delta=1"):
        approximate_trade_off(1.0)
