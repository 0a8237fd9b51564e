"""DOMIAS by a normalizing flow."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from mace_jax.attacks import domias
from mace_jax.attacks._flow_density import FlowDensity
from mace_jax.metrics import roc
from mace_jax.models.flow import Flow


def test_it_is_the_flow_with_scotts_blur(rng):
    assert FlowDensity()._settings(40, 2) == Flow(noise_sd=40 ** (-1 / 6))
    values, asked = rng.normal(size=(40, 2)), rng.normal(size=(5, 2))
    own = Flow(n_layers=2, hidden=(4,), n_bins=2)
    found = FlowDensity(own, steps=3, seed=2).fit(values).log_density(asked)
    np.testing.assert_array_equal(found, own.fit(values, steps=3, seed=2).log_density(asked))


@pytest.mark.slow
def test_it_finds_the_ring_that_kernels_of_one_width_blur(rng):
    """Members lie near a ring that the population does not have; the true ratio is known up to a constant."""

    def ring(n: int) -> np.ndarray:
        angle = rng.uniform(0, 2 * np.pi, n)
        return np.column_stack([np.cos(angle), np.sin(angle)]) * rng.normal(2.0, 0.15, (n, 1))

    members, nonmembers, reference = ring(150), rng.normal(size=(150, 2)) * 1.5, stats.norm(0, 1.5)

    class Population:
        def log_density(self, records):
            return reference.logpdf(records).sum(axis=1)

    density = FlowDensity(Flow(n_layers=4, hidden=(32,)), steps=300)
    scores = domias(np.concatenate([members, nonmembers]), ring(1500), Population(), density=density)
    assert roc(scores[:150], scores[150:]).auc > 0.85


def test_bad_settings_are_named():
    with pytest.raises(ValueError, match="steps"):
        FlowDensity(steps=0)
    with pytest.raises(TypeError, match="flow="):
        FlowDensity(flow="realnvp")
    with pytest.raises(ValueError, match="no density could be fitted to synthetic: records is constant"):
        domias([[0.0, 0.5]], [[0.0, 1.0], [1.0, 1.0]], None, density=FlowDensity(steps=1))
