"""Metric attacks: both protocols, what they must not depend on, and what peers were seen to get wrong."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import stats

from mace_jax.attacks import signals
from mace_jax.attacks._metric_attacks import metric_attacks
from mace_jax.attacks._metric_rows import balanced_interval, permutation_p_value
from mace_jax.attacks._predictions import Predictions


def predictions(seed: int, n: int, lift: float, n_classes: int = 4, **further) -> Predictions:
    """Logits whose true class is ``lift`` above the others; the more it is, the better a record was fitted."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, n_classes, n)
    logits = rng.normal(size=(n, n_classes))
    logits[np.arange(n), labels] += lift + 0.5 * labels
    return Predictions(labels, logits=logits, **further)


def overfit(n: int = 200, **further) -> tuple[Predictions, Predictions]:
    return predictions(1, n, 5.0, **further), predictions(2, n, 1.0, **further)


def plain(found) -> dict:
    return json.loads(json.dumps(found.to_dict()))


def test_every_attack_finds_the_members_of_an_overfit_model():
    found = metric_attacks(*overfit(), shadow=overfit(300), seed=0)
    assert [(row.attack, row.thresholds) for row in found.rows] == [
        ("correctness", "none"),
        *((attack, rule) for attack in ("confidence", "entropy", "modified_entropy") for rule in ("global", "class")),
    ]
    for row in found.rows:
        assert row.low > 0.5 and row.auc > 0.5 and row.advantage > 0 and row.p_value < 1e-3
        assert row.advantage == pytest.approx(2 * row.balanced_accuracy - 1)
    assert found.chosen.attack in ("confidence", "modified_entropy")
    assert "* chosen on the calibration records" in found.summary() and "correctness" in found.summary()


def test_correctness_is_the_gap_of_accuracies():
    member, nonmember = overfit(150)
    row = metric_attacks(member, nonmember, shadow=overfit(20)).row("correctness", "none")
    assert row.balanced_accuracy == pytest.approx(0.5 * (member.accuracy + 1.0 - nonmember.accuracy), abs=1e-15)


def test_members_that_score_lower_have_a_negative_advantage_and_an_area_below_one_half():
    found = metric_attacks(*reversed(overfit()), shadow=overfit(), seed=0)
    row = found.row("correctness", "none")
    assert row.advantage < -0.1 and row.auc < 0.5 and row.balanced_accuracy < 0.5 and row.p_value > 0.99
    assert found.row("confidence").advantage < -0.1 and found.row("confidence").auc < 0.5  # the sign is never turned


def test_halves_are_disjoint_and_only_the_others_are_attacked():
    member, nonmember = overfit(101)
    found = metric_attacks(member, nonmember, seed=3)
    assert found.protocol == "partial knowledge" and found.n_calibration == (50, 50)
    assert len(found.member_rows) == len(found.nonmember_rows) == 51
    row = found.row("modified_entropy", "class")
    rest = [np.setdiff1d(np.arange(101), rows) for rows in (found.member_rows, found.nonmember_rows)]
    scores = [-signals.modified_entropy(each.labels, logits=each.logits) for each in (member, nonmember)]
    again = type(row.fitted).fit(
        scores[0][rest[0]], member.labels[rest[0]], scores[1][rest[1]], nonmember.labels[rest[1]]
    )
    assert again.to_dict() == row.fitted.to_dict()
    found_members = again.predict(scores[0][found.member_rows], member.labels[found.member_rows])
    assert np.array_equal(found_members, row.member_decisions)
    assert row.true_positive_rate == found_members.mean()


@pytest.mark.parametrize("with_shadow", [False, True])
def test_neither_the_order_of_records_nor_the_names_of_classes_matter(rng, with_shadow):
    names = np.array(["ox", "ant", "yak", "bee"])

    def reordered(given: Predictions) -> Predictions:
        rows, classes = rng.permutation(len(given)), rng.permutation(4)
        labels, logits = given.labels[rows], given.logits[rows]
        return Predictions(np.argsort(classes)[labels], logits=logits[:, classes], groups=names[labels])

    sides = overfit(90)
    shadow = overfit(70) if with_shadow else None
    first = metric_attacks(*sides, shadow=shadow, seed=5)
    second = metric_attacks(
        *map(reordered, sides), shadow=None if shadow is None else tuple(map(reordered, shadow)), seed=5
    )
    for one, other in zip(first.rows, second.rows, strict=True):
        assert one.balanced_accuracy == other.balanced_accuracy
        assert one.auc == pytest.approx(other.auc, abs=1e-12)
        assert one.calibration_accuracy == other.calibration_accuracy
    assert (first.chosen.attack, first.chosen.thresholds) == (second.chosen.attack, second.chosen.thresholds)
    assert plain(metric_attacks(*sides, shadow=shadow, seed=5)) == plain(first)


def test_probabilities_and_logits_agree_and_inputs_stay():
    sides = overfit(80)
    both = []
    for each in sides:
        p = np.exp(each.logits) / np.exp(each.logits).sum(axis=1, keepdims=True)
        both.append((p, p.copy(), each.labels.copy(), each.labels))
    from_p = [Predictions(labels, probabilities=p) for p, _, labels, _ in both]
    one, other = metric_attacks(*sides, seed=1), metric_attacks(*from_p, seed=1)
    assert [row.balanced_accuracy for row in one.rows] == [row.balanced_accuracy for row in other.rows]
    for p, copy, labels, same in both:
        assert np.array_equal(p, copy) and np.array_equal(labels, same)


def test_a_slice_is_a_run_on_sliced_arrays_with_its_groups_and_further_scores(rng):
    member, nonmember = (
        Predictions(
            each.labels,
            logits=each.logits,
            groups=np.where(rng.random(120) < 0.5, "north", "south"),
            scores={"trained": rng.normal(size=120) + each.correct},
        )
        for each in overfit(120)
    )
    parts = [each.take(each.groups == "north") for each in (member, nonmember)]
    rows = [np.flatnonzero(each.groups == "north") for each in (member, nonmember)]
    by_hand = [
        Predictions(
            each.labels[row],
            logits=each.logits[row],
            groups=each.groups[row],
            scores={"trained": each.scores["trained"][row]},
        )
        for each, row in zip((member, nonmember), rows, strict=True)
    ]
    assert plain(metric_attacks(*parts, seed=0)) == plain(metric_attacks(*by_hand, seed=0))
    found = metric_attacks(*parts, seed=0)
    assert found.row("trained", "class").fitted.classes.tolist() == ["north"]
    assert len(found.member_rows) + found.n_calibration[0] == len(parts[0])


def test_the_attack_is_chosen_before_the_attacked_records_are_seen():
    found = metric_attacks(*overfit(60), seed=0)
    assert found.chosen.calibration_accuracy == max(row.calibration_accuracy for row in found.rows)
    sides = [
        predictions(seed, 120, 1.0, scores={"leak": leak}) for seed, leak in ((1, np.ones(120)), (2, np.zeros(120)))
    ]
    assert metric_attacks(*sides, seed=0).chosen.attack == "leak"


def test_thresholds_of_many_small_classes_are_not_chosen_for_fitting_noise(rng):
    """Fitted and judged on the same records they would win; cross-fitted they do not."""
    shape, labels = (300, 100), np.arange(300) % 100
    member, nonmember = (
        Predictions(labels, logits=np.where(np.eye(100)[labels] > 0, lift, 0.0) + rng.normal(size=shape))
        for lift in (4.5, 3.5)
    )
    found = metric_attacks(member, nonmember, seed=0)
    in_sample = found.row("confidence", "class").fitted
    assert found.chosen.thresholds != "class"
    rest = np.setdiff1d(np.arange(300), found.member_rows), np.setdiff1d(np.arange(300), found.nonmember_rows)
    scores = [each.score("loss")[rows] for each, rows in zip((member, nonmember), rest, strict=True)]
    assert in_sample.balanced_accuracy(scores[0], labels[rest[0]], scores[1], labels[rest[1]]) > 0.7


def test_without_information_attacks_guess():
    chosen, areas, low = [], [], 0
    for seed in range(30):
        found = metric_attacks(predictions(3 * seed, 40, 2.0), predictions(3 * seed + 1, 40, 2.0), seed=seed)
        chosen.append(found.chosen.balanced_accuracy)
        areas.append(found.row("confidence").auc)
        low += found.chosen.p_value < 0.05
    for values in (chosen, areas):
        assert abs(np.mean(values) - 0.5) < 4 * np.std(values) / np.sqrt(len(values))
    assert low <= 6


def test_repeated_queries_are_averaged():
    member, nonmember = overfit(50)
    rng = np.random.default_rng(0)
    noisy = [
        Predictions(member.labels, logits=member.logits + rng.normal(0, 0.1, member.logits.shape)) for _ in range(400)
    ]
    mean = Predictions.averaged(noisy)
    powers = np.exp(member.logits)
    assert np.abs(mean.probabilities - powers / powers.sum(axis=1, keepdims=True)).max() < 0.01
    assert Predictions.averaged([member]).score("loss") == pytest.approx(member.score("loss"))
    with pytest.raises(ValueError, match=r"queries\[1\]"):
        Predictions.averaged([member, nonmember])
    with pytest.raises(ValueError, match="empty"):
        Predictions.averaged([])


@pytest.mark.parametrize(("n", "m", "least"), [(12, 30, 0.915), (40, 40, 0.935)])
def test_intervals_cover_in_exact_enumeration(n, m, least):
    hits, spared = np.meshgrid(np.arange(n + 1), np.arange(m + 1), indexing="ij")
    limits = np.array([balanced_interval(h, n, s, m, 0.95) for h, s in zip(hits.flat, spared.flat, strict=True)])
    for p in (0.1, 0.5, 0.8, 0.97):
        for q in (0.2, 0.5, 0.9):
            weight = np.outer(stats.binom.pmf(np.arange(n + 1), n, p), stats.binom.pmf(np.arange(m + 1), m, q)).ravel()
            truth = 0.5 * (p + q)
            covered = weight[(limits[:, 0] <= truth) & (truth <= limits[:, 1])].sum()
            assert least <= covered <= 0.995


@pytest.mark.parametrize("counts", [(7, 10, 2, 12), (0, 5, 0, 6), (5, 5, 6, 6), (1, 30, 9, 20)])
def test_p_values_are_fishers(counts):
    hits, n, accused, m = counts
    expected = stats.fisher_exact([[hits, n - hits], [accused, m - accused]], alternative="greater").pvalue
    assert permutation_p_value(*counts) == pytest.approx(expected, rel=1e-9)


def test_a_class_on_one_side_only_is_listed():
    member, nonmember = overfit(60)
    shadow = (member, Predictions(np.minimum(nonmember.labels, 2), logits=nonmember.logits))
    row = metric_attacks(member, nonmember, shadow=shadow).row("entropy", "class")
    assert row.fitted.absent == (3,) and row.fitted.thresholds[3] == row.fitted.global_threshold != 0.0


def test_bad_input_is_named():
    member, nonmember = overfit(20)
    with pytest.raises(TypeError, match="nonmember is a list"):
        metric_attacks(member, [1.0])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="nonmember has 5 classes but member has 4"):
        metric_attacks(member, predictions(0, 20, 1.0, n_classes=5))
    with pytest.raises(ValueError, match="member has 3 records; at least 4"):
        metric_attacks(member.take([0, 1, 2]), nonmember)
    with pytest.raises(ValueError, match="further scores"):
        metric_attacks(predictions(0, 20, 1.0, scores={"net": np.zeros(20)}), nonmember)
    with pytest.raises(ValueError, match=r"scores\['net'\] has 3 entries"):
        predictions(0, 20, 1.0, scores={"net": np.zeros(3)})
    with pytest.raises(ValueError, match="entropy.*other names"):
        metric_attacks(*(predictions(0, 20, 1.0, scores={"entropy": np.zeros(20)}) for _ in range(2)))
    with pytest.raises(ValueError, match="groups has shape"):
        predictions(0, 20, 1.0, groups=[1, 2])
    with pytest.raises(ValueError, match="exactly one"):
        Predictions([0, 1])
    with pytest.raises(TypeError, match="rows must be"):
        member.take([0.5])
    with pytest.raises(ValueError, match="there is no row"):
        metric_attacks(member, nonmember).row("correctness")
