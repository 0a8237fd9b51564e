from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mace_jax.data import split_records, stratified_folds


@settings(max_examples=50, deadline=None)
@given(st.integers(2, 200), st.integers(2, 200), st.integers(2, 10), st.integers(0, 2**32))
def test_folds_are_even_in_each_class_and_overall(n: int, m: int, folds: int, seed: int) -> None:
    n, m = max(n, folds), max(m, folds)
    members, nonmembers = stratified_folds(n, m, folds, seed=seed)
    assert members.dtype == nonmembers.dtype == np.int8
    assert members.shape == (n,) and nonmembers.shape == (m,)
    sizes = [np.bincount(part, minlength=folds) for part in (members, nonmembers)]
    for part in (*sizes, sizes[0] + sizes[1]):
        assert len(part) == folds and part.max() - part.min() <= 1


def test_folds_depend_on_the_seed_alone() -> None:
    first = stratified_folds(50, 60, 5, seed=3)
    again = stratified_folds(50, 60, 5, seed=3)
    other = stratified_folds(50, 60, 5, seed=4)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0], other[0])
    wider = stratified_folds(50, 65, 5, seed=3)
    assert np.array_equal(first[0], wider[0]), "more nonmembers do not move the members"


def test_every_record_is_equally_likely_in_every_fold() -> None:
    draws = np.stack([stratified_folds(6, 6, 3, seed=seed)[0] for seed in range(900)])
    share = np.stack([(draws == fold).mean(axis=0) for fold in range(3)])
    assert np.abs(share - 1 / 3).max() < 4.5 * np.sqrt(2 / 9 / 900)


def test_folds_out_of_range() -> None:
    with pytest.raises(ValueError, match="n_folds=1 must be at least 2"):
        stratified_folds(5, 5, 1, seed=0)
    with pytest.raises(ValueError, match="n_folds=128 must be at most 127"):
        stratified_folds(500, 500, 128, seed=0)
    with pytest.raises(ValueError, match="n_nonmembers=3 must be at least 4"):
        stratified_folds(5, 3, 4, seed=0)


def test_split_is_disjoint_and_reproducible() -> None:
    parts = split_records(100, (30, 50, 20), seed=7)
    assert [len(part) for part in parts] == [30, 50, 20]
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(100))
    assert all(np.all(np.diff(part) > 0) for part in parts)
    assert np.array_equal(parts[0], split_records(100, (30, 50, 20), seed=7)[0])
    assert not np.array_equal(parts[0], split_records(100, (30, 50, 20), seed=8)[0])


def test_split_that_does_not_fit() -> None:
    with pytest.raises(ValueError, match=r"sizes=\(6, 5\) add up to 11, more than the 10 records"):
        split_records(10, (6, 5), seed=0)
    with pytest.raises(ValueError, match="size=0 must be at least 1"):
        split_records(10, (0,), seed=0)
