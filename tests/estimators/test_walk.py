"""The outward walk along a sorted line against all distances, sorted, and against the binary search."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mace_jax.estimators._line import LineCounts, plan_line
from mace_jax.estimators._walk import shares, walk_windows
from mace_jax_kernels.sorted_window import sorted_window, sorted_window_reference
from tests._support import rest_slow


def line(kind, rng):
    values, queries = {
        "continuous": (rng.normal(size=60), rng.normal(size=40) * 2),
        "integers": (rng.integers(0, 9, 60), rng.integers(-2, 12, 40)),
        "one value": (np.ones(60), rng.integers(0, 3, 40)),
        "far apart": (1e16 + rng.integers(0, 9, 60), rng.normal(size=40)),
    }[kind]
    values, queries = np.sort(values).astype(float), queries.astype(float)
    queries[:20] = values[:20]
    return values, queries


@pytest.mark.parametrize("kind", ["continuous", "integers", "one value", "far apart"])
@pytest.mark.parametrize(("first", "last"), [(1, 60), (2, 21)])
def test_windows_are_those_of_all_distances_sorted(kind, first, last, rng):
    values, queries = line(kind, rng)
    k = np.arange(first, last + 1)
    with jax.enable_x64(True):
        found = walk_windows(jnp.asarray(values), jnp.asarray(queries), first=first, last=last)
        searched = sorted_window(jnp.asarray(values), jnp.asarray(queries), jnp.asarray(k))
        itself = first - 1
        share = [np.asarray(shares(each, jnp.asarray(k - itself), itself=bool(itself))) for each in (found, searched)]
    np.testing.assert_array_equal(*share)
    closed_low, open_low, open_high, closed_high = (np.asarray(edge) for edge in found)
    expected = sorted_window_reference(values, queries, k)
    np.testing.assert_array_equal(closed_low, expected[0])
    np.testing.assert_array_equal(closed_high, expected[3])
    np.testing.assert_array_equal(open_high - open_low, expected[2] - expected[1])
    filled = open_high > open_low
    np.testing.assert_array_equal(open_low[filled], expected[1][filled])


_members = jax.jit(LineCounts.members)


@pytest.mark.parametrize("decimals", rest_slow([9, 1], (1).__eq__))
def test_consecutive_candidates_count_as_scattered_ones_do(decimals, rng):
    """3 .. 9 are walked, 3, 5, 9 are searched."""
    train, test = np.round(rng.normal(size=(80, 1)), decimals), np.round(rng.normal(size=(30, 1)), decimals)
    labels, probe = jnp.asarray(rng.integers(0, 2, 80), jnp.int32), np.arange(0, 80, 3)
    walked, searched = (plan_line(train, test, np.asarray(k), probe) for k in (range(3, 10), (3, 5, 9)))
    for counts in ("inner", "outer", "probe"):
        rows, fewer = (np.asarray(_members(getattr(plan, counts), plan.arrange(labels))) for plan in (walked, searched))
        np.testing.assert_array_equal(rows[[0, 2, 6]], fewer)
