"""optimal_membership_advantage: truth, null, invariances, and what a result says."""

from __future__ import annotations

import json

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from mace_jax import MembershipSample, bootstrap, certify, optimal_membership_advantage
from mace_jax._status import Status
from mace_jax.datasets._closed_form import GaussianShift, LaplaceShift, RandomizedResponse
from mace_jax.estimators import KNN, AbstractEstimator, Classifier, FoldOutcome, Threshold
from mace_jax.metrics import accuracy, advantage_curve, balanced_accuracy, f_beta, precision
from mace_jax.metrics._crossfit import cross_fit
from mace_jax.metrics._null import permutation_null, random_labels
from tests._support import rest_slow


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


@pytest.mark.parametrize("width", rest_slow([1, 2], (1).__eq__))
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
    assert estimate.null_plug_in_mean == pytest.approx(0.375, abs=0.02)


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


class HostThreshold(AbstractEstimator):
    """Threshold as an estimator that JAX cannot trace."""

    on_host = True
    gives_posterior = False

    def plan(self, train, test, *, seed):
        return Threshold().plan(train, test, seed=seed)

    def fit_fold(self, plan, labels, objective):
        return Threshold().fit_fold(plan, jnp.asarray(np.asarray(labels)), objective)

    def decide_fold(self, plan, labels, objective):
        return np.asarray(Threshold().decide_fold(plan, jnp.asarray(np.asarray(labels)), objective))

    def supports(self, n_outputs):
        return n_outputs == 1

    def neighbors(self, plan, chosen):
        return None


def test_an_estimator_on_the_host_gets_the_same_null():
    sample = GaussianShift(1.0).draw(40, 50, seed=0)
    traced = optimal_membership_advantage(sample, estimator=Threshold(), n_permutations=12, n_folds=3, seed=0)
    hosted = optimal_membership_advantage(sample, estimator=HostThreshold(), n_permutations=12, n_folds=3, seed=0)
    np.testing.assert_array_equal(hosted.null, traced.null)
    assert hosted.lower_rule == traced.lower_rule and hosted.plug_in == traced.plug_in
    fitted = cross_fit(sample, HostThreshold(), balanced_accuracy.objective(), seed=0)
    seen: list[float] = []
    permutation_null(fitted, balanced_accuracy.objective(), 4, seed=0, on_progress=seen.append)
    assert seen == [0.25, 0.5, 0.75, 1.0]


class HostSigmoid(AbstractEstimator):
    """A fixed posterior, on the host."""

    on_host = True

    def plan(self, train, test, *, seed):
        return train[:, 0].astype(np.float32), test[:, 0].astype(np.float32)

    def fit_fold(self, plan, labels, objective):
        own, unseen = (special.expit(part - 0.5) for part in plan)
        reached = objective.optimum(jnp.asarray(own), jnp.asarray(labels))
        decided = [np.asarray(objective.decide(jnp.asarray(part), reached)) for part in (unseen, own)]
        return FoldOutcome(unseen, decided[0], own, decided[1], np.zeros((), np.int32))

    def decide_fold(self, plan, labels, objective):
        return self.fit_fold(plan, labels, objective).decisions

    def supports(self, n_outputs):
        return n_outputs == 1

    def neighbors(self, plan, chosen):
        return None


def test_a_curve_on_the_host_is_one_fit_and_many_thresholds():
    sample = GaussianShift(1.0).draw(60, 60, seed=0)
    settings = {"estimator": HostSigmoid(), "n_permutations": 5, "seed": 0}
    curve = advantage_curve(sample, metrics=("f_1", "accuracy"), priors=[0.3], **settings)
    for row, metric in enumerate(("f_1", "accuracy")):
        alone = optimal_membership_advantage(sample, metric=metric, prior=0.3, **settings)
        assert curve.points[row].lower_rule == alone.lower_rule and curve.points[row].plug_in == alone.plug_in
        np.testing.assert_array_equal(curve.null[row], alone.null)


@pytest.mark.slow
def test_a_scikit_learn_classifier_through_every_door():
    linear_model = pytest.importorskip("sklearn.linear_model")
    sample = GaussianShift(2.0).draw(60, 60, seed=0)
    hosted = Classifier(linear_model.LogisticRegression(), inner_folds=2)
    estimate = optimal_membership_advantage(sample, estimator=hosted, metric="f_1", n_permutations=3, seed=0)
    assert estimate.advantage > 0.3 and estimate.p_value == 0.25
    assert 0.0 <= estimate.null_plug_in_mean < estimate.plug_in
    curve = advantage_curve(
        sample, estimator=hosted, metrics=("f_1", "accuracy"), priors=[0.5], n_permutations=3, seed=0
    )
    assert curve.at("f_1", 0.5).lower_rule == estimate.lower_rule
    np.testing.assert_array_equal(curve.null[0], estimate.null)


@pytest.mark.slow
def test_ten_folds_reach_bootstrap():
    n_folds = 10
    sample = GaussianShift(1.0).draw(400, 300, seed=0)
    estimate = optimal_membership_advantage(sample, n_folds=n_folds, n_permutations=99, seed=0)
    assert abs(estimate.lower_rule - 0.3829) < 0.15 and estimate.n_folds == n_folds
    assert estimate.own.n_members == 400 and estimate.own.true_positives <= 400
    assert len(estimate.n_neighbors) == n_folds
    interval = bootstrap(estimate, n_resamples=500, seed=0)
    assert interval.low < 0.3829 < interval.high
    certify(sample, seed=0)
    with pytest.raises(ValueError, match="own_posterior is many"):
        cross_fit(sample, KNN(), balanced_accuracy.objective(), seed=0, n_folds=n_folds).pooled("own_posterior")


@pytest.mark.slow
@pytest.mark.parametrize("n_folds", [2, 10])
def test_intervals_cover_with_any_number_of_folds(n_folds):
    covered = 0
    for seed in range(300):
        sample = GaussianShift(1.0).draw(200, 200, seed=seed)
        estimate = optimal_membership_advantage(
            sample, estimator=Threshold(), n_folds=n_folds, n_permutations=39, seed=seed
        )
        interval = bootstrap(estimate, n_resamples=400, seed=seed)
        covered += interval.low <= 0.38292 <= interval.high
    assert covered >= 300 * 0.95 - 3 * np.sqrt(300 * 0.95 * 0.05)


def test_too_many_folds():
    sample = GaussianShift(1.0).draw(20, 5, seed=0)
    for n_folds in (11, 6):
        with pytest.raises(ValueError, match=f"n_folds={n_folds} must be at most 10"):
            optimal_membership_advantage(sample, n_folds=n_folds, seed=0)


def test_stacked_queries_are_one_vector_query(rng):
    """Two scalar queries that each see half of the leak; together they see all of it."""
    first = GaussianShift(1.0).draw(900, 900, seed=0)
    second = GaussianShift(1.0).draw(900, 900, seed=1)
    both = MembershipSample(
        np.hstack([first.members, second.members]), np.hstack([first.nonmembers, second.nonmembers])
    )
    estimate = optimal_membership_advantage(both, n_permutations=0, seed=0)
    assert estimate.advantage == pytest.approx(0.52, abs=0.07)  # 2 Phi(1/sqrt 2) - 1; one query alone has .383


def test_the_bracket_and_the_null_of_the_plug_in():
    sample = GaussianShift(1.0).draw(500, 500, seed=0)
    estimate = optimal_membership_advantage(sample, bracket=True, n_permutations=60, seed=0)
    assert estimate.one_nn is not None and estimate.one_nn.lower < 0.383 < estimate.one_nn.upper
    assert len(estimate.null_plug_in) == 50 and 0.0 < estimate.null_plug_in_mean < 0.2
    json.dumps(estimate.to_dict())


def test_precision_at_a_minimum_recall():
    """N(2, 1) against N(0, 1): at TPR .3 the threshold is 2.524 and the precision .3 / (.3 + .0058)."""
    sample = GaussianShift(2.0).draw(2000, 2000, seed=0)
    for estimator in (KNN(), Threshold(), Classifier()):
        estimate = optimal_membership_advantage(
            sample, estimator=estimator, metric=precision(min_recall=0.3), n_permutations=0, seed=0
        )
        assert estimate.value == pytest.approx(0.981, abs=0.03)
        assert 0.25 < estimate.held_out.true_positive_rate < 0.6
    rare = optimal_membership_advantage(sample, metric="precision", prior=0.01, n_permutations=0, seed=0)
    assert 0.1 < rare.value <= 1.0
