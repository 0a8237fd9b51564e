"""Members, non-members, reference and held-out records of one data set, drawn by seed and kept on file."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import os
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Protocol, final

import numpy as np
from numpy.typing import NDArray

from mace_jax import _validate
from mace_jax._random import as_seed, generator
from mace_jax._types import Seed
from mace_jax.data._duplicates import first_equal_row, row_blocks

__all__ = ["PARTS", "Split", "fingerprint", "split_dataset"]

PARTS = ("members", "nonmembers", "reference", "held_out")
_FORMAT = "mace_jax split 1"


class _Dataset(Protocol):
    """Records with one label each."""

    @property
    def records(self) -> Any: ...

    @property
    def labels(self) -> Any: ...


def fingerprint(records: Any, labels: Any) -> str:
    """SHA-256 of shape, values and labels, whatever type the values are stored in.

    Example:
        >>> fingerprint([[1.0]], [0]) == fingerprint([[1]], [0]) != fingerprint([[2]], [0])
        True
    """
    array = np.asarray(records)
    digest = hashlib.sha256(repr((len(array), array.size)).encode())
    for block in row_blocks(records):
        digest.update(block.astype("<f8").tobytes())
    digest.update(np.asarray(labels).astype("<i8").tobytes())
    return digest.hexdigest()


@final
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Split:
    """Disjoint parts of one data set, as ascending row numbers.

    Args:
        members: Rows to train on.
        nonmembers: Rows the model never sees, to compare members with.
        reference: Rows for whatever an attacker or an encoder learns from.
        held_out: Rows set aside for a last check.
        n_records: Size of the data set.
        seed: The seed it was drawn with.
        stratified: Whether every part has the class shares of the whole.
        fingerprint: ``fingerprint`` of the data set.
        equal_rows: For every two parts, as ``"nonmembers in members"``, how many records of the first have an equal
            record in the second, labels apart. Such a non-member is a member in all but name.
        left_out: Records in no part because an equal record comes before them.
    """

    members: NDArray[np.int64]
    nonmembers: NDArray[np.int64]
    reference: NDArray[np.int64]
    held_out: NDArray[np.int64]
    n_records: int
    seed: int
    stratified: bool
    fingerprint: str
    equal_rows: Mapping[str, int]
    left_out: int

    @property
    def parts(self) -> dict[str, NDArray[np.int64]]:
        """Row numbers by the name of the part."""
        return {name: getattr(self, name) for name in PARTS}

    def __repr__(self) -> str:
        sizes = ", ".join(f"{name}={len(rows)}" for name, rows in self.parts.items())
        return f"Split({sizes}, of {self.n_records})"

    def check(self, dataset: _Dataset) -> None:
        """Raise a ValueError unless ``dataset`` is the one that was split, value for value."""
        found = fingerprint(dataset.records, dataset.labels)
        if found != self.fingerprint:
            raise ValueError(
                f"dataset (fingerprint {found[:12]}, {len(dataset.records)} records) is not the one that was split "
                f"({self.fingerprint[:12]}, {self.n_records} records); load the same data in the same order."
            )

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the split as one small npz file, whatever its name; ``load`` reads it back."""
        part_of = np.zeros(self.n_records, np.uint8)
        for code, rows in enumerate(self.parts.values(), start=1):
            part_of[rows] = code
        about = {
            "format": _FORMAT,
            "parts": PARTS,
            "seed": str(self.seed),
            "stratified": self.stratified,
            "fingerprint": self.fingerprint,
            "equal_rows": dict(self.equal_rows),
            "left_out": self.left_out,
        }
        file = Path(path)
        with file.open("wb") as opened:
            np.savez_compressed(opened, part_of=part_of, about=np.array(json.dumps(about)))
        return file

    @classmethod
    def load(cls, path: str | os.PathLike[str], dataset: _Dataset | None = None) -> Split:
        """The split in a file that ``save`` wrote.

        Args:
            path: The file.
            dataset: The data it is meant for, which is then checked.

        Raises:
            ValueError: the file holds no split, or ``dataset`` is another one.
        """
        try:
            with Path(path).open("rb") as opened, np.load(opened, allow_pickle=False) as stored:
                part_of, about = stored["part_of"], json.loads(str(stored["about"]))
            if about["format"] != _FORMAT:
                raise ValueError(f"format {about['format']!r}")
        except (KeyError, ValueError, EOFError, TypeError, AttributeError, zipfile.BadZipFile) as error:
            raise ValueError(f"{path} holds no split this version can read ({error}).") from error
        parts = {name: np.flatnonzero(part_of == code) for code, name in enumerate(PARTS, start=1)}
        found = cls(
            **parts,
            n_records=len(part_of),
            seed=int(about["seed"]),
            stratified=about["stratified"],
            fingerprint=about["fingerprint"],
            equal_rows=about["equal_rows"],
            left_out=about["left_out"],
        )
        if dataset is not None:
            found.check(dataset)
        return found

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        plain = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        plain["equal_rows"] = dict(self.equal_rows)
        return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in plain.items()}


def split_dataset(
    dataset: _Dataset,
    *,
    members: float = 0.1,
    nonmembers: float | None = None,
    reference: float = 0,
    held_out: float = 0,
    seed: Seed,
    stratified: bool = False,
    duplicates: Literal["warn", "allow", "leave_out"] = "warn",
) -> Split:
    """Draw disjoint sets of members, non-members, reference and held-out records, uniformly at random.

    Members depend on the seed and their own number only: other sizes do not move them (unless stratified).

    Args:
        dataset: Anything with ``records`` and ``labels``, such as a ``mace_jax.datasets.Dataset``.
        members: A share in (0, 1) of the records, or a whole number of them.
        nonmembers: The same; None takes all that the other parts leave.
        reference: The same, 0 for none.
        held_out: The same, 0 for none.
        seed: Decides the split.
        stratified: Give every part the class shares of the whole as nearly as whole records allow.
        duplicates: What to do about equal records (labels apart) in different parts: ``"warn"``; ``"allow"``; or
            ``"leave_out"``: draw from the first of each set of equal records and put the others into no part. They
            are counted in the result in any case.

    Returns:
        The split.

    Raises:
        TypeError: a size is not a number.
        ValueError: a size is out of range, or all together exceed the records.

    Example:
        >>> from mace_jax.datasets import load
        >>> split_dataset(load("digits"), members=0.1, reference=100, seed=0)
        Split(members=180, nonmembers=1517, reference=100, held_out=0, of 1797)
    """
    _validate.one_of(("warn", "allow", "leave_out"), duplicates=duplicates)
    n = _validate.positive_int(n_records=len(dataset.records))
    labels = np.asarray(dataset.labels)
    if labels.shape != (n,):
        raise ValueError(f"dataset has labels of shape {labels.shape}; one for each of its {n} records is needed.")
    first = first_equal_row(dataset.records)
    rows = np.flatnonzero(first == np.arange(n)) if duplicates == "leave_out" else np.arange(n)
    sizes = {
        "members": _size(len(rows), 1, members=members),
        "reference": _size(len(rows), 0, reference=reference),
        "held_out": _size(len(rows), 0, held_out=held_out),
    }
    rest = len(rows) - sum(sizes.values())
    sizes["nonmembers"] = rest if nonmembers is None else _size(len(rows), 1, nonmembers=nonmembers)
    if sizes["nonmembers"] > rest or rest < 1:
        raise ValueError(f"the parts {sizes} exceed the {len(rows)} records there are; at least 1 must be a nonmember.")
    draw = _by_class(labels[rows], sizes, seed) if stratified else _at_random(len(rows), sizes, seed)
    parts = {name: np.sort(rows[chosen]) for name, chosen in draw}
    found = Split(
        **parts,
        n_records=n,
        seed=as_seed(seed),
        stratified=bool(stratified),
        fingerprint=fingerprint(dataset.records, labels),
        equal_rows=_equal_rows(first, parts),
        left_out=n - len(rows),
    )
    shared = found.equal_rows["nonmembers in members"]
    if shared and duplicates == "warn":
        warnings.warn(
            f"{shared} of {len(found.nonmembers)} nonmembers equal a member, so the model may have been trained on "
            "them; pass duplicates='leave_out' to draw among distinct records, or 'allow'.",
            UserWarning,
            stacklevel=2,
        )
    return found


def _size(n: int, minimum: int, **size: Any) -> int:
    """A share or a number of records as a number of records."""
    ((name, value),) = size.items()
    if isinstance(value, float | np.floating) and value != 0:
        return max(minimum, int(_validate.in_open_unit(**{name: value}) * n + 0.5))
    return _validate.positive_int(minimum=minimum, **{name: int(value) if value == 0 else value})


def _at_random(n: int, sizes: Mapping[str, int], seed: Seed) -> Iterator[tuple[str, NDArray[np.int64]]]:
    """Consecutive pieces of one random order."""
    order = generator(seed, "split dataset").permutation(n)
    edges = np.cumsum([0, *sizes.values()])
    for name, low, high in zip(sizes, edges[:-1], edges[1:], strict=True):
        yield name, order[low:high]


def _by_class(labels: NDArray[Any], sizes: Mapping[str, int], seed: Seed) -> Iterator[tuple[str, NDArray[np.int64]]]:
    """The same within each class; every part takes of each class in proportion to what is left of it."""
    _, codes = np.unique(labels, return_inverse=True)
    queues = [
        generator(seed, "split dataset", "class", code).permutation(np.flatnonzero(codes == code))
        for code in range(codes.max() + 1)
    ]
    left = np.array([len(queue) for queue in queues])
    used = np.zeros(len(queues), np.int64)
    for name, size in sizes.items():
        share = size * left / max(1, left.sum())
        take = np.floor(share).astype(np.int64)
        short = size - take.sum()
        luck = generator(seed, "split dataset", "remainder", name).random(len(take))
        take[np.lexsort((luck, take - share))[:short]] += 1
        yield name, np.concatenate([q[u : u + t] for q, u, t in zip(queues, used, take, strict=True)])
        used, left = used + take, left - take


def _equal_rows(first: NDArray[np.int64], parts: Mapping[str, NDArray[np.int64]]) -> dict[str, int]:
    """How many records of each part equal one of another part."""
    return {
        f"{one} in {other}": int(np.isin(first[parts[one]], first[parts[other]]).sum())
        for one, other in itertools.permutations(PARTS, 2)
        if len(parts[one]) and len(parts[other])
    }
