"""Block minima and counts against the full matrix, their buckets and their checks."""

from __future__ import annotations

import numpy as np
import pytest

from mace_jax_kernels.mixed_knn import Terms, block_counts, block_minima, cases, pack
from mace_jax_kernels.mixed_knn import reference as oracle
from mace_jax_kernels.mixed_knn.xla import LARGE, minimum_blocks
from tests._support import rest_slow

RUNS = [(name, False, False) for name in cases.CASES] + [
    (name, True, mean) for name in ("gaps", "weighted", "adult", "wide_weighted") for mean in (False, True)
]


@pytest.mark.parametrize(("name", "skip", "mean"), rest_slow(RUNS, lambda run: run[0] in ("gaps", "adult")))
def test_minima_and_counts_equal_the_reference(name, skip, mean):
    queries, reference, terms, block = cases.make(name)
    packed = pack(*reference, block)
    found = block_minima(*queries, packed, terms, skip=skip, mean=mean)
    expected = block_minima(*queries, packed, terms, skip=skip, mean=mean, implementation="reference")
    assert found.shape == (len(queries[0]), -(-len(reference[0]) // block)) and found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=(sum(cases.CASES[name][2:4]) + 4) * 2.0**-24)
    # Limits halfway between two values, so that rounding does not decide.
    values = np.unique(oracle.matrix(*queries, *reference, terms, skip=skip, mean=mean))
    gaps = np.flatnonzero(np.diff(values) > 1e-5 * values[1:])
    low, high = (values[:-1] + np.diff(values) / 2)[gaps[[len(gaps) // 3, -1]]] if len(gaps) else (values[0], LARGE)
    limits = np.full(len(queries[0]), low, np.float32), np.full(len(queries[0]), high, np.float32)
    found = block_counts(*queries, packed, terms, *limits, skip=skip, mean=mean)
    expected = block_counts(*queries, packed, terms, *limits, skip=skip, mean=mean, implementation="reference")
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_nothing_in_common_is_large_and_padding_is_never_found():
    nothing = np.float32([[np.nan]]), np.int16([[-1]])
    packed = pack(np.float32([[0.0], [np.nan], [1.0]]), np.int16([[0], [0], [-1]]), 1)
    one = Terms(np.float32([np.inf]), np.float32([0]), np.float32([1]), np.float32([1]))
    assert (block_minima(*nothing, packed, one, skip=True) == np.float32(LARGE)).all()
    assert block_minima(*nothing, packed, one).tolist() == [[1.0, 1.0, 0.0]]
    found = block_counts(*nothing, packed, one, np.float32([LARGE]), np.float32([LARGE]))
    assert found.inside.sum() == 3


def test_sizes_in_one_bucket_share_code(rng):
    terms = Terms(np.full(3, np.inf, np.float32), *np.ones((2, 3), np.float32), np.ones(2, np.float32))

    def search(n, m):
        codes = rng.integers(0, 4, (n + m, 2)).astype(np.int16)
        packed = pack(rng.random((m, 3), np.float32), codes[n:], 4)
        return block_minima(rng.random((n, 3), np.float32), codes[:n], packed, terms)

    search(20, 100)
    before = minimum_blocks._cache_size()
    for n, m in [(17, 70), (32, 128), (31, 99)]:
        assert search(n, m).shape == (n, -(-m // 4))
    assert minimum_blocks._cache_size() == before


def test_bad_arguments():
    queries, reference, terms, block = cases.make("adult")
    packed = pack(*reference, block)
    with pytest.raises(NotImplementedError, match="implementation='cuda' does not exist"):
        block_minima(*queries, packed, terms, implementation="cuda")
    with pytest.raises(ValueError, match=r"must be \(n, 6\) and \(n, 8\)"):
        block_minima(queries[0][:, :2], queries[1], packed, terms)
    with pytest.raises(ValueError, match="must be float32"):
        block_minima(queries[0].astype(np.float64), queries[1], packed, terms)
    with pytest.raises(ValueError, match="terms have lengths"):
        block_minima(*queries, packed, terms._replace(caps=terms.caps[:2]))
    with pytest.raises(ValueError, match="one value for each of 70 queries"):
        block_counts(*queries, packed, terms, np.float32([1]), np.float32([1]))
    with pytest.raises(ValueError, match="with m > 0"):
        pack(reference[0][:0], reference[1][:0], 4)
    with pytest.raises(ValueError, match="block=0"):
        pack(*reference, 0)
