"""Statistics that hold: coverage of intervals, level of certificates, calibration of nulls, by simulation.

Every test prints its figures; ``make test-slow`` shows them.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from mace_jax import MembershipSample, audit, bootstrap, certify, optimal_membership_advantage
from mace_jax.datasets._closed_form import GaussianShift, LaplaceShift, RandomizedResponse
from mace_jax.estimators import KNN, Threshold

ESTIMATORS = {"KNN": KNN(), "Threshold": Threshold()}


def largest_count(runs: int, rate: float) -> float:
    """A count with this success rate exceeds this with probability below .2 %: mean and three standard deviations."""
    return runs * rate + 3 * np.sqrt(runs * rate * (1 - rate))


@pytest.mark.slow
def test_audit_covers_the_gaussian_advantage_and_certifies_below_it(capsys):
    law, runs = GaussianShift(1.0), 200
    covered = dict.fromkeys(ESTIMATORS, 0)
    above = controls = 0
    for seed in range(runs):
        sample = law.draw(2000, 2000, seed=seed)
        report = audit(sample.members, sample.nonmembers, n_permutations=99, seed=seed)
        for result in report.queries[0].advantages:
            covered[result.estimator] += result.low <= law.total_variation <= result.high
        above += report.certificate.advantage > law.total_variation
        assert report.control is not None
        controls += not report.control.passed
    with capsys.disabled():
        print(
            f"\n  Gaussian shift 1, 2000 + 2000, {runs} audits: interval covers {covered}, "
            f"certified advantage above the truth {above}, negative control failed {controls}"
        )
    assert min(covered.values()) >= 0.93 * runs
    assert above <= largest_count(runs, 0.05)
    assert controls <= largest_count(runs, 0.10)  # a p-value or a certificate may err, each at 5 %


@pytest.mark.slow
@pytest.mark.parametrize("n", [100, 500, 2000])
def test_interval_coverage_from_no_leak_to_a_strong_one(n, capsys):
    runs = 200
    for shift in (0.0, 0.05, 0.125, 0.25, 0.5, 1.0, 2.0, 4.0):
        law = GaussianShift(shift)
        misses = {name: np.zeros(2, int) for name in ESTIMATORS}
        widths = dict.fromkeys(ESTIMATORS, 0.0)
        for seed in range(runs):
            sample = law.draw(n, n, seed=seed)
            for name, estimator in ESTIMATORS.items():
                estimate = optimal_membership_advantage(sample, estimator=estimator, n_permutations=79, seed=seed)
                interval = bootstrap(estimate, n_resamples=2000, seed=seed)
                misses[name] += (interval.low > law.total_variation, interval.high < law.total_variation)
                widths[name] += (interval.high - interval.low) / runs
        with capsys.disabled():
            figures = {name: f"{m[0]} above, {m[1]} below, width {widths[name]:.3f}" for name, m in misses.items()}
            print(f"\n  n={n}, TV={law.total_variation:.3f}, {runs} runs, intervals that miss: {figures}")
        for miss in misses.values():
            assert miss[0] <= largest_count(runs, 0.025)
            assert miss.sum() <= largest_count(runs, 0.05)


@pytest.mark.slow
@pytest.mark.parametrize("n", [200, 2000])
def test_certificate_of_randomized_response_is_below_epsilon_and_tight(n, capsys):
    law, runs = RandomizedResponse(1.0), 400
    found = [certify(law.draw(n, n, seed=seed), seed=seed) for seed in range(runs)]
    epsilons = np.asarray([certificate.epsilon for certificate in found])
    advantages = np.asarray([certificate.advantage for certificate in found])
    misses = int((epsilons > 1.0).sum()), int((advantages > law.total_variation).sum())
    with capsys.disabled():
        print(
            f"\n  randomized response at epsilon 1, {n} + {n}, {runs} runs: epsilon above the truth {misses[0]}, "
            f"advantage above {misses[1]}, mean bound {epsilons.mean():.3f}"
        )
    assert max(misses) <= largest_count(runs, 0.05)
    assert epsilons.mean() > {200: 0.35, 2000: 0.8}[n]


@pytest.mark.slow
def test_audit_of_randomized_response_stays_below_epsilon(capsys):
    law, runs = RandomizedResponse(1.0), 200
    epsilons = []
    for seed in range(runs):
        sample = law.draw(2000, 2000, seed=seed)
        epsilons.append(audit(sample.members, sample.nonmembers, n_permutations=39, seed=seed).certificate.epsilon)
    with capsys.disabled():
        print(
            f"\n  randomized response at epsilon 1, 2000 + 2000, {runs} audits: certified epsilon above the truth "
            f"{sum(epsilon > 1.0 for epsilon in epsilons)}, mean bound {np.mean(epsilons):.3f}"
        )
    assert sum(epsilon > 1.0 for epsilon in epsilons) <= largest_count(runs, 0.05)
    assert np.mean(epsilons) > 0.8


@pytest.mark.slow
def test_certificate_of_laplace_shift_is_below_epsilon(capsys):
    law, runs = LaplaceShift(1.0), 400
    epsilons = np.asarray([certify(law.draw(1000, 1000, seed=seed), seed=seed).epsilon for seed in range(runs)])
    with capsys.disabled():
        print(
            f"\n  Laplace shift 1 (epsilon 1), 1000 + 1000, {runs} runs: above the truth {(epsilons > 1).sum()}, "
            f"mean bound {epsilons.mean():.3f}"
        )
    assert (epsilons > 1.0).sum() <= largest_count(runs, 0.05)
    assert epsilons.mean() > 0.5


def _gaussian(rng, n):
    return rng.normal(size=n)


def _atoms(rng, n):
    return np.sort(rng.integers(0, 20, n)).astype(float)


def _mostly_zero(rng, n):
    return np.sort(rng.normal(size=n) * (rng.random(n) < 0.1))


def _pairs(rng, n):
    return rng.integers(0, 4, (n, 2)).astype(float)


NULLS = {
    "continuous": _gaussian,
    "20 atoms, sorted rows": _atoms,
    "90 % zeros, sorted rows": _mostly_zero,
    "16 atoms in the plane": _pairs,
}


@pytest.mark.slow
@pytest.mark.parametrize("sizes", [(300, 300), (100, 900)], ids=str)
@pytest.mark.parametrize("kind", NULLS)
def test_nothing_is_found_where_there_is_nothing(kind, sizes, capsys):
    draw, runs = NULLS[kind], 300
    for name, estimator in ESTIMATORS.items():
        if kind == "16 atoms in the plane" and name == "Threshold":
            continue
        p_values, estimates, excess, low, epsilons = [], [], [], 0, 0
        for seed in range(runs):
            rng = np.random.default_rng(seed)
            sample = MembershipSample(draw(rng, sizes[0]), draw(rng, sizes[1]))
            estimate = optimal_membership_advantage(sample, estimator=estimator, n_permutations=99, seed=seed)
            p_values.append(estimate.p_value)
            estimates.append(estimate.lower_rule)
            excess.append(estimate.lower_rule - estimate.null_mean)
            low += bootstrap(estimate, n_resamples=200, seed=seed).low > 0
            epsilons += certify(sample, estimator=estimator, seed=seed).epsilon > 0
        p_values, estimates = np.asarray(p_values), np.asarray(estimates)
        center = estimates.mean() / (estimates.std() / np.sqrt(runs))
        uniform = stats.kstest(p_values + np.random.default_rng(1).uniform(-0.01, 0, runs), "uniform", method="asymp")
        with capsys.disabled():
            print(
                f"\n  null, {kind}, {sizes}, {name}: p <= .05 in {(p_values <= 0.05).sum()} of {runs}, "
                f"KS p {uniform.pvalue:.3f}, mean {estimates.mean():+.4f} ({center:+.1f} standard errors), "
                f"interval excludes 0 in {low}, certified epsilon > 0 in {epsilons}"
            )
        assert (p_values <= 0.05).sum() <= largest_count(runs, 0.05)
        assert low <= largest_count(runs, 0.025)
        assert epsilons <= largest_count(runs, 0.05)
        assert abs(center) < 3.5
