"""Settings shared by every test; JAX keeps its default precision."""

from __future__ import annotations

import os

os.environ.setdefault("MPLBACKEND", "Agg")

import hypothesis
import pytest

hypothesis.settings.register_profile(
    "mace_jax",
    max_examples=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("mace_jax")


@pytest.fixture
def rng():
    """A fixed NumPy generator."""
    import numpy as np

    return np.random.default_rng(20260101)
