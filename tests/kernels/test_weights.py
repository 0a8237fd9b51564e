"""Weights by counter: JAX's own threefry, moments of each kind, and nothing but (key, replicate, row) matters."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.random import threefry_2x32

from mace_jax_kernels._weights import in_order, threefry, weight_parts
from mace_jax_kernels.weighted_sums._packed import codes, unpack
from mace_jax_kernels.weighted_sums.reference import weight_matrix

KEY = np.uint32([0x12345678, 0x9ABCDEF0])
KINDS = ("poisson", "double_or_nothing", "bayesian")
FIRST_KIND_AND_SLOWLY_THE_OTHERS = [KINDS[0], *(pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS[1:])]


def draw(first_block, n_blocks, rows, kind, key=KEY):
    return np.asarray(
        in_order(weight_parts(jnp.asarray(key), first_block, n_blocks, jnp.asarray(rows), kind), n_blocks)
    )


def test_threefry_is_the_one_of_jax(rng):
    first, second = (rng.integers(2**32, size=1000, dtype=np.uint32) for _ in range(2))
    expected = np.asarray(threefry_2x32(tuple(jnp.asarray(KEY)), jnp.concatenate([first, second]))).reshape(2, -1)
    np.testing.assert_array_equal(
        np.stack(threefry(jnp.asarray(KEY), jnp.asarray(first), jnp.asarray(second))), expected
    )


@pytest.mark.parametrize("kind", KINDS)
def test_weights_equal_a_matrix_written_from_the_definition(kind, rng):
    rows = rng.integers(2**32, size=50, dtype=np.uint32)
    expected = weight_matrix(KEY, np.arange(3 * 64, 5 * 64), rows, kind)
    np.testing.assert_allclose(draw(3, 2, rows, kind), expected, rtol=2e-6, atol=1e-7)


@pytest.mark.parametrize(("kind", "third"), [("poisson", 1.0), ("double_or_nothing", 0.0), ("bayesian", 2.0)])
def test_moments(kind, third):
    """Mean 1, variance 1 and the third central moment of Poisson(1), {0, 2} and Exp(1), within five deviations."""
    drawn = draw(0, 16, np.arange(4096, dtype=np.uint32), kind).astype(np.float64)
    centered = drawn - 1.0
    for power, target in ((1, 0.0), (2, 1.0), (3, third)):
        terms = centered**power
        tolerance = 5 * terms.std() / np.sqrt(terms.size) + 3e-4  # 16-bit words: variance .99997, third .99985
        assert terms.mean() == pytest.approx(target, abs=tolerance)


def test_the_largest_poisson_weight_is_8():
    word = jnp.arange(65536, dtype=jnp.uint32)
    from mace_jax_kernels._weights import _poisson

    weights = np.asarray(_poisson(word))
    assert weights.max() == 8.0 and weights[-2] == 7.0 and weights[0] == 0.0
    assert weights.mean() == pytest.approx(1.0, abs=2e-5)
    assert weights.var() == pytest.approx(0.99997, abs=5e-6)
    assert ((weights - weights.mean()) ** 3).mean() == pytest.approx(0.99985, abs=5e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_replicates_and_rows_are_uncorrelated(kind):
    drawn = draw(0, 4, np.arange(4096, dtype=np.uint32), kind).astype(np.float64) - 1.0
    for matrix in (drawn, drawn.T):
        matrix = matrix[:256, : min(4096, matrix.shape[1])]
        correlations = (matrix @ matrix.T / matrix.shape[1])[np.triu_indices(len(matrix), 1)]
        size = 1.0 / np.sqrt(matrix.shape[1])
        assert correlations.std() == pytest.approx(size, rel=0.05)
        assert np.abs(correlations).max() < 7.5 * size


@pytest.mark.parametrize("kind", FIRST_KIND_AND_SLOWLY_THE_OTHERS)
def test_blocks_and_rows_may_be_drawn_in_any_grouping(kind):
    rows = np.arange(70, dtype=np.uint32)
    whole = draw(0, 4, rows, kind)
    np.testing.assert_array_equal(whole[128:192], draw(2, 1, rows, kind))
    np.testing.assert_array_equal(whole[:, 40:], draw(0, 4, rows[40:], kind))
    np.testing.assert_array_equal(whole[:, [5, 3]], draw(0, 4, rows[[5, 3]], kind))
    assert (draw(0, 4, rows, kind, key=KEY + np.uint32(1)) != whole).mean() > 0.3


@pytest.mark.parametrize("kind", KINDS)
def test_packed_codes_hold_the_same_weights(kind, rng):
    rows = jnp.asarray(rng.integers(2**32, size=3000, dtype=np.uint32))
    code = codes(jnp.asarray(KEY), jnp.uint32(1), 2, rows, kind)
    weights = np.concatenate([np.asarray(part) for part in unpack(code, kind)], axis=1)
    weights = weights.reshape(2, -1, *weights.shape[1:]).swapaxes(1, 2).reshape(128, -1)
    np.testing.assert_array_equal(weights, draw(1, 2, rows, kind))


def test_draws_by_replicate_have_no_weights_by_row():
    with pytest.raises(NotImplementedError, match="cannot be drawn by row"):
        weight_parts(jnp.asarray(KEY), 0, 1, jnp.arange(3, dtype=jnp.uint32), "multinomial")  # type: ignore[arg-type]
