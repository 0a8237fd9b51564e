"""Closed-ball counts against direct differences."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from mace_jax_kernels.knn import cases, knn
from mace_jax_kernels.radius_count import radius_count
from mace_jax_kernels.radius_count.xla import count_padded
from tests._support import rest_slow


@pytest.mark.parametrize(
    ("name", "tile_bytes"),
    rest_slow(
        [("single", 4096), ("one_feature", 4096), ("tails", 4096), ("tied", 4096), ("wide", 1 << 24)],
        lambda run: run[0] in ("single", "tied"),
    ),
)
def test_counts_equal_the_reference_at_exact_radii(name, tile_bytes):
    queries, reference, k = cases.make(name)
    radius = np.sqrt(np.asarray(knn(queries, reference, k, implementation="reference").squared_distances[:, -1]))
    for factor in (0.0, 0.5, 1.0, 1.5, 100.0):
        found = radius_count(queries, reference, factor * radius, tile_bytes=tile_bytes)
        expected = radius_count(queries, reference, factor * radius, implementation="reference")
        proven = np.asarray(found.certified)
        if name == "tied":  # whole numbers: both sums are exact
            np.testing.assert_array_equal(np.asarray(found.counts)[proven], np.asarray(expected.counts)[proven])
        else:  # two ways of summing may put the boundary pair itself on either side
            assert np.abs(np.asarray(found.counts) - np.asarray(expected.counts))[proven].max() <= (factor == 1.0)
        assert proven.mean() > 0.9


def test_float64():
    with jax.enable_x64(True):
        queries, reference, _ = cases.make("shifted", dtype=np.float64)
        found = radius_count(queries, reference, 5.0)
        assert np.asarray(found.certified).all()
        np.testing.assert_array_equal(
            found.counts, radius_count(queries, reference, 5.0, implementation="reference").counts
        )


def test_too_many_boundary_pairs_are_flagged():
    sphere = np.eye(80, dtype=np.float32)
    found = radius_count(np.zeros((2, 80), np.float32), sphere, np.array([1.0, 2.0]))
    assert found.certified.tolist() == [False, True]
    assert found.counts.tolist()[1] == 80


def test_sizes_in_one_bucket_share_code(rng):
    def count(n, m):
        return radius_count(rng.random((n, 9), np.float32), rng.random((m, 9), np.float32), 0.3)

    count(20, 100)
    before = count_padded._cache_size()
    for n, m in [(17, 65), (32, 128), (31, 99)]:
        assert count(n, m).counts.shape == (n,)
    assert count_padded._cache_size() == before


def test_inside_a_traced_function(rng):
    rows = rng.standard_normal((70, 4)).astype(np.float32)
    traced = jax.jit(lambda x, r: radius_count(x, x, r).counts)(rows, 1.5)
    np.testing.assert_array_equal(traced, radius_count(rows, rows, 1.5).counts)


def test_bad_arguments():
    rows = np.zeros((2, 3), np.float32)
    with pytest.raises(ValueError, match="must not be empty"):
        radius_count(rows, rows[:0], 1.0)
    with pytest.raises(NotImplementedError, match="implementation='cuda' does not exist"):
        radius_count(rows, rows, 1.0, implementation="cuda")
