"""Settings shared by every test; JAX keeps its default precision."""

from __future__ import annotations

import os

os.environ.setdefault("MPLBACKEND", "Agg")

import hypothesis
import pytest
from jaxtyping import install_import_hook

# Shapes and types of array code are checked at run time, in tests only.
install_import_hook(
    [
        "mace_jax.estimators",
        "mace_jax_kernels.knn.xla",
        "mace_jax_kernels.radius_count",
        "mace_jax_kernels.ranked_sums.xla",
        "mace_jax_kernels.select_k",
        "mace_jax_kernels.sorted_window",
        "mace_jax_kernels.weighted_sums.xla",
    ],
    "beartype.beartype",
)

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
