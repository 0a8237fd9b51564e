from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import linalg

from mace_jax.utility import ClassifierFeatures, frechet_distance


def slow(x: np.ndarray, y: np.ndarray) -> float:
    """The textbook formula with a general matrix root."""
    first, second = (np.atleast_2d(np.cov(part, rowvar=False)) for part in (x, y))
    root = linalg.sqrtm(first @ second)
    return float(np.sum((x.mean(0) - y.mean(0)) ** 2) + np.trace(first + second - 2 * np.real(root)))


@pytest.mark.parametrize("width", [1, 2, 7])
def test_against_the_textbook_formula(width: int) -> None:
    random = np.random.default_rng(width)
    x = random.normal(size=(60, width)) @ random.normal(size=(width, width))
    y = 0.3 + random.normal(size=(45, width))
    assert frechet_distance(x, y).value == pytest.approx(slow(x, y), rel=1e-9)
    assert frechet_distance(y, x).value == pytest.approx(slow(x, y), rel=1e-9)


def test_one_column_in_closed_form() -> None:
    x, y = np.array([1.0, 2.0, 6.0]), np.array([0.0, 5.0, 5.0, 7.0])
    expected = (x.mean() - y.mean()) ** 2 + (x.std(ddof=1) - y.std(ddof=1)) ** 2
    assert frechet_distance(x, y).value == pytest.approx(expected, rel=1e-12)


def test_fewer_records_than_features_and_constant_columns() -> None:
    """Commuting covariances: the distance is that of the standard deviations along common axes."""
    x = np.zeros((3, 6))
    x[:, 0] = [-1.0, 0.0, 1.0]
    y = np.zeros((3, 6))
    y[:, 0], y[:, 1] = [-2.0, 0.0, 2.0], [4.0, 4.0, 4.0]
    found = frechet_distance(x, y)
    assert (found.mean_term, found.covariance_term) == pytest.approx((16.0, 1.0), abs=1e-12)
    assert frechet_distance(x, x).value == pytest.approx(0.0, abs=1e-12)


def test_a_shift_changes_the_means_alone_and_rotations_nothing() -> None:
    random = np.random.default_rng(0)
    x, y = random.normal(size=(2, 50, 4))
    shift, (turn, _) = random.normal(size=4), np.linalg.qr(random.normal(size=(4, 4)))
    shifted = frechet_distance(x, x + shift)
    assert shifted.value == pytest.approx(np.sum(shift**2), rel=1e-9) and shifted.covariance_term < 1e-9
    assert frechet_distance(x @ turn, y @ turn).value == pytest.approx(frechet_distance(x, y).value, rel=1e-9)


def test_features_of_a_classifier() -> None:
    random = np.random.default_rng(1)
    labels = np.arange(200) % 2
    records = random.normal(size=(200, 5)) + 3.0 * labels[:, None]
    features = ClassifierFeatures.fit(records, labels, width=8, seed=0)
    assert features.accuracy > 0.95 and (features(records) >= 0).all() and features(records).shape == (200, 8)
    again, other = (ClassifierFeatures.fit(records, labels, width=8, seed=seed) for seed in (0, 1))
    assert np.array_equal(again.weights, features.weights) and not np.array_equal(other.weights, features.weights)
    real, fresh, wrong = records[::2], random.normal(size=(100, 5)), random.normal(size=(100, 5)) + 3.0
    good, bad = (frechet_distance(real, part, features=features) for part in (fresh, wrong))
    assert good.value < 0.2 * bad.value and good.dimension == 8
    assert good == frechet_distance(features(real), features(fresh))
    assert json.loads(json.dumps(good.to_dict()))["n_real"] == 100 and "in 8 features of 100 real" in good.summary
    assert repr(features).startswith("ClassifierFeatures(5 -> 8, accuracy=")


def test_the_hidden_layer_is_that_of_the_classifier() -> None:
    from mace_jax.utility._downstream import fit_classifier

    random = np.random.default_rng(2)
    records, labels = random.normal(size=(60, 3)) * [1, 10, 0] + 5, np.arange(60) % 3
    model = fit_classifier("mlp", records, labels, 4, 6)
    hidden = ClassifierFeatures.fit(records, labels, width=6, seed=4)(records)
    network = model.steps[1][1]
    logits = hidden @ network.coefs_[1] + network.intercepts_[1]
    assert np.array_equal(np.argmax(logits, axis=1), model.predict(records))


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="synthetic has 1 rows; at least 2"):
        frechet_distance([1.0, 2.0], [1.0])
    with pytest.raises(ValueError, match="labels has the one class"):
        ClassifierFeatures.fit([1.0, 2.0], [1, 1], seed=0)
    with pytest.raises(ValueError, match=r"labels has shape \(3,\)"):
        ClassifierFeatures.fit([1.0, 2.0], [1, 1, 2], seed=0)
    features = ClassifierFeatures.fit([1.0, 2.0], [0, 1], width=2, seed=0)
    with pytest.raises(ValueError, match="records has 2 columns; the features were learned from 1"):
        features([[1.0, 2.0]])


def test_one_scale_for_images_keeps_a_nearly_constant_column_small():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 400)
    records = np.column_stack([labels + 0.3 * rng.normal(size=400), 1e-6 * rng.normal(size=400)])
    shifted = records + [0.0, 0.01]  # of no importance at the scale of the first column
    found = {}
    for scaling in ("per_column", "common"):
        features = ClassifierFeatures.fit(records, labels, width=8, scaling=scaling, seed=0)
        assert features.accuracy > 0.9
        found[scaling] = frechet_distance(records, shifted, features=features).value
    assert found["common"] < 1e-2 < found["per_column"]
    with pytest.raises(ValueError, match="scaling="):
        ClassifierFeatures.fit(records, labels, scaling="none", seed=0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="reference holds equal records"):
        ClassifierFeatures.fit(np.ones((4, 2)), [0, 1, 0, 1], scaling="common", seed=0)
