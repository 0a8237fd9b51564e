"""Metric attacks on real models beside a plain loop over records, classes and candidates, written from the paper."""

from __future__ import annotations

import functools
import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier

from mace_jax import datasets
from mace_jax.attacks._metric_attacks import metric_attacks
from mace_jax.attacks._predictions import Predictions

FLOOR = 1e-30
CASES = [
    ("digits", "logistic"),
    ("digits", "network"),
    ("breast_cancer", "logistic"),
    ("breast_cancer", "network"),
    ("fashion_mnist", "network"),
    ("adult", "logistic"),
    ("adult", "network"),
]


@functools.cache
def quarters(name: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """Records and labels for the model, to attack it, for the shadow model and to attack that."""
    try:
        data = datasets.load(name)
    except FileNotFoundError as error:
        pytest.skip(f"not on this machine: {error}")
    rows = np.random.default_rng(0).permutation(len(data))[:2400]
    data = data.take(rows)
    if data.levels:
        data = data.encoded()
    records = data.records.astype(np.float64)
    records = (records - records.mean(axis=0)) / np.maximum(records.std(axis=0), 1e-9)
    return list(zip(np.array_split(records, 4), np.array_split(data.labels, 4), strict=True))


@functools.cache
def predicted(name: str, kind: str) -> list[Predictions]:
    """Of the attacked model: members and others; of the shadow model: the same."""
    (x, y), other, (shadow_x, shadow_y), shadow_other = quarters(name)
    found = []
    for (records, labels), outside in (((x, y), other), ((shadow_x, shadow_y), shadow_other)):
        model = (
            LogisticRegression(C=100.0, max_iter=60)
            if kind == "logistic"
            else MLPClassifier(hidden_layer_sizes=(24,), max_iter=25, learning_rate_init=0.01, random_state=0)
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(records, labels)
        assert model.classes_.tolist() == list(range(len(model.classes_)))
        for part, truth in ((records, labels), outside):
            found.append(Predictions(truth, probabilities=model.predict_proba(part)))
    return found


def reference_scores(attack: str, p: np.ndarray, labels: np.ndarray) -> list[float]:
    """One record after the other, floored as the paper's authors do."""
    found = []
    for row, y in zip(p, labels, strict=True):
        if attack == "correctness":
            found.append(1.0 if int(np.argmax(row)) == y else 0.0)
        elif attack == "confidence":
            found.append(float(row[y]))
        elif attack == "entropy":
            found.append(sum(float(q) * np.log(max(q, FLOOR)) for q in row))
        else:
            own = (1.0 - row[y]) * np.log(max(row[y], FLOOR))
            found.append(own + sum(q * np.log(max(1.0 - q, FLOOR)) for i, q in enumerate(row) if i != y))
    return found


def reference_threshold(members: list[float], nonmembers: list[float]) -> float:
    best, chosen = -1, 0.0
    inside, outside = np.array(members), np.array(nonmembers)
    for candidate in sorted({*members, *nonmembers}, reverse=True):
        gain = len(outside) * int((inside >= candidate).sum()) + len(inside) * int((outside < candidate).sum())
        if gain > best:
            best, chosen = gain, candidate
    return chosen


def reference_accuracy(attack: str, rule: str, calibration, attacked) -> float:
    """Balanced accuracy on the attacked pair, with thresholds of the calibrating pair."""
    cal, tar = (
        [(reference_scores(attack, p, labels), labels) for p, labels in pair] for pair in (calibration, attacked)
    )
    overall = 1.0 if rule == "none" else reference_threshold(cal[0][0], cal[1][0])
    right = [0, 0]
    for label in sorted({*tar[0][1].tolist(), *tar[1][1].tolist()}):
        own = [[s for s, y in zip(scores, labels, strict=True) if y == label] for scores, labels in cal]
        threshold = reference_threshold(*own) if rule == "class" and own[0] and own[1] else overall
        for side, (scores, labels) in enumerate(tar):
            for s, y in zip(scores, labels, strict=True):
                if y == label:
                    right[side] += (s >= threshold) == (side == 0)
    return 0.5 * (right[0] / len(tar[0][1]) + right[1] / len(tar[1][1]))


def arrays(given: Predictions, rows=slice(None)) -> tuple[np.ndarray, np.ndarray]:
    return given.probabilities[rows], given.labels[rows]


@pytest.mark.parametrize("protocol", ["shadow", "partial knowledge"])
@pytest.mark.parametrize(("name", "kind"), CASES)
def test_accuracies_equal_the_plain_loop(name, kind, protocol):
    member, nonmember, *shadow = predicted(name, kind)
    exact = metric_attacks(member, nonmember, shadow=tuple(shadow) if protocol == "shadow" else None, seed=0)
    found = metric_attacks(
        member, nonmember, shadow=tuple(shadow) if protocol == "shadow" else None, seed=0, floor=FLOOR
    )
    for result in (found, exact):
        assert result.protocol == protocol
        rows = result.member_rows, result.nonmember_rows
        attacked = [arrays(each, row) for each, row in zip((member, nonmember), rows, strict=True)]
        if protocol == "shadow":
            calibration = [arrays(each) for each in shadow]
        else:
            rest = [
                np.setdiff1d(np.arange(len(each)), row) for each, row in zip((member, nonmember), rows, strict=True)
            ]
            calibration = [arrays(each, row) for each, row in zip((member, nonmember), rest, strict=True)]
        wanted = {
            (row.attack, row.thresholds): reference_accuracy(row.attack, row.thresholds, calibration, attacked)
            for row in result.rows
        }
        assert {(row.attack, row.thresholds): row.balanced_accuracy for row in result.rows} == pytest.approx(
            wanted, abs=1e-12
        )
