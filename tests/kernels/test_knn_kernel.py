"""The tiled search against direct differences, its proof flags, its padding."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mace_jax_kernels._precision import relative_slack, unit_roundoff
from mace_jax_kernels.knn import cases, knn, propose_block
from mace_jax_kernels.knn.xla import knn_padded
from tests._support import rest_slow

SMALL_TILE = 4096


RUNS = [(name, np.float32, SMALL_TILE) for name in cases.CASES] + [
    ("tails", np.float32, 1 << 24),
    ("wide", np.float64, 1 << 24),
    ("shifted", np.float64, SMALL_TILE),
    ("spread_norms", np.float64, 1 << 24),
]


@pytest.mark.parametrize(
    ("name", "dtype", "tile_bytes"), rest_slow(RUNS, lambda run: run[0] in ("single", "tied", "tails", "shifted"))
)
def test_certified_rows_equal_the_reference(name, dtype, tile_bytes):
    with jax.enable_x64(dtype == np.float64):
        queries, reference, k = cases.make(name, dtype=dtype)
        found = knn(queries, reference, k, tile_bytes=tile_bytes)
        expected = knn(queries, reference, k, implementation="reference")
        proven = np.asarray(found.certified)
        assert found.squared_distances.dtype == dtype and found.indices.dtype == np.int32
        # Two compilations may sum in different orders, so only clearly separated neighbors have to be the same.
        np.testing.assert_allclose(
            np.asarray(found.squared_distances)[proven],
            np.asarray(expected.squared_distances)[proven],
            rtol=queries.shape[1] * 4e-7,
        )
        assert proven.mean() >= (0.99 if dtype == np.float64 else CERTIFIED.get(name, 0.99))
        np.testing.assert_array_equal(np.asarray(found.indices)[proven], np.asarray(expected.indices)[proven])


# Least share of proven rows in float32; fewer where rows tie beyond the list or outliers carry the mean away.
CERTIFIED = {"all_equal": 0.0, "tied": 0.3, "spread_norms": 0.3}


def test_nothing_is_proven_where_rows_tie_beyond_the_list():
    queries, reference, k = cases.make("all_equal")
    found = knn(queries, reference, k)
    assert not np.asarray(found.certified).any()
    assert found.squared_distances.max() == 0.0


def test_whole_numbers_are_exact_in_float32():
    queries, reference, k = cases.make("tied")
    found, expected = knn(queries, reference, k), knn(queries, reference, k, implementation="reference")
    proven = np.asarray(found.certified)
    np.testing.assert_array_equal(
        np.asarray(found.squared_distances)[proven], np.asarray(expected.squared_distances)[proven]
    )


def test_one_row_is_left_out_per_query(rng):
    rows = rng.standard_normal((90, 6)).astype(np.float32)
    own = np.arange(90)
    own[::3] = -1
    found = knn(rows, rows, 4, exclude_ids=own, tile_bytes=SMALL_TILE)
    expected = knn(rows, rows, 4, exclude_ids=own, implementation="reference")
    np.testing.assert_array_equal(found.indices, expected.indices)
    assert not (np.asarray(found.indices) == np.where(own < 0, -2, own)[:, None]).any()


def test_sizes_in_one_bucket_share_code(rng):
    def search(n, m):
        return knn(rng.random((n, 9), np.float32), rng.random((m, 9), np.float32), 3)

    search(20, 100)
    before = knn_padded._cache_size()
    for n, m in [(17, 65), (32, 128), (31, 99)]:
        assert search(n, m).indices.shape == (n, 3)
    assert knn_padded._cache_size() == before


def test_inside_a_traced_function(rng):
    rows = rng.standard_normal((70, 4)).astype(np.float32)
    traced = jax.jit(lambda x: knn(x, x, 2).indices)(jnp.asarray(rows))
    np.testing.assert_array_equal(traced, knn(rows, rows, 2).indices)


@pytest.mark.parametrize("name", ["tails", "shifted", "wide", "spread_norms"])
def test_bounds_lie_below_every_distance(name):
    queries, reference, _ = cases.make(name)
    queries, reference = queries[:32], reference[:384]
    center = reference.mean(axis=0)
    x, y = queries - center, reference - center
    slack = relative_slack(x.shape[1], np.float32)
    bounds, ids = propose_block(
        x, (x**2).sum(1), y, (y**2).sum(1), np.int32(100), np.full(len(x), -1, np.int32), np.float32(1 - slack),
        np.full((len(x), len(y)), np.inf, np.float32), np.full((len(x), len(y)), -1, np.int32), tile_rows=128,
    )  # fmt: skip
    ids = np.asarray(ids) - 100
    exact = ((queries.astype(np.float64)[:, None] - reference.astype(np.float64)[None]) ** 2).sum(-1)
    assert np.array_equal(np.sort(ids, axis=1), np.tile(np.arange(len(y)), (len(x), 1)))
    assert (np.asarray(bounds) <= np.take_along_axis(exact, ids, axis=1)).all()
    assert (np.diff(bounds, axis=1) >= 0).all()


def test_slack_grows_on_accelerators(monkeypatch):
    here = relative_slack(10, np.float32)
    assert here == pytest.approx(40 * unit_roundoff(np.float32))
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert relative_slack(10, np.float32) == 2 * here
    monkeypatch.setattr(jax, "default_backend", lambda: "another")
    assert relative_slack(10, np.float32) == 2 * here


@pytest.mark.parametrize(
    ("queries", "reference", "k", "message"),
    [
        (np.zeros((2, 3)), np.zeros((4, 3)), 1, "enable_x64"),
        (np.zeros((2, 3), np.float32), np.zeros((4, 3)), 1, "must be of one dtype"),
        (np.zeros((2, 3), np.int32), np.zeros((4, 3), np.int32), 1, "must be of one dtype"),
        (np.zeros((2, 3), np.float32), np.zeros((4, 2), np.float32), 1, r"must be \(n, d\) and \(m, d\)"),
        (np.zeros((0, 3), np.float32), np.zeros((4, 3), np.float32), 1, "must not be empty"),
        (np.zeros((2, 3), np.float32), np.zeros((4, 3), np.float32), 5, "k=5 must be between 1 and 4"),
    ],
)
def test_bad_arguments(queries, reference, k, message):
    with jax.enable_x64(False), pytest.raises(ValueError, match=message):
        knn(queries, reference, k)


def test_unknown_implementation():
    with pytest.raises(NotImplementedError, match="implementation='cuda' does not exist"):
        knn(np.zeros((2, 3), np.float32), np.zeros((4, 3), np.float32), 1, implementation="cuda")
    with pytest.raises(ValueError, match="k=4 must be between 1 and 3"):
        knn(np.zeros((4, 3), np.float32), np.zeros((4, 3), np.float32), 4, exclude_ids=np.arange(4))
