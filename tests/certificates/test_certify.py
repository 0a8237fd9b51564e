"""certify: the split, the rules, the levels, and what a certificate says."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mace_jax import MembershipSample, certify
from mace_jax.certificates._api import certify_crossfits
from mace_jax.certificates._rules import Scores, advantage_rule, epsilon_rule
from mace_jax.datasets._closed_form import GaussianShift, RandomizedResponse
from mace_jax.estimators import KNN, Threshold
from mace_jax.metrics import balanced_accuracy
from mace_jax.metrics._crossfit import cross_fit


def test_a_strong_leak_is_certified_and_the_bound_is_below_the_truth():
    law = GaussianShift(2.0)
    for seed in range(5):
        certificate = certify(law.draw(800, 800, seed=seed), seed=seed)
        assert 0.5 < certificate.advantage < law.total_variation
        assert certificate.epsilon > np.log((1 + certificate.advantage) / (1 - certificate.advantage)) * 0.7
        assert certificate.claim == "this model" and "lower bound" in certificate.direction


@pytest.mark.parametrize("seed", range(4))
def test_counts_are_of_the_certifying_half_alone(seed):
    certificate = certify(GaussianShift(1.0).draw(101, 80, seed=seed), seed=seed)
    for counts in certificate.counts:
        assert counts["members"] in (50, 51) and counts["nonmembers"] == 40
        assert 0 <= counts["true_positives"] <= counts["members"]


def test_outputs_of_the_certifying_half_do_not_move_the_rule():
    """Changing what the certifying half looks like leaves the rule as it was."""
    sample = GaussianShift(1.0).draw(400, 400, seed=0)
    fitted = cross_fit(sample, Threshold(), balanced_accuracy.objective(), seed=0)
    held = fitted.folds[1].test
    pooled = np.concatenate([sample.members, sample.nonmembers])
    pooled[held] = np.random.default_rng(1).normal(50, 1, (len(held), 1))
    changed = MembershipSample(pooled[:400], pooled[400:])
    rules = [[counts["rule"] for counts in certify(one, seed=0).counts] for one in (sample, changed)]
    assert rules[0] == rules[1]


def test_one_rule_gets_the_whole_level_on_two_outputs():
    certificate = certify(RandomizedResponse(1.0).draw(1000, 1000, seed=0), seed=0)
    assert len(certificate.counts) == 1
    assert 0.6 < certificate.epsilon < 1.0


def test_reversed_scores_are_found():
    sample = GaussianShift(2.0).draw(300, 300, seed=0)
    flipped = MembershipSample(-sample.members, -sample.nonmembers)
    certificate = certify(flipped, estimator=Threshold(), seed=0)
    assert certificate.advantage > 0.4
    assert any("negated score" in counts["rule"] for counts in certificate.counts)


def test_vector_outputs_and_constants():
    vector = certify(GaussianShift(2.0, n_outputs=3).draw(400, 400, seed=0), seed=0)
    assert vector.advantage > 0.4 and "posterior" in vector.counts[0]["rule"]
    constant = certify(MembershipSample(np.ones(50), np.ones(50)), seed=0)
    assert constant.epsilon == 0.0 and constant.advantage == 0.0
    assert certify(MembershipSample([0.0, 1.0], [2.0, 3.0]), seed=0).epsilon == 0.0


def test_several_queries_pay_for_the_choice():
    sample = GaussianShift(1.0).draw(500, 500, seed=0)
    noise = GaussianShift(0.0).draw(500, 500, seed=1)
    fits = {
        name: [cross_fit(one, KNN(), balanced_accuracy.objective(), seed=0)]
        for name, one in (("leak", sample), ("noise", noise))
    }
    alone = certify_crossfits({"leak": fits["leak"]}, delta=0.0, confidence_level=0.95, seed=0)
    both = certify_crossfits(fits, delta=0.0, confidence_level=0.95, seed=0)
    assert both.advantage < alone.advantage
    assert "Bonferroni over 2 queries" in both.method
    assert {counts["query"] for counts in both.counts} == {"leak", "noise"}


def test_delta_lowers_epsilon_and_results_are_reproducible_json():
    sample = RandomizedResponse(2.0).draw(400, 400, seed=0)
    pure, approximate = certify(sample, seed=0), certify(sample, delta=0.05, seed=0)
    assert approximate.epsilon < pure.epsilon
    assert certify(sample, seed=0).fingerprint == pure.fingerprint != certify(sample, seed=1).fingerprint
    json.dumps(pure.to_dict())
    assert repr(pure).startswith("Certificate(epsilon >= ")


def test_rules_on_hand_made_scores():
    member = np.repeat([True, False], 200)
    scores = Scores(
        "score", np.concatenate([np.repeat([3.0, 1.0], 100), np.repeat([1.0, 0.0], 100)]), np.zeros(4), False
    )
    assert advantage_rule([scores], member).threshold in (0.5, 2.0)
    rule = epsilon_rule([scores], member, delta=0.0, error=0.05)
    assert rule is not None and rule.threshold in (0.5, 2.0)
    flat = Scores("flat", np.ones(400), np.zeros(4), False)
    assert epsilon_rule([flat], member, delta=0.0, error=0.05) is None
    assert advantage_rule([flat], member).threshold == np.inf


def test_many_distinct_scores_keep_dense_tails():
    sample = GaussianShift(3.0).draw(20_000, 20_000, seed=0)
    certificate = certify(sample, estimator=Threshold(), seed=0)
    assert certificate.epsilon > 5.0


def test_bad_arguments():
    sample = GaussianShift(1.0).draw(20, 20, seed=0)
    with pytest.raises(ValueError, match="delta=-0.1"):
        certify(sample, delta=-0.1, seed=0)
    with pytest.raises(ValueError, match="confidence_level=0 must lie strictly"):
        certify(sample, confidence_level=0, seed=0)
