"""certify: the split, the rules, the levels, and what a certificate says."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mace_jax import MembershipSample, certify
from mace_jax.certificates import (
    design,
    epsilon_from_counts,
    epsilon_from_scores,
    epsilon_gdp,
    privacy_profile_bound,
)
from mace_jax.certificates._api import certify_crossfits
from mace_jax.certificates._rules import Scores, advantage_rule, epsilon_rule
from mace_jax.datasets._closed_form import GaussianShift, RandomizedResponse
from mace_jax.estimators import KNN, Threshold
from mace_jax.metrics import balanced_accuracy
from mace_jax.metrics._crossfit import cross_fit

GOLDEN = (0.7502776416364513, 0.13894440346178216, "e6625097736081f4bd274f556295362b2bfc9df33e83ba01bc408730a7c8232b")


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


def test_the_default_path_keeps_its_numbers():
    """Computed before methods, searches and designs were added."""
    certificate = certify(GaussianShift(1.0).draw(300, 350, seed=3), seed=3)
    assert certificate.epsilon == pytest.approx(GOLDEN[0], rel=1e-12)
    assert certificate.advantage == pytest.approx(GOLDEN[1], rel=1e-12)
    assert certificate.fingerprint == GOLDEN[2] and certificate.method == "one split, Clopper-Pearson"
    assert certificate.neighbors is None and certificate.profile == ()


@pytest.mark.parametrize("method", ["katz", "adjusted_log", "bailey", "inverse_sinh", "gdp"])
def test_methods_share_the_rules_and_say_what_they_assume(method):
    sample = GaussianShift(2.0).draw(1000, 1000, seed=0)
    exact, other = (certify(sample, method=one, delta=1e-5, seed=0) for one in ("clopper_pearson", method))
    assert [row["rule"] for row in exact.counts] == [row["rule"] for row in other.counts]
    for row in other.counts:
        counts = row["true_positives"], row["members"], row["false_positives"], row["nonmembers"]
        level = 1 - 0.05 / len(other.counts) / (1 if method == "gdp" else 2)
        if method == "gdp":
            false_negatives = row["members"] - row["true_positives"]
            mu, epsilon = epsilon_gdp(false_negatives, *counts[1:], delta=1e-5, confidence_level=level)
            assert row["mu"] == mu and row["epsilon"] == epsilon
            assert row["advantage"] == exact.counts[other.counts.index(row)]["advantage"]
        else:
            bound = epsilon_from_counts(*counts, method=method, delta=1e-5, confidence_level=level)
            assert row["epsilon"] == pytest.approx(bound)
    added = set(other.assumptions) - set(exact.assumptions)
    assert len(added) == 1 and ("Gaussian" if method == "gdp" else "large-sample") in added.pop()
    assert other.fingerprint != exact.fingerprint and other.claim == "this model"


@pytest.mark.parametrize("search", ["split", "bonferroni", "dkw", "fixed_sequence"])
def test_every_search_holds_for_epsilon_advantage_and_profile_together(search):
    law, runs, at = GaussianShift(1.0), 200, (0.0, 0.5, 1.0)
    truth = np.asarray([law.hockey_stick(epsilon) for epsilon in at])
    wrong, found = 0, []
    for seed in range(runs):
        estimator = Threshold() if search == "split" else None
        one = certify(law.draw(150, 200, seed=seed), estimator=estimator, search=search, epsilons=at, seed=seed)
        profile = np.asarray(one.profile)
        assert np.array_equal(profile[:, 0], at) and (np.diff(profile[:, 1]) <= 0).all()
        wrong += one.advantage > law.total_variation or bool((profile[:, 1] > truth).any())
        found.append(one.advantage)
    assert wrong <= 0.05 * runs + 3 * np.sqrt(runs * 0.05 * 0.95)
    assert np.median(found) > 0.1


@pytest.mark.parametrize("search", ["bonferroni", "dkw", "fixed_sequence"])
def test_searches_find_what_the_scores_show_and_stay_below_a_known_epsilon(search):
    law, runs = RandomizedResponse(1.0), 200
    found = np.asarray(
        [certify(law.draw(300, 300, seed=seed), search=search, seed=seed).epsilon for seed in range(runs)]
    )
    assert (found > 1.0).sum() <= 0.05 * runs + 3 * np.sqrt(runs * 0.05 * 0.95) and np.median(found) > 0.3
    sample = law.draw(300, 300, seed=0)
    one = certify(sample, search=search, seed=0)
    level = 0.975 if search == "fixed_sequence" else 0.95
    scores = sample.members[:, 0], sample.nonmembers[:, 0]
    assert one.epsilon == epsilon_from_scores(*scores, search=search, confidence_level=level, seed=0).epsilon
    assert one.claim == "this model" and len(one.counts) == 1 and json.dumps(one.to_dict())
    assert one.fingerprint == certify(sample, search=search, seed=0).fingerprint
    assert not any("one random half of the records and counted once" in text for text in one.assumptions)


def test_profile_agrees_with_the_counts_and_costs_nothing():
    sample = RandomizedResponse(1.0).draw(2000, 2000, seed=0)
    plain, more = certify(sample, seed=0), certify(sample, epsilons=[0.0, 0.5, 0.9, 5.0, 800.0], seed=0)
    assert plain.epsilon == more.epsilon and plain.advantage == more.advantage
    row = more.counts[0]
    counts = row["true_positives"], row["members"], row["false_positives"], row["nonmembers"]
    expected = privacy_profile_bound(*counts, [0.0, 0.5, 0.9, 5.0, 800.0])
    assert [delta for _, delta in more.profile] == pytest.approx(expected.tolist())
    at_the_bound = certify(sample, epsilons=[plain.epsilon], seed=0).profile[0][1]
    assert at_the_bound == pytest.approx(0.0, abs=1e-12)
    assert certify(sample, delta=more.profile[1][1], seed=0).epsilon == pytest.approx(0.5)


def test_designs_behind_the_same_call(tmp_path):
    coins = design.independent_coins(400, seed=0)
    scores = coins.included + np.random.default_rng(0).laplace(scale=0.5, size=400)
    whole = certify(scores, design=coins)
    assert whole.to_dict() == coins.certify(scores).to_dict() and whole.claim == "the training algorithm"
    again = design.load_design(coins.save(tmp_path / "coins.json"))
    few = certify(scores, design=again, n_guesses=100, delta=1e-5, confidence_level=0.9)
    assert few.to_dict() == coins.certify(scores, n_guesses=100, delta=1e-5, confidence_level=0.9).to_dict()
    models = design.retrainings(3, 100, seed=0)
    one = certify(models.included, design=models, method="clopper_pearson", epsilons=[1.0])
    assert one.profile[0][0] == 1.0 and one.neighbors == "add or remove one record"
    assert "neighbors='add or remove one record'" in repr(one)


@pytest.mark.parametrize(
    "sample, settings, error, message",
    [
        ("gaussian", {"method": "one_run"}, ValueError, r"included in training by independent coins; draw them"),
        ("gaussian", {"method": "joint_beta"}, ValueError, "credible interval, which is no certificate"),
        ("gaussian", {"method": "wald"}, ValueError, "method='wald' is not known; pass one of 'clopper_pearson'"),
        ("gaussian", {"method": "gdp"}, ValueError, "no finite epsilon at delta 0"),
        ("gaussian", {"search": "best"}, ValueError, "search='best' is not known; pass one of 'split'"),
        ("gaussian", {"search": "dkw", "method": "katz"}, ValueError, "goes with search='split'"),
        ("gaussian", {"search": "dkw", "estimator": KNN()}, ValueError, "leave estimator out"),
        ("vector", {"search": "dkw"}, ValueError, "3 outputs per record"),
        ("gaussian", {"n_guesses": 3}, ValueError, "n_guesses belongs to a design"),
        ("gaussian", {"epsilons": [-1.0]}, ValueError, "epsilons="),
        ("gaussian", {"seed": None}, TypeError, "seed is missing"),
        ("scores", {}, TypeError, "sample has type ndarray; pass a MembershipSample, or scores with design="),
        ("scores", {"design": "file.json"}, TypeError, "design has type str"),
        ("scores", {"design": "coins", "search": "dkw"}, ValueError, "leave estimator and search out"),
        ("scores", {"design": "coins", "epsilons": [1.0]}, ValueError, "epsilons= needs error rates"),
        ("gaussian", {"design": "coins"}, TypeError, "scores is a MembershipSample"),
    ],
)
def test_arguments_that_do_not_go_together(sample, settings, error, message):
    made = {
        "gaussian": lambda: GaussianShift(1.0).draw(20, 20, seed=0),
        "vector": lambda: GaussianShift(1.0, n_outputs=3).draw(20, 20, seed=0),
        "scores": lambda: np.zeros(40),
    }[sample]()
    settings = {"seed": 0, **settings}
    if settings.get("design") == "coins":
        settings["design"] = design.independent_coins(40, seed=0)
    with pytest.raises(error, match=message):
        certify(made, **settings)
