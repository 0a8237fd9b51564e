"""The public door: messages, the automatic choice, the result type, foreign backends."""

from __future__ import annotations

import dataclasses
import json
from typing import final

import jax
import numpy as np
import pytest

from mace_jax._status import Status
from mace_jax.neighbors import (
    AbstractNeighborBackend,
    ExactBackend,
    Neighbors,
    SortedBackend,
    TreeBackend,
    _api,
    knn,
    radius_count,
)
from mace_jax.neighbors._base import make_neighbors
from mace_jax.neighbors._choose import choose
from mace_jax.neighbors._duplicates import group_rows

X, Y = np.zeros((4, 2)), np.ones((6, 2))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((X, Y, 7), ValueError, r"k=7 is more than the 6 reference rows; pass a smaller k"),
        ((X, Y, 0), ValueError, r"k=0 must be at least 1"),
        ((X, Y, 1.5), TypeError, r"k must be an integer, got 1.5"),
        ((X, np.ones((6, 3)), 1), ValueError, r"queries has 2 columns but reference has 3"),
        ((X, np.ones((0, 2)), 1), ValueError, r"reference has 0 rows"),
        ((np.ones((0, 2)), Y, 1), ValueError, r"queries has 0 rows"),
        ((np.ones((3, 0)), Y, 1), ValueError, r"queries has shape \(3, 0\): no columns"),
        ((X, np.array([[1.0, 2.0], [np.nan, 0.0]]), 1), ValueError, r"reference has NaN .* first in row 1, column 0"),
        ((np.array([[0.0, np.inf]]), Y, 1), ValueError, r"queries has NaN or infinity in 1 of 1 rows"),
        ((np.array([["a", "b"]]), Y, 1), TypeError, r"queries has dtype <U1, which is not numeric"),
        ((X, 1e151 * Y, 1), ValueError, r"reference has entries beyond 1e\+150"),
    ],
)
def test_bad_input_is_named(arguments, error, message):
    with pytest.raises(error, match=message):
        knn(*arguments)


def test_row_ids_must_fit(monkeypatch):
    monkeypatch.setattr(_api, "_MOST_ROWS", 5)
    with pytest.raises(ValueError, match="reference has 6 rows; at most 5 can be searched at once"):
        knn(X, Y, 1)


def test_excluding_self_needs_the_same_records():
    with pytest.raises(ValueError, match="same records, got 4 and 6 rows"):
        knn(X, Y, 1, exclude_self=True)
    with pytest.raises(ValueError, match="k=6 is more than the 5 reference rows other than the query itself"):
        knn(Y, Y, 6, exclude_self=True)


@pytest.mark.parametrize("backend", ["flat", "brute", 3, None])
def test_unknown_backends_are_refused(backend):
    with pytest.raises(ValueError, match=r"use 'auto', 'exact', 'tree', 'sorted', 'faiss' or an Abstract"):
        knn(X, Y, 1, backend=backend)


def test_sorting_needs_one_column():
    with pytest.raises(ValueError, match="backend='sorted' needs records of one column, got 2"):
        knn(X, Y, 1, backend="sorted")
    for call in (lambda: knn(X, Y, 1, backend=SortedBackend()), lambda: radius_count(X, Y, 1, backend=SortedBackend())):
        with pytest.raises(ValueError, match="SortedBackend needs records of one column, got 2"):
            call()


@pytest.mark.parametrize(
    ("radius", "error", "message"),
    [
        (-1.0, ValueError, r"at least 0, got -1.0 \(entry 0\)"),
        ([0.0, 1.0, np.nan, 2.0], ValueError, r"got nan \(entry 2\)"),
        ([1.0, 2.0], ValueError, r"radius has shape \(2,\); pass a number or one number for each of 4 queries"),
        ("wide", TypeError, r"radius has dtype"),
    ],
)
def test_bad_radii_are_named(radius, error, message):
    with pytest.raises(error, match=message):
        radius_count(X, Y, radius)


@pytest.mark.parametrize(
    ("n", "m", "d", "k", "name"),
    [
        (10**6, 10**6, 1, 5, "sorted"),
        (10**5, 10**5, 8, 100, "tree"),
        (10**5, 10**5, 10, 16, "tree"),
        (10**5, 10**5, 10, 17, "exact"),
        (10**5, 10**5, 11, 1, "exact"),
        (100, 100, 64, 5, "tree"),
    ],
)
def test_the_automatic_choice_on_a_processor(n, m, d, k, name, monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "cpu")
    assert choose(n, m, d, k).name == name


def test_the_automatic_choice_on_an_accelerator(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert choose(10**5, 10**5, 2, 5) == ExactBackend()
    assert choose(10**5, 10**5, 1, 5) == SortedBackend()


def test_the_choice_is_recorded(rng):
    x, y = rng.standard_normal((5, 2)), rng.standard_normal((9, 2))
    assert knn(x, y, 1).backend == "tree"
    assert knn(x, y, 1, backend="exact").backend == "exact"
    assert knn(x[:, 0], y[:, 0], 1).backend == "sorted"


def test_any_numeric_input_is_taken():
    expected = knn(X, Y, 2)
    for x, y in [(X.tolist(), Y.tolist()), (X.astype(np.int8), Y.astype(np.float32)), (jax.numpy.asarray(X), Y > 0)]:
        found = knn(x, y, 2)
        np.testing.assert_array_equal(found.squared_distances, expected.squared_distances)
    images = np.arange(24.0).reshape(6, 2, 2)
    assert knn(images, images, 1).indices[:, 0].tolist() == list(range(6))


def test_the_result_is_a_tree_of_arrays():
    found = knn(X, Y, 3)
    leaves, structure = jax.tree.flatten(found)
    assert len(leaves) == 4
    again = jax.tree.unflatten(structure, leaves)
    assert again.backend == found.backend and again.indices is found.indices
    assert repr(found) == "Neighbors(shape=(4, 3), backend='tree', status=0)"
    assert json.loads(json.dumps(found.to_dict()))["indices"] == [[0, 1, 2]] * 4
    np.testing.assert_array_equal(found.distances**2, [[2.0000000000000004] * 3] * 4)
    assert found.indices.dtype == np.int64 and found.squared_distances.dtype == np.float64


def test_unproven_rows_are_flagged():
    lists = make_neighbors(np.ones((2, 1)), np.zeros((2, 1), int), "other", certified=np.array([True, False]))
    assert lists.status == Status.UNCERTIFIED


def test_a_backend_from_outside_is_used_after_the_checks():
    @final
    @dataclasses.dataclass(frozen=True)
    class First(AbstractNeighborBackend):
        @property
        def name(self) -> str:
            return "first"

        def search(self, queries, reference, k, *, exclude_ids=None) -> Neighbors:
            ids = np.tile(np.arange(k), (len(queries), 1))
            return make_neighbors(np.zeros(ids.shape), ids, self.name)

        def count_within(self, queries, reference, radius):
            return np.full(len(queries), len(reference))

    assert knn(X, Y, 2, backend=First()).backend == "first"
    assert radius_count(X, Y, 1.0, backend=First()).tolist() == [6] * 4
    with pytest.raises(ValueError, match="k=9 is more than"):
        knn(X, Y, 9, backend=First())


def test_settings_are_values():
    assert TreeBackend(workers=2) == TreeBackend(workers=2) != TreeBackend()
    assert hash(ExactBackend()) == hash(ExactBackend())


def test_equal_rows_are_grouped_in_order():
    rows = np.array([[1.0, 0.0], [2.0, 1.0], [1.0, -0.0], [3.0, 3.0], [2.0, 1.0]])
    groups = group_rows(rows)
    assert groups is not None and len(groups) == 3
    assert groups.first.tolist() == [0, 1, 3] and groups.group_of.tolist() == [0, 1, 0, 2, 1]
    assert groups.order.tolist() == [0, 2, 1, 4, 3] and groups.counts.tolist() == [2, 2, 1]
    assert group_rows(rows[[0, 1, 3]]) is None


def test_a_hash_collision_does_not_merge_rows(monkeypatch):
    class Zeros:
        def integers(self, *_, size, dtype):
            return np.zeros(size, dtype)

    # Weights of 1 (zero made odd) give rows with swapped columns the same hash.
    monkeypatch.setattr(np.random, "default_rng", lambda seed: Zeros())
    assert group_rows(np.array([[1.0, 2.0], [2.0, 1.0]])) is None
    groups = group_rows(np.array([[1.0, 2.0], [2.0, 1.0], [1.0, 2.0]]))
    assert groups is not None and groups.group_of.tolist() == [0, 1, 0]


def test_swapping_the_order_of_labels_does_not_change_a_shell():
    # 20 atoms with many copies each: the k-th distance, unlike the chosen ids, must not depend on the row order.
    rng = np.random.default_rng(3)
    atoms = rng.integers(20, size=400).astype(float)
    flipped = atoms[::-1].copy()
    for backend in ("exact", "tree", "sorted"):
        there = knn(atoms, atoms, 30, exclude_self=True, backend=backend).squared_distances
        back = knn(flipped, flipped, 30, exclude_self=True, backend=backend).squared_distances
        np.testing.assert_array_equal(there, back[::-1])
