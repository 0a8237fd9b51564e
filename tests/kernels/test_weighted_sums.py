"""Weighted sums against a matrix of weights: any batch, any shards, any rows, one program per bucket."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mace_jax_kernels.weighted_sums import api, cases, weighted_sums, xla
from tests._support import rest_slow

KINDS = ("poisson", "double_or_nothing", "bayesian", "multinomial")
FIRST_KIND_AND_SLOWLY_THE_OTHERS = [KINDS[0], *(pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS[1:])]
BY_ROW = KINDS[:3]


def close(found, expected, n, rtol=1e-6):
    """Equal to 1e-6 of the spread that sums of n values of unit size have, and of the total weight."""
    scale = np.concatenate([np.full(expected.shape[1] - 1, np.sqrt(n)), [n]])
    assert np.abs((np.asarray(found) - expected) / scale).max() <= rtol


@pytest.mark.parametrize(
    ("name", "weights"),
    rest_slow(
        [(name, kind) for name in cases.CASES for kind in KINDS if (name, kind) != ("two_chains", "multinomial")],
        lambda run: run[0] == "two_tiles" or run == ("two_chains", "poisson"),
    ),
)
def test_sums_equal_the_reference(name, weights):
    key, values, n_resamples = cases.make(name)
    found = weighted_sums(key, values, n_resamples=n_resamples, weights=weights)
    expected = weighted_sums(key, values, n_resamples=n_resamples, weights=weights, implementation="reference")
    assert found.shape == (n_resamples, values.shape[1] + 1) and found.dtype == np.float64
    close(found, expected, len(values), rtol=4e-6 if weights == "bayesian" else 1e-6)
    if weights in ("poisson", "double_or_nothing", "multinomial"):
        np.testing.assert_array_equal(found[:, -1], expected[:, -1])


@pytest.mark.parametrize("weights", FIRST_KIND_AND_SLOWLY_THE_OTHERS)
def test_any_replicate_can_be_computed_alone(weights):
    key, values, _ = cases.make("two_tiles")
    whole = weighted_sums(key, values, n_resamples=300, weights=weights)
    for first, many in ((0, 64), (64, 100), (130, 1), (191, 109)):
        part = weighted_sums(key, values, n_resamples=many, weights=weights, first_replicate=first)
        close(part, whole[first : first + many], len(values))


@pytest.mark.parametrize(
    ("weights", "cuts"),
    rest_slow([(kind, cuts) for kind in KINDS for cuts in ((700,), (1, 2, 1025, 1499))], lambda run: len(run[1]) == 1),
)
def test_shards_add_up(weights, cuts):
    key, values, _ = cases.make("two_tiles")
    whole = weighted_sums(key, values, n_resamples=100, weights=weights)
    edges = [0, *cuts, len(values)]
    total = sum(
        weighted_sums(key, values[a:b], n_resamples=100, weights=weights, first_row=a, n_total=len(values))
        for a, b in zip(edges, edges[1:], strict=False)
    )
    close(total, whole, len(values))


@pytest.mark.parametrize("weights", BY_ROW)
def test_rows_of_one_id_share_a_weight(weights, rng):
    key, values, _ = cases.make("few")
    ids = rng.integers(2**32 - 5, 2**32, size=len(values), dtype=np.uint32)
    found = weighted_sums(key, values, n_resamples=70, weights=weights, rows=ids)
    expected = weighted_sums(key, values, n_resamples=70, weights=weights, rows=ids, implementation="reference")
    close(found, expected, len(values), rtol=4e-6)
    kinds, places = np.unique(ids, return_inverse=True)
    grouped = np.zeros((len(kinds), values.shape[1]), np.float32)
    np.add.at(grouped, places, values)
    close(weighted_sums(key, grouped, n_resamples=70, weights=weights, rows=kinds)[:, :-1], found[:, :-1], len(values))


@pytest.mark.parametrize("weights", BY_ROW)
@pytest.mark.parametrize("stored", [True, False])
def test_storing_codes_changes_nothing(weights, stored):
    key, values, _ = cases.make("two_tiles")
    padded, rows = np.zeros((2048, 2), np.float32), np.arange(2048, dtype=np.uint32)
    padded[:1500] = values
    found = jax.jit(
        lambda: xla.tile_sums(
            jnp.asarray(key),
            jnp.uint32(0),
            jnp.asarray(padded),
            jnp.asarray(rows),
            jnp.int32(1500),
            n_blocks=1,
            kind=weights,
            tile_rows=256,
            stored=stored,
        )
    )()
    expected = weighted_sums(key, values, n_resamples=64, weights=weights)
    close(np.column_stack([found, expected[:, -1]]), expected, 1500)


def test_multinomial_rows_are_equally_likely():
    """Draws of n rows give each row a Binomial(n, 1 / n) weight: mean 1, variance 1 - 1 / n, sum n."""
    n = 9
    drawn = weighted_sums(np.uint32([1, 2]), np.eye(n, dtype=np.float32), n_resamples=20_000, weights="multinomial")
    np.testing.assert_array_equal(drawn[:, :-1].sum(axis=1), n)
    assert np.abs(drawn[:, :-1].mean(axis=0) - 1.0).max() < 4.5 / np.sqrt(20_000)
    assert drawn[:, :-1].var(axis=0).mean() == pytest.approx(1 - 1 / n, rel=0.02)


def test_index_of_a_draw_is_the_exact_floor(rng):
    high, low = (rng.integers(2**32, size=2000, dtype=np.uint32) for _ in range(2))
    high[:3], low[:3] = (0, 2**32 - 1, 2**31), (0, 2**32 - 1, 0)
    for n in (1, 7, 65537, 2**31 + 3, 2**32 - 1):
        exact = [n * ((int(a) << 32) | int(b)) >> 64 for a, b in zip(high, low, strict=True)]
        np.testing.assert_array_equal(xla._scaled(jnp.asarray(high), jnp.asarray(low), jnp.uint32(n)), exact)


def test_sizes_in_one_bucket_share_code(rng):
    def run(n, weights):
        return weighted_sums(
            np.uint32([n, 2]), rng.random((n, 5), np.float32), n_resamples=64, weights=weights, first_row=3, n_total=999
        )

    for weights in KINDS:
        run(70, weights)
        before = [f._cache_size() for f in (api._on_cpu, api._elsewhere, api._draw_sums)]
        for n in (65, 100, 127):
            assert run(n, weights).shape == (64, 6)
        assert [f._cache_size() for f in (api._on_cpu, api._elsewhere, api._draw_sums)] == before


@pytest.mark.parametrize("weights", rest_slow(KINDS, "poisson".__eq__))
def test_inside_a_traced_function(weights):
    key, values, _ = cases.make("few")
    traced = jax.jit(lambda key, x: weighted_sums(key, x, n_resamples=70, weights=weights))(key, values)
    close(traced, weighted_sums(key, values, n_resamples=70, weights=weights), len(values))
    keys = np.stack([key, key + 1])
    both = jax.vmap(lambda key: weighted_sums(key, jnp.asarray(values), n_resamples=70, weights=weights))(keys)
    close(both[1], weighted_sums(keys[1], values, n_resamples=70, weights=weights), len(values))


def test_float64():
    with jax.enable_x64(True):
        key, values, n_resamples = cases.make("two_tiles", dtype=np.float64)
        found = weighted_sums(key, values, n_resamples=n_resamples)
        expected = weighted_sums(key, values, n_resamples=n_resamples, implementation="reference")
        np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-11)


def test_replicates_per_call_follow_the_byte_budget():
    assert api.replicate_blocks(10_000, "poisson", platform="cpu") == 16
    assert api.replicate_blocks(10_000, "bayesian", platform="cpu") == 64
    assert api.replicate_blocks(1000, "poisson", 2, platform="cpu") == 8
    assert api.replicate_blocks(1, "poisson", platform="cpu") == 1
    assert api.replicate_blocks(10**6, "poisson", platform="gpu") == 256
    assert api.replicates_in_memory(1 << 20, 10_000) == 4
    assert api.replicates_in_memory(1 << 27, 10_000) == 2
    assert api.chained_size(70_000) == 131_072 and api.chained_size(3) == 8


def test_bad_arguments():
    key, values = np.uint32([1, 2]), np.ones((3, 1), np.float32)
    with pytest.raises(NotImplementedError, match="weights='normal' are not known"):
        api._check(key, values, 1, "normal", 0, None, 0)
    with pytest.raises(NotImplementedError, match="implementation='cuda' does not exist"):
        weighted_sums(key, values, n_resamples=1, implementation="cuda")
    with pytest.raises(NotImplementedError, match="need n_total for a part"):
        weighted_sums(key, values, n_resamples=1, weights="multinomial", first_row=1)
    with pytest.raises(ValueError, match="n_total=2 must be at least"):
        weighted_sums(key, values, n_resamples=1, weights="multinomial", n_total=2)
    with pytest.raises(ValueError, match="must be two uint32 words"):
        api._check(np.arange(2), values, 1, "poisson", 0, None, 0)
    with pytest.raises(ValueError, match="must not be empty"):
        weighted_sums(key, values[:0], n_resamples=1)
    with pytest.raises(ValueError, match="must be float32 or float64"):
        api._check(key, values.astype(int), 1, "poisson", 0, None, 0)
    with pytest.raises(ValueError, match="n_resamples=0 must be at least 1"):
        weighted_sums(key, values, n_resamples=0)
    with pytest.raises(ValueError, match="rows has shape"):
        api._check(key, values, 1, "poisson", 0, np.arange(3), 0)
    with pytest.raises(ValueError, match="first_row=-1"):
        weighted_sums(key, values, n_resamples=1, first_row=-1)
