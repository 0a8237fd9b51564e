from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mace_jax.data import Split, fingerprint, split_dataset


@dataclasses.dataclass
class Labelled:
    records: np.ndarray
    labels: np.ndarray


def labelled(n: int = 200, classes: int = 3, seed: int = 0) -> Labelled:
    random = np.random.default_rng(seed)
    return Labelled(random.normal(size=(n, 2)), random.choice(classes, n, p=np.arange(1, classes + 1) / 6))


@given(
    st.integers(1, 40), st.integers(1, 40), st.integers(0, 40), st.integers(0, 40), st.booleans(), st.integers(0, 99)
)
def test_parts_are_disjoint_and_of_the_sizes_asked_for(a: int, b: int, c: int, d: int, stratified: bool, seed) -> None:
    split = split_dataset(
        labelled(), members=a, nonmembers=b, reference=c, held_out=d, seed=seed, stratified=stratified
    )
    assert [len(rows) for rows in split.parts.values()] == [a, b, c, d]
    rows = np.concatenate(list(split.parts.values()))
    assert len(np.unique(rows)) == len(rows) and rows.max() < 200
    assert all((np.diff(part) > 0).all() for part in split.parts.values())


def test_shares_and_the_rest() -> None:
    split = split_dataset(labelled(), members=0.1, reference=0.25, held_out=7, seed=1)
    assert repr(split) == "Split(members=20, nonmembers=123, reference=50, held_out=7, of 200)"
    whole = split_dataset(Labelled(np.arange(13_233.0)[:, None], np.zeros(13_233, int)), members=0.1, seed=0)
    assert (len(whole.members), len(whole.nonmembers)) == (1_323, 11_910)


def test_members_depend_on_the_seed_and_their_number_alone() -> None:
    data = labelled()
    first = split_dataset(data, members=30, seed=1)
    assert np.array_equal(first.members, split_dataset(data, members=30, reference=9, nonmembers=20, seed=1).members)
    assert not np.array_equal(first.members, split_dataset(data, members=30, seed=2).members)


@pytest.mark.parametrize("stratified", [False, True])
def test_every_record_is_equally_likely_to_be_a_member(stratified: bool) -> None:
    data = Labelled(np.arange(12.0)[:, None], np.arange(12) % 3)
    draws = [split_dataset(data, members=3, seed=seed, stratified=stratified).members for seed in range(800)]
    share = np.bincount(np.concatenate(draws), minlength=12) / 800
    assert np.abs(share - 0.25).max() < 4.5 * np.sqrt(0.25 * 0.75 / 800)


def test_stratified_parts_have_the_class_shares_of_the_whole() -> None:
    data = labelled(1000)
    shares = np.bincount(data.labels) / 1000
    split = split_dataset(data, members=101, reference=57, held_out=33, seed=0, stratified=True)
    for rows in split.parts.values():
        assert np.abs(np.bincount(data.labels[rows], minlength=3) - shares * len(rows)).max() < 2.0
    plain = split_dataset(data, members=101, seed=0)
    assert not np.array_equal(plain.members, split.members)


def test_equal_records_across_parts_are_counted_warned_of_or_left_out() -> None:
    random = np.random.default_rng(0)
    data = Labelled(random.integers(0, 6, (80, 2)) * 1.0, np.zeros(80, int))
    with pytest.warns(UserWarning, match=r"of 40 nonmembers equal a member.*duplicates='leave_out'"):
        split = split_dataset(data, members=20, nonmembers=40, reference=10, seed=0)
    rows = {name: [tuple(row) for row in data.records[part]] for name, part in split.parts.items()}
    for pair, count in split.equal_rows.items():
        one, other = pair.split(" in ")
        assert count == sum(row in set(rows[other]) for row in rows[one])
    assert len(split.equal_rows) == 6 and split.left_out == 0, "held_out is empty and has no pairs"
    allowed = split_dataset(data, members=20, nonmembers=40, reference=10, seed=0, duplicates="allow")
    assert allowed.to_dict() == split.to_dict()
    distinct = len({tuple(row) for row in data.records})
    apart = split_dataset(data, members=10, seed=0, duplicates="leave_out")
    assert apart.left_out == 80 - distinct and len(apart.members) + len(apart.nonmembers) == distinct
    assert set(apart.equal_rows.values()) == {0}


def test_saved_loaded_and_checked(tmp_path: Path) -> None:
    data = labelled()
    split = split_dataset(data, members=20, reference=5, seed=3, stratified=True)
    path = split.save(tmp_path / "split")
    assert path == tmp_path / "split" and path.stat().st_size < 2000
    for found in (Split.load(path), Split.load(path, data)):
        assert found.to_dict() == split.to_dict()
    json.dumps(split.to_dict())
    data.records[17, 1] = np.nextafter(data.records[17, 1], 9)
    with pytest.raises(ValueError, match="is not the one that was split"):
        Split.load(path, data)
    other = labelled()
    other.labels[0] += 1
    with pytest.raises(ValueError, match="load the same data in the same order"):
        split.check(other)


@pytest.mark.parametrize("content", [b"", b"no", b"PK\x03\x04"])
def test_files_without_a_split(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "split"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="holds no split this version can read"):
        Split.load(path)
    np.savez(tmp_path / "other.npz", a=np.eye(2))
    with pytest.raises(ValueError, match="holds no split"):
        Split.load(tmp_path / "other.npz")


def test_fingerprint_is_of_the_values() -> None:
    records, labels = np.array([[1.0, 0.0], [np.nan, 4.0]]), np.array([0, 1])
    first = fingerprint(records, labels)
    assert first == fingerprint(records.astype(np.float32), labels.astype(np.int8))
    assert first == fingerprint(np.where(records == 0, -0.0, records), labels)
    assert first != fingerprint(records[::-1], labels) and first != fingerprint(records, labels[::-1])
    assert fingerprint(np.zeros((2, 3)), [0, 0]) != fingerprint(np.zeros((3, 2)), [0, 0])


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"members": 0}, "members=0 must be at least 1"),
        ({"members": 1.0}, "members=1.0 must lie strictly between 0 and 1"),
        ({"members": 150, "reference": 60}, "exceed the 200 records"),
        ({"members": 200}, "at least 1 must be a nonmember"),
        ({"members": 100, "nonmembers": 101}, "exceed the 200 records"),
        ({"reference": -1}, "reference=-1 must be at least 0"),
        ({"duplicates": "drop"}, "duplicates='drop'"),
    ],
)
def test_sizes_that_do_not_fit(sizes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        split_dataset(labelled(), seed=0, **sizes)


def test_labels_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match=r"labels of shape \(2,\)"):
        split_dataset(Labelled(np.eye(3), np.zeros(2)), seed=0)
    with pytest.raises(TypeError, match="members must be an integer, got '3'"):
        split_dataset(labelled(), members="3", seed=0)
