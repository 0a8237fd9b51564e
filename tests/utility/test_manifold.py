from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mace_jax.utility import PrecisionRecall, precision_recall_density_coverage
from mace_jax.utility._manifold import _in_union


def slow(real: np.ndarray, synthetic: np.ndarray, k: int) -> tuple[float, float, float, float]:
    """All four straight from their definitions, with a table of all distances."""

    def table(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.sqrt(((a[:, None] - b[None]) ** 2).sum(-1))

    radii = [np.sort(table(part, part) + np.diag(np.full(len(part), np.inf)))[:, k - 1] for part in (real, synthetic)]
    cross = table(real, synthetic)
    in_real, in_synthetic = cross <= radii[0][:, None], cross <= radii[1][None]
    return (
        in_real.any(axis=0).mean(),
        in_synthetic.any(axis=1).mean(),
        in_real.sum() / (k * len(synthetic)),
        in_real.any(axis=1).mean(),
    )


def values(found: PrecisionRecall) -> tuple[float, float, float, float]:
    return found.precision, found.recall, found.density, found.coverage


@settings(max_examples=20)
@given(
    st.integers(3, 40), st.integers(3, 40), st.integers(1, 4), st.integers(1, 2), st.booleans(), st.integers(0, 10**6)
)
def test_against_the_definition(n: int, s: int, width: int, k: int, whole: bool, seed: int) -> None:
    random = np.random.default_rng(seed)
    real, synthetic = random.normal(size=(n, width)), 0.5 + 1.5 * random.normal(size=(s, width))
    if whole:  # equal distances, radii of 0 and records on the edge of a ball
        real, synthetic = np.round(real), np.round(synthetic)
    np.testing.assert_allclose(
        values(precision_recall_density_coverage(real, synthetic, k=k)), slow(real, synthetic, k)
    )


@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_balls_of_very_different_sizes(offset: float) -> None:
    random = np.random.default_rng(3)
    real = np.concatenate([random.normal(size=(60, 5)), 1e5 * random.normal(size=(4, 5)), np.zeros((4, 5))]) + offset
    synthetic = np.concatenate([real[:30], random.normal(size=(40, 5)) + offset])
    found = precision_recall_density_coverage(real, synthetic, k=3)
    np.testing.assert_allclose(values(found), slow(real, synthetic, 3))


def test_the_edge_of_a_ball_is_inside() -> None:
    centers, radius = np.array([[0.1, 0.2], [5.0, 5.0]]), np.array([0.0, 0.7])
    radius[0] = np.sqrt(((centers[0] - [0.4, 0.6]) ** 2).sum())
    points = np.array([[0.4, 0.6], [0.4, np.nextafter(0.6 + 1e-15, 1)], [5.0, 5.0], [9.0, 9.0]])
    assert _in_union(points, centers, radius).tolist() == [True, False, True, False]
    assert _in_union(points, centers, np.zeros(2)).tolist() == [False, False, True, False]


def test_copies_and_a_collapsed_model() -> None:
    random = np.random.default_rng(0)
    real = random.normal(size=(100, 3))
    copies = precision_recall_density_coverage(real, real)
    assert values(copies)[:2] == (1.0, 1.0) and copies.coverage == 1.0 and copies.density >= 1.0
    collapsed = precision_recall_density_coverage(real, np.full((50, 3), real[0]) + 1e-9 * random.normal(size=(50, 3)))
    assert collapsed.precision == 1.0 and collapsed.recall <= 0.01 and collapsed.coverage < 0.2
    far = precision_recall_density_coverage(real, real + 1e3)
    assert values(far) == (0.0, 0.0, 0.0, 0.0) and far.precision_interval[0] == 0.0 < far.precision_interval[1]


def test_equal_laws_have_density_one_and_the_expected_coverage() -> None:
    random = np.random.default_rng(1)
    runs = [precision_recall_density_coverage(*random.normal(size=(2, 80, 4)), k=3) for _ in range(40)]
    assert np.mean([run.density for run in runs]) == pytest.approx(1.0, abs=0.06)
    assert np.mean([run.coverage for run in runs]) == pytest.approx(runs[0].expected_coverage, abs=0.02)


def test_result_is_plain_and_features_are_applied() -> None:
    random = np.random.default_rng(2)
    real, synthetic = random.normal(size=(2, 30, 4))
    found = precision_recall_density_coverage(real, synthetic, k=2, features=lambda records: records[:, :2])
    assert found == precision_recall_density_coverage(real[:, :2], synthetic[:, :2], k=2)
    plain = json.loads(json.dumps(found.to_dict()))
    low, high = plain["precision_interval"]
    assert low <= found.precision <= high and f"precision {found.precision:.4f}" in found.summary


@pytest.mark.parametrize(
    ("real", "options", "error", "message"),
    [
        ([1.0, 2.0], {"k": 2}, ValueError, "real has 2 rows; at least 3 are needed"),
        ([1.0, 2.0, np.nan], {"k": 1}, ValueError, "real has NaN"),
        ([[1.0, 2.0]] * 4, {"k": 1}, ValueError, "real has 2 columns but synthetic has 1"),
        ([1.0, 2.0, 3.0], {"k": 0}, ValueError, "k=0"),
        ([1.0, 2.0, 3.0], {"k": 1, "features": "pixels"}, TypeError, "must be a function"),
        ([1.0, 2.0, 3.0], {"k": 1, "features": lambda x: x[:1]}, ValueError, "returned 1 rows for 3 records"),
        ([1.0, 2.0, 3.0], {"k": 1, "confidence": 1.0}, ValueError, "confidence=1.0"),
    ],
)
def test_bad_input(real, options: dict, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        precision_recall_density_coverage(real, [1.0, 2.0, 3.0], **options)
