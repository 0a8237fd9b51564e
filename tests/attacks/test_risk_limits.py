"""Limits of risk scores: table values, a plain double integral, exact coverage."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import integrate, special, stats

from mace_jax.attacks._risk_limits import log_ratio_quantile, risk_interval

TABLE = {  # k_in, n_in, k_out, n_out: quantiles of r at 2.5, 50 and 97.5 %
    (8, 16, 0, 16): (0.75984, 0.97239, 0.99994),
    (3, 3, 0, 10): (0.78974, 0.97524, 0.99994),
    (8, 16, 2, 16): (0.54781, 0.78722, 0.95038),
    (0, 16, 4, 16): (0.00012, 0.05276, 0.41818),
}


def parameters(counts):
    k_in, n_in, k_out, n_out = np.asarray(counts, float).T
    return k_in + 0.5, n_in - k_in + 0.5, k_out + 0.5, n_out - k_out + 0.5


def test_quantiles_of_the_table():
    found = [special.expit(log_ratio_quantile(*parameters(list(TABLE)), level)) for level in (0.025, 0.5, 0.975)]
    np.testing.assert_allclose(np.stack(found, axis=1), list(TABLE.values()), atol=5.01e-6)


def test_the_end_rule():
    k_in, n_in, k_out, n_out = np.array(list(TABLE)).T
    low, high = risk_interval(k_in, n_in, k_out, n_out)
    np.testing.assert_allclose(low, [0.75984, 0.78974, 0.54781, 0.0], atol=5.01e-6)
    np.testing.assert_allclose(high, [1.0, 1.0, 0.95038, 0.41818], atol=5.01e-6)
    assert risk_interval(0, 5, 0, 9) == (0.0, 1.0)


@pytest.mark.parametrize(
    "counts", [(3, 3, 0, 10), (0, 5, 0, 5), (5, 5, 5, 5), (3, 200, 100, 1000), (2, 4000, 4000, 4000), (90, 100, 1, 2)]
)
def test_quantiles_are_those_of_the_double_integral(counts):
    a, b, c, d = (float(value[0]) for value in parameters([counts]))
    for level in (0.005, 0.025, 0.5, 0.975):
        log_ratio = float(log_ratio_quantile(*(np.array(v) for v in (a, b, c, d)), level))

        def below(logit, log_ratio=log_ratio):  # density of logit q times P(p <= q e^l)
            q, rest = special.expit(logit), special.expit(-logit)
            density = np.exp(c * np.log(q) + d * np.log(rest) - special.betaln(c, d))
            return density * special.betainc(a, b, min(1.0, q * np.exp(log_ratio)))

        low, high = special.logit(special.betaincinv(c, d, 1e-9)), -special.logit(special.betaincinv(d, c, 1e-9))
        corner = -np.log(np.expm1(log_ratio)) if log_ratio > 1e-9 else low
        cuts = np.unique(np.clip([*np.linspace(low, high, 40), corner], low, high))
        mass = sum(integrate.quad(below, x, y)[0] for x, y in itertools.pairwise(cuts))
        assert mass == pytest.approx(level, abs=2e-6)


def test_swapping_the_sides_mirrors_the_limits():
    rng = np.random.default_rng(0)
    n = rng.integers(1, 60, (2, 25))
    k = rng.integers(0, n + 1)
    low, high = risk_interval(k[0], n[0], k[1], n[1])
    mirrored = risk_interval(k[1], n[1], k[0], n[0])
    np.testing.assert_allclose(mirrored, (1.0 - high, 1.0 - low), atol=1e-7)
    assert (low <= high).all()


def test_the_prior_shifts_logits():
    half, tenth = (np.array(risk_interval(8, 16, 2, 16, prior=prior)) for prior in (0.5, 0.1))
    np.testing.assert_allclose(special.logit(tenth), special.logit(half) + special.logit(0.1))


def exact_coverage(n, p, q):
    """Probability that the 95 % interval holds r: a sum over counts of more than negligible probability."""
    k = np.arange(n + 1)
    mass_in, mass_out = (stats.binom.pmf(k, n, share) for share in (p, q))
    keep_in, keep_out = (k[mass > 1e-7] for mass in (mass_in, mass_out))
    low, high = risk_interval(keep_in[:, None], n, keep_out[None], n)
    inside = (low <= p / (p + q)) & (p / (p + q) <= high)
    return float((mass_in[keep_in][:, None] * mass_out[keep_out] * inside).sum())


@pytest.mark.parametrize(("n", "p", "q", "expected"), [(16, 0.4, 0.1, 0.9649), (16, 0.2, 0.02, 0.9680)])
def test_exact_coverage_of_few_records(n, p, q, expected):
    """The second lies above 0.965: where k_out = 0 is likely, no lower limit is ever above the truth."""
    assert exact_coverage(n, p, q) == pytest.approx(expected, abs=6e-5)


@pytest.mark.slow
@pytest.mark.parametrize(("n", "p", "q", "expected"), [(50, 0.4, 0.1, 0.9456), (200, 0.3, 0.2, 0.9492)])
def test_exact_coverage_of_more_records(n, p, q, expected):
    assert exact_coverage(n, p, q) == pytest.approx(expected, abs=6e-5)


def test_counts_that_cannot_be():
    with pytest.raises(ValueError, match="members must lie between"):
        risk_interval(5, 4, 0, 4)
    with pytest.raises(ValueError, match="nonmembers must lie between"):
        risk_interval(1, 4, -1, 4)
