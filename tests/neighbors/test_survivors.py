"""The host's selection from a stream of blocks: the same groups as a stable sort of everything."""

from __future__ import annotations

import numpy as np
import pytest

from mace_jax.neighbors._survivors import QUERY_LIMIT, Survivors


@pytest.mark.parametrize(
    ("n", "width", "k", "groups", "blocks"), [(500, 512, 16, 256, 6), (512, 512, 64, 40, 9), (1, 8, 1, 1, 5)]
)
@pytest.mark.parametrize("decimals", [0, 1, 6])
@pytest.mark.parametrize("margin", [0.0, 0.27])
def test_all_groups_up_to_the_limit_survive(rng, n, width, k, groups, blocks, decimals, margin):
    values = [np.round(rng.standard_normal((groups, width)), decimals).astype(np.float32) for _ in range(blocks)]
    most = 2 * k
    stream = Survivors(width, k, most, np.full(n, margin, np.float32), np.full(n, np.inf, np.float32))
    for number, block in enumerate(values):
        stream.add(block, number * groups)
    query, group, limit = stream.result()
    every = np.concatenate(values)[:, :n].T
    for row in range(n):
        order = np.argsort(every[row], kind="stable")
        listed = group[query == row]
        np.testing.assert_array_equal(listed, order[: len(listed)])
        assert (np.delete(every[row], listed) >= limit[row]).all()
        kth = every[row, order[min(k, len(order)) - 1]]
        assert len(listed) == min(most, np.sum(every[row] <= np.float32(kth) + np.float32(margin)), len(order))


def test_a_limit_to_start_with(rng):
    values = rng.standard_normal((40, 8)).astype(np.float32)
    stream = Survivors(8, 5, 20, np.zeros(8, np.float32), np.linspace(-3, 3, 8).astype(np.float32))
    stream.add(values, 0)
    query, group, limit = stream.result()
    assert (limit <= np.linspace(-3, 3, 8, dtype=np.float32)).all()
    assert len(query[query == 0]) == 0 and len(query[query == 7]) == 5
    assert (values[group, query] <= limit[query]).all()


def test_infinite_values_never_enter():
    infinite = np.full(2, np.inf, np.float32)
    stream = Survivors(4, 3, 9, np.zeros(2, np.float32), infinite)
    stream.add(np.full((5, 4), np.inf, np.float32), 0)
    block = np.full((5, 4), np.inf, np.float32)
    block[3, 1] = -2.0
    stream.add(block, 5)
    query, group, limit = stream.result()
    assert query.tolist() == [1] and group.tolist() == [8] and np.isinf(limit).all()


def test_too_many_queries_are_refused():
    with pytest.raises(ValueError, match=f"at most {QUERY_LIMIT}"):
        Survivors(QUERY_LIMIT + 1, 3, 9, np.zeros(1, np.float32), np.zeros(1, np.float32))
