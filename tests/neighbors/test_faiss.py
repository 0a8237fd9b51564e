"""Flat is exact whatever float32 does; approximate answers carry a recall that is true."""

from __future__ import annotations

import json
import warnings

import faiss
import jax
import numpy as np
import pytest
from scipy.spatial.distance import cdist

from mace_jax._status import Status
from mace_jax.neighbors import ApproximateNeighbors, FaissBackend, FaissIndex, _faiss, knn, radius_count
from tests.neighbors.oracle import nearest, within

APPROXIMATE = ["ivf", "hnsw", "ivfpq"]


def clustered(n, d, rng):
    """A curved five-dimensional sheet with clumps, as records of a generative model often lie."""
    fixed = np.random.default_rng(7)
    centers, inner, outer = (
        fixed.standard_normal((40, 5)),
        fixed.standard_normal((5, 32)),
        fixed.standard_normal((32, d)),
    )
    latent = 2 * centers[rng.integers(40, size=n)] + 0.5 * rng.standard_normal((n, 5))
    return np.tanh(latent @ inner / 2) @ outer + 0.01 * rng.standard_normal((n, d))


def share(found, x, y, k):
    last = np.partition(cdist(x, y, "sqeuclidean"), k - 1, axis=1)[:, k - 1 : k]
    return float((found.squared_distances <= last * (1 + 1e-12)).mean())


@pytest.mark.parametrize("kind", ["normal", "shifted", "near", "duplicates", "integer", "equal", "spread"])
@pytest.mark.parametrize("built", [False, True])
def test_flat_is_exact_to_the_bit(kind, built, rng):
    y = rng.standard_normal((300, 6))
    if kind == "shifted":
        y += 1e4
    elif kind == "near":
        y = 1.0 + 1e-6 * rng.integers(0, 50, size=(300, 6))
    elif kind == "duplicates":
        y = y[rng.integers(30, size=300)]
    elif kind == "integer":
        y = np.rint(y)
    elif kind == "equal":
        y[:] = 0.1
    elif kind == "spread":
        y *= np.exp(4 * rng.standard_normal((300, 1)))
    own = np.arange(300)
    for queries, reference, excluded in ((y[:60], y[60:], None), (y, y, own)):
        squared, ids = nearest(queries, reference, 7, excluded)
        if built:
            found = FaissBackend().build(reference).search(queries, 7, excluded)
        else:
            found = knn(queries, reference, 7, exclude_self=excluded is not None, backend="faiss")
        np.testing.assert_array_equal(found.squared_distances, squared)
        np.testing.assert_array_equal(found.indices, ids)
        assert found.certified.all() and found.backend == "faiss-flat"


def test_exact_where_faiss_alone_is_wrong(rng):
    y = 1e4 + rng.standard_normal((2000, 128))
    x = 1e4 + rng.standard_normal((1000, 128))
    squared, ids = nearest(x[:20], y, 5)
    _, alone = faiss.knn(x.astype(np.float32), y.astype(np.float32), 5)
    assert (alone[:20] != ids).mean() > 0.5
    found = knn(x, y, 5, backend="faiss")
    np.testing.assert_array_equal(found.indices[:20], ids)
    np.testing.assert_array_equal(found.squared_distances[:20], squared)


def test_rows_that_float32_cannot_prove_are_few_on_normal_records(rng, monkeypatch):
    again = []
    original = _faiss._again
    monkeypatch.setattr(_faiss, "_again", lambda x, *rest: again.append(len(x)) or original(x, *rest))
    y = 100 + rng.standard_normal((3000, 16))
    knn(y[:500], y[500:], 5, backend="faiss")
    assert sum(again) <= 5
    knn(np.vstack([y[:5], np.full((1, 16), 1e100)]), y, 3, backend="faiss")
    assert again[-1] == 1  # beyond float32: no candidates, so searched again
    knn(y[:9], np.ones((40, 16)), 3, backend="faiss")
    monkeypatch.setattr(_faiss, "_DIRECT_WORK", 0)
    found = knn(y[:9], np.repeat(y[:30], 40, axis=0), 3, backend="faiss")
    assert again[-1] == 9 and found.certified.all()


def test_blocks_of_the_reference_do_not_matter(rng, monkeypatch):
    x, y = rng.standard_normal((30, 3)), rng.standard_normal((500, 3))
    whole = knn(x, y, 5, backend="faiss")
    monkeypatch.setattr(_faiss, "_BLOCK_BYTES", 700)
    parts = knn(x, y, 5, backend="faiss")
    np.testing.assert_array_equal(whole.indices, parts.indices)
    np.testing.assert_array_equal(whole.squared_distances, parts.squared_distances)
    assert knn(x, y, 500, backend="faiss").indices[0].tolist() == nearest(x, y, 500)[1][0].tolist()


@pytest.mark.parametrize("index", APPROXIMATE)
def test_the_recall_asked_for_is_met_and_reported(index, rng):
    y, x = clustered(6000, 15, rng), clustered(900, 15, rng)
    found = knn(x, y, 5, backend=FaissBackend(index=index, recall=0.97, probes=100))
    assert isinstance(found, ApproximateNeighbors)
    assert found.recall_met and 0.97 <= found.recall <= 1.0 and found.probes == 100
    assert share(found, x, y, 5) >= 0.955
    assert not found.certified.any() and found.status & Status.UNCERTIFIED
    assert found.backend == f"faiss-{index}" and "recall=" in repr(found)
    real = found.indices >= 0
    exact = ((x[:, None] - y[found.indices]) ** 2).sum(axis=-1)
    np.testing.assert_allclose(found.squared_distances[real], exact[real], rtol=1e-14)
    assert (np.diff(found.squared_distances, axis=1) >= 0).all()
    assert json.loads(json.dumps(found.to_dict()))["recall"] == found.recall


def test_the_reported_recall_is_the_true_one(rng):
    y, x = clustered(5000, 8, rng), clustered(2000, 8, rng)
    found = knn(x, y, 5, backend=FaissBackend(index="ivf", n_lists=64, n_probe=1, probes=400))
    assert found.recall < 0.97 and found.recall_asked is None and found.recall_met
    assert abs(found.recall - share(found, x, y, 5)) < 0.03


def test_a_miss_is_told(rng):
    y, x = rng.standard_normal((4000, 2)), rng.standard_normal((120, 2))
    index = FaissBackend(index="ivfpq", recall=0.9999, refine=1, n_lists=4, probes=40).build(y)
    with pytest.warns(UserWarning, match=r"recall=0.9999 was asked for, but 0\.\d+ was measured on 40"):
        tuned = index.tune(5, x)
    found = tuned.search(x, 5)
    assert isinstance(found, ApproximateNeighbors)
    assert not found.recall_met and found.recall < 0.9999 and "recall_asked" in repr(found)


def test_few_queries_are_answered_exactly(rng):
    y = rng.standard_normal((500, 4))
    found = knn(y[:20], y, 3, backend=FaissBackend(index="ivf", recall=0.9))
    np.testing.assert_array_equal(found.indices, nearest(y[:20], y, 3)[1])
    assert found.certified.all() and found.recall == 1.0


@pytest.mark.parametrize("index", APPROXIMATE)
def test_self_is_left_out(index, rng):
    y = clustered(700, 6, rng)
    found = knn(y, y, 4, exclude_self=True, backend=FaissBackend(index=index, recall=0.9, probes=50))
    assert not (found.indices == np.arange(700)[:, None]).any()
    assert found.recall >= 0.9


def test_missing_neighbors_are_reported(rng):
    y = np.vstack([rng.standard_normal((5, 3)), 100 + rng.standard_normal((400, 3))])
    index = FaissBackend(index="ivf", n_lists=2, n_probe=1).build(y)
    found = index.search(np.zeros((1, 3)), 9)
    assert set(found.indices[0, :5]) == set(range(5))
    assert (found.indices[0, 5:] == -1).all() and np.isinf(found.distances[0, 5:]).all()


@pytest.mark.parametrize("index", ["flat", *APPROXIMATE])
def test_saved_and_loaded(index, rng, tmp_path):
    y, x = clustered(1500, 7, rng), clustered(200, 7, rng)
    np.save(tmp_path / "y.npy", y)
    mapped = np.load(tmp_path / "y.npy", mmap_mode="r")
    built = FaissBackend(index=index, recall=None if index == "flat" else 0.9, probes=60).build(mapped).tune(3)
    built.save(tmp_path / "index")
    description = json.loads((tmp_path / "index.json").read_text(encoding="utf-8"))
    assert (description["rows"], description["width"], description["seed"]) == (1500, 7, 0)
    loaded = FaissIndex.load(tmp_path / "index", y, threads=1)
    assert loaded.recall == built.recall and loaded.breadth == built.breadth and loaded.settings.threads == 1
    before, after = built.search(x, 3), loaded.search(x, 3)
    np.testing.assert_array_equal(before.indices, after.indices)
    np.testing.assert_array_equal(before.squared_distances, after.squared_distances)
    assert index in repr(loaded)


def test_what_was_saved_is_checked(rng, tmp_path):
    y = rng.standard_normal((200, 3))
    path = tmp_path / "index"
    FaissBackend().build(y).save(path)
    with pytest.raises(ValueError, match="not the one that"):
        FaissIndex.load(path, y[::-1])
    with pytest.raises(ValueError, match="not the one that"):
        FaissIndex.load(path, y[:-1])
    with pytest.raises(FileNotFoundError, match="does not exist"):
        FaissIndex.load(tmp_path / "other", y)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(ValueError, match="checksum differs"):
        FaissIndex.load(path, y)
    description = tmp_path / "index.json"
    description.write_text(description.read_text(encoding="utf-8").replace('"format": 1', '"format": 0'))
    with pytest.raises(ValueError, match="has format 0"):
        FaissIndex.load(path, y)


def test_the_seed_decides(rng):
    y, x = clustered(3000, 9, rng), clustered(400, 9, rng)
    a, b = (FaissBackend(index="ivf", n_probe=2, seed=3, probes=50).build(y).tune(5, x).search(x, 5) for _ in range(2))
    np.testing.assert_array_equal(a.indices, b.indices)
    assert a.recall == b.recall
    other = FaissBackend(index="ivf", n_probe=2, seed=2**70, probes=50).build(y).tune(5, x).search(x, 5)
    assert (other.indices != a.indices).any()


def test_threads_are_set_and_restored(rng, monkeypatch):
    seen, original = [], faiss.knn
    monkeypatch.setattr(faiss, "knn", lambda *rest: seen.append(faiss.omp_get_max_threads()) or original(*rest))
    y = rng.standard_normal((50, 3))
    before = faiss.omp_get_max_threads()
    knn(y, y, 2, backend=FaissBackend(threads=before + 1))
    assert seen == [before + 1] and faiss.omp_get_max_threads() == before


def test_float32_maps_build_approximate_indexes(rng, tmp_path):
    y, x = clustered(2000, 6, rng).astype(np.float32), clustered(300, 6, rng)
    y.tofile(tmp_path / "y")
    mapped = np.memmap(tmp_path / "y", dtype=np.float32, mode="r", shape=y.shape)
    found = knn(x, mapped, 4, backend=FaissBackend(index="ivf", recall=0.95, probes=60, train_rows=500))
    assert found.recall >= 0.95 and share(found, x, y.astype(np.float64), 4) >= 0.9


def test_counts_are_exact(rng):
    y = np.rint(rng.standard_normal((80, 3)))
    np.testing.assert_array_equal(radius_count(y, y, 1.0, backend="faiss"), within(y, y, 1.0))


def test_tune_without_queries_leaves_each_row_out_of_its_own_list(rng):
    y = rng.standard_normal((300, 40))
    tuned = FaissBackend(index="ivf", n_lists=16, n_probe=1, probes=100).build(y).tune(1)
    assert tuned.recall is not None and tuned.recall < 0.8  # a row would find itself in its own cell
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert tuned.search(y[:3], 2).recall != tuned.recall  # another k is measured anew
    one = FaissBackend(index="ivf", probes=5).build(y[:1]).tune(1)
    assert one.recall == 1.0


def test_results_are_pytrees(rng):
    y = clustered(600, 4, rng)
    found = knn(y[:300], y, 2, backend=FaissBackend(index="ivf", probes=20))
    moved = jax.tree_util.tree_map(lambda leaf: leaf, found)
    assert isinstance(moved, ApproximateNeighbors) and moved.recall == found.recall


def test_bad_settings(rng):
    for settings, message in (
        ({"index": "lsh"}, "index='lsh' is unknown"),
        ({"recall": 1.0}, "strictly between 0 and 1"),
        ({"n_lists": 0}, "n_lists=0"),
        ({"probes": 0}, "probes=0"),
        ({"index": "ivf", "recall": 0.9, "n_probe": 3}, "pass one of them"),
    ):
        with pytest.raises(ValueError, match=message):
            FaissBackend(**settings)
    with pytest.raises(TypeError, match="threads must be an integer"):
        FaissBackend(threads=1.5)
    y = rng.standard_normal((20, 2))
    index = FaissBackend().build(y)
    for queries, k, message in (
        (y[:, :1], 1, "1 columns but the index has 2"),
        (y, 21, "k=21 is more than the 20"),
        (np.full((1, 2), np.nan), 1, "NaN"),
        (y, 0, "k=0"),
    ):
        with pytest.raises(ValueError, match=message):
            index.search(queries, k)
    with pytest.raises(ValueError, match="k=20 is more than the 19"):
        index.search(y, 20, np.arange(20))
    with pytest.raises(ValueError, match="has NaN or infinity"):
        FaissBackend().build(np.full((3, 2), np.inf))
    with pytest.raises(TypeError, match="not numeric"):
        FaissBackend().build(np.array([["a"]]))
