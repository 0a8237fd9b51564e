"""Asymptotic ratio bounds: formulas, delta, both directions, and where they exceed."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import optimize, stats

from mace_jax.certificates import epsilon_from_counts
from mace_jax.certificates._ratio import RATIO_METHODS, epsilon_from_ratio

METHODS = tuple(RATIO_METHODS)
Z = float(stats.norm.ppf(0.975))


def log_limit(method, x, n, y, m):
    """One direction at z = 1.96, each written from its own definition."""
    if method == "adjusted_log":
        x, n, y, m = x + 0.5, n + 0.5, y + 0.5, m + 0.5
    p, q = x / n, y / m
    sd = math.sqrt((1 - p) / (n * p) + (1 - q) / (m * q))
    if method in ("katz", "adjusted_log"):
        return math.log(p / q) - Z * sd
    if method == "inverse_sinh":
        return math.log(p / q) - 2 * math.asinh(Z / 2 * sd)
    # Fieller: the smallest ratio t of cube roots with (a - t b)^2 <= z^2 (var a + t^2 var b)
    a, b = p ** (1 / 3), q ** (1 / 3)
    var_a, var_b = p ** (2 / 3) * (1 - p) / (9 * n * p), q ** (2 / 3) * (1 - q) / (9 * m * q)
    gap = lambda t: (a - t * b) ** 2 - Z**2 * (var_a + t**2 * var_b)  # noqa: E731
    return 3 * math.log(optimize.brentq(gap, 0.0, a / b, xtol=1e-15))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("counts", [(90, 100, 12, 120), (300, 1000, 40, 900), (7, 400, 1, 500), (960, 1000, 500, 1000)])
def test_larger_of_both_directions(method, counts):
    x, n, y, m = counts
    expected = max(0.0, log_limit(method, x, n, y, m), log_limit(method, m - y, m, n - x, n))
    assert epsilon_from_counts(*counts, method=method) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_a_vanishing_delta_costs_a_tenth_of_the_level_and_a_large_one_more(method):
    counts = (400, 500, 30, 500)
    pure = epsilon_from_counts(*counts, method=method)
    spent = epsilon_from_counts(*counts, method=method, delta=1e-12)
    reduced = epsilon_from_counts(*counts, method=method, confidence_level=1 - 0.9 * 0.05)
    assert spent == pytest.approx(reduced, abs=1e-9) and spent < pure
    low = stats.beta.ppf(0.1 * 0.025, 400, 101)
    large = epsilon_from_counts(*counts, method=method, delta=0.2)
    assert large == pytest.approx(reduced + math.log(1 - 0.2 / low), abs=1e-9)
    assert epsilon_from_counts(*counts, method=method, delta=0.99) == 0.0


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("counts", [(0, 9, 0, 9), (9, 9, 9, 9), (0, 9, 9, 9), (9, 9, 0, 9), (1, 1, 0, 1), (5, 9, 0, 9)])
@pytest.mark.parametrize("delta", [0.0, 0.05])
def test_extreme_counts_are_finite(method, counts, delta):
    bound = epsilon_from_counts(*counts, method=method, delta=delta, confidence_level=1 - 1e-9)
    assert 0.0 <= bound < 10.0


def exceedance(method, n, m, tpr, fpr, truth):
    """Exact probability that the bound exceeds the truth; it falls in the false positives from 1 on."""
    members, alarms = np.arange(n + 1), stats.binom.pmf(np.arange(m + 1), m, fpr)
    total = 0.0
    for x, chance in zip(members, stats.binom.pmf(members, n, tpr), strict=True):
        if chance < 1e-6:
            continue
        for y in range(m + 1):
            if epsilon_from_ratio(method, int(x), n, y, m, delta=0.0, error=0.05) > truth:
                total += chance * alarms[y]
            elif y > 1:
                break
    return total


@pytest.mark.parametrize("method", METHODS)
def test_they_exceed_where_the_documentation_says(method):
    assert exceedance(method, 1000, 50, 0.01, 0.01, 0.0) == pytest.approx(0.60, abs=0.01)
    kept = math.e / (1 + math.e)
    assert exceedance(method, 60, 60, kept, 1 - kept, 1.0 + 1e-12) <= 0.053
