"""Thresholds: equal to the quadratic definition, free of the order of records, absent classes told."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mace_jax.attacks._class_thresholds import ClassThresholds
from mace_jax.attacks._thresholds import best_threshold, oracle_accuracy_null


def by_definition(members, nonmembers) -> tuple[float, float]:
    """Every score tried in turn, from the highest; whole numbers compared. The threshold and its accuracy."""
    best, chosen = -1, 0.0
    for candidate in sorted({*members, *nonmembers}, reverse=True):
        hits = sum(score >= candidate for score in members)
        rejected = sum(score < candidate for score in nonmembers)
        gain = len(nonmembers) * hits + len(members) * rejected
        if gain > best:
            best, chosen = gain, candidate
    return chosen, best / (2 * len(members) * len(nonmembers))


def published_rule(members, nonmembers) -> float:
    """The published loop: members as they come, then non-members, the first best by its floating sum."""
    best, chosen = 0.0, 0.0
    for candidate in [*members, *nonmembers]:
        accuracy = 0.5 * (np.mean(np.asarray(members) >= candidate) + np.mean(np.asarray(nonmembers) < candidate))
        if accuracy > best:
            best, chosen = accuracy, candidate
    return chosen


def accuracy_at(threshold, members, nonmembers) -> float:
    return 0.5 * (np.mean(np.asarray(members) >= threshold) + np.mean(np.asarray(nonmembers) < threshold))


def draw(rng, n: int, m: int, n_classes: int, levels: int = 12):
    """Scores with many ties; members score a little higher, by class."""
    own, other = rng.integers(0, n_classes, n), rng.integers(0, n_classes, m)
    return rng.integers(0, levels, n) + own * 1.0, own, rng.integers(-2, levels - 2, m) + other * 1.0, other


def test_the_best_threshold_is_the_best_of_all(rng):
    for _ in range(300):
        n, m = rng.integers(1, 25, 2)
        members, nonmembers = rng.integers(0, 15, n) / 3.0, rng.integers(-3, 12, m) / 3.0
        found = best_threshold(members, nonmembers)
        chosen, accuracy = by_definition(members.tolist(), nonmembers.tolist())
        assert found == chosen
        assert accuracy_at(found, members, nonmembers) == pytest.approx(accuracy, abs=1e-15)
        published = published_rule(members.tolist(), nonmembers.tolist())
        assert accuracy_at(published, members, nonmembers) == pytest.approx(accuracy, abs=1e-12)


@pytest.mark.parametrize("sizes", [(60, 40, 5), (300, 200, 40), (8, 9, 6)])
def test_class_thresholds_are_the_best_of_every_class(rng, sizes):
    members, own, nonmembers, other = draw(rng, *sizes)
    fitted = ClassThresholds.fit(members, own, nonmembers, other)
    overall = by_definition(members.tolist(), nonmembers.tolist())[0]
    assert fitted.global_threshold == overall
    assert fitted.classes.tolist() == sorted({*own.tolist(), *other.tolist()})
    absent = []
    for label, threshold in zip(fitted.classes, fitted.thresholds, strict=True):
        inside, outside = members[own == label], nonmembers[other == label]
        if len(inside) and len(outside):
            assert threshold == by_definition(inside.tolist(), outside.tolist())[0]
        else:
            absent.append(int(label))
            assert threshold == overall
    assert fitted.absent == tuple(absent)
    # sum of hits per class over all members, as the source adds them up
    hits = sum(int((members[own == c] >= t).sum()) for c, t in zip(fitted.classes, fitted.thresholds, strict=True))
    spared = sum(
        int((nonmembers[other == c] < t).sum()) for c, t in zip(fitted.classes, fitted.thresholds, strict=True)
    )
    found = fitted.balanced_accuracy(members, own, nonmembers, other)
    assert found == pytest.approx(0.5 * (hits / len(members) + spared / len(nonmembers)), abs=1e-15)


def test_the_order_of_records_and_the_names_of_classes_do_not_matter(rng):
    members, own, nonmembers, other = draw(rng, 120, 90, 7)
    fitted = ClassThresholds.fit(members, own, nonmembers, other)
    names = np.array(["iris", "aster", "rose", "lily", "fern", "moss", "ivy"])
    for _ in range(5):
        i, j = rng.permutation(120), rng.permutation(90)
        again = ClassThresholds.fit(members[i], own[i], nonmembers[j], other[j])
        assert again.to_dict() == fitted.to_dict()
        named = ClassThresholds.fit(members[i], names[own[i]], nonmembers[j], names[other[j]])
        assert np.array_equal(named.predict(members, names[own]), fitted.predict(members, own))
    assert ClassThresholds.fit(members, own * 1000 - 3, nonmembers, other * 1000 - 3).thresholds.tolist() == (
        fitted.thresholds.tolist()
    )


def test_midpoints_decide_the_same_for_the_records_at_hand(rng):
    members, own, nonmembers, other = draw(rng, 200, 150, 6, levels=30)
    observed = ClassThresholds.fit(members, own, nonmembers, other)
    middle = ClassThresholds.fit(members, own, nonmembers, other, thresholds="midpoint")
    for scores, labels in ((members, own), (nonmembers, other)):
        assert np.array_equal(observed.predict(scores, labels), middle.predict(scores, labels))
    for label, high, low in zip(observed.classes, observed.thresholds, middle.thresholds, strict=True):
        below = np.concatenate([members[own == label], nonmembers[other == label]])
        below = below[below < high]
        assert low == (0.5 * (below.max() + high) if len(below) else high)
    assert best_threshold([2.0], [3.0], thresholds="midpoint") == 2.0  # everyone is accused, there is no lower score
    neighbors = (1.0, np.nextafter(1.0, 2.0))
    assert best_threshold([neighbors[1]], [neighbors[0]], thresholds="midpoint") == neighbors[1]


def test_classes_missing_on_a_side_or_new_get_the_global_threshold():
    members, own = [5.0, 6.0, 9.0, 1.0], ["a", "a", "only members", "b"]
    nonmembers, other = [4.0, 0.0, -7.0], ["a", "b", "only others"]
    fitted = ClassThresholds.fit(members, own, nonmembers, other)
    assert fitted.absent == ("only members", "only others")
    assert fitted.predict([5.0, 4.9, 5.0, 0.5], ["only members", "only others", "new", "b"]).tolist() == [
        True,
        False,
        True,
        False,
    ]
    assert fitted.global_threshold == 5.0
    assert fitted.unseen(["new", "a", "newer", "new"]) == ("new", "newer")
    assert "absent: 'only members', 'only others'" in repr(fitted)
    assert json.loads(json.dumps(fitted.to_dict()))["absent"] == ["only members", "only others"]


def test_negated_scores_do_not_fall_back_to_zero():
    """Entropies are negative here: a threshold of 0 for a class without non-members would accuse no one."""
    fitted = ClassThresholds.fit([-0.1, -0.2, -0.1], [0, 0, 1], [-0.9, -0.8], [0, 0])
    assert fitted.absent == (1,) and fitted.thresholds.tolist() == [-0.2, -0.2]
    assert fitted.predict([-0.15], [1]).tolist() == [True]


def test_scores_can_order_the_groups_with_an_area_that_misses_it():
    """40 % of the non-members above and 60 % below every member: area .6, best accuracy .8."""
    from mace_jax.metrics import roc

    members, nonmembers = np.linspace(0.4, 0.6, 50), np.r_[np.full(40, 1.0), np.zeros(60)]
    assert roc(members, nonmembers).auc == pytest.approx(0.6)
    assert accuracy_at(best_threshold(members, nonmembers), members, nonmembers) == pytest.approx(0.8)


@pytest.mark.parametrize(
    ("n", "m", "formula", "simulated"),
    [(16, 16, 0.611, 0.596), (33, 17, 0.594, 0.584), (100, 100, 0.544, 0.542), (1000, 1000, 0.514, 0.514)],
)
def test_null_of_the_accuracy_on_the_same_records(rng, n, m, formula, simulated):
    assert round(oracle_accuracy_null(n, m), 3) == formula
    found = []
    for _ in range(400):
        members, nonmembers = rng.normal(size=n), rng.normal(size=m)
        found.append(accuracy_at(best_threshold(members, nonmembers), members, nonmembers))
    error = np.std(found) / np.sqrt(len(found))
    assert abs(np.mean(found) - simulated) < 4 * error + 5e-4


def test_inputs_stay_as_they_are(rng):
    given = draw(rng, 30, 20, 3)
    copies = [array.copy() for array in given]
    ClassThresholds.fit(*given).balanced_accuracy(*given)
    assert all(np.array_equal(a, b) for a, b in zip(given, copies, strict=True))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"member_labels": [0]}, ValueError, "member_labels has shape"),
        ({"nonmember_labels": [0.5, 1.0]}, TypeError, "nonmember_labels must be whole numbers or strings"),
        ({"nonmember_labels": ["0", "1"]}, TypeError, "member_labels are whole numbers but nonmember_labels are str"),
        ({"member_scores": [np.nan, 1.0]}, ValueError, "member_scores has NaN"),
        ({"nonmember_scores": [], "nonmember_labels": []}, ValueError, "nonmember_scores has 0 rows"),
        ({"thresholds": "mean"}, ValueError, "'observed', 'midpoint'"),
    ],
)
def test_bad_input_is_named(change, error, message):
    good = {
        "member_scores": [1.0, 2.0],
        "member_labels": [0, 1],
        "nonmember_scores": [0.0, 1.0],
        "nonmember_labels": [0, 1],
    }
    with pytest.raises(error, match=message):
        ClassThresholds.fit(**(good | change))


def test_labels_of_another_kind_are_refused_in_predict():
    fitted = ClassThresholds.fit([1.0, 2.0], [0, 1], [0.0, 1.0], [0, 1])
    with pytest.raises(TypeError, match="whole numbers"):
        fitted.predict([1.0], ["0"])
    with pytest.raises(ValueError, match="one label per record"):
        fitted.predict([1.0, 2.0], [0])
