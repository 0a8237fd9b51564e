"""Tile sizes keep their byte budget; buckets are coarse."""

from __future__ import annotations

import numpy as np
import pytest

from mace_jax_kernels._tiling import bucket, candidate_bucket, pad_rows, padded_size, resident_size, tile_sizes


def test_buckets():
    assert [bucket(n) for n in (1, 8, 9, 1000, 1024)] == [8, 8, 16, 1024, 1024]
    assert [candidate_bucket(k) for k in (1, 8, 9, 16, 17, 33, 260)] == [24, 24, 32, 32, 48, 64, 512]
    assert all(candidate_bucket(k) >= k + max(16, k // 2) for k in range(1, 400))
    assert padded_size(1, 8) == 8 and padded_size(17, 8) == 32
    assert [resident_size(n) for n in (3, 5000, 8193, 100_000)] == [8, 8192, 10240, 114_688]


@pytest.mark.parametrize("n", [1, 100, 10**6])
@pytest.mark.parametrize("m", [1, 5000, 10**6])
@pytest.mark.parametrize("d", [1, 64, 10**6])
@pytest.mark.parametrize("budget", [1024, 1 << 24])
def test_tiles_fit_the_budget(n, m, d, budget):
    query_rows, tile_rows, block_rows = tile_sizes(n, m, d, 4, budget)
    assert 4 * query_rows * tile_rows <= budget
    assert block_rows % tile_rows == 0
    assert 4 * d * block_rows <= max(64 << 20, 32 * d)
    assert tile_rows <= bucket(m)


def test_padding():
    rows = np.ones((3, 2))
    assert pad_rows(rows, 3) is rows
    assert pad_rows(rows, 5, np.inf)[3:].tolist() == [[np.inf] * 2] * 2
