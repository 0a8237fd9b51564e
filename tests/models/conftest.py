"""Small models trained once for all tests of this folder."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.datasets import load_digits

from mace_jax.models import GAN, VAE


@pytest.fixture(scope="session")
def digits():
    """Members and held-out handwritten digits: 200 each, with labels."""
    data = load_digits()
    rows = np.random.default_rng(7).permutation(len(data.data))[:400]
    records, labels = data.data[rows], data.target[rows]
    return SimpleNamespace(members=records[:200], nonmembers=records[200:], labels=labels[:200], all_labels=labels)


@pytest.fixture(scope="session")
def gan(digits):
    """A GAN trained long enough on few digits to know them."""
    return GAN(scaling="common").fit(digits.members, steps=2000, seed=3)


@pytest.fixture(scope="session")
def vae(digits):
    """A VAE overfitted to few digits."""
    return VAE(scaling="common", beta=0.1).fit(digits.members, steps=1000, seed=3)


@pytest.fixture(scope="session")
def tiny():
    """Settings small enough to compile at once."""
    return {
        "GAN": GAN(latent_dim=3, generator_hidden=(8,), discriminator_hidden=(8,), batch_size=8),
        "VAE": VAE(latent_dim=2, encoder_hidden=(8,), decoder_hidden=(8,), batch_size=8),
    }


@pytest.fixture(scope="session")
def table():
    """Thirty rows of three columns with different units, one of them constant."""
    rng = np.random.default_rng(1)
    return np.column_stack([rng.normal(100.0, 20.0, 30), rng.uniform(-1.0, 1.0, 30), np.full(30, 4.0)])
