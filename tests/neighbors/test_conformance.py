"""Every backend gives the lists and counts of the oracle, bit for bit."""

from __future__ import annotations

import hypothesis
import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
import pytest

from mace_jax._status import Status
from mace_jax.neighbors import ExactBackend, SortedBackend, TreeBackend, knn, radius_count
from tests._support import rest_slow
from tests.neighbors.oracle import nearest, within

TILED = ExactBackend(tile_bytes=4096)  # tiles of 32 x 32: several of each even in a small test
BACKENDS = {"auto": "auto", "exact": "exact", "tiled": TILED, "tree": TreeBackend(workers=1), "sorted": SortedBackend()}
WIDE = ["auto", "exact", "tiled", "tree"]


def check(x, y, k, backend, *, exclude_self=False):
    found = knn(x, y, k, backend=backend, exclude_self=exclude_self)
    squared, ids = nearest(x, y, k, np.arange(len(x)) if exclude_self else None)
    np.testing.assert_array_equal(found.squared_distances, squared)
    np.testing.assert_array_equal(found.indices, ids)
    assert found.certified.all()
    return found


def records(kind, n, d, rng):
    if kind == "normal":
        return rng.standard_normal((n, d))
    if kind == "shifted":
        return rng.standard_normal((n, d)) + 1e4
    if kind == "integer":
        return rng.integers(-3, 4, size=(n, d)).astype(float)
    if kind == "tenths":
        return rng.integers(-3, 4, size=(n, d)) / 10
    if kind == "duplicates":
        return rng.standard_normal((1 + n // 7, d))[rng.integers(1 + n // 7, size=n)]
    if kind == "spread":
        return rng.standard_normal((n, d)) * np.exp(4 * rng.standard_normal((n, 1)))
    assert kind == "equal"
    return np.full((n, d), 0.1)


KINDS = ["normal", "shifted", "integer", "tenths", "duplicates", "spread", "equal"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("name", "d"), [(name, 5) for name in WIDE] + [("sorted", 1), ("tiled", 1), ("tree", 1)])
def test_lists_equal_the_oracle(name, d, kind, rng):
    backend = BACKENDS[name]
    rows = records(kind, 170, d, rng)
    x, y = rows[:53], rows[53:]
    check(x, y, 1, backend)
    check(x, y, 6, backend)
    check(x[:1], y, 6, backend)
    check(y, y, 6, backend, exclude_self=True)


@pytest.mark.parametrize("kind", ["normal", "duplicates", "equal"])
@pytest.mark.parametrize(("name", "d"), [("exact", 3), ("tiled", 3), ("tree", 3), ("sorted", 1)])
def test_k_may_be_every_row(name, d, kind, rng):
    y = records(kind, 40, d, rng)
    check(y[:9] + 0.5, y, 40, BACKENDS[name])
    check(y, y, 39, BACKENDS[name], exclude_self=True)


@pytest.mark.parametrize("name", ["exact", "tiled", "tree", "sorted"])
def test_one_query_and_one_row(name):
    found = check(np.array([[2.0]]), np.array([[5.0]]), 1, BACKENDS[name])
    assert found.distances.tolist() == [[3.0]]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("name", "d"), [("exact", 5), ("tiled", 5), ("tree", 5), ("sorted", 1)])
def test_counts_are_closed_at_returned_distances(name, d, kind, rng):
    backend = BACKENDS[name]
    rows = records(kind, 170, d, rng)
    x, y = rows[:53], rows[53:]
    distances = knn(x, y, 7, backend=backend).distances
    for radius in (distances[:, 0], distances[:, 6], 0.0, np.nextafter(distances[:, 6], 0), 1e9):
        counts = radius_count(x, y, radius, backend=backend)
        assert counts.dtype == np.int64
        np.testing.assert_array_equal(counts, within(x, y, radius))
    assert (radius_count(x, y, distances[:, 6], backend=backend) >= 7).all()


@pytest.mark.parametrize(
    ("name", "d"), rest_slow([("exact", 12), ("tiled", 12), ("tree", 3), ("sorted", 1)], ("tiled", 12).__eq__)
)
def test_batches_do_not_change_the_answer(name, d, rng):
    backend = BACKENDS[name]
    y = rng.standard_normal((230, d)) + 1e4
    x = rng.standard_normal((101, d)) + 1e4
    whole, count = knn(x, y, 4, backend=backend), radius_count(x, y, 1.5, backend=backend)
    for size in (1, 37, 100):
        parts = [x[i : i + size] for i in range(0, len(x), size)]
        lists = [knn(part, y, 4, backend=backend) for part in parts]
        np.testing.assert_array_equal(np.vstack([part.squared_distances for part in lists]), whole.squared_distances)
        np.testing.assert_array_equal(np.vstack([part.indices for part in lists]), whole.indices)
        counts = [radius_count(part, y, 1.5, backend=backend) for part in parts]
        np.testing.assert_array_equal(np.concatenate(counts), count)


def test_backends_agree_bit_for_bit(rng):
    x, y = rng.random((60, 9)), rng.random((400, 9))
    lists = [knn(x, y, 12, backend=name) for name in ("exact", "tree")]
    np.testing.assert_array_equal(lists[0].squared_distances, lists[1].squared_distances)
    np.testing.assert_array_equal(lists[0].indices, lists[1].indices)


def test_excluding_self_keeps_equal_rows():
    y = np.array([[1.0, 1.0], [1.0, 1.0], [1.0, 1.0], [2.0, 2.0]])
    for backend in ("exact", "tree"):
        found = knn(y, y, 2, exclude_self=True, backend=backend)
        assert found.indices.tolist() == [[1, 2], [0, 2], [0, 1], [0, 1]]
        assert found.squared_distances[:3].max() == 0.0


def test_excluding_self_where_the_first_of_a_tied_group_is_the_query():
    # Around row 0 its copy (row 3) and rows 1 and 2 tie with the query's neighbors; the copy must come last.
    y = np.array([[0.0], [1.0], [-1.0], [0.0], [1.0]])
    for backend in ("exact", "tree", "sorted"):
        check(y, y, 2, backend, exclude_self=True)
        check(y, y, 3, backend, exclude_self=True)


@pytest.mark.parametrize("backend", ["exact", "tree"])
def test_many_distinct_rows_at_one_distance(backend):
    y = 0.1 * np.eye(30)
    check(np.zeros((2, 30)), y, 3, backend)
    check(y, y, 3, backend, exclude_self=True)


def test_custom_exclusions_go_through_the_backend_object(rng):
    y = rng.integers(0, 3, size=(50, 2)).astype(float)
    x = rng.integers(0, 3, size=(20, 2)).astype(float)
    exclude = rng.integers(-1, 50, size=20)
    for backend in (TILED, TreeBackend()):
        found = backend.search(x, y, 5, exclude_ids=exclude)
        squared, ids = nearest(x, y, 5, exclude)
        np.testing.assert_array_equal(found.squared_distances, squared)
        np.testing.assert_array_equal(found.indices, ids)


def test_zero_distances_are_flagged(rng):
    y = rng.standard_normal((30, 2))
    assert knn(y, y, 1).status == Status.ZERO_DISTANCE
    assert knn(y, y, 1, exclude_self=True).status == Status.OK


@pytest.mark.parametrize("backend", ["exact", "tree", "sorted"])
def test_values_of_any_size(backend, rng):
    d = 1 if backend == "sorted" else 4
    for scale in (1e-160, 1e-30, 1e30, 1e149):
        rows = rng.standard_normal((90, d)) * scale
        check(rows[:20], rows[20:], 3, backend)
        radius = knn(rows[:20], rows[20:], 3, backend=backend).distances[:, -1]
        np.testing.assert_array_equal(
            radius_count(rows[:20], rows[20:], radius, backend=backend), within(rows[:20], rows[20:], radius)
        )


def test_sorted_widens_where_rounding_ties_many_values():
    # From 1e17 all of these values are at the same rounded distance.
    y = np.arange(64.0)[:, None]
    check(np.array([[1e17], [-1e17]]), y, 3, "sorted")
    check(np.array([[1e17], [3.5]]), y, 3, "tree")


@hypothesis.settings(max_examples=12)
@hypothesis.given(data=st.data(), d=st.sampled_from([1, 3]), m=st.integers(2, 24), n=st.integers(1, 12))
def test_integer_records_equal_the_oracle(data, d, m, n):
    whole = st.integers(-4, 4)
    y = data.draw(hnp.arrays(np.int64, (m, d), elements=whole))
    x = data.draw(hnp.arrays(np.int64, (n, d), elements=whole))
    k = data.draw(st.integers(1, min(m - 1, 8)))
    radius = data.draw(st.sampled_from([0.0, 1.0, np.sqrt(2.0), np.sqrt(3.0), 5.0]))
    for backend in ["exact", "tree"] + ["sorted"] * (d == 1):
        check(x, y, k, backend)
        check(y, y, k, backend, exclude_self=True)
        np.testing.assert_array_equal(radius_count(x, y, radius, backend=backend), within(x, y, radius))
