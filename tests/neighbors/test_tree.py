"""k-d tree search: exclusions, ties at and inside the list, copies, chunks."""

from __future__ import annotations

import numpy as np
import pytest

from mace_jax.neighbors import TreeBackend, _tree
from mace_jax.neighbors._pairs import squared_distances, squared_lists
from tests.neighbors.oracle import nearest


def records(kind, n, d, rng):
    return {
        "normal": lambda: rng.standard_normal((n, d)),
        "translated": lambda: rng.standard_normal((n, d)) + 1e8,
        "integers": lambda: rng.integers(-3, 4, (n, d)).astype(float),
        "grid": lambda: rng.integers(-30, 40, (n, d)).astype(float),
        "tenths": lambda: rng.integers(-3, 4, (n, d)) / 10,
        "atoms": lambda: rng.standard_normal((20, d))[rng.integers(0, 20, n)],
        "equal": lambda: np.full((n, d), 0.1),
        "signed zeros": lambda: rng.choice([0.0, -0.0], (n, d)),
        "squares underflow": lambda: rng.standard_normal((n, d)) * 10.0 ** rng.integers(-170, -140, (n, 1)),
        "last bits": lambda: 1 + rng.integers(-9, 10, (n, d)) * 2.0**-52,
    }[kind]()


KINDS = [
    *("normal", "translated", "integers", "grid", "tenths", "atoms", "equal", "signed zeros", "squares underflow"),
    "last bits",
]


def check(x, y, k, exclude=None):
    found = TreeBackend().search(x, y, k, exclude_ids=exclude)
    squared, ids = nearest(x, y, k, exclude)
    np.testing.assert_array_equal(found.squared_distances, squared)
    np.testing.assert_array_equal(found.indices, ids)


@pytest.mark.parametrize("d", [2, 3, 9])
@pytest.mark.parametrize("kind", KINDS)
def test_every_use_equals_the_oracle(kind, d, rng):
    y = records(kind, 300, d, rng)
    rows = np.arange(300)
    check(y, y, 5)
    check(y, y.copy(), 5, rows)
    check(records(kind, 50, d, rng), y, 1)
    check(records("normal", 50, d, rng), y, 5)
    pooled = np.concatenate([y, records(kind, 50, d, rng)])
    check(pooled, y, 5, np.concatenate([rows, np.full(50, -1)]))
    check(y, y, 5, rng.integers(-1, 300, 300))
    check(y[:9], y[:9], 8, rows[:9])
    check(y[:9], y[:9], 9, np.full(9, -1))


def test_chunks_join_without_a_seam(rng, monkeypatch):
    monkeypatch.setattr(_tree, "_QUERY_ROWS", 7)
    y = rng.standard_normal((200, 3))
    check(y, y, 5, np.arange(200))
    check(rng.standard_normal((50, 3)), y, 5)


@pytest.mark.parametrize("d", [1, 2, 3, 7, 8, 9, 130])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_lists_of_distances_are_those_of_the_pairs_one_by_one(d, dtype, rng):
    x, y = rng.standard_normal((20, d)).astype(dtype), rng.standard_normal((30, d)).astype(dtype)
    ids = rng.integers(-1, 30, (20, 6))
    lists = squared_lists(x, y, ids)
    np.testing.assert_array_equal(lists.ravel(), squared_distances(x, y, np.repeat(np.arange(20), 6), ids.ravel()))
    wide = x.astype(float)[:, None] - y.astype(float)[ids]
    np.testing.assert_array_equal(lists, (wide**2).sum(axis=-1))
