"""Block-minimum selection equals a stable sort, ties included."""

from __future__ import annotations

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mace_jax_kernels.select_k import cases, select_k
from mace_jax_kernels.select_k.xla import block_size
from mace_jax_kernels.select_k.xla import select_k as xla_select_k


@pytest.mark.parametrize(
    ("name", "dtype"),
    [(name, np.float32) for name in cases.CASES if name != "tile"] + [("blocks_tied", np.float64)],
)
def test_cases_equal_the_reference(name, dtype):
    with jax.enable_x64(dtype == np.float64):
        values, k = cases.make(name, dtype=dtype)
        found, expected = select_k(values, k), select_k(values, k, implementation="reference")
        np.testing.assert_array_equal(found.values, expected.values)
        np.testing.assert_array_equal(found.indices, expected.indices)
        assert found.values.dtype == dtype and found.indices.dtype == np.int32


def test_random_tied_rows_keep_canonical_columns(rng):
    for _ in range(10):
        values = rng.integers(0, rng.integers(2, 400), size=(30, 1500)).astype(np.float32)
        order = np.argsort(values, axis=1, kind="stable")[:, :9]
        np.testing.assert_array_equal(select_k(values, 9).indices, order)


def test_infinities_are_ordinary_values():
    values = np.full((1, 1001), np.inf, np.float32)
    values[0, [700, 30]] = [-np.inf, 5.0]
    found = select_k(values, 4)
    assert found.indices.tolist() == [[700, 30, 0, 1]]
    assert found.values.tolist() == [[-np.inf, 5.0, np.inf, np.inf]]


def test_leading_axes_and_vmap(rng):
    values = rng.standard_normal((2, 3, 700)).astype(np.float32)
    whole = select_k(values, 3)
    assert whole.indices.shape == (2, 3, 3)
    mapped = jax.vmap(lambda row: select_k(row, 3).indices)(jnp.asarray(values))
    np.testing.assert_array_equal(whole.indices, mapped)


def test_blocks_only_where_they_pay():
    assert block_size(65536, 1) == 256 and block_size(65536, 16) == 64
    assert block_size(8192, 64) > 1 and block_size(8192, 65) == 1


def test_no_long_row_is_sorted():
    text = xla_select_k.lower(jnp.zeros((64, 65536)), 16).compile().as_text()
    sorted_shapes = re.findall(r"\[([\d,]+)\][^=\n]* sort\(", text)
    assert max((int(shape.split(",")[-1]) for shape in sorted_shapes), default=0) <= 16 * 64


def test_bad_arguments():
    for k in (0, 5):
        with pytest.raises(ValueError, match=f"k={k} must be between 1 and the row length"):
            select_k(np.zeros((2, 4)), k)
    with pytest.raises(ValueError, match="values has shape"):
        select_k(1.0, 1)
    with pytest.raises(ValueError, match="values must be floating point, got int32"):
        select_k(np.zeros((2, 4), np.int32), 1)
    with pytest.raises(NotImplementedError, match="implementation='cuda' does not exist"):
        select_k(np.zeros((2, 4)), 1, implementation="cuda")
