from __future__ import annotations

import numpy as np
import pytest

from mace_jax.attacks import OrientedGradients, PrincipalComponents


def test_components_are_those_of_the_covariance(rng):
    holdout, x = rng.normal(size=(200, 6)) @ rng.normal(size=(6, 6)), rng.normal(size=(9, 6))
    values, vectors = np.linalg.eigh(np.cov(holdout.T))
    expected = (x - holdout.mean(axis=0)) @ vectors[:, np.argsort(-values)[:3]]
    found = PrincipalComponents.fit(holdout, 3)(x)
    np.testing.assert_allclose(np.abs(found), np.abs(expected), atol=1e-9)
    few = PrincipalComponents.fit(holdout[:5], 4)
    np.testing.assert_allclose(few.directions @ few.directions.T, np.eye(4), atol=1e-9)


def slow_histograms(image, orientations, cell, block):
    """Pixel by pixel, from the definition."""
    height, width, colors = image.shape
    cells = np.zeros((height // cell, width // cell, orientations))
    for row in range(height // cell * cell):
        for column in range(width // cell * cell):
            best = (-1.0, 0.0)
            for color in range(colors):
                part = image[:, :, color]
                down = (part[row + 1, column] - part[row - 1, column]) / 2 if 0 < row < height - 1 else 0.0
                across = (part[row, column + 1] - part[row, column - 1]) / 2 if 0 < column < width - 1 else 0.0
                strength = float(np.hypot(down, across))
                if strength > best[0]:
                    best = (strength, np.degrees(np.arctan2(down, across)) % 180)
            place = min(int(best[1] / 180 * orientations), orientations - 1)
            cells[row // cell, column // cell, place] += best[0] / cell**2
    rows, columns = cells.shape[:2]
    side = min(block, rows, columns)
    parts = []
    for row in range(rows - side + 1):
        for column in range(columns - side + 1):
            part = np.moveaxis(cells[row : row + side, column : column + side], 2, 0).ravel()
            part = np.minimum(part / np.sqrt((part**2).sum() + 1e-10), 0.2)
            parts.append(part / np.sqrt((part**2).sum() + 1e-10))
    return np.concatenate(parts)


@pytest.mark.parametrize(("shape", "cell", "block"), [((12, 12, 1), 3, 2), ((11, 8, 3), 4, 3), ((6, 9, 2), 2, 1)])
def test_gradient_histograms_are_those_of_the_definition(rng, shape, cell, block):
    images = rng.random((4, *shape))
    found = OrientedGradients(shape, orientations=5, cell=cell, block=block)(images)
    expected = [slow_histograms(image, 5, cell, block) for image in images]
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_a_flat_image_has_no_edges():
    assert (OrientedGradients((9, 9, 1))(np.full((2, 81), 0.7)) == 0.0).all()


def test_bad_settings_are_named(rng):
    with pytest.raises(ValueError, match="n_components=6"):
        PrincipalComponents.fit(rng.normal(size=(5, 9)), 6)
    with pytest.raises(ValueError, match="8 columns but the map was fitted on 9"):
        PrincipalComponents.fit(rng.normal(size=(5, 9)), 2)(rng.normal(size=(5, 8)))
    with pytest.raises(ValueError, match="image_shape"):
        OrientedGradients((8, 8, 1))
    with pytest.raises(ValueError, match="needs 81"):
        OrientedGradients((9, 9, 1))(np.zeros((2, 80)))
