"""Records of one law in four parts, and models that copy or know nothing."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest


@pytest.fixture(scope="session")
def parts():
    """Members, non-members, reference (150 each) and 600 fresh records, all from one Gaussian in 4 dimensions."""
    rng = np.random.default_rng(3)
    rows = rng.normal(size=(1050, 4)) * [1.0, 2.0, 1.0, 0.5]
    return SimpleNamespace(members=rows[:150], nonmembers=rows[150:300], reference=rows[300:450], fresh=rows[450:])


@pytest.fixture(scope="session")
def copies(parts):
    """What a generator gives out that copies its training records, each eight times."""
    return np.random.default_rng(4).permutation(np.repeat(parts.members, 8, axis=0))


class KnownModel:
    """A user's model: not derived from anything of the package."""

    def __init__(self, members):
        self.members = members

    def discriminator_score(self, records):
        return np.array([float((record == self.members).all(axis=1).any()) for record in records], dtype=np.float32)

    def reconstruction_error(self, records, *, seed):
        return [0.5 if (record == self.members).all(axis=1).any() else 2.0 + seed for record in records]


@pytest.fixture(scope="session")
def known(parts):
    """The user's model that knows its members."""
    return KnownModel(parts.members)
