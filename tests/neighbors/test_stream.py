"""Any way to cut records into blocks gives the lists of a single search, bit for bit."""

from __future__ import annotations

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from mace_jax.neighbors import ExactBackend, FaissBackend, _blocks, knn, knn_stream, radius_count
from mace_jax.neighbors._blocks import Rows, TopK
from tests.neighbors.oracle import nearest, within


def gathered(parts):
    parts = list(parts)
    return np.concatenate([part.squared_distances for part in parts]), np.concatenate([part.indices for part in parts])


def cut(array, step):
    return [array[start : start + step] for start in range(0, len(array), step)]


def mapped(path, array, dtype):
    array.astype(dtype).tofile(path)
    return np.memmap(path, dtype=dtype, mode="r", shape=array.shape)


@pytest.mark.parametrize("kind", ["normal", "shifted", "duplicates"])
@pytest.mark.parametrize(("query_step", "reference_step"), [(1, 37), (37, 100), (100, 1), (50, 3), (200, 200)])
def test_any_partition_is_the_single_pass(kind, query_step, reference_step, rng):
    y = rng.standard_normal((120, 4))
    if kind == "shifted":
        y += 1e4
    if kind == "duplicates":
        y = y[rng.integers(20, size=120)]
    x = y[:30] + (kind == "normal") * 0.1
    if query_step * reference_step == 37:
        x = x[:3]
    whole = knn(x, y, 5)
    squared, ids = gathered(knn_stream(cut(x, query_step), cut(y, reference_step), 5))
    np.testing.assert_array_equal(squared, whole.squared_distances)
    np.testing.assert_array_equal(ids, whole.indices)


@pytest.mark.parametrize("backend", ["exact", "tree", "faiss"])
@pytest.mark.parametrize("step", [7, 40])
def test_self_is_left_out_across_blocks(backend, step, rng):
    y = rng.integers(-2, 3, size=(64, 3)).astype(float)
    squared, ids = gathered(knn_stream(cut(y, step), lambda: iter(cut(y, step)), 6, exclude_self=True, backend=backend))
    expected = nearest(y, y, 6, np.arange(64))
    np.testing.assert_array_equal(squared, expected[0])
    np.testing.assert_array_equal(ids, expected[1])


def test_every_kind_of_source(rng):
    x, y = rng.standard_normal((9, 2)), rng.standard_normal((50, 2))
    expected = knn(x, y, 3).indices

    class Blocks:
        def __iter__(self):
            return iter(cut(y, 20))

    for source in (y, y.tolist(), cut(y, 8), tuple(cut(y, 8)), iter(cut(y, 8)), lambda: cut(y, 8), Blocks()):
        np.testing.assert_array_equal(gathered(knn_stream(x, source, 3))[1], expected)
    np.testing.assert_array_equal(gathered(knn_stream(x, y, 3, block_rows=4))[1], expected)
    np.testing.assert_array_equal(gathered(knn_stream(iter(cut(x, 4)), y, 3))[1], expected)
    (one_column,) = knn_stream([0.0], [3.0, 1.0, 2.0], 2)
    assert one_column.indices.tolist() == [[1, 2]]


@pytest.mark.parametrize(
    ("dtype", "backend"),
    [(np.float32, "auto"), (np.float32, "exact"), (np.float64, "faiss"), (np.int16, "faiss"), (np.int16, "tree")],
)
def test_memory_maps_are_read_in_blocks(dtype, backend, rng, tmp_path, monkeypatch):
    monkeypatch.setattr(Rows, "step", lambda self, budget=0: 33)
    values = (10 * rng.standard_normal((150, 4))).astype(dtype)
    x, y = mapped(tmp_path / "x", values[:40], dtype), mapped(tmp_path / "y", values[40:], dtype)
    found, expected = knn(x, y, 4, backend=backend), nearest(values[:40], values[40:], 4)
    np.testing.assert_array_equal(found.squared_distances, expected[0])
    np.testing.assert_array_equal(found.indices, expected[1])
    assert found.certified.all()
    own = knn(y, y, 4, exclude_self=True, backend=backend)
    np.testing.assert_array_equal(own.indices, nearest(y, y, 4, np.arange(110))[1])
    radius = found.distances[:, -1]
    np.testing.assert_array_equal(radius_count(x, y, radius, backend=backend), within(x, y, radius))


def test_a_memory_map_is_never_converted_whole(rng, tmp_path, monkeypatch):
    largest = []
    original = Rows.__getitem__

    def watched(self, index):
        block = original(self, index)
        largest.append(block.nbytes)
        return block

    monkeypatch.setattr(Rows, "__getitem__", watched)
    monkeypatch.setattr(_blocks, "BLOCK_BYTES", 1)
    monkeypatch.setattr(Rows, "step", lambda self, budget=0: 50)
    y = mapped(tmp_path / "y", rng.standard_normal((2000, 3)), np.float32)
    knn(y[:5], y, 2, backend=ExactBackend())
    assert max(largest) <= 50 * 3 * 8


def test_bad_streams(rng, tmp_path):
    x, y = rng.standard_normal((6, 2)), rng.standard_normal((20, 2))

    def run(*arguments, **settings):
        return list(knn_stream(*arguments, **settings))

    with pytest.raises(ValueError, match="k=21 is more than the 20 reference rows"):
        run(x, cut(y, 7), 21)
    with pytest.raises(ValueError, match="k=20 is more than the 19 reference rows other than the query itself"):
        run(y, y, 20, exclude_self=True)
    with pytest.raises(ValueError, match="more queries than 6"):
        run(y, x, 2, exclude_self=True)
    with pytest.raises(ValueError, match="bare iterator"):
        run(cut(x, 3), iter(cut(y, 5)), 2)
    with pytest.raises(ValueError, match="2 columns but reference has 3"):
        run(x, np.ones((4, 3)), 2)
    with pytest.raises(ValueError, match="block of 3 columns from row 20"):
        run(x, [y, np.ones((4, 3))], 2)
    with pytest.raises(ValueError, match="reference has no blocks"):
        run(x, iter([]), 2)
    with pytest.raises(ValueError, match=r"reference \(block from row 7\) has NaN"):
        run(x, [y[:7], np.full((2, 2), np.nan)], 2)
    with pytest.raises(ValueError, match="block_rows=0"):
        knn_stream(x, y, 2, block_rows=0)
    with pytest.raises(TypeError, match="not numeric"):
        knn_stream(x, np.array([["a"]]), 2)
    with pytest.raises(ValueError, match="at least one row"):
        knn_stream(np.ones((0, 2)), y, 2)
    short, wide = mapped(tmp_path / "s", x, np.float32), np.ones((9, 3))
    for verb, argument in ((knn, 2), (radius_count, 1.0)):
        with pytest.raises(ValueError, match="2 columns but reference has 3"):
            verb(short, wide, argument)
    with pytest.raises(ValueError, match="k=7 is more than"):
        knn(short, short, 7)
    with pytest.raises(ValueError, match="the same records"):
        knn(short, y, 2, exclude_self=True)
    bad = mapped(tmp_path / "b", np.full((3, 2), np.inf), np.float32)
    for backend in ("auto", FaissBackend()):
        with pytest.raises(ValueError, match="has NaN or infinity"):
            knn(x, bad, 1, backend=backend)


@hypothesis.settings(max_examples=40, deadline=None)
@hypothesis.given(st.data())
def test_merging_is_associative_and_commutative(data):
    n, k, m = 3, data.draw(st.integers(1, 5)), data.draw(st.integers(0, 12))
    values = np.array(data.draw(st.lists(st.integers(0, 3), min_size=n * m, max_size=n * m)), float).reshape(n, m)
    owner = np.array(data.draw(st.lists(st.integers(0, 2), min_size=m, max_size=m)), int)

    def shard(number):
        ids = np.flatnonzero(owner == number)
        own = TopK(values[:, ids], np.tile(ids, (n, 1)))
        return TopK.empty(n, k).merge(TopK(own.squared[:, :0], own.ids[:, :0])) if not len(ids) else cut_to(own)

    def cut_to(state):
        order = np.lexsort((state.ids, state.squared), axis=-1)[:, :k]
        return TopK.empty(n, k).merge(
            TopK(np.take_along_axis(state.squared, order, 1), np.take_along_axis(state.ids, order, 1))
        )

    a, b, c = shard(0), shard(1), shard(2)
    every = cut_to(TopK(values, np.tile(np.arange(m), (n, 1))))
    for state in (a.merge(b).merge(c), a.merge(b.merge(c)), c.merge(a).merge(b)):
        np.testing.assert_array_equal(state.squared, every.squared)
        np.testing.assert_array_equal(state.ids, every.ids)
