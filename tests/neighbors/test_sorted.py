"""Search on a sorted line: ties, rounding, exclusions and chunks, bit for bit."""

from __future__ import annotations

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from mace_jax.neighbors import SortedBackend, _sorted, knn
from tests.neighbors.oracle import nearest


def column(kind, n, rng):
    signs = rng.integers(-9, 10, n)
    return {
        "normal": lambda: rng.standard_normal(n),
        "few bits": lambda: rng.standard_normal(n).astype(np.float16).astype(float),
        "integers": lambda: signs.astype(float),
        "tenths": lambda: signs / 10,
        "atoms": lambda: rng.standard_normal(20)[rng.integers(0, 20, n)],
        "equal": lambda: np.full(n, 0.1),
        "signed zeros": lambda: rng.choice([0.0, -0.0], n),
        "denormal": lambda: signs * 5e-324,
        "squares underflow": lambda: rng.standard_normal(n) * 10.0 ** rng.integers(-170, -140, n),
        "huge": lambda: rng.standard_normal(n) * 1e149,
        "last bits": lambda: 1 + signs * 2.0**-52,
        "rounded distances": lambda: 1e17 * rng.integers(-1, 2, n) + signs,
    }[kind]()[:, None]


KINDS = [
    *("normal", "few bits", "integers", "tenths", "atoms", "equal", "signed zeros", "denormal", "squares underflow"),
    *("huge", "last bits", "rounded distances"),
]


def check(x, y, k, exclude=None):
    found = SortedBackend().search(x, y, k, exclude_ids=exclude)
    squared, ids = nearest(x, y, k, exclude)
    np.testing.assert_array_equal(found.squared_distances, squared)
    np.testing.assert_array_equal(found.indices, ids)


@pytest.mark.parametrize("kind", KINDS)
def test_every_use_equals_the_oracle(kind, rng):
    y = column(kind, 100, rng)
    rows = np.arange(100)
    check(y, y, 10)
    check(y, y.copy(), 10, rows)
    check(column(kind, 90, rng), y, 10)
    check(column("normal", 90, rng), y, 10)
    # One label among pooled rows: its own rows leave themselves out, the others nothing.
    pooled = np.concatenate([y, column(kind, 20, rng)])
    check(pooled, y, 10, np.concatenate([rows, np.full(20, -1)]))
    check(y, y, 10, rng.integers(-1, 100, 100))
    check(y[:8], y[:8], 7, rows[:8])
    check(y[:8], y[:8], 8, np.full(8, -1))


@pytest.mark.parametrize("kind", ["few bits", "integers", "normal"])
def test_chunks_join_without_a_seam(kind, rng, monkeypatch):
    monkeypatch.setattr(_sorted, "_MERGE_ROWS", 32)
    y = column(kind, 333, rng)
    check(y, y, 5, np.arange(333))
    check(column(kind, 77, rng), y, 5)


def test_a_long_run_hides_no_value_that_rounds_to_the_same_distance():
    # From 0.1 all 64 denormals are equally far, and the two nearest places hold one value.
    y = np.repeat([1.0, 2.0], 32)[::-1, None] * 5e-324
    check(np.array([[0.1], [-0.1], [0.0]]), y, 2)


def test_copies_beyond_k_cost_no_second_search(rng, monkeypatch):
    monkeypatch.setattr(_sorted, "_from_windows", None)
    y = rng.integers(0, 3, 500).astype(float)[:, None]
    check(y, y, 4, np.arange(500))


@hypothesis.given(st.lists(st.floats(-1e3, 1e3) | st.integers(-3, 3).map(float), min_size=1, max_size=40))
def test_values_are_ordered_by_value_and_row(values):
    values = np.array(values)
    order, ordered = _sorted._ordered(values)
    expected = np.argsort(values + 0.0, kind="stable")
    np.testing.assert_array_equal(order, expected)
    np.testing.assert_array_equal(ordered, values[expected])


def test_values_that_agree_in_their_leading_bits_are_ordered(rng):
    for copies in (3000, 40):
        values = rng.standard_normal(3000)
        values[:copies] = 1 + rng.integers(0, 30, copies) * 2.0**-52
        order, _ = _sorted._ordered(values)
        np.testing.assert_array_equal(order, np.argsort(values, kind="stable"))


def test_float32_records_are_searched_as_float64(rng):
    x = rng.standard_normal((200, 1)).astype(np.float32)
    found = knn(x, x, 3, exclude_self=True)
    np.testing.assert_array_equal(found.indices, nearest(x, x, 3, np.arange(200))[1])
