"""sorted_window against all distances, sorted."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mace_jax_kernels.sorted_window import merge_arms, sorted_window, sorted_window_reference


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n, m, k", [(1, 3, [1]), (7, 5, [1, 3, 7]), (200, 300, [1, 5, 51, 200])])
@pytest.mark.parametrize("kind", ["continuous", "integers", "one value", "far apart"])
def test_windows_equal_the_reference(kind, n, m, k, dtype, rng):
    values, queries = {
        "continuous": (rng.normal(size=n), rng.normal(size=m) * 2),
        "integers": (rng.integers(0, 9, n), rng.integers(-2, 12, m)),
        "one value": (np.ones(n), rng.integers(0, 3, m)),
        "far apart": (1e8 + rng.integers(0, 5, n), rng.normal(size=m)),
    }[kind]
    values, queries = np.sort(values).astype(dtype), queries.astype(dtype)
    queries[0] = values[0]
    with jax.enable_x64(dtype == np.float64):
        found = sorted_window(jnp.asarray(values), jnp.asarray(queries), jnp.asarray(k))
        closed_low, open_low, open_high, closed_high = (np.asarray(edge) for edge in found)
    expected = sorted_window_reference(values, queries, k)
    np.testing.assert_array_equal(closed_low, expected[0])
    np.testing.assert_array_equal(closed_high, expected[3])
    np.testing.assert_array_equal(open_high - open_low, expected[2] - expected[1])
    filled = open_high > open_low
    np.testing.assert_array_equal(open_low[filled], expected[1][filled])
    assert (open_high - open_low < np.asarray(k)[:, None]).all()
    assert (closed_high - closed_low >= np.asarray(k)[:, None]).all()


def test_another_k_does_not_compile_again(rng):
    values, queries = jnp.sort(jnp.asarray(rng.normal(size=321))), jnp.asarray(rng.normal(size=123))
    sorted_window(values, queries, jnp.asarray([1, 2, 3]))
    compiled = sorted_window._cache_size()
    sorted_window(values, queries, jnp.asarray([9, 19, 321]))
    assert sorted_window._cache_size() == compiled


@pytest.mark.parametrize("own", [-1, 3])
def test_arms_are_merged_by_squared_distance_and_name(own):
    # Names ascend on either way out, here from 1.0: down 0.0 (name 1), up 1.0 (0, 3), 2.0 (2), 4.0 (4).
    edge = [np.inf] * 6
    values = np.array([-x for x in edge] + [0.0, 1.0, 1.0, 2.0, 4.0] + edge)
    names = np.full((2, len(values)), -1, np.int32)
    names[0, 6:11], names[1, 6:11] = [1, 3, 0, 2, 4], [1, 0, 3, 2, 4]
    rows = np.array([6], np.int32), np.array([7], np.int32), np.array([1.0]), np.array([own], np.int32)
    with jax.enable_x64(True):
        squared, found, doubtful = merge_arms(values, names, *rows, np.array([0.0, np.inf]), k=3)
        assert merge_arms(values, names, *rows, np.array([0.0, 1.0]), k=3)[2].all()
        assert merge_arms(values, names, *rows, np.array([1e-300, np.inf]), k=3)[2].all()
    assert found.tolist() == ([[0, 3, 1]] if own < 0 else [[0, 1, 2]])
    assert squared.tolist() == ([[0.0, 0.0, 1.0]] if own < 0 else [[0.0, 1.0, 1.0]])
    assert not doubtful.any()
