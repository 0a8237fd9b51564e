"""optimal_membership_advantage: truth, null, invariances, and what a result says."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mace_jax import MembershipSample, optimal_membership_advantage
from mace_jax._status import Status
from mace_jax.datasets._closed_form import GaussianShift, LaplaceShift, RandomizedResponse
from mace_jax.estimators import KNN, Threshold
from mace_jax.metrics import accuracy, balanced_accuracy, f_beta
from mace_jax.metrics._crossfit import cross_fit
from mace_jax.metrics._null import permutation_null, random_labels


@pytest.mark.parametrize("estimator", [KNN(), Threshold()], ids=["knn", "threshold"])
@pytest.mark.parametrize(
    "law", [GaussianShift(1.0), LaplaceShift(1.0), RandomizedResponse(1.0)], ids=lambda law: type(law).__name__
)
def test_truth_within_sampling_error(law, estimator):
    n = 4000
    estimate = optimal_membership_advantage(law.draw(n, n, seed=3), estimator=estimator, n_permutations=19, seed=0)
    standard_error = np.sqrt(0.5 / n)
    assert abs(estimate.lower_rule - law.total_variation) < 4 * standard_error
    assert estimate.lower_rule <= estimate.in_sample + 1e-12
    assert estimate.p_value == 0.05
    assert estimate.value == pytest.approx((1 + estimate.lower_rule) / 2)


def test_vector_outputs_use_what_their_coordinates_hide(rng):
    """Members lie on one diagonal, non-members on the other: each coordinate alone tells nothing."""
    sign = rng.choice([-1.0, 1.0], (2, 800))
    members = np.stack([sign[0], sign[0]], axis=1) + 0.3 * rng.normal(size=(800, 2))
    others = np.stack([sign[1], -sign[1]], axis=1) + 0.3 * rng.normal(size=(800, 2))
    together = optimal_membership_advantage(MembershipSample(members, others), n_permutations=19, seed=0)
    alone = optimal_membership_advantage(MembershipSample(members[:, 0], others[:, 0]), n_permutations=19, seed=0)
    assert together.advantage > 0.95 > 0.2 > alone.advantage


def test_rare_members_and_priors():
    sample = GaussianShift(1.0).draw(200, 1800, seed=0)
    balanced = optimal_membership_advantage(sample, n_permutations=19, seed=0)
    assert abs(balanced.lower_rule - 0.3829) < 0.13
    at_prior = optimal_membership_advantage(sample, metric=accuracy, prior=0.1, n_permutations=19, seed=0)
    assert 0.88 < at_prior.value < 0.92  # the optimum is .9013, the constant guess .9
    f1 = optimal_membership_advantage(sample, metric=f_beta(1), prior=0.1, n_permutations=19, seed=0)
    assert 0.25 < f1.value < 0.40  # the optimum is .3433


@pytest.mark.parametrize("width", [1, 2])
def test_monotone_rescaling_and_row_order_change_little_and_seeds_fix_all(width):
    sample = GaussianShift(1.0, n_outputs=width).draw(300, 300, seed=1)
    first = optimal_membership_advantage(sample, n_permutations=39, seed=5)
    again = optimal_membership_advantage(sample, n_permutations=39, seed=5)
    assert first.to_dict() == again.to_dict()
    scaled = MembershipSample(sample.members * 1000 + 7, sample.nonmembers * 1000 + 7)
    rescaled = optimal_membership_advantage(scaled, n_permutations=39, seed=5)
    assert rescaled.lower_rule == pytest.approx(first.lower_rule, abs=0.01)
    other = optimal_membership_advantage(sample, n_permutations=39, seed=6)
    assert other.lower_rule != first.lower_rule
    json.dumps(first.to_dict())
    assert repr(first).startswith("AdvantageEstimate(advantage=")


def test_the_null_does_not_depend_on_how_many_permutations_follow():
    sample = GaussianShift(0.5).draw(100, 120, seed=0)
    objective = balanced_accuracy.objective()
    fitted = cross_fit(sample, KNN(), objective, seed=0)
    seen = []
    few = permutation_null(fitted, objective, 30, seed=1, on_progress=seen.append)
    many = permutation_null(fitted, objective, 77, seed=1)
    np.testing.assert_array_equal(few[0], many[0][:30])
    np.testing.assert_array_equal(few[1], many[1][:30])
    assert seen[-1] == 1.0 and seen == sorted(seen)


def test_random_labels_are_uniform_with_the_right_sum():
    rng = np.random.default_rng(0)
    drawn = np.stack([random_labels(rng, 10, 3) for _ in range(6000)]).astype(int)
    assert (drawn.sum(axis=1) == 3).all()
    np.testing.assert_allclose(drawn.mean(axis=0), 0.3, atol=4 * np.sqrt(0.21 / 6000))
    pairs = (drawn.T @ drawn)[np.triu_indices(10, 1)] / 6000
    np.testing.assert_allclose(pairs, 3 * 2 / 90, atol=4.5 * np.sqrt(0.0622 / 6000))


def test_permutations_keep_the_class_sizes_of_both_halves():
    sample = GaussianShift(0.0).draw(11, 40, seed=0)
    objective = balanced_accuracy.objective()
    fitted = cross_fit(sample, Threshold(), objective, seed=0)
    tpr, fpr = permutation_null(fitted, objective, 50, seed=0)
    np.testing.assert_allclose(tpr * 11, np.rint(tpr * 11), atol=1e-9)
    np.testing.assert_allclose(fpr * 40, np.rint(fpr * 40), atol=1e-9)


def test_no_leak_and_constant_outputs():
    constant = optimal_membership_advantage(MembershipSample(np.ones(40), np.ones(40)), n_permutations=19, seed=0)
    assert constant.lower_rule == 0.0 and constant.p_value == 1.0
    tiny = optimal_membership_advantage(MembershipSample([0.0, 1.0], [0.5, 2.0]), n_permutations=19, seed=0)
    assert Status.TOO_FEW_SAMPLES in tiny.status and Status.RARE_COUNTS in tiny.status
    without = optimal_membership_advantage(MembershipSample([0.0, 1.0], [0.5, 2.0]), n_permutations=0, seed=0)
    assert without.p_value == 1.0 and np.isnan(without.null_mean)


def test_plug_in_is_biased_upwards_without_a_leak():
    estimate = optimal_membership_advantage(
        GaussianShift(0.0).draw(500, 500, seed=0), estimator=KNN(k=5), n_permutations=19, seed=0
    )
    assert estimate.plug_in == pytest.approx(0.375, abs=0.06)  # mean of |2 Bin(5, 1/2) / 5 - 1|


def test_bad_arguments():
    sample = GaussianShift(1.0).draw(20, 20, seed=0)
    with pytest.raises(ValueError, match="prior=0 must lie strictly between 0 and 1"):
        optimal_membership_advantage(sample, prior=0, seed=0)
    with pytest.raises(ValueError, match="n_permutations=-1 must be at least 0"):
        optimal_membership_advantage(sample, n_permutations=-1, seed=0)
    with pytest.raises(ValueError, match="cannot use 2 query outputs per record"):
        wide = GaussianShift(1.0, n_outputs=2).draw(20, 20, seed=0)
        optimal_membership_advantage(wide, estimator=Threshold(), seed=0)
    with pytest.raises(TypeError, match="seed must be a non-negative integer or a JAX key"):
        optimal_membership_advantage(sample, seed="today")


def test_the_plug_in_is_at_most_one():
    """With few neighbors and a small prior the estimated members outnumber those there are."""
    sample = GaussianShift(1.0).draw(200, 200, seed=0)
    settings = {"estimator": KNN(k=3), "metric": "accuracy", "prior": 1e-3, "n_permutations": 0, "seed": 0}
    assert optimal_membership_advantage(sample, **settings).plug_in == 1.0
