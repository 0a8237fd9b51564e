"""Lists per label: the oracle's, self left out by id, copies kept."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mace_jax.data import MembershipSample
from mace_jax.neighbors import _exact, knn, paired_knn, radius_count
from mace_jax.neighbors._paired import _reach
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


@pytest.mark.parametrize(("n", "m", "shift"), [(900, 1100, 0.0), (300, 1700, 0.1), (1700, 300, 0.0), (800, 700, 9.0)])
def test_one_label_tells_how_far_the_other_reaches(rng, monkeypatch, n, m, shift):
    monkeypatch.setattr(_exact, "short_products", lambda d: ("bfloat16",))
    rows = rng.standard_normal((n + m, 16))
    rows[n:] += shift
    rows[5:25] = rows[0]  # copies: no power to tell
    found, row = paired_knn(MembershipSample(rows[:n], rows[n:]), 12, backend="exact"), np.arange(n + m)
    for lists, label, own in (
        (found.to_members, rows[:n], np.where(row < n, row, -1)),
        (found.to_nonmembers, rows[n:], np.where(row < n, -1, row - n)),
    ):
        squared, ids = nearest(rows, label, 12, own)
        np.testing.assert_array_equal(lists.squared_distances, squared)
        np.testing.assert_array_equal(lists.indices, ids)


@pytest.mark.parametrize(("d", "ratio"), [(2, 1.0), (16, 1.0), (16, 0.5), (16, 2.0)])
def test_the_reach_holds_for_nearly_all_and_is_not_far(rng, d, ratio):
    k, some = 20, 2000
    members, others = rng.standard_normal((10_000, d)), rng.standard_normal((int(10_000 * ratio), d))
    queries = rng.standard_normal((some, d))
    reach = _reach(knn(queries, members, k).squared_distances, ratio)
    counts = radius_count(queries, others, np.sqrt(reach))
    assert (counts >= k).mean() > 0.98
    assert np.median(counts) < 4 * k


def test_nothing_is_reached_for_where_all_near_rows_are_copies():
    assert np.isinf(_reach(np.zeros((3, 8)), 1.0)).all()
    assert np.isinf(_reach(np.geomspace(1e-290, 1e290, 8)[None], 1e-6)).all()
