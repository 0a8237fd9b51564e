"""Half-samples: the same numbers as estimating twice, and standard errors that match the spread over samples."""

from __future__ import annotations

import numpy as np
import pytest

from mace_jax import divergences
from mace_jax.divergences import _half_samples as halves
from mace_jax.divergences import hellinger, hockey_stick, panel, renyi, total_variation
from mace_jax.divergences._alpha import log_power_constant
from mace_jax.divergences._calibrate import Calibration
from mace_jax.divergences._kl_api import kl_of_pair
from mace_jax.divergences._pair import searched_pair

SPLITS = 5


def draws(n: int, m: int, d: int, shift: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)) + shift * np.eye(d)[0], rng.normal(size=(m, d))


def twice(found: halves.Halves, p, q, estimate) -> list[float]:
    """Estimate on each half anew."""
    out = []
    for place in range(SPLITS):
        first = found.half[:, place] == 1
        in_p, in_q = first[: len(p)], first[len(p) :]
        out.append(estimate(p[in_p], q[in_q]) - estimate(p[~in_p], q[~in_q]))
    return out


@pytest.mark.parametrize("d", [1, 3])
def test_differences_are_those_of_two_estimates(d):
    p, q = draws(60, 60, d, 0.7, seed=d)
    found = halves.split(p, q, 59, SPLITS)
    assert (found.half[:60].sum(axis=0) == 30).all()
    assert (found.half[60:].sum(axis=0) == 30).all()

    def kl_knn(a, b):
        return kl_of_pair(searched_pair(a, b, 3, neighbors=None), 3, method="knn", check_support=False).value

    np.testing.assert_allclose(halves.log_ratio_contrast(found, 3).difference, twice(found, p, q, kl_knn), atol=1e-9)

    def guessing(a, b):
        return hockey_stick(a, b, epsilon=0.4, k=7, half_samples=0).value

    np.testing.assert_allclose(
        halves.rule_contrast(found, 7, np.array([0.4])).difference[0], twice(found, p, q, guessing), atol=1e-9
    )


@pytest.mark.parametrize("order", [0.5, 2.0])
def test_integrals_of_powers(order):
    p, q = draws(80, 80, 2, 0.5, seed=3)
    found = halves.split(p, q, 79, SPLITS)
    constants = log_power_constant(4, order - 1.0), log_power_constant(4, order) if order < 1.0 else 0.0
    expected = twice(found, p, q, lambda a, b: renyi(a, b, order=order, k=4, half_samples=0).details["integral"])
    # halves have one row less to look among than rows to average over, which the difference leaves out
    np.testing.assert_allclose(
        halves.power_contrast(found, 4, order, constants).difference, expected, rtol=0.05, atol=1e-3
    )


def test_common_radius_counts_beyond_the_list():
    p, q = draws(40, 120, 2, 0.5, seed=4)

    def common(a, b):
        return kl_of_pair(searched_pair(a, b, 3, neighbors=None), 3, method="common_radius", check_support=False).value

    found = halves.split(p, q, 39, SPLITS)
    expected = twice(found, p, q, common)
    np.testing.assert_allclose(halves.common_radius_contrast(found, 3).difference, expected, atol=0.05)
    short = halves.split(p, q, 20, SPLITS)  # past the end, counts are taken to grow with the volume
    np.testing.assert_allclose(halves.common_radius_contrast(short, 3).difference, expected, atol=0.15)


@pytest.mark.parametrize("name", ["hellinger", "hockey_stick", "total_variation"])
@pytest.mark.slow
def test_standard_error_is_the_spread_over_samples(name):
    values, errors = [], []
    for seed in range(60):
        p, q = draws(150, 150, 2, 0.8, seed=100 + seed)
        options = {"hellinger": {}, "hockey_stick": {"epsilon": 1.0, "k": 5}, "total_variation": {}}[name]
        found = getattr(divergences, name)(p, q, **options)
        values.append(found.value)
        errors.append(found.standard_error)
    # 60 values: their own standard deviation is off by 9 %, the mean of the errors by less
    assert 0.75 < np.sqrt(np.mean(np.square(errors))) / np.std(values, ddof=1) < 1.3


def test_influence_values_carry_the_standard_error():
    p, q = draws(200, 150, 2, 0.5, seed=5)
    found, plain = hellinger(p, q), hellinger(p, q, half_samples=0)
    assert found.value == plain.value
    assert found.details["influence_standard_error"] == plain.standard_error
    of_p, of_q = found.influence
    assert found.standard_error == pytest.approx(np.sqrt(of_p.var(ddof=1) / 200 + of_q.var(ddof=1) / 150))
    assert "influence_standard_error" not in plain.details
    again = hellinger(p, q)
    assert again.standard_error == found.standard_error


def test_several_epsilons_are_scaled_one_by_one():
    p, q = draws(300, 300, 1, 1.0, seed=6)
    profile = hockey_stick(p, q, epsilon=[0.0, 1.0])
    for place, epsilon in enumerate((0.0, 1.0)):
        assert profile.standard_error[place] == pytest.approx(hockey_stick(p, q, epsilon=epsilon).standard_error)


def test_large_samples_are_calibrated_on_a_part():
    p, q = draws(2500, 1300, 2, 1.0, seed=7)
    found, plain = hellinger(p, q), hellinger(p, q, half_samples=0)
    assert 0.7 < found.standard_error / plain.standard_error < 1.4


def test_copies_few_records_and_other_forms_are_left_alone():
    p, q = draws(60, 60, 2, 1.0, seed=8)
    p[1] = p[0]
    assert hellinger(p, q).standard_error == hellinger(p, q, half_samples=0).standard_error
    p, q = draws(15, 15, 2, 1.0, seed=8)
    assert hellinger(p, q).standard_error == hellinger(p, q, half_samples=0).standard_error
    plug_in = total_variation(p, q, method="plug_in")
    assert Calibration(p, q, 3, 10)(plug_in, 3, lambda a, b: plug_in) is plug_in
    with pytest.raises(ValueError, match="half_samples=-1"):
        hellinger(p, q, half_samples=-1)


def test_panel_agrees_with_the_single_calls():
    p, q = draws(250, 250, 2, 0.6, seed=9)
    both = panel(p, q, k=5, names=("hellinger", "hockey_stick"), epsilon=1.0)
    assert both["hellinger"][5].standard_error == pytest.approx(hellinger(p, q).standard_error, rel=1e-6)
    assert both["hockey_stick"][5].standard_error == pytest.approx(
        hockey_stick(p, q, epsilon=1.0, k=5).standard_error, rel=1e-6
    )


def test_skewness_of_a_mean_of_independent_terms():
    rng = np.random.default_rng(0)
    half = np.zeros((4000, 400), np.uint8)
    half[np.argsort(rng.random(half.shape), axis=0) < 2000] = 1
    terms = rng.exponential(size=(4000, 1))  # skewness 2
    found = halves._contrast(np.broadcast_to(terms, half.shape), half)
    centered = terms - terms.mean()
    expected = (centered**3).mean() / (centered**2).mean() ** 1.5 / np.sqrt(4000)
    assert found.variance == pytest.approx(terms.var() / 4000, rel=0.2)
    assert found.skewness == pytest.approx(expected, rel=0.25)
    doubled = found.times(-2.0)
    assert doubled.variance == pytest.approx(4.0 * found.variance)
    assert doubled.skewness == pytest.approx(-found.skewness)


def test_a_part_that_does_not_vary_leaves_the_standard_error_as_it_is():
    """No record of equal laws reaches a ratio of e: the estimate is 0 with error 0, in all records and in a part."""
    for seed in range(3):
        p, q = np.random.default_rng(seed).normal(size=(2, 1200))
        found = hockey_stick(p, q, epsilon=[0.0, 1.0, 5.0])
        assert np.isfinite(found.standard_error).all() and all(np.isfinite(part).all() for part in found.influence)
        plain = hockey_stick(p, q, epsilon=[0.0, 1.0, 5.0], half_samples=0)
        assert found.standard_error[2] == plain.standard_error[2] and found.standard_error[0] > 0.0
        assert np.isfinite(hockey_stick(p, q, epsilon=5.0).standard_error)
