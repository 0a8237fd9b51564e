"""The host's selection from a stream of blocks: the same lists as a stable sort of everything."""

from __future__ import annotations

import numpy as np
import pytest

from mace_jax.neighbors._survivors import QUERY_LIMIT, Survivors


@pytest.mark.parametrize(
    ("n", "width", "kept", "groups", "blocks"), [(500, 512, 16, 256, 6), (512, 512, 64, 40, 9), (1, 8, 1, 1, 5)]
)
@pytest.mark.parametrize("decimals", [0, 1, 6])
def test_lists_equal_a_stable_sort(rng, n, width, kept, groups, blocks, decimals):
    values = [np.round(rng.standard_normal((groups, width)), decimals).astype(np.float32) for _ in range(blocks)]
    stream = Survivors(n, width, kept)
    for number, block in enumerate(values):
        stream.add(block, number * groups)
    found, where = stream.result()
    every = np.concatenate(values)[:, :n].T
    order = np.argsort(every, axis=1, kind="stable")[:, :kept]
    np.testing.assert_array_equal(where[:, : order.shape[1]], order)
    np.testing.assert_array_equal(found[:, : order.shape[1]], np.take_along_axis(every, order, 1))
    assert (where[:, order.shape[1] :] == -1).all() and np.isinf(found[:, order.shape[1] :]).all()


def test_infinite_values_never_enter(rng):
    stream = Survivors(2, 4, 3)
    stream.add(np.full((5, 4), np.inf, np.float32), 0)
    block = np.full((5, 4), np.inf, np.float32)
    block[3, 1] = -2.0
    stream.add(block, 5)
    found, where = stream.result()
    assert where.tolist() == [[-1, -1, -1], [8, -1, -1]] and found[1, 0] == -2.0


def test_too_many_queries_are_refused():
    with pytest.raises(ValueError, match=f"at most {QUERY_LIMIT}"):
        Survivors(1, QUERY_LIMIT + 1, 3)
