"""One-run epsilon: worked values, the definition, exact validity over random private mechanisms, and speed by shape."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mace_jax.certificates import (
    epsilon_one_run,
    epsilon_one_run_fdp,
    epsilon_one_run_prior,
    gdp_epsilon,
    mu_one_run_fdp,
    one_run_p_value,
)


@pytest.mark.parametrize(
    "m, r, v, pure, at_1e5, gaussian",
    [
        (100, 100, 100, 3.492965, 3.490216, 8.216186),
        (100, 100, 90, 1.630823, None, 3.587927),
        (100, 100, 75, 0.702214, None, None),
        (1000, 1000, 1000, 5.809068, 5.782283, 12.334569),
        (1000, 1000, 900, 2.021233, None, None),
        (1000, 1000, 600, 0.297468, 0.297227, 0.583540),
        (1000, 1000, 550, 0.094224, None, None),
        (1000, 1000, 520, 0.0, None, None),
        (1000, 1000, 500, 0.0, 0.0, 0.0),
        (1000, 100, 95, 2.172434, 2.165176, None),
    ],
)
def test_worked_values(m, r, v, pure, at_1e5, gaussian):
    assert epsilon_one_run(m, r, v) == pytest.approx(pure, abs=6e-7)
    if at_1e5 is not None:
        assert epsilon_one_run(m, r, v, delta=1e-5) == pytest.approx(at_1e5, abs=6e-7)
    if gaussian is not None:
        assert epsilon_one_run_fdp(m, r, v, delta=1e-5) == pytest.approx(gaussian, abs=6e-7)


def test_worked_p_values():
    assert one_run_p_value(100, 100, 90, 1.0) == pytest.approx(2.73581e-05, rel=2e-6)
    assert one_run_p_value(100, 100, 75, 1.0) == pytest.approx(0.382722, abs=6e-7)
    assert one_run_p_value(1000, 100, 95, 1.0, delta=1e-5) == pytest.approx(6.63914e-04, rel=2e-6)


def definition(m, r, v, epsilon, delta):
    q = math.exp(epsilon) / (1 + math.exp(epsilon))
    tail = stats.binom.sf(v - 1, r, q)
    slopes = [(stats.binom.sf(v - i - 1, r, q) - tail) / i for i in range(1, v + 1)]
    return min(1.0, tail + 2 * m * delta * max(slopes, default=0.0))


@given(data=st.data(), epsilon=st.floats(0.0, 6.0), delta=st.sampled_from([0.0, 1e-6, 1e-3, 0.1]))
def test_p_value_is_the_definition_and_the_bound_its_inverse(data, epsilon, delta):
    m = data.draw(st.integers(1, 60))
    r = data.draw(st.integers(0, m))
    v = data.draw(st.integers(0, r))
    assert one_run_p_value(m, r, v, epsilon, delta=delta) == pytest.approx(
        definition(m, r, v, epsilon, delta), rel=1e-9, abs=1e-13
    )
    bound = epsilon_one_run(m, r, v, delta=delta)
    assert 0.0 <= bound < 10.0
    if bound > 0.0:
        assert one_run_p_value(m, r, v, bound, delta=delta) == pytest.approx(0.05, rel=1e-6)
    else:
        assert one_run_p_value(m, r, v, 1e-9, delta=delta) >= 0.05 - 1e-6
    assert epsilon_one_run(m, r, v) >= bound - 1e-12


def test_closed_form_and_small_errors():
    for r, error in ((7, 0.05), (1000, 1e-12), (100_000, 0.5)):
        kept = error ** (1 / r)
        exact = math.log(kept) - math.log(-math.expm1(math.log(error) / r))
        assert epsilon_one_run(r, r, r, confidence_level=1 - error) == pytest.approx(max(0, exact), rel=1e-4)
    assert epsilon_one_run(10**6, 10**6, 10**6, delta=1e-9) > 12.0


def test_large_runs():
    pure = epsilon_one_run(100_000, 100_000, 73_000)
    slack = epsilon_one_run(100_000, 100_000, 73_000, delta=1e-6)
    assert slack < pure < math.log(0.73 / 0.27) and slack == pytest.approx(pure, abs=1e-4)
    prior = epsilon_one_run_prior(50_000, 50_000, 73_000, inclusion_probability=0.5)
    assert prior == pytest.approx(pure, abs=1e-9)
    assert pure < epsilon_one_run_fdp(100_000, 100_000, 73_000, delta=1e-5)
    # the recursion is valid, not tight: these guesses are as good as those about a mechanism with this mu
    assert 0.3 * 2 * stats.norm.ppf(0.73) < mu_one_run_fdp(100_000, 100_000, 73_000) < 2 * stats.norm.ppf(0.73)


@given(data=st.data(), p=st.sampled_from([0.1, 0.5, 0.8]))
def test_prior_tail_is_that_of_the_sum(data, p):
    inside, outside = data.draw(st.integers(0, 25)), data.draw(st.integers(0, 25))
    v = data.draw(st.integers(0, inside + outside))
    bound = epsilon_one_run_prior(inside, outside, v, inclusion_probability=p)
    share = lambda prior: prior * math.exp(bound) / (1 - prior + prior * math.exp(bound))  # noqa: E731
    atoms = np.convolve(
        stats.binom.pmf(np.arange(inside + 1), inside, share(p)),
        stats.binom.pmf(np.arange(outside + 1), outside, share(1 - p)),
    )
    tail = atoms[v:].sum()
    assert tail == pytest.approx(0.05, rel=1e-6) if bound > 0.0 else tail >= 0.05 - 1e-9


def private_mechanism(rng, n_coins, epsilon, outputs=5):
    """P(output | coins): exponential mechanism with scores that one coin moves by at most epsilon / 2."""
    worlds = np.array(list(itertools.product((0, 1), repeat=n_coins)))
    slopes = rng.uniform(-1, 1, (outputs, n_coins)) * epsilon / 2
    slopes[0], slopes[-1] = epsilon / 2, -epsilon / 2
    chance = np.exp((worlds - 0.5) @ slopes.T)
    return worlds, chance / chance.sum(1, keepdims=True)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.7])
@pytest.mark.parametrize("epsilon", [0.3, 1.0, 2.5])
def test_exactly_valid_for_random_private_mechanisms(p, epsilon):
    """The error, by enumeration over coins and outputs, for guesses that abstain, lean to one side or do not."""
    rng = np.random.default_rng(0)
    n_coins = 4
    for _ in range(30):
        worlds, chance = private_mechanism(rng, n_coins, epsilon)
        joint = chance * (p**worlds * (1 - p) ** (1 - worlds)).prod(1)[:, None]
        posterior = (joint[:, :, None] * worlds[:, None, :]).sum(0) / joint.sum(0)[:, None]
        for guess in (posterior > 0.5, posterior > p, posterior > -1.0):
            asked = rng.random(posterior.shape) < rng.choice([0.6, 1.0])
            above = 0.0
            for output, (said, kept) in enumerate(zip(guess, asked, strict=True)):
                right = ((worlds == said) & kept).sum(1)
                r_in, r_out = int((said & kept).sum()), int((~said & kept).sum())
                for v in np.unique(right):
                    if p == 0.5:
                        bound = epsilon_one_run(n_coins, r_in + r_out, int(v), confidence_level=0.8)
                    else:
                        bound = epsilon_one_run_prior(
                            r_in, r_out, int(v), inclusion_probability=p, confidence_level=0.8
                        )
                    above += joint[right == v, output].sum() * (bound > epsilon + 1e-9)
            assert above <= 0.2 + 1e-12


def test_valid_for_a_mechanism_that_sometimes_publishes():
    """With probability delta all coins are published, which is (0, delta)-DP: the bound is above 0 rarely enough."""
    m, delta = 400, 0.01
    error = 0.05
    exceeds = [v for v in range(m + 1) if epsilon_one_run(m, m, v, delta=delta) > 0.0]
    fair = stats.binom.pmf(np.arange(m + 1), m, 0.5)
    assert (1 - delta) * fair[exceeds].sum() + delta <= error


def test_gaussian_bound_is_valid_and_of_its_size():
    rng = np.random.default_rng(3)
    m, r, mu, runs = 400, 100, 2.0, 300
    coins = rng.integers(0, 2, (runs, m))
    seen = (coins - 0.5) * mu + rng.normal(size=(runs, m))
    sure = np.argsort(-abs(seen), axis=1)[:, :r]
    right = (np.take_along_axis(seen, sure, 1) > 0) == np.take_along_axis(coins, sure, 1)
    bounds = np.array([mu_one_run_fdp(m, r, int(v)) for v in right.sum(1)])
    assert np.mean(bounds > mu) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / runs)
    # pure epsilon of the guesses is unbounded here, (epsilon, delta) is not
    pure = np.array([epsilon_one_run(m, r, int(v), delta=1e-5) for v in right.sum(1)[:50]])
    assert np.mean(pure > gdp_epsilon(mu, 1e-5)) <= 0.05
    assert np.median(bounds) > 0.5 * mu


def test_nothing_guessed_says_nothing():
    assert epsilon_one_run(10, 0, 0) == 0.0 == epsilon_one_run(10, 5, 0, delta=0.1)
    assert epsilon_one_run_fdp(10, 0, 0, delta=1e-5) == 0.0 == epsilon_one_run_prior(0, 0, 0, inclusion_probability=0.5)


def test_bad_arguments():
    with pytest.raises(ValueError, match="n_guesses=11 exceeds its total 10"):
        epsilon_one_run(10, 11, 5)
    with pytest.raises(ValueError, match="n_correct=6 exceeds its total 5"):
        epsilon_one_run_fdp(10, 5, 6, delta=1e-5)
    with pytest.raises(ValueError, match="n_correct=6 exceeds its total 5"):
        epsilon_one_run_prior(3, 2, 6, inclusion_probability=0.5)
    with pytest.raises(TypeError, match="n_canaries must be an integer"):
        epsilon_one_run(10.0, 5, 5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="delta=1 must be"):
        epsilon_one_run(10, 5, 5, delta=1)
    with pytest.raises(ValueError, match="no finite epsilon"):
        epsilon_one_run_fdp(10, 5, 5, delta=0.0)
    with pytest.raises(ValueError, match="inclusion_probability=0"):
        epsilon_one_run_prior(3, 2, 4, inclusion_probability=0)
    with pytest.raises(ValueError, match="confidence_level=nan"):
        epsilon_one_run(10, 5, 5, confidence_level=float("nan"))
