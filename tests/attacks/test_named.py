from __future__ import annotations

import numpy as np
import pytest

from mace_jax.attacks import discriminator_score, gan_leaks, nearest_synthetic, reconstruction_error
from mace_jax.queries import DiscriminatorScore, NearestSynthetic, ReconstructionError


class Model:
    def __init__(self, columns):
        self.columns = columns

    def discriminator_score(self, records):
        return records[:, : self.columns]

    def reconstruction_error(self, records, *, seed):
        return records[:, : self.columns] + seed


def test_functions_give_what_the_queries_give(rng):
    x, g = rng.normal(size=(9, 4)), rng.normal(size=(50, 4))
    assert (nearest_synthetic(x, g) == NearestSynthetic(g)(x, seed=0)[:, 0]).all()
    np.testing.assert_allclose(-(nearest_synthetic(x, g) ** 2) / 4, gan_leaks(x, synthetic=g))
    assert (discriminator_score(x, Model(1)) == DiscriminatorScore(Model(1))(x, seed=0)[:, 0]).all()
    assert (discriminator_score(x, Model(3)) == x[:, :3].max(axis=1)).all()
    found = reconstruction_error(x, Model(1), seed=2)
    assert (found == ReconstructionError(Model(1))(x, seed=2)[:, 0]).all() and (found == -(x[:, 0] + 2)).all()


def test_bad_models_are_named(rng):
    with pytest.raises(ValueError, match="returned 2 numbers per record"):
        reconstruction_error(rng.normal(size=(9, 4)), Model(2), seed=0)
    with pytest.raises(TypeError, match="without discriminator_score"):
        discriminator_score([[1.0]], object())
