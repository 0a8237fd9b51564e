"""Short copies of rows: bounds that hold for every pair, exact products of bytes, and the speed promised for them."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mace_jax_kernels._byte_dot import byte_dot, compiles_to_bytes
from mace_jax_kernels._precision import relative_slack
from mace_jax_kernels.knn import byte_minima, group_minima, query_bytes, reference_bytes, shortened

GROUP = 8


def rows_of(kind, rng, n, d):
    rows = rng.standard_normal((n, d))
    if kind == "heavy":
        rows = rng.standard_t(1.5, size=(n, d)) * np.exp(2 * rng.standard_normal((n, 1)))
    if kind == "tiny":
        rows *= 1e-15
    if kind == "sparse":
        rows *= rng.random((n, d)) < 0.05
    return rows.astype(np.float32)


def operands(kind, rng, d=40):
    x, y = rows_of(kind, rng, 32, d), rows_of(kind, rng, 64, d)
    x_norms, y_norms = ((z.astype(np.float64) ** 2).sum(1).astype(np.float32) for z in (x, y))
    truth = ((x.astype(np.float64)[:, None] - y) ** 2).sum(-1)
    return x, y, x_norms, y_norms, truth, np.float32(1 - 1.02 * relative_slack(d, np.float32))


def of_bytes(own, short, scales=None, group_rows=GROUP):
    scratch = jnp.zeros((len(short.rows), len(own.rows)), jnp.int32)
    scales = short.scales if scales is None else scales
    minima, products = byte_minima(
        own.rows, own.scales, short.rows, scales, short.shares.both, scratch, group_rows=group_rows
    )
    assert scratch.is_deleted() and products.shape == scratch.shape
    return minima


def group_truth(truth):
    return truth.reshape(len(truth), -1, GROUP).min(axis=2).T


@pytest.mark.parametrize("kind", ["normal", "heavy", "tiny", "sparse"])
@pytest.mark.parametrize("ratio", [0.0005, 0.01, 0.2])
def test_bounds_of_bytes_are_below_every_distance(rng, kind, ratio):
    x, y, x_norms, y_norms, truth, keep = operands(kind, rng)
    own, short = query_bytes(x, x_norms, keep, ratio), reference_bytes(y, y_norms, keep, ratio)
    minima = of_bytes(own, short)
    bounds = np.asarray(minima, np.float64) + np.asarray(own.shares.both)
    assert (bounds <= group_truth(truth)).all()
    rows = (np.asarray(short.rows, np.float64) - 128) * np.asarray(short.scales, np.float64)[:, None]
    alone = np.asarray(short.shares.alone, np.float64) - 2 * x.astype(np.float64) @ rows.T
    assert (alone + (x_norms * (keep - 1.02 * ratio))[:, None] <= truth).all()


@pytest.mark.parametrize("scale", [1.0, 1e-15, 1e12])
def test_rows_of_a_size_share_a_scale(rng, scale):
    def of_a_size(n):
        rows = rng.uniform(-1, 1, (n, 40)).astype(np.float32)
        rows[:, 0] = rng.uniform(0.7, 1.0, n)
        return rows

    x, y = of_a_size(32), np.float32(scale) * of_a_size(64)
    y[60:] = 0.0
    norms = [(z.astype(np.float64) ** 2).sum(1).astype(np.float32) for z in (x, y)]
    norms[1][60:] = np.inf
    keep = np.float32(1 - 1.02 * relative_slack(40, np.float32))
    own, short = query_bytes(x, norms[0], keep, 0.01), reference_bytes(y, norms[1], keep, 0.01)
    assert len(np.unique(own.scales)) == len(np.unique(short.scales)) == 1
    minima = of_bytes(own, short, group_rows=4)
    # The same by the other branch: one row of another scale at the end, which is padding.
    scales = np.array(short.scales)
    scales[-1] *= 2
    others = of_bytes(own, short, scales, group_rows=4)
    room = 1e-6 * (norms[0] + norms[1][:60].max()) + 2.0 * float(short.scales[0]) * float(own.scales[0])
    assert np.isinf(np.asarray(minima)[-1]).all() and np.isinf(np.asarray(others)[-1]).all()
    gap = np.asarray(others, np.float64)[:-1] - np.asarray(minima, np.float64)[:-1]
    assert (gap >= -room).all() and (gap <= room).all()
    truth = ((x.astype(np.float64)[:, None] - y[:60]) ** 2).sum(-1).reshape(32, -1, 4).min(axis=2).T
    assert (np.asarray(minima, np.float64)[:-1] + np.asarray(own.shares.both) <= truth).all()


@pytest.mark.parametrize("kind", ["normal", "heavy", "tiny", "sparse"])
def test_bounds_of_bfloat16_are_below_every_distance(rng, kind):
    x, y, x_norms, y_norms, truth, keep = operands(kind, rng)
    (own, own_shares), (short, shares) = (
        shortened(x, x_norms, keep, 0.0015, factor=-2),
        shortened(y, y_norms, keep, 0.0015, factor=1),
    )
    scratch = jnp.zeros((len(short), len(own)))
    minima, products = group_minima(own, short, shares.both, scratch, group_rows=GROUP)
    assert scratch.is_deleted() and products.shape == scratch.shape
    bounds = np.asarray(minima, np.float64) + np.asarray(own_shares.both)
    assert (bounds <= group_truth(truth)).all()


def test_bounds_of_bytes_are_close_for_ordinary_rows(rng):
    x, y, x_norms, y_norms, truth, keep = operands("normal", rng)
    own, short = query_bytes(x, x_norms, keep, 0.007), reference_bytes(y, y_norms, keep, 0.007)
    minima = of_bytes(own, short)
    gap = group_truth(truth) - (np.asarray(minima) + np.asarray(own.shares.both))
    assert np.median(gap) < 0.04 * np.median(truth)


def test_padding_stays_infinite(rng):
    x, y, x_norms, y_norms, _, keep = operands("normal", rng)
    y[60:], y_norms[60:] = 0.0, np.inf
    own, short = query_bytes(x, x_norms, keep, 0.01), reference_bytes(y, y_norms, keep, 0.01)
    assert np.isinf(np.asarray(short.shares.both)[60:]).all() and np.isinf(np.asarray(short.shares.alone)[60:]).all()
    minima = of_bytes(own, short, group_rows=4)
    assert np.isinf(np.asarray(minima)[-1]).all() and np.isfinite(np.asarray(minima)[:-1]).all()


@pytest.mark.parametrize("d", [1, 7, 64, 1000])
def test_products_of_bytes_are_exact(rng, d):
    rows, others = rng.integers(0, 256, (33, d)).astype(np.uint8), rng.integers(-128, 128, (17, d)).astype(np.int8)
    found = jax.jit(byte_dot)(rows, others)
    assert found.dtype == jnp.int32
    np.testing.assert_array_equal(found, rows.astype(np.int64) @ others.astype(np.int64).T)


def test_where_bytes_are_chosen_they_stay_bytes():
    assert isinstance(compiles_to_bytes(), bool)
    shapes = jax.ShapeDtypeStruct((128, 64), jnp.uint8), jax.ShapeDtypeStruct((32, 64), jnp.int8)
    text = jax.jit(byte_dot).lower(*shapes).as_text()
    assert ("convert" not in text) == (jax.default_backend() == "cpu")
