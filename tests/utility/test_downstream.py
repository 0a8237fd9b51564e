from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import stats

from mace_jax.utility import downstream_accuracy


def blobs(n: int, seed: int, apart: float = 4.0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    labels = random.integers(0, 3, n)
    return random.normal(size=(n, 2)) + apart * np.eye(3)[labels][:, :2], labels


@pytest.mark.parametrize("classifier", [None, "logistic", "mlp"])
def test_separable_classes_are_told_apart(classifier) -> None:
    found = downstream_accuracy(*blobs(150, 0), *blobs(200, 1), classifier=classifier, seed=0)
    assert found.value > 0.9 and found.value == found.n_correct / 200
    exact = stats.binomtest(found.n_correct, 200).proportion_ci(0.95, "exact")
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high), rel=1e-9)
    assert found == downstream_accuracy(*blobs(150, 0), *blobs(200, 1), classifier=classifier, seed=0)
    assert json.loads(json.dumps(found.to_dict()))["n"] == 200 and "trained on synthetic" in found.summary


def test_wrong_labels_are_at_chance() -> None:
    records, labels = blobs(300, 2)
    found = downstream_accuracy(records, np.random.default_rng(3).permutation(labels), *blobs(300, 4), seed=0)
    assert found.low < 0.45 and 0.3 < found.majority < 0.45


def test_absent_classes_count_as_errors() -> None:
    records, labels = blobs(150, 0)
    real, truth = blobs(200, 1)
    found = downstream_accuracy(records[labels < 2], labels[labels < 2], real, truth, seed=0)
    assert (
        found.absent_classes == ("2",) and found.n_correct <= np.sum(truth < 2) and "1 classes absent" in found.summary
    )
    one = downstream_accuracy(records[labels == 0], labels[labels == 0], real, truth, seed=0)
    assert one.n_correct == np.sum(truth == 0) and one.absent_classes == ("1", "2")


def test_text_labels_and_other_classifiers() -> None:
    from sklearn.neighbors import KNeighborsClassifier

    (records, labels), (real, truth) = blobs(150, 0), blobs(100, 1)
    names = np.array(["a", "b", "c"])
    given = KNeighborsClassifier(3)
    found = downstream_accuracy(records, names[labels], real, names[truth].astype(object), classifier=given, seed=0)
    assert found.n_correct == np.sum(KNeighborsClassifier(3).fit(records, labels).predict(real) == truth)
    assert found.classifier == "KNeighborsClassifier" and not hasattr(given, "classes_"), "it is cloned"


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"synthetic_labels": [0.5, 1.0]}, TypeError, "synthetic_labels has dtype float64"),
        ({"real_labels": [0]}, ValueError, r"real_labels has shape \(1,\)"),
        ({"real_labels": ["a", "b"]}, TypeError, "use the same labels"),
        ({"real": [[1.0, 2.0]] * 2}, ValueError, "real has 2 columns"),
        ({"synthetic": [np.inf, 1.0]}, ValueError, "synthetic has NaN or infinity"),
        ({"classifier": "forest"}, ValueError, "classifier='forest' is not known"),
        ({"classifier": 3}, TypeError, "classifier=3 must be"),
        ({"confidence": 0}, ValueError, "confidence=0"),
        ({"seed": -1, "classifier": "mlp"}, ValueError, "seed=-1"),
    ],
)
def test_bad_input(change: dict, error: type, message: str) -> None:
    plain = {"synthetic": [0.0, 1.0], "synthetic_labels": [0, 1], "real": [0.0, 1.0], "real_labels": [0, 1], "seed": 0}
    with pytest.raises(error, match=message):
        downstream_accuracy(**(plain | change))
