from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mace_jax.data import _duplicates, count_shared_rows, duplicated_share, first_equal_row


def naive_shared(a: np.ndarray, b: np.ndarray) -> int:
    known = {tuple(row) for row in b.tolist()}
    return sum(tuple(row) in known for row in a.tolist())


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 40), st.integers(0, 40), st.integers(1, 3), st.integers(1, 4), st.integers(0, 10**6))
def test_against_the_naive_count(n: int, m: int, width: int, levels: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    a = random.integers(-levels, levels, (n, width)) * 0.5
    b = random.integers(-levels, levels, (m, width)) * -0.5  # makes -0.0 too
    assert count_shared_rows(a, b) == naive_shared(a, b)
    twins = Counter(tuple(row) for row in b.tolist())
    expected = sum(count for count in twins.values() if count > 1) / m if m else 0.0
    assert duplicated_share(b) == pytest.approx(expected)


@pytest.mark.parametrize("width", [1, 3])
def test_negative_zero_and_the_last_bit(width: int) -> None:
    zero = np.zeros((1, width))
    assert count_shared_rows(-zero, zero) == 1
    assert count_shared_rows(zero + np.nextafter(0, 1), zero) == 0
    assert duplicated_share(np.concatenate([zero, -zero, zero + 1])) == pytest.approx(2 / 3)


def test_inputs_stay_untouched_and_blocks_do_not_matter(monkeypatch) -> None:
    random = np.random.default_rng(0)
    a = random.integers(0, 3, (101, 4)).astype(float)
    b = random.integers(0, 3, (57, 4)).astype(float)
    before = a.copy(), b.copy()
    whole = count_shared_rows(a, b)
    monkeypatch.setattr(_duplicates, "_BLOCK_BYTES", 7 * 8 * 4)
    assert count_shared_rows(a, b) == whole == naive_shared(a, b)
    assert np.array_equal(a, before[0]) and np.array_equal(b, before[1])


def test_a_copied_row_is_found_among_many() -> None:
    random = np.random.default_rng(1)
    a, b = random.normal(size=(20_000, 8)), random.normal(size=(20_000, 8))
    assert count_shared_rows(a, b) == 0 and duplicated_share(a) == 0.0
    a[[5, 17]] = b[19_999]
    assert count_shared_rows(a, b) == 2 and count_shared_rows(b, a) == 1
    assert duplicated_share(a) == pytest.approx(2 / 20_000)


def test_scores_and_widths() -> None:
    assert count_shared_rows([1, 2, 2], [2.0]) == 2
    assert duplicated_share([1.0]) == 0.0
    with pytest.raises(ValueError, match="a has 1 columns but b has 2"):
        count_shared_rows([1.0], [[1.0, 2.0]])


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 40), st.integers(1, 3), st.integers(1, 3), st.sampled_from(["f4", "f8", "i2"]), st.integers(0, 99)
)
def test_first_equal_row_against_the_naive_search(n: int, width: int, levels: int, dtype: str, seed: int) -> None:
    rows = np.random.default_rng(seed).integers(-levels, levels, (n, width)).astype(dtype)
    naive = [next(j for j in range(i + 1) if (rows[j] == rows[i]).all()) for i in range(n)]
    assert first_equal_row(rows).tolist() == naive


def test_first_equal_row_of_missing_values_and_signed_zeros(monkeypatch) -> None:
    rows = np.array([[np.nan, 0.0], [1.0, 2.0], [np.copysign(np.nan, -1), -0.0], [1.0, np.nan]])
    assert first_equal_row(rows).tolist() == [0, 1, 0, 3]
    monkeypatch.setattr(_duplicates, "_BLOCK_BYTES", 16)
    assert first_equal_row(rows).tolist() == [0, 1, 0, 3]
    with pytest.raises(TypeError, match="a has dtype <U1"):
        first_equal_row(["x"])
