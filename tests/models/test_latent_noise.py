from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from mace_jax.models.latent_noise import LatentLaplace, RandomizedResponse, clip_norm


@pytest.mark.parametrize("dim", [1, 2, 10, 64, 1024])
@pytest.mark.parametrize("epsilon", [0.3, 4.0])
def test_norms_follow_the_gamma_law(dim, epsilon):
    law, n = LatentLaplace(dim, epsilon), 4000
    norms = np.linalg.norm(law.sample(n, seed=1), axis=1)
    assert law.mean_norm == dim / epsilon and law.sd_norm == math.sqrt(dim) / epsilon
    assert abs(norms.mean() - dim / epsilon) < 4.0 * law.sd_norm / math.sqrt(n)
    kurtosis = 3.0 + 6.0 / dim  # of the gamma law
    assert abs(norms.std() / law.sd_norm - 1.0) < 4.0 * math.sqrt((kurtosis - 1.0) / (4.0 * n))
    assert stats.kstest(norms, stats.gamma(dim, scale=1.0 / epsilon).cdf).pvalue > 1e-3


@pytest.mark.parametrize("dim", [2, 3, 10])
def test_directions_are_uniform_and_free_of_the_norm(dim):
    noise = LatentLaplace(dim, 2.0).sample(20_000, seed=3)
    norms = np.linalg.norm(noise, axis=1)
    unit = noise / norms[:, None]
    # the square of one coordinate of a uniform direction follows Beta(1/2, (n-1)/2)
    assert stats.kstest(unit[:, 0] ** 2, stats.beta(0.5, 0.5 * (dim - 1)).cdf).pvalue > 1e-3
    covariance = np.cov(noise.T)
    variance = LatentLaplace(dim, 2.0).coordinate_variance
    assert variance == (dim + 1) / 4.0
    np.testing.assert_allclose(covariance, variance * np.eye(dim), atol=0.08 * variance)
    np.testing.assert_allclose(noise.mean(axis=0), 0.0, atol=4 * math.sqrt(variance / 20_000))
    assert abs(stats.spearmanr(norms, unit[:, 0]).statistic) < 4 / math.sqrt(20_000)


@pytest.mark.parametrize("epsilon", [0.5, 2.0])
def test_the_constant_is_the_known_one_and_makes_a_density(epsilon):
    assert math.exp(LatentLaplace(1, epsilon).log_constant) == pytest.approx(epsilon / 2.0, rel=1e-13)
    assert math.exp(LatentLaplace(2, epsilon).log_constant) == pytest.approx(epsilon**2 / (2.0 * math.pi), rel=1e-13)
    for dim in (1, 3, 7):
        radii = np.linspace(0.0, 60.0 / epsilon, 200_001)
        surface = 2.0 * math.pi ** (dim / 2) / math.gamma(dim / 2) * radii ** (dim - 1)
        density = np.exp(LatentLaplace(dim, epsilon).log_constant - epsilon * radii)
        assert np.trapezoid(surface * density, radii) == pytest.approx(1.0, abs=1e-6)
    axis = np.zeros((5, 3))
    axis[:, 1] = np.arange(5)
    law = LatentLaplace(3, epsilon)
    np.testing.assert_allclose(law.log_density(axis), law.log_constant - epsilon * np.arange(5), rtol=1e-14)
    one = LatentLaplace(1, epsilon)
    np.testing.assert_allclose(
        one.log_density([0.0, 1.5]), stats.laplace(scale=1.0 / epsilon).logpdf([0.0, 1.5]), atol=1e-13
    )


def test_density_ratios_keep_the_bound_and_reach_it():
    rng = np.random.default_rng(0)
    for dim, epsilon in ((1, 0.7), (5, 3.0), (50, 0.2)):
        law = LatentLaplace(dim, epsilon)
        first, second, seen = 3.0 * rng.normal(size=(3, 10_000, dim))
        gap = law.log_density(seen - first) - law.log_density(seen - second)
        bound = epsilon * np.linalg.norm(first - second, axis=1)
        assert (np.abs(gap) <= bound + 1e-9).all()
        beyond = second + 2.0 * (second - first)  # on the line through both codes the bound is met
        reached = law.log_density(beyond - second) - law.log_density(beyond - first)
        np.testing.assert_allclose(reached, bound, rtol=1e-9)


def test_rows_depend_on_seed_and_row_only():
    law = LatentLaplace(4, 1.0)
    assert np.array_equal(law.sample(9, seed=2)[:5], law.sample(5, seed=2))
    assert not np.array_equal(law.sample(5, seed=3), law.sample(5, seed=2))
    np.testing.assert_allclose(LatentLaplace(4, 8.0).sample(5, seed=2) * 8.0, law.sample(5, seed=2), rtol=1e-12)


@pytest.mark.parametrize(("k", "epsilon"), [(2, 0.0), (2, 1.0), (10, 0.5), (10, 3.0), (1000, 7.0), (3, 30.0)])
def test_randomized_response_has_the_epsilon_it_states(k, epsilon):
    response = RandomizedResponse(k, epsilon)
    assert response.exact_epsilon == pytest.approx(epsilon, abs=1e-2 if epsilon > 20 else 1e-9)
    assert response.exact_epsilon <= epsilon + 1e-12
    assert (response.replace * 2**53).is_integer()
    ratio = response.keep / (response.replace / (k - 1))
    assert response.exact_epsilon == pytest.approx(math.log(ratio), rel=1e-9, abs=1e-12)


def test_even_a_huge_epsilon_stays_finite():
    response = RandomizedResponse(10, 1e4)
    assert response.replace == 2.0**-53 and 36.0 < response.exact_epsilon < 40.0


def test_answers_have_their_probabilities():
    response, n = RandomizedResponse(5, 1.5), 40_000
    answers = response.apply(np.full(n, 3), seed=1)
    counts = np.bincount(answers, minlength=5)
    expected = np.full(5, response.replace / 4) * n
    expected[3] = response.keep * n
    assert stats.chisquare(counts, expected).pvalue > 1e-3
    truth = np.arange(500) % 5
    assert np.array_equal(response.apply(truth, seed=2)[:80], response.apply(truth[:80], seed=2))
    changed = truth.copy()
    changed[7] = 0  # answers of the others stay
    different = np.flatnonzero(response.apply(truth, seed=2) != response.apply(changed, seed=2))
    assert set(different) <= {7}


def test_clipping_only_shortens():
    codes = np.array([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0]])
    np.testing.assert_allclose(clip_norm(codes, 1.0), [[0.6, 0.8], [0.3, 0.4], [0.0, 0.0]], rtol=1e-15)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LatentLaplace(0, 1.0), "dim=0 must be at least 1"),
        (lambda: LatentLaplace(2, 0.0), "epsilon=0.0 must be above 0"),
        (lambda: LatentLaplace(2, math.inf), "epsilon=inf must be a finite number"),
        (lambda: LatentLaplace(2, 1.0).log_density([[1.0, 2.0, 3.0]]), "3 columns"),
        (lambda: RandomizedResponse(1, 1.0), "n_labels=1 must be at least 2"),
        (lambda: RandomizedResponse(2, -1.0), "epsilon=-1.0 must be a finite number"),
        (lambda: RandomizedResponse(2, 1.0).apply(np.array([0, 2]), seed=0), "must be integers from 0 to 1"),
    ],
)
def test_bad_input_is_refused_by_name(make, message):
    with pytest.raises(ValueError, match=message):
        make()
