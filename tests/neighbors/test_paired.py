"""Lists per label: the oracle's, self left out by id, copies kept."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mace_jax.data import MembershipSample
from mace_jax.neighbors import paired_knn
from tests.neighbors.oracle import nearest


@pytest.mark.parametrize(("backend", "d"), [("exact", 4), ("tree", 4), ("sorted", 1), ("auto", 1)])
@pytest.mark.parametrize("kind", ["normal", "integer"])
def test_lists_equal_the_oracle(backend, d, kind, rng):
    rows = rng.standard_normal((130, d)) if kind == "normal" else rng.integers(0, 5, size=(130, d)).astype(float)
    sample = MembershipSample(rows[:70], rows[70:])
    found = paired_knn(sample, 6, backend=backend)
    row = np.arange(130)
    for lists, label, own in (
        (found.to_members, rows[:70], np.where(row < 70, row, -1)),
        (found.to_nonmembers, rows[70:], np.where(row < 70, -1, row - 70)),
    ):
        squared, ids = nearest(rows, label, 6, own)
        np.testing.assert_array_equal(lists.squared_distances, squared)
        np.testing.assert_array_equal(lists.indices, ids)
    assert set(json.loads(json.dumps(found.to_dict()))) == {"to_members", "to_nonmembers"}


def test_too_many_neighbors_are_refused():
    sample = MembershipSample(np.zeros((3, 2)), np.ones((5, 2)))
    with pytest.raises(ValueError, match=r"k_max=3 is more than the 2 rows .* \(3 members, 5 nonmembers\)"):
        paired_knn(sample, 3)
