"""Estimates against laws whose divergences are known, and intervals against the estimator's own mean."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mace_jax import divergences as dv
from tests._support import rest_slow
from tests.divergences import draws

# k, d, shift, n, m: mean of the two-sample and of the common-radius form over independent runs, and how far a mean of
# 30 runs may be from it. Simulated once with 120 runs; the truth is shift^2 / 2.
KL_MEANS = [
    (5, 1, 1.0, 500, 500, 0.462, 0.481, 0.04),
    (20, 1, 1.0, 500, 500, 0.416, 0.443, 0.035),
    (5, 2, 1.0, 500, 500, 0.432, 0.450, 0.035),
    (5, 5, 1.0, 500, 500, 0.365, 0.358, 0.035),
    (5, 10, 1.0, 500, 500, 0.338, 0.291, 0.05),
    (5, 2, 0.0, 500, 1500, 0.013, -0.001, 0.018),
    (5, 5, 0.0, 500, 2000, -0.004, -0.005, 0.018),
    (5, 10, 0.0, 500, 2000, -0.154, -0.008, 0.03),
]
QUICK = {KL_MEANS[0], KL_MEANS[2], KL_MEANS[5]}


@pytest.mark.parametrize(
    ("k", "d", "delta", "n", "m", "two_sample", "common", "tolerance"), rest_slow(KL_MEANS, QUICK.__contains__)
)
def test_means_of_the_kl_forms(k, d, delta, n, m, two_sample, common, tolerance):
    forms = ("knn", "common_radius")
    found = np.array(
        [
            [dv.kl(*pair, k=k, method=form, check_support=False, half_samples=0).value for form in forms]
            for pair in (draws.gaussians(delta, d, n, m, seed) for seed in range(30))
        ]
    ).mean(axis=0)
    assert abs(found[0] - two_sample) < tolerance
    assert abs(found[1] - common) < tolerance


def test_power_integrals_and_densities():
    runs = [draws.gaussians(1.0, 1, 1000, 1500, seed) for seed in range(12)]
    half = np.mean([dv.renyi(*pair, order=0.5, half_samples=0).details["integral"] for pair in runs])
    near_one = np.mean([dv.renyi(*pair, order=0.9, half_samples=0).details["integral"] for pair in runs])
    two = np.mean([dv.renyi(*pair, order=2.0, half_samples=0).details["integral"] for pair in runs])
    assert abs(half - math.exp(-1 / 8)) < 0.015
    assert abs(near_one - math.exp(-0.9 * 0.1 / 2)) < 0.01
    assert 2.1 < two < math.e  # few records carry it: biased towards 0
    parts = [dv.l2(*pair).details for pair in runs]
    for name, truth in (("integral_p_squared", 0.28209), ("integral_pq", 0.21970), ("integral_q_squared", 0.28209)):
        assert abs(np.mean([part[name] for part in parts]) - truth) < 0.015


@pytest.mark.parametrize("epsilon", [0.5, 1.0, 2.0])
def test_randomized_response_is_found_exactly(epsilon):
    runs = [draws.randomized_response(epsilon, 500, 700, seed) for seed in range(20)]
    kl, tv = epsilon * math.tanh(epsilon / 2), math.tanh(epsilon / 2)
    for method in ("auto", "cells", "common_radius"):
        found = [dv.kl(*pair, method=method, half_samples=0) for pair in runs]
        error = np.mean([each.standard_error for each in found]) / math.sqrt(20)
        assert abs(np.mean([each.value for each in found]) - kl) < 3.5 * error
    for method in ("decision", "cells"):
        assert abs(np.mean([dv.total_variation(*pair, method=method).value for pair in runs]) - tv) < 0.02


def test_equal_atoms_show_no_difference():
    rng = np.random.default_rng(0)
    runs = [(rng.integers(20, size=500), rng.integers(20, size=500)) for _ in range(30)]
    assert abs(np.mean([dv.total_variation(*pair, half_samples=0).value for pair in runs])) < 3 * 0.08 / math.sqrt(30)
    assert abs(np.mean([dv.total_variation(*pair, method="plug_in", k=25).value for pair in runs]) - 0.110) < 0.01
    assert abs(np.mean([dv.kl(*pair, half_samples=0).value for pair in runs])) < 0.01
    assert abs(np.mean([dv.henze_penrose(*pair).value for pair in runs])) < 0.02


def test_squared_mmd_is_unbiased():
    for delta, truth in ((0.5, 0.047124), (1.0, 0.177268)):
        assert abs(draws.squared_mmd(delta, 1, 1.0) - truth) < 1e-6
        found = [dv.mmd(*draws.gaussians(delta, 1, 500, 400, seed), bandwidth=1.0) for seed in range(20)]
        error = np.mean([each.standard_error for each in found]) / math.sqrt(20)
        assert abs(np.mean([each.value for each in found]) - truth) < 3 * error


GAUSSIAN_CASES = [(d, delta) for d in (1, 2) for delta in (0.0, 0.5, 1.0, 2.0)]


@pytest.mark.slow
@pytest.mark.parametrize(("d", "delta"), GAUSSIAN_CASES)
def test_gaussian_shifts_are_found_within_error_and_known_bias(d, delta):
    runs = [draws.gaussians(delta, d, 2000, 2000, seed) for seed in range(12)]
    for name, run, truth, bias in (
        ("hellinger", dv.hellinger, draws.squared_hellinger(delta), 0.02),
        ("tv", dv.total_variation, draws.total_variation(delta), 0.02),
        ("js", dv.jensen_shannon, draws.jensen_shannon(delta), 0.03),
        ("hp", dv.henze_penrose, draws.henze_penrose(delta), 0.02),
        ("mmd", lambda p, q: dv.mmd(p, q, bandwidth=1.0), draws.squared_mmd(delta, d, 1.0), 0.0),
        ("l2", dv.l2, draws.squared_l2(delta, d), 0.01),
        ("kl", dv.kl, delta**2 / 2, 0.04 + 0.15 * delta**2 / 2),
        ("hs", lambda p, q: dv.hockey_stick(p, q, epsilon=1.0), draws.hockey_stick(delta, 1.0), 0.03),
    ):
        found = [run(p, q) for p, q in runs]
        error = np.std([each.value for each in found], ddof=1) / math.sqrt(len(runs))
        assert abs(np.mean([each.value for each in found]) - truth) < 3.5 * error + bias, name


COVERED = {
    "kl": (lambda p, q: dv.kl(p, q, check_support=False), 0.92),
    "kl k=20": (lambda p, q: dv.kl(p, q, k=20, check_support=False), 0.90),
    "common radius": (lambda p, q: dv.kl(p, q, method="common_radius", check_support=False), 0.92),
    "hellinger": (dv.hellinger, 0.88),
    "renyi": (lambda p, q: dv.renyi(p, q, order=0.5), 0.88),
    "tv": (dv.total_variation, 0.89),
    "js": (dv.jensen_shannon, 0.89),
    "henze_penrose": (dv.henze_penrose, 0.90),
    "l2": (dv.l2, 0.90),
    "mmd": (lambda p, q: dv.mmd(p, q, bandwidth=1.0), 0.91),
}


@pytest.mark.slow
@pytest.mark.parametrize("d", [1, 2])
@pytest.mark.parametrize("name", COVERED)
def test_influence_intervals_cover_the_mean_of_the_estimator(name, d, capsys):
    run, least = COVERED[name]
    found = [run(*draws.gaussians(1.0, d, 500, 500, 1000 + seed)) for seed in range(200)]
    values, errors = (np.array([getattr(each, field) for each in found]) for field in ("value", "standard_error"))
    covered = float((abs(values - values.mean()) <= 1.96 * errors).mean())
    with capsys.disabled():
        print(f"\n  {name}, d={d}: covers {covered:.3f}, sd {values.std():.4f}, mean error {errors.mean():.4f}")
    assert covered >= least
