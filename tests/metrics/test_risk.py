"""individual_privacy_risk: the true posterior of a Gaussian shift, calibration under no leak, prior shift."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special

from mace_jax import MembershipSample, individual_privacy_risk
from mace_jax.datasets._closed_form import GaussianShift
from mace_jax.estimators import KNN, Classifier, Histogram, Threshold


def test_posterior_and_log_ratio_follow_the_truth():
    sample = GaussianShift(1.0).draw(3000, 3000, seed=0)
    risk = individual_privacy_risk(sample, seed=0)
    truth = sample.members[:, 0] - 0.5  # log likelihood ratio of N(1,1) against N(0,1)
    central = np.abs(truth) < 1.5
    assert np.abs(risk.members.posterior - special.expit(truth))[central].mean() < 0.03
    assert np.corrcoef(risk.members.log_ratio[central], truth[central])[0, 1] > 0.98
    inside = (risk.members.low <= special.expit(truth)) & (special.expit(truth) <= risk.members.high)
    assert inside[central].mean() > 0.9
    assert ((risk.members.low <= risk.members.posterior) & (risk.members.posterior <= risk.members.high)).all()


def test_prior_shifts_the_posterior_on_the_logit_scale():
    sample = GaussianShift(1.0).draw(200, 1800, seed=0)
    half, tenth = (individual_privacy_risk(sample, prior=prior, seed=0) for prior in (0.5, 0.1))
    np.testing.assert_allclose(
        special.logit(tenth.members.posterior) - special.logit(half.members.posterior), special.logit(0.1), atol=1e-9
    )
    np.testing.assert_array_equal(half.members.log_ratio, tenth.members.log_ratio)
    assert len(half.nonmembers.posterior) == 1800


def test_false_discoveries_are_controlled_without_a_leak():
    found = 0
    for seed in range(40):
        risk = individual_privacy_risk(GaussianShift(0.0).draw(150, 150, seed=seed), estimator=KNN(k=15), seed=seed)
        found += min(risk.members.q_value.min(), risk.nonmembers.q_value.min()) <= 0.05
    assert found <= 40 * 0.05 + 3 * np.sqrt(40 * 0.05 * 0.95)


def test_a_copied_cluster_is_discovered(rng):
    members = np.concatenate([rng.normal(5, 0.01, 60), rng.normal(size=340)])
    risk = individual_privacy_risk(MembershipSample(members, rng.normal(size=400)), seed=0)
    assert (risk.members.q_value[:60] < 0.01).all()
    assert (risk.members.posterior[:60] > 0.8).all()
    assert (risk.members.q_value[60:] < 0.01).mean() < 0.1
    assert "highest=" in repr(risk)
    assert set(risk.to_dict()["members"]) == {"posterior", "log_ratio", "low", "high", "q_value"}


def test_ties_lie_within_their_limits():
    sample = MembershipSample([0.0] * 30 + [1.0] * 30, [0.0] * 45 + [1.0] * 15)
    risk = individual_privacy_risk(sample, estimator=KNN(k=11), seed=0)
    assert ((risk.members.low >= 0) & (risk.members.high <= 1) & (risk.members.low < risk.members.high)).all()
    assert risk.members.posterior[0] < 0.5 < risk.members.posterior[-1]


def test_bad_arguments():
    sample = GaussianShift(1.0).draw(20, 20, seed=0)
    with pytest.raises(TypeError, match="orders records but gives no posterior"):
        individual_privacy_risk(sample, estimator=Threshold(), seed=0)
    with pytest.raises(ValueError, match="recalibrate='platt' is not known"):
        individual_privacy_risk(sample, recalibrate="platt", seed=0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="confidence_level=1.5"):
        individual_privacy_risk(sample, confidence_level=1.5, seed=0)


def test_forms_and_prior_shift_without_refitting():
    sample = GaussianShift(1.0).draw(200, 1800, seed=0)
    half, tenth = (individual_privacy_risk(sample, prior=prior, seed=0) for prior in (0.5, 0.1))
    moved = half.at_prior(0.1)
    for name in ("posterior", "log_ratio", "low", "high", "q_value"):
        np.testing.assert_allclose(getattr(moved.members, name), getattr(tenth.members, name), atol=1e-12)
    assert moved.prior == 0.1
    np.testing.assert_allclose(half.members.advantage, np.abs(2 * half.members.posterior - 1), atol=1e-12)
    np.testing.assert_array_equal(moved.members.advantage, half.members.advantage)
    np.testing.assert_array_equal(half.members.absolute_log_ratio, np.abs(half.members.log_ratio))
    with pytest.raises(ValueError, match="prior=1 must lie strictly"):
        half.at_prior(1)


@pytest.mark.parametrize(
    "settings",
    [{"estimator": Histogram()}, {"estimator": Classifier()}, {"recalibrate": "isotonic"}, {"n_folds": 5}],
    ids=["histogram", "logistic", "isotonic", "folds"],
)
def test_other_estimators_follow_the_truth(settings):
    sample = GaussianShift(1.0).draw(2000, 1000, seed=0)
    risk = individual_privacy_risk(sample, seed=0, **settings)
    truth = special.expit(sample.members[:, 0] - 0.5)
    central = np.abs(sample.members[:, 0] - 0.5) < 1.5
    assert np.abs(risk.members.posterior - truth)[central].mean() < 0.06
    assert ((risk.members.low <= risk.members.posterior) & (risk.members.posterior <= risk.members.high)).all()
    inside = (risk.members.low <= truth) & (truth <= risk.members.high)
    assert inside[central].mean() > 0.75
    # the mean of |2 eta - 1| over the balanced mixture is the total variation distance
    found = (risk.members.advantage.mean() + risk.nonmembers.advantage.mean()) / 2
    assert found == pytest.approx(0.3829, abs=0.06)
    tenth = risk.at_prior(0.1)
    np.testing.assert_allclose(special.logit(tenth.members.posterior), risk.members.log_ratio + special.logit(0.1))


def test_false_discoveries_without_neighbors():
    """Two clusters that give the members away are found; without a leak false discoveries are controlled."""
    found = 0
    for seed in range(40):
        sample = GaussianShift(0.0).draw(150, 150, seed=seed)
        risk = individual_privacy_risk(sample, estimator=Classifier(), seed=seed)
        found += min(risk.members.q_value.min(), risk.nonmembers.q_value.min()) <= 0.05
    assert found <= 40 * 0.05 + 3 * np.sqrt(40 * 0.05 * 0.95)
    leaked = GaussianShift(6.0).draw(150, 150, seed=0)
    assert (individual_privacy_risk(leaked, estimator=Classifier(), seed=0).members.q_value < 0.05).mean() > 0.9
