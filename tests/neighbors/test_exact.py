"""The exact backend: what float32 cannot prove is settled by float64 or pair by pair, and shapes compile once."""

from __future__ import annotations

import numpy as np
import pytest

from mace_jax.neighbors import ExactBackend, _exact, _products, knn, radius_count
from mace_jax.neighbors._duplicates import group_rows
from mace_jax.neighbors._filter import Filter
from mace_jax.neighbors._pairs import squared_threshold
from mace_jax.neighbors._scan import Candidates
from mace_jax.neighbors._threads import in_threads
from mace_jax_kernels.knn import (
    byte_minima,
    group_minima,
    propose_groups,
    query_bytes,
    rank_groups,
    reference_bytes,
    shortened,
)
from mace_jax_kernels.radius_count import count_groups
from tests._support import rest_slow
from tests.neighbors.oracle import nearest, within


@pytest.fixture
def passes(monkeypatch):
    """Which filters ran: products and share of rows they settled; no short ones, whatever the machine has."""
    seen = []
    monkeypatch.setattr(_exact, "short_products", lambda d: ())

    def spy(name, settled):
        original = getattr(ExactBackend, name)

        def wrapped(self, *args):
            result = original(self, *args)
            products = result[3] if len(result) == 4 else np.dtype(args[-1]).name
            seen.append((products, float(result[settled].mean())))
            return result

        monkeypatch.setattr(ExactBackend, name, wrapped)

    spy("_filtered", 2)
    spy("_counted", 1)
    monkeypatch.setattr(_exact, "_DIRECT_WORK", 0)
    return seen


def clusters(rng, n=80, d=16):
    return 1e3 * np.eye(4, d)[rng.integers(4, size=n)] + 0.01 * rng.standard_normal((n, d))


def test_ordinary_rows_are_proven_in_float32(passes, rng):
    rows = rng.standard_normal((600, 16)) + 10
    knn(rows[:200], rows[200:], 5, backend="exact")
    assert passes == [("float32", 1.0)]


def test_outliers_do_not_spoil_the_proof(passes, rng):
    rows = rng.standard_normal((600, 8)) * np.exp(4 * rng.standard_normal((600, 1)))
    knn(rows[:200], rows[200:], 5, backend="exact")
    assert passes[0][1] > 0.95


def test_distant_clusters_need_float64(passes, rng):
    rows = clusters(rng, n=1500)
    found = knn(rows[:20], rows[20:], 3, backend="exact")
    assert passes == [("float32", 0.0), ("float64", 1.0)]
    squared, ids = nearest(rows[:20], rows[20:], 3)
    np.testing.assert_array_equal(found.squared_distances, squared)
    np.testing.assert_array_equal(found.indices, ids)


def test_part_of_the_rows_may_need_float64(passes, rng):
    reference = np.vstack([clusters(rng, n=600), 100 * rng.standard_normal((40, 16))])
    queries = np.vstack([reference[:5] + 0.001, 100 * rng.standard_normal((30, 16))])
    found = knn(queries, reference, 3, backend="exact")
    assert [name for name, _ in passes] == ["float32", "float64"] and 0.5 < passes[0][1] < 1.0
    np.testing.assert_array_equal(found.indices, nearest(queries, reference, 3)[1])


@pytest.mark.parametrize("d", rest_slow([300, 400], (300).__eq__))
def test_many_distinct_rows_tied_at_the_last_place_go_pair_by_pair(passes, d):
    reference = 0.1 * np.eye(d)
    queries = np.zeros((2, d))
    found = knn(queries, reference, 3, backend="exact")
    assert passes == [("float32", 0.0), ("float64", 0.0)]
    assert found.indices.tolist() == [[0, 1, 2]] * 2
    excluded = knn(reference, reference, 3, backend="exact", exclude_self=True)
    np.testing.assert_array_equal(excluded.indices, nearest(reference, reference, 3, np.arange(d))[1])


def test_tied_whole_numbers_are_proven_at_once(passes, rng):
    bits = rng.integers(0, 2, size=(300, 24)).astype(float) + 7
    found = knn(bits[:100], bits[100:], 4, backend="exact")
    assert passes == [("float32", 1.0)]
    np.testing.assert_array_equal(found.indices, nearest(bits[:100], bits[100:], 4)[1])
    np.testing.assert_array_equal(
        radius_count(bits[:100], bits[100:], np.sqrt(8.0), backend="exact"),
        within(bits[:100], bits[100:], np.sqrt(8.0)),
    )
    assert passes == [("float32", 1.0)] * 2


def test_counts_fall_back_in_the_same_order(passes, rng):
    rows = clusters(rng, n=300)
    radius = knn(rows[:9], rows[9:], 40, backend="tree").distances[:, -1]
    np.testing.assert_array_equal(
        radius_count(rows[:9], rows[9:], radius, backend="exact"), within(rows[:9], rows[9:], radius)
    )
    assert [name for name, _ in passes] == ["float32", "float64"]
    passes.clear()
    sphere = 0.1 * np.eye(80)
    assert radius_count(np.zeros((1, 80)), sphere, 0.1, backend="exact").tolist() == [80]
    assert radius_count(np.zeros((1, 80)), sphere, np.nextafter(0.1, 0), backend="exact").tolist() == [0]
    assert passes == [("float32", 0.0), ("float64", 0.0)] * 2


@pytest.mark.parametrize("short", [(), ("bfloat16",), ("bytes",)])
def test_another_size_in_the_same_bucket_compiles_nothing(monkeypatch, rng, short):
    monkeypatch.setattr(_exact, "short_products", lambda d: short)

    def search(n, m, k):
        knn(rng.standard_normal((n, 11)), rng.standard_normal((m, 11)), k, backend="exact")
        radius_count(rng.standard_normal((n, 11)), rng.standard_normal((m, 11)), 0.5, backend="exact")

    search(40, 300, 5)
    kernels = (
        group_minima,
        byte_minima,
        shortened,
        reference_bytes,
        query_bytes,
        count_groups,
    )
    before = [kernel._cache_size() for kernel in kernels]
    search(33, 512, 5)
    search(64, 257, 2)
    search(57, 400, 30)
    assert [kernel._cache_size() for kernel in kernels] == before


def test_large_batches_reuse_one_shape(rng):
    reference = rng.standard_normal((40, 3))
    knn(rng.standard_normal((513, 3)), reference, 1, backend="exact")
    before = group_minima._cache_size()
    knn(rng.standard_normal((1700, 3)), reference, 1, backend="exact")
    assert group_minima._cache_size() == before


def test_blocks_of_the_reference_are_merged(monkeypatch, rng):
    monkeypatch.setattr(_exact, "tile_sizes", lambda *args: (16, 8, 32))
    monkeypatch.setattr(_exact, "_RESIDENT_BYTES", 0)
    rows = rng.integers(0, 5, size=(230, 3)) + 0.5
    found = knn(rows[:50], rows[50:], 6, backend="exact")
    np.testing.assert_array_equal(found.indices, nearest(rows[:50], rows[50:], 6)[1])
    np.testing.assert_array_equal(
        radius_count(rows[:50], rows[50:], 2.0, backend="exact"), within(rows[:50], rows[50:], 2.0)
    )


def test_the_filter_maps_whole_numbers_exactly_and_scales_the_rest(rng):
    whole = rng.integers(0, 256, size=(20, 5)).astype(float)
    assert Filter.prepare(whole, whole, np.float32).slack == 0.0
    assert Filter.prepare(1e4 * whole, whole, np.float32).slack > 0.0
    assert Filter.prepare(1e4 * whole, whole, np.float64).slack == 0.0
    scaled = Filter.prepare(1e-140 * (whole + 0.5), 1e-140 * whole, np.float32)
    moved, norms = scaled.block(1e-140 * whole, None, 0, 20, 32)
    assert 1e9 < norms[:20].max() < 2.0**41 and np.isinf(norms[20:]).all() and (moved[20:] == 0).all()


def test_the_threshold_is_the_last_square_whose_root_is_within(rng):
    radius = np.concatenate([[0.0, 1.0, 1e-150, 1e150], rng.random(1000), np.sqrt(rng.random(1000))])
    threshold = squared_threshold(radius)
    assert (np.sqrt(threshold) <= radius).all()
    assert (np.sqrt(np.nextafter(threshold, np.inf)) > radius).all()


def test_float32_records_stay_float32_and_give_the_lists_of_float64(monkeypatch, rng):
    seen = []
    search = ExactBackend.search

    def spy(self, queries, reference, k, **options):
        seen.append((queries.dtype, reference.dtype))
        return search(self, queries, reference, k, **options)

    monkeypatch.setattr(ExactBackend, "search", spy)
    rows = (rng.standard_normal((500, 20)) + 100).astype(np.float32)
    rows[60] = rows[3]
    found = knn(rows[:70], rows, 4, backend="exact")
    squared, ids = nearest(rows[:70], rows, 4)
    np.testing.assert_array_equal(found.squared_distances, squared)
    np.testing.assert_array_equal(found.indices, ids)
    radius = found.distances[:, -1]
    np.testing.assert_array_equal(
        radius_count(rows[:70], rows, radius, backend="exact"), within(rows[:70], rows, radius)
    )
    knn(rows[:70].astype(np.float64), rows, 4, backend="exact")
    assert seen == [(np.float32, np.float32), (np.float64, np.float64)]


def test_long_lists_and_wide_records(rng):
    rows = rng.standard_normal((400, 300)).astype(np.float32)
    found = knn(rows[:50], rows[50:], 60, backend="exact")
    np.testing.assert_array_equal(found.indices, nearest(rows[:50], rows[50:], 60)[1])


def test_an_error_in_a_thread_is_raised():
    def fail(part):
        raise OverflowError(part)

    with pytest.raises(OverflowError, match="1"):
        in_threads(fail, [1, 2], workers=2)


def assert_oracle(queries, reference, k, exclude_ids=None, **options):
    found = knn(queries, reference, k, backend="exact", **options)
    squared, ids = nearest(queries, reference, k, exclude_ids)
    np.testing.assert_array_equal(found.squared_distances, squared)
    np.testing.assert_array_equal(found.indices, ids)


SHORT = pytest.mark.parametrize("short", ["bytes", "bfloat16"])


@SHORT
@pytest.mark.parametrize(("d", "k"), rest_slow([(16, 3), (64, 20), (300, 7)], (64, 20).__eq__))
def test_short_products_prove_ordinary_rows(passes, monkeypatch, rng, d, k, short):
    monkeypatch.setattr(_exact, "short_products", lambda d: (short,))
    reference = rng.standard_normal((3000, d)) + 5
    assert_oracle(reference[:60] + 0.1, reference, k)
    assert passes[0][0] == short and passes[0][1] > 0.8
    passes.clear()
    assert_oracle(reference[:700], reference[:700], k, np.arange(700), exclude_self=True)
    assert passes[0][0] == short and passes[0][1] > 0.8


def test_short_products_are_given_up_where_they_prove_little(passes, monkeypatch, rng):
    monkeypatch.setattr(_exact, "short_products", lambda d: ("bytes", "bfloat16"))
    rows = 30.0 * rng.standard_normal((6, 24))[rng.integers(6, size=6000)] + 0.01 * rng.standard_normal((6000, 24))
    assert_oracle(rows[:80], rows, 5)
    assert passes == [("float32", 0.0), ("float64", 1.0)]
    whole = rng.integers(0, 3, size=(700, 20)).astype(float)
    passes.clear()
    assert_oracle(whole[:50], whole, 6)
    assert passes == [("float32", 1.0)]  # products of small whole numbers are exact in float32


def test_bfloat16_takes_over_from_bytes(passes, monkeypatch, rng):
    monkeypatch.setattr(_exact, "short_products", lambda d: ("bytes", "bfloat16"))
    rows = 2.0 * rng.standard_normal((9, 24))[rng.integers(9, size=2700)] + 0.2 * rng.standard_normal((2700, 24))
    assert_oracle(rows[:80], rows, 5)
    assert passes[0][0] == "bfloat16" and passes[0][1] > 0.8


@SHORT
@pytest.mark.parametrize("scale", [1e-150, 1e-30, 1.0, 1e60])
def test_short_products_at_any_scale(monkeypatch, rng, scale, short):
    monkeypatch.setattr(_exact, "short_products", lambda d: (short,))
    rows = scale * rng.standard_normal((400, 18)) * np.exp(3 * rng.standard_normal((400, 1)))
    assert_oracle(rows, rows, 4, np.arange(400), exclude_self=True)


@SHORT
def test_short_products_of_rows_that_tie_or_vanish(monkeypatch, rng, short):
    monkeypatch.setattr(_exact, "short_products", lambda d: (short,))
    monkeypatch.setattr(_exact, "_DIRECT_WORK", 0)
    rows = np.zeros((300, 20))
    rows[:100, 3] = 0.1 * np.arange(100)
    rows[100:200] = np.where(rng.random((100, 20)) < 0.1, 1e-33, 0.0)
    rows[200:] = rng.standard_normal((100, 20)) * np.where(rng.random((100, 20)) < 0.1, 1e6, 1.0)
    assert_oracle(rows, rows, 7, np.arange(300), exclude_self=True)


@SHORT
def test_short_products_in_pieces(monkeypatch, rng, short):
    monkeypatch.setattr(_exact, "short_products", lambda d: (short,))
    monkeypatch.setattr(_exact, "tile_sizes", lambda *args: (16, 8, 32))
    monkeypatch.setattr(_exact, "_RESIDENT_BYTES", 0)
    rows = rng.standard_normal((230, 16))
    assert_oracle(rows[:50], rows, 6)


@SHORT
def test_any_reach_gives_the_same_lists(monkeypatch, rng, short):
    monkeypatch.setattr(_exact, "short_products", lambda d: (short,))
    scans = []
    original = Candidates.none.__func__
    monkeypatch.setattr(
        Candidates, "none", classmethod(lambda cls, beyond: scans.append(beyond) or original(cls, beyond))
    )
    reference = rng.standard_normal((3000, 48))
    queries, own = reference[:1500], np.where(np.arange(1500) % 2, np.arange(1500), -1)
    squared, ids = nearest(queries, reference, 9, own)
    monkeypatch.setattr(_exact, "processors", lambda: 1)
    kth = squared[:, -1]
    mixed = np.where(np.arange(1500) % 8, 1.1 * kth, 0.9 * kth)
    # Of three blocks one is the trial; what a reach misses is searched again, or it is given up after the trial.
    for reach, blocks, limited in ((1.1 * kth, 3, 2), (np.full(1500, np.inf), 3, 0), (0.9 * kth, 3, 0), (mixed, 4, 2)):
        scans.clear()
        found = ExactBackend().search(queries, reference, 9, exclude_ids=own, reach=reach)
        np.testing.assert_array_equal(found.squared_distances, squared)
        np.testing.assert_array_equal(found.indices, ids)
        assert len(scans) == blocks and sum(bool(np.isfinite(beyond).any()) for beyond in scans) == limited


def test_compiled_selection_serves_accelerators_with_the_same_lists(monkeypatch, rng):
    rows = np.vstack([rng.standard_normal((500, 12)), rng.integers(0, 2, size=(200, 12))])
    before = propose_groups._cache_size(), rank_groups._cache_size()
    monkeypatch.setattr(_products.jax, "default_backend", lambda: "gpu")
    assert_oracle(rows, rows, 9, np.arange(700), exclude_self=True)
    assert propose_groups._cache_size() > before[0] and rank_groups._cache_size() > before[1]


@pytest.mark.parametrize("d", [5, 6])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("order", ["C", "F"])
def test_equal_rows_are_found_in_any_layout(rng, d, dtype, order):
    rows = rng.integers(-2, 3, size=(400, d)).astype(dtype)
    rows[rows == 0] = np.where(rng.random((rows == 0).sum()) < 0.5, 0.0, -0.0)
    groups = group_rows(np.asarray(rows, order=order))
    _, first, of, counts = np.unique(rows + 0, axis=0, return_index=True, return_inverse=True, return_counts=True)
    assert groups is not None and sorted(groups.first.tolist()) == sorted(first.tolist())
    np.testing.assert_array_equal(groups.counts[groups.group_of], counts[of.ravel()])
    assert group_rows(np.asarray(rng.standard_normal((50, d)), dtype, order=order)) is None
