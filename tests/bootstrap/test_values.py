"""Intervals for means, functions of means and divergences: theory, coverage, clusters, and their messages."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from mace_jax.bootstrap import bootstrap
from mace_jax.divergences import hellinger, hockey_stick

RNG = np.random.default_rng(0)
METHODS = ("bca", "percentile", "basic", "studentized")


def exponential(n: int, q: int = 1, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).exponential(size=(n, q))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("weights", ["poisson", "multinomial", "bayesian"])
def test_limits_of_a_mean_are_near_the_normal_ones(method, weights):
    values = RNG.normal(3.0, 2.0, 2000)
    result = bootstrap(values, method=method, weights=weights, n_resamples=4000, seed=1)
    error = values.std(ddof=1) / np.sqrt(2000)
    assert result.standard_error == pytest.approx(error, rel=0.05)
    assert [result.low, result.high] == pytest.approx(
        values.mean() + 1.96 * error * np.array([-1, 1]), abs=0.25 * error
    )
    assert result.distribution.shape == (4000,)
    assert isinstance(result.low, float)


def test_double_or_nothing_has_the_right_spread_but_no_bca():
    values = exponential(1000)[:, 0]
    result = bootstrap(values, method="percentile", weights="double_or_nothing", seed=1)
    assert result.standard_error == pytest.approx(values.std() / np.sqrt(1000), rel=0.05)
    with pytest.raises(ValueError, match="have no skewness"):
        bootstrap(values, weights="double_or_nothing", seed=1)


def test_bca_agrees_with_scipy():
    values = exponential(300, seed=5)[:, 0]
    theirs = stats.bootstrap(
        (values,), np.mean, method="BCa", n_resamples=20_000, rng=np.random.default_rng(0)
    ).confidence_interval
    ours = bootstrap(values, weights="multinomial", n_resamples=20_000, seed=0)
    assert [ours.low, ours.high] == pytest.approx([theirs.low, theirs.high], abs=0.1 * values.std() / np.sqrt(300))


@pytest.mark.slow
def test_studentized_covers_a_skewed_mean_better_than_percentile():
    missed = {"percentile": 0, "studentized": 0, "bca": 0}
    for seed in range(300):
        values = exponential(30, seed=1000 + seed)[:, 0]
        for method in missed:
            result = bootstrap(values, method=method, n_resamples=1000, seed=seed)
            missed[method] += not result.low <= 1.0 <= result.high
    # the normal interval misses this mean in 7 to 8 of 100; 300 runs have a standard deviation of about 4 misses
    assert missed["studentized"] < missed["percentile"]
    assert missed["studentized"] <= 27
    assert missed["bca"] <= 32


def test_functions_of_means_and_independent_samples():
    values = 1.0 + exponential(3000, 2, seed=2)
    ratio = bootstrap(values, statistic=lambda means: means[..., 0] / means[..., 1], seed=0)
    x, y = values.T
    linear = (x - y * x.mean() / y.mean()) / y.mean()
    assert ratio.standard_error == pytest.approx(linear.std() / np.sqrt(3000), rel=0.05)
    assert ratio.low < x.mean() / y.mean() < ratio.high
    difference = bootstrap((x, y[:1000]), statistic=lambda a, b: a - b, seed=0)
    assert isinstance(difference.low, float)
    assert difference.standard_error == pytest.approx(np.sqrt(x.var() / 3000 + y[:1000].var() / 1000), rel=0.05)
    both = bootstrap(values, statistic=lambda means: means**2, seed=0)
    assert both.low.shape == both.high.shape == (2,)
    assert both.distribution.shape == (10_000, 2)


def test_columns_share_their_weights():
    values = exponential(500, 1, seed=3)
    twice = bootstrap(np.concatenate([values, 2.0 * values], axis=1), seed=0)
    assert np.corrcoef(twice.distribution.T)[0, 1] > 0.999999
    alone = bootstrap(values[:, 0], seed=0)
    np.testing.assert_allclose(twice.distribution[:, 0], alone.distribution, rtol=1e-6)


def test_clusters_widen_the_interval_as_they_should():
    effect = np.repeat(RNG.normal(size=200), 5)
    values, ids = effect + 0.1 * RNG.normal(size=1000), np.repeat(np.arange(200), 5)
    independent, clustered = bootstrap(values, seed=0), bootstrap(values, clusters=ids, seed=0)
    means = values.reshape(200, 5).mean(axis=1)
    assert clustered.standard_error == pytest.approx(means.std(ddof=1) / np.sqrt(200), rel=0.07)
    assert clustered.standard_error > 2.0 * independent.standard_error
    names = np.array([f"person {each}" for each in ids])
    order = np.random.default_rng(0).permutation(1000)
    shuffled = bootstrap(values[order], clusters=names[order], method="studentized", seed=0)
    assert shuffled.standard_error == pytest.approx(clustered.standard_error, rel=0.1)


def test_divergences_are_resampled_by_their_influence_values():
    rng = np.random.default_rng(4)
    p, q = rng.normal(1.0, 1.0, 400), rng.normal(0.0, 1.0, 300)
    estimate = hellinger(p, q)
    result = bootstrap(estimate, seed=0)
    assert result.standard_error == pytest.approx(estimate.standard_error, rel=0.05)
    assert result.low < estimate.value < result.high
    assert "bias included" in result.covers
    profile = hockey_stick(p, q, epsilon=[0.0, 0.5])
    several = bootstrap(profile, n_resamples=2000, seed=0)
    assert several.distribution.shape == (2000, 2)
    assert several.standard_error == pytest.approx(profile.standard_error, rel=0.1)
    people = np.repeat(np.arange(200), 2), np.arange(300)
    assert bootstrap(estimate, clusters=people, seed=0).standard_error > 0.0
    with pytest.raises(ValueError, match="target='truth'"):
        bootstrap(estimate, target="truth", seed=0)
    with pytest.raises(ValueError, match="statistic does not apply to a divergence"):
        bootstrap(estimate, statistic=np.exp, seed=0)
    with pytest.raises(ValueError, match="1 arrays for 2 samples"):
        bootstrap(estimate, clusters=(np.arange(400),), seed=0)


def test_small_and_heavy_samples_are_flagged():
    assert "TOO_FEW_SAMPLES" in str(bootstrap(exponential(20)[:, 0], n_resamples=200, seed=0).status.name)
    heavy = np.random.default_rng(0).pareto(0.8, 1000)
    assert "HEAVY_TAIL" in str(bootstrap(heavy, n_resamples=200, seed=0).status.name)
    constant = bootstrap(np.full(50, 2.0), n_resamples=200, seed=0)
    assert (constant.low, constant.high, constant.standard_error) == (2.0, 2.0, 0.0)


def test_bad_values():
    values = exponential(50, 2)
    with pytest.raises(ValueError, match="values"):
        bootstrap([1.0], seed=0)
    with pytest.raises(ValueError, match="NaN"):
        bootstrap([1.0, np.nan, 2.0], seed=0)
    with pytest.raises(ValueError, match="without statistic"):
        bootstrap((values, values), seed=0)
    with pytest.raises(ValueError, match=r"clusters has shape \(3,\), but there are 50 records"):
        bootstrap(values, clusters=[1, 2, 3], seed=0)
    with pytest.raises(ValueError, match="a single id"):
        bootstrap(values, clusters=np.zeros(50), seed=0)
    with pytest.raises(ValueError, match="statistic gave shape"):
        bootstrap(values, statistic=lambda means: np.ones(7), seed=0)
    with pytest.raises(ValueError, match="statistic or its slope is not finite"):
        bootstrap(values, statistic=lambda means: np.full_like(means[..., 0], np.nan), seed=0)
    with pytest.raises(ValueError, match="weights='uniform' is not known"):
        bootstrap(values, weights="uniform", seed=0)  # type: ignore[arg-type]
