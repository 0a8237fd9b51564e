"""bootstrap: theory, exact limits at the boundary, the gate at the null, and its messages."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from scipy import stats

import mace_jax
from mace_jax import MembershipSample, optimal_membership_advantage
from mace_jax._status import Status
from mace_jax.bootstrap import bootstrap
from mace_jax.bootstrap._cells import resample_rate
from mace_jax.bootstrap._intervals import limit
from mace_jax.datasets._closed_form import GaussianShift
from mace_jax.estimators import Threshold
from mace_jax.metrics import f_beta


@pytest.fixture(scope="module")
def estimate():
    return optimal_membership_advantage(
        GaussianShift(1.0).draw(1000, 1000, seed=0), estimator=Threshold(), n_permutations=99, seed=0
    )


@pytest.mark.parametrize("weights", ["poisson", "multinomial"])
def test_replicates_of_a_rate_have_the_bootstrap_moments(weights):
    rng = np.random.default_rng(0)
    drawn = resample_rate(300, 1000, 40_000, weights=weights, rng=rng)
    assert drawn.mean() == pytest.approx(0.3, abs=4 * np.sqrt(0.21 / 1000 / 40_000))
    assert drawn.std() == pytest.approx(np.sqrt(0.21 / 1000), rel=0.02)
    assert (resample_rate(0, 3, 2000, weights=weights, rng=rng) == 0.0).all()
    assert (resample_rate(3, 3, 2000, weights=weights, rng=rng) == 1.0).all()


def test_counts_equal_resampling_rows(rng):
    """Binomial counts are what drawing rows with replacement gives."""
    rows = np.repeat([1.0, 0.0], [30, 70])
    by_rows = np.asarray([rng.choice(rows, 100).mean() for _ in range(4000)])
    by_counts = resample_rate(30, 100, 4000, weights="multinomial", rng=rng)
    assert stats.ks_2samp(by_rows, by_counts).pvalue > 0.001


@pytest.mark.parametrize("method", ["bca", "percentile", "basic", "studentized"])
@pytest.mark.parametrize("weights", ["poisson", "multinomial"])
def test_limits_agree_with_normal_theory(estimate, method, weights):
    result = bootstrap(estimate, method=method, weights=weights, seed=0)
    held, own = estimate.held_out, estimate.own
    errors = [
        np.sqrt(
            counts.true_positive_rate * (1 - counts.true_positive_rate) / counts.n_members
            + counts.false_positive_rate * (1 - counts.false_positive_rate) / counts.n_nonmembers
        )
        for counts in (held, own)
    ]
    assert result.low == pytest.approx(estimate.lower_rule - 1.96 * errors[0], abs=0.1 * errors[0])
    assert result.high == pytest.approx(estimate.in_sample + 1.96 * errors[1], abs=0.1 * errors[1])
    assert result.standard_error == pytest.approx(errors[0], rel=0.05)
    assert len(result.distribution) == 10_000 and result.status == Status.OK


def test_bca_moves_limits_with_skewness_like_theory():
    """For a mean of exponentials BCa covers in both tails better than the percentile."""
    rng = np.random.default_rng(0)
    misses = {"percentile": np.zeros(2), "bca": np.zeros(2)}
    for _ in range(600):
        x = rng.exponential(size=25)
        replicates = x[rng.integers(0, 25, (1000, 25))].mean(axis=1)
        centered = x - x.mean()
        acceleration = (centered**3).sum() / (6 * (centered**2).sum() ** 1.5)
        for method in misses:
            low, high = (
                limit(level, x.mean(), replicates, method=method, acceleration=acceleration) for level in (0.05, 0.95)
            )
            misses[method] += (low > 1.0, high < 1.0)
    assert abs(misses["bca"] - 30).max() < abs(misses["percentile"] - 30).max()


def test_the_same_seed_gives_the_same_interval_and_the_package_is_callable(estimate):
    first, again = bootstrap(estimate, seed=3), mace_jax.bootstrap(estimate, seed=3)
    assert (first.low, first.high) == (again.low, again.high)
    assert bootstrap(estimate, seed=4).low != first.low
    json.dumps(first.to_dict())
    assert repr(first).startswith("BootstrapResult([")


def test_perfect_separation_is_widened_to_exact_limits(rng):
    sample = MembershipSample(5 + rng.random(40), rng.random(40))
    estimate = optimal_membership_advantage(sample, n_permutations=99, seed=0)
    result = bootstrap(estimate, seed=0)
    assert Status.RARE_COUNTS in result.status and result.high == 1.0
    bound = stats.beta.ppf(0.0125, 40, 1)
    assert result.low == pytest.approx(bound - (1 - bound))


def test_zero_is_inside_unless_the_null_is_rejected():
    sample = GaussianShift(0.0).draw(300, 300, seed=1)
    estimate = optimal_membership_advantage(sample, n_permutations=99, seed=1)
    assert estimate.p_value > 0.025
    assert bootstrap(estimate, seed=0).low == 0.0
    strong = GaussianShift(1.0).draw(300, 300, seed=1)
    untested = optimal_membership_advantage(strong, n_permutations=0, seed=1)
    assert bootstrap(untested, seed=0).low == 0.0  # no null, no claim


def test_fractional_metrics_have_intervals_too():
    sample = GaussianShift(1.0).draw(1000, 1000, seed=0)
    estimate = optimal_membership_advantage(sample, metric=f_beta(1), prior=0.1, n_permutations=99, seed=0)
    for method in ("bca", "studentized"):
        result = bootstrap(estimate, method=method, seed=0)
        truth = f_beta(1).normalize(0.3433, prior=0.1)
        assert 0 < result.low < truth < result.high < 0.4


def test_bad_arguments(estimate):
    with pytest.raises(TypeError, match="values"):
        bootstrap("scores", seed=0)
    with pytest.raises(ValueError, match="method='normal' is not known"):
        bootstrap(estimate, method="normal", seed=0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="weights='bayesian' are not for counts"):
        bootstrap(estimate, weights="bayesian", seed=0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="n_resamples=10 must be at least 100"):
        bootstrap(estimate, n_resamples=10, seed=0)
    with pytest.raises(ValueError, match="confidence_level=95 must lie strictly between 0 and 1"):
        bootstrap(estimate, confidence_level=95, seed=0)
    with pytest.raises(ValueError, match="clusters does not apply to an advantage"):
        bootstrap(estimate, clusters=np.arange(3), seed=0)
    with pytest.raises(ValueError, match="target='mean' is not known"):
        bootstrap(estimate, target="mean", seed=0)  # type: ignore[arg-type]


def test_interval_for_the_estimators_own_mean(estimate):
    own, truth = bootstrap(estimate, target="estimator", seed=0), bootstrap(estimate, seed=0)
    assert own.low < estimate.lower_rule < own.high
    assert "lower_rule" in own.covers
    counts = estimate.held_out
    tpr, fpr = counts.true_positive_rate, counts.false_positive_rate
    binomial = np.sqrt(tpr * (1 - tpr) / counts.n_members + fpr * (1 - fpr) / counts.n_nonmembers)
    pooled = (counts.true_positives + counts.false_positives) / (counts.n_members + counts.n_nonmembers)
    at_null = np.sqrt(pooled * (1 - pooled) * (1 / counts.n_members + 1 / counts.n_nonmembers))
    assert own.standard_error == pytest.approx(binomial * estimate.null.std(ddof=1) / at_null, rel=0.05)
    assert truth.high >= own.high - 0.02
    few = dataclasses.replace(estimate, null=estimate.null[:10])
    with pytest.raises(ValueError, match="has 10 permutations"):
        bootstrap(few, target="estimator", seed=0)
