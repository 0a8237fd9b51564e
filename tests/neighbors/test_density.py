"""Log densities: SciPy's definition, leave-one-out, proofs and their fallback, memory maps, messages."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from scipy.special import logsumexp
from scipy.stats import gaussian_kde

from mace_jax.neighbors import _blocks, _density, log_kde
from mace_jax_kernels.log_kde import add_block


def density(x, y, h, weights=None, exclude_self=False):
    """Straight from the definition."""
    weights = np.ones(len(y)) if weights is None else weights
    squared = cdist(x, y, "sqeuclidean")
    use = np.broadcast_to(weights, squared.shape).copy()
    if exclude_self:
        np.fill_diagonal(use, 0)
    d = y.shape[1]
    sums = logsumexp(-squared / (2 * h**2), b=use, axis=1)
    return sums - np.log(use.sum(axis=1)) - d * np.log(h) - d / 2 * np.log(2 * np.pi)


def assert_close(found, expected, tolerance=1e-8):
    assert found.shape == expected.shape and found.dtype == np.float64
    assert np.isfinite(found).all()
    assert (np.abs(found - expected) <= tolerance * np.maximum(1, np.abs(expected))).all()


def passes(monkeypatch):
    """How many queries were computed and whether by products, per pass over the reference."""
    log, original = [], _density._pass

    def watched(x, y, widths, log_weights, own, center):
        log.append((len(x), center is not None))
        return original(x, y, widths, log_weights, own, center)

    monkeypatch.setattr(_density, "_pass", watched)
    return log


@pytest.mark.parametrize("d", [1, 3, 8, 9, 40])
@pytest.mark.parametrize("h", [1e-6, 0.05, 1.0, 30.0])
@pytest.mark.parametrize("shift", [0.0, 1e4])
def test_equals_the_definition(d, h, shift, rng):
    y = rng.standard_normal((300, d)) + shift
    x = np.concatenate([y[:5], rng.standard_normal((40, d)) + shift, np.full((1, d), shift + 1e5)])
    assert_close(log_kde(x, y, h), density(x, y, h))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("d", [2, 10])
def test_the_ends_of_the_range(d):
    y, x = np.zeros((3, d)), np.full((1, d), 1e4)
    assert np.isfinite(log_kde(x, y, [1e-140, 1e150])).all()
    assert log_kde(x * 1e20, y, 1e-150).tolist() == [-np.inf]
    assert log_kde(y, y, 1e-150)[0] == pytest.approx(d * (150 * np.log(10) - np.log(2 * np.pi) / 2))


def test_is_scipys_estimate(rng):
    y, x = rng.standard_normal((400, 3)), rng.standard_normal((50, 3))
    kde = gaussian_kde(y.T)
    whiten = np.linalg.inv(np.linalg.cholesky(kde.covariance))
    found = log_kde(x @ whiten.T, y @ whiten.T, 1.0) + np.log(np.linalg.det(whiten))
    np.testing.assert_allclose(found, kde.logpdf(x.T), rtol=1e-9)
    one = rng.standard_normal(200)
    kde = gaussian_kde(one, bw_method=0.3, weights=np.arange(1, 201))
    h = float(np.sqrt(kde.covariance[0, 0]))
    np.testing.assert_allclose(log_kde(x[:, 0], one, h, weights=np.arange(1, 201)), kde.logpdf(x[:, 0]), rtol=1e-9)


def test_integrates_to_one(rng):
    grid = np.linspace(-12, 12, 2001)
    logs = log_kde(grid, rng.standard_normal(50), [0.2, 1.0], weights=rng.random(50))
    np.testing.assert_allclose(np.exp(logs).sum(axis=1) * (grid[1] - grid[0]), 1, rtol=1e-9)


@pytest.mark.parametrize("d", [2, 15])
@pytest.mark.parametrize("weighted", [False, True])
def test_leave_one_out(d, weighted, rng):
    rows = rng.standard_normal((60, d))
    rows[7] = rows[6]  # a twin is another record and stays
    weights = rng.random(60) if weighted else None
    found = log_kde(rows, rows, 0.4, exclude_self=True, weights=weights)
    assert_close(found, density(rows, rows, 0.4, weights, exclude_self=True))
    for i in (0, 6, 59):
        left = np.delete(rows, i, axis=0)
        alone = log_kde(rows[i : i + 1], left, 0.4, weights=None if weights is None else np.delete(weights, i))
        assert found[i] == pytest.approx(alone[0], rel=1e-9)


def test_leave_one_out_of_a_weight_that_is_nearly_all(rng):
    rows, weights = rng.standard_normal((4, 2)), np.array([1.0, 1e-20, 3e-20, 0.0])
    found = log_kde(rows, rows, 1.0, exclude_self=True, weights=weights)
    assert_close(found, density(rows, rows, 1.0, weights * 1e300, exclude_self=True))


def test_weights_count_like_copies(rng):
    x, y, copies = rng.standard_normal((20, 4)), rng.standard_normal((30, 4)), rng.integers(0, 4, size=30)
    assert_close(log_kde(x, y, 0.5, weights=copies), log_kde(x, np.repeat(y, copies, axis=0), 0.5), 1e-12)
    assert_close(log_kde(x, y, 0.5, weights=np.full(30, 1e307)), log_kde(x, y, 0.5), 1e-12)


@pytest.mark.parametrize("d", [4, 20])
def test_several_bandwidths_and_batches_change_rounding_only(d, rng):
    x, y, widths = rng.standard_normal((80, d)), rng.standard_normal((300, d)), [0.1, 1.0, 5.0]
    together = log_kde(x, y, widths)
    assert together.shape == (3, 80)
    assert_close(np.array([log_kde(x, y, h) for h in widths]), together, 1e-12)
    assert_close(np.concatenate([log_kde(x[:13], y, widths), log_kde(x[13:], y, widths)], axis=1), together, 1e-12)


def test_products_are_kept_where_they_are_proven(monkeypatch, rng):
    log = passes(monkeypatch)
    y = rng.standard_normal((200, 12))
    log_kde(y, y, [0.05, 1.0])
    assert log == [(200, True)]
    log.clear()
    far = np.concatenate([y, np.full((1, 12), 1e6)])  # too far to matter to the others, and its own sum is only 0
    assert_close(log_kde(far[150:], far, 1.0), density(far[150:], far, 1.0))
    assert log == [(51, True), (1, False)]
    log.clear()
    assert_close(log_kde(y[:9], y, 1e-5), density(y[:9], y, 1e-5))
    assert log == [(9, True), (9, False)]
    log.clear()
    log_kde(y[:, :8], y[:, :8], 1e-5)
    assert log == [(200, False)]


def test_another_size_in_the_same_bucket_compiles_nothing(rng):
    def call(n, m):
        for d in (5, 10):
            log_kde(rng.standard_normal((n, d)), rng.standard_normal((m, d)), [0.5, 1.0])

    call(40, 300)
    before = add_block._cache_size()
    for n, m in [(33, 512), (64, 257), (57, 400)]:
        call(n, m)
    assert add_block._cache_size() == before


@pytest.mark.parametrize("d", [3, 12])
@pytest.mark.parametrize("exclude_self", [False, True])
def test_memory_maps_are_read_in_blocks(d, exclude_self, monkeypatch, tmp_path, rng):
    monkeypatch.setattr(_blocks.Rows, "step", lambda self: 70)
    rows, weights = rng.standard_normal((200, d)).astype(np.float32), rng.random(200)
    rows.tofile(tmp_path / "rows")
    mapped = np.memmap(tmp_path / "rows", dtype=np.float32, mode="r", shape=rows.shape)
    expected = density(rows.astype(float), rows.astype(float), 0.7, weights, exclude_self)
    for x, y in ((mapped, mapped), (rows, mapped), (mapped, rows)):
        assert_close(log_kde(x, y, 0.7, exclude_self=exclude_self, weights=weights), expected)
    rows[150, 1] = np.nan
    rows.tofile(tmp_path / "rows")
    with pytest.raises(ValueError, match=r"block from row 140\) has NaN or infinity in 1 of 60 rows, first in row 10"):
        log_kde(rows[:3], mapped, 0.7)


def test_pieces_of_the_reference_add_up(monkeypatch, rng):
    x, y = rng.standard_normal((50, 10)), rng.standard_normal((230, 10))
    expected = log_kde(x, y, [0.5, 2.0])
    monkeypatch.setattr(_density, "tile_sizes", lambda *args: (16, 8, 32))
    assert_close(log_kde(x, y, [0.5, 2.0]), expected, 1e-12)
    own = log_kde(y, y, 0.5, exclude_self=True)
    assert_close(own, density(y, y, 0.5, exclude_self=True))


X, Y = np.zeros((4, 2)), np.ones((6, 2))


@pytest.mark.parametrize(
    ("arguments", "settings", "error", "message"),
    [
        ((X, np.ones((6, 3)), 1), {}, ValueError, r"queries has 2 columns but reference has 3"),
        ((X, np.ones((0, 2)), 1), {}, ValueError, r"reference has 0 rows"),
        ((np.array([[0.0, np.inf]]), Y, 1), {}, ValueError, r"queries has NaN or infinity in 1 of 1 rows, first in"),
        ((X, [["a", "b"]], 1), {}, TypeError, r"reference has dtype <U1, which is not numeric"),
        ((X, 1e151 * Y, 1), {}, ValueError, r"reference has entries beyond 1e\+150"),
        ((X, Y, 0.0), {}, ValueError, r"bandwidth=0 \(entry 0\) must be positive and finite"),
        ((X, Y, [1.0, -2.0]), {}, ValueError, r"bandwidth=-2 \(entry 1\) must be positive"),
        ((X, Y, np.nan), {}, ValueError, r"bandwidth=nan \(entry 0\)"),
        ((X, Y, []), {}, ValueError, r"bandwidth has shape \(0,\); pass a positive number"),
        ((X, Y, [[1.0]]), {}, ValueError, r"bandwidth has shape \(1, 1\)"),
        ((X, Y, "scott"), {}, TypeError, r"bandwidth has dtype <U5"),
        ((X, Y, 1), {"exclude_self": True}, ValueError, r"same records, got 4 and 6 rows"),
        ((X[:1], X[:1], 1), {"exclude_self": True}, ValueError, r"reference has 1 row; exclude_self=True needs at"),
        (
            (X, Y, 1),
            {"weights": np.ones(4)},
            ValueError,
            r"weights has shape \(4,\); pass one number for each of",
        ),
        ((X, Y, 1), {"weights": [1, 2, -3, 1, 1, 1]}, ValueError, r"at least 0, got -3.0 in row 2"),
        ((X, Y, 1), {"weights": np.zeros(6)}, ValueError, r"weights has 0 entries above 0; at least one weight"),
        ((X, Y, 1), {"weights": list("abcdef")}, TypeError, r"weights has dtype <U1"),
        ((Y, Y, 1), {"weights": np.eye(6)[0], "exclude_self": True}, ValueError, r"at least two weights must be"),
    ],
)
def test_bad_input_is_named(arguments, settings, error, message):
    with pytest.raises(error, match=message):
        log_kde(*arguments, **settings)
