"""Streaming log-sums against SciPy's logsumexp over all pairs in float64."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from scipy.spatial.distance import cdist
from scipy.special import logsumexp

from mace_jax_kernels.log_kde import add_block, cases, log_kernel_sums, log_sum_error
from mace_jax_kernels.log_kde.xla import sums_padded
from tests._support import rest_slow

SMALL_TILE = 4096


def log_sums(x, y, inverse, log_weights=0.0, exclude_ids=None):
    """Straight from the definition, in float64."""
    squared = cdist(np.float64(x), np.float64(y), "sqeuclidean")
    if exclude_ids is not None:
        squared[np.asarray(exclude_ids)[:, None] == np.arange(len(y))] = np.inf
    return np.array([logsumexp(log_weights - squared * np.float64(g) ** 2 / 2, axis=1) for g in inverse])


def gap(found, expected):
    """Largest error, relative where a log-sum is beyond 1."""
    return np.max(np.abs(np.float64(found) - expected) / np.maximum(1, np.abs(expected)))


@pytest.mark.parametrize(
    ("name", "direct"),
    rest_slow([(name, direct) for name in cases.CASES for direct in (True, False)], lambda run: run[1] is True),
)
def test_float64_equals_the_definition(name, direct):
    with jax.enable_x64(True):
        x, y, inverse = cases.make(name, dtype=np.float64)
        found = log_kernel_sums(x, y, inverse, direct=direct, tile_bytes=SMALL_TILE)
        assert found.dtype == np.float64 and found.shape == (len(inverse), len(x))
        expected = log_sums(x, y, inverse)
        assert np.isfinite(found).all()
        assert gap(found, expected) < (1e-12 if direct or name == "far_queries" else 1e-8)
        np.testing.assert_allclose(
            log_kernel_sums(x, y, inverse, implementation="reference"), expected, rtol=1e-12, atol=1e-12
        )


@pytest.mark.parametrize("name", rest_slow(cases.CASES, lambda name: name in list(cases.CASES)[::3]))
def test_float32_differences_err_by_roundings_only(name):
    x, y, inverse = cases.make(name)
    found = log_kernel_sums(x, y, inverse, direct=True, tile_bytes=SMALL_TILE)
    assert found.dtype == np.float32
    assert gap(found, log_sums(x, y, inverse)) < 2e-6


@pytest.mark.parametrize("name", ["tails", "wide", "one_feature", "shifted_wide"])
def test_float32_products_err_by_the_stated_bound(name):
    x, y, inverse = cases.make(name)
    found = np.asarray(log_kernel_sums(x, y, inverse, direct=False))
    expected = log_sums(x, y, inverse)
    center = (x.mean(axis=0, dtype=np.float64) + y.mean(axis=0, dtype=np.float64)) / 2
    norms, longest = ((x - center) ** 2).sum(axis=1), ((y - center) ** 2).sum(axis=1).max()
    bound = np.array([log_sum_error(norms, longest, float(g), x.shape[1], np.float32) for g in inverse])
    if name == "shifted_wide":  # the mean itself is rounded at 1e4, and rows lose that much when it is subtracted
        bound *= 50
    assert (np.abs(found - expected) <= bound + 2e-6 * np.maximum(1, np.abs(expected))).all()


def test_the_bound_is_the_error_of_a_pair_over_two_h_squared():
    small, large = (log_sum_error(3.0, 5.0, 1 / h, 10, np.float32) for h in (0.1, 1.0))
    assert small == pytest.approx(100 * large)
    assert log_sum_error(3.0, 5.0, 1.0, 10, np.float64) == pytest.approx(large * 2.0**-29)


def test_all_but_the_nearest_underflow(rng):
    """A direct sum of kernels would be 0; the log-sum is that of the nearest row."""
    x, y = rng.random((40, 5), np.float32), rng.random((300, 5), np.float32)
    found = log_kernel_sums(x, y, np.float32([1e4]))[0]
    nearest = cdist(np.float64(x), np.float64(y), "sqeuclidean").min(axis=1)
    np.testing.assert_allclose(found, -nearest * 1e8 / 2, rtol=2e-6)


@pytest.mark.parametrize("direct", [True, False])
def test_weights_and_exclusion(rng, direct):
    with jax.enable_x64(True):
        y = rng.standard_normal((90, 6))
        logs = rng.normal(scale=200, size=90)  # far beyond what weights themselves could hold
        logs[[0, 40]] = -np.inf
        exclude = rng.permutation(90)
        exclude[:5] = -1
        inverse = np.array([0.5, 3.0])
        found = log_kernel_sums(y, y, inverse, logs, exclude, direct=direct, tile_bytes=SMALL_TILE)
        assert gap(found, log_sums(y, y, inverse, logs, exclude)) < 1e-12


def test_nobody_left_is_minus_infinity():
    rows = np.float32([[1.0, 2.0], [3.0, 4.0]])
    assert np.asarray(log_kernel_sums(rows[:1], rows[:1], np.float32([1.0]), exclude_ids=np.array([0]))).tolist() == [
        [-np.inf]
    ]
    none = log_kernel_sums(rows, rows, np.float32([1.0]), np.full(2, -np.inf, np.float32))
    assert none.tolist() == [[-np.inf, -np.inf]]


def test_tiles_and_company_change_rounding_only(rng):
    with jax.enable_x64(True):
        x, y = rng.standard_normal((70, 11)), rng.standard_normal((500, 11))
        inverse = np.array([0.7, 1.0, 4.0])
        whole = log_kernel_sums(x, y, inverse)
        for tile_bytes in (1024, SMALL_TILE, 1 << 18):
            assert gap(log_kernel_sums(x, y, inverse, tile_bytes=tile_bytes), whole) < 1e-13
        for i, g in enumerate(inverse):
            assert gap(log_kernel_sums(x, y, np.array([g])), whole[i : i + 1]) < 1e-13
        assert gap(log_kernel_sums(x[20:33], y, inverse, direct=True), whole[:, 20:33]) < 1e-12


def test_blocks_add_up(rng):
    """Two blocks in either order give the sum over both; a block of zero weights adds nothing."""
    x, y = rng.standard_normal((16, 4)).astype(np.float32), rng.standard_normal((64, 4)).astype(np.float32)
    rates, zeros = np.float32([0.5, 8.0]), np.zeros(16, np.float32)
    start = np.full((2, 16), -np.inf, np.float32), np.zeros((2, 16), np.float32)

    def add(rows, state, logs=0.0):
        logs, nobody = np.full(len(rows), logs, np.float32), np.full(16, -1, np.int32)
        return add_block(x, zeros, rows, logs, logs, nobody, rates, *state, tile_rows=8, direct=True)

    expected = log_sums(x, y, np.sqrt(2 * rates))
    for parts in ((y[:32], y[32:]), (y[32:], y[:32])):
        largest, total = add(parts[1], add(y, add(parts[0], start), -np.inf))
        assert (np.asarray(total) >= 1).all()
        assert gap(largest + np.log(total), expected) < 1e-6


@pytest.mark.parametrize("d", [3, 9])
def test_sizes_in_one_bucket_share_code(rng, d):
    def sums(n, m):
        return log_kernel_sums(rng.random((n, d), np.float32), rng.random((m, d), np.float32), np.float32([1.0, 2.0]))

    sums(20, 100)
    before = sums_padded._cache_size(), add_block._cache_size()
    for n, m in [(17, 65), (32, 128), (31, 99)]:
        assert sums(n, m).shape == (2, n)
    assert (sums_padded._cache_size(), add_block._cache_size()) == before


def test_inside_a_traced_function(rng):
    rows, inverse = rng.standard_normal((70, 4)).astype(np.float32), np.float32([0.5, 2.0])
    traced = jax.jit(lambda x, g: log_kernel_sums(x, x, g))(rows, inverse)
    np.testing.assert_allclose(traced, log_kernel_sums(rows, rows, inverse), rtol=1e-6, atol=1e-6)


def test_bad_arguments():
    rows, one = np.zeros((2, 3), np.float32), np.float32([1.0])
    with pytest.raises(ValueError, match="must not be empty"):
        log_kernel_sums(rows, rows[:0], one)
    with pytest.raises(ValueError, match=r"inverse_bandwidth has shape \(0,\); it must be \(b,\) with b at least 1"):
        log_kernel_sums(rows, rows, one[:0])
    with pytest.raises(ValueError, match=r"log_weights has shape \(1,\); it must be \(2,\)"):
        log_kernel_sums(rows, rows, one, one)
    with pytest.raises(ValueError, match=r"inverse_bandwidth \(float64\) must be of the dtype of queries, float32"):
        log_kernel_sums(rows, rows, np.array([1.0]))
    with pytest.raises(NotImplementedError, match="implementation='cuda' does not exist"):
        log_kernel_sums(rows, rows, one, implementation="cuda")
