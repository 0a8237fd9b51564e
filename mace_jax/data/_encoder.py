"""TableEncoder: tables of numbers and labels as matrices of numbers, and back."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, final

import numpy as np
from numpy.typing import NDArray

from mace_jax import _validate
from mace_jax._types import FloatArray
from mace_jax.data._columns import columns_of, labels_of, numbers_of, numeric

__all__ = ["TableEncoder"]

ScalingName = Literal["standard", "range", "none"]
_FORMAT = "mace_jax table encoder 1"


@dataclasses.dataclass(frozen=True)
class _Numbers:
    """A numeric column: ``(x - offset) / scale``, and an indicator if entries may be missing."""

    name: str
    offset: float
    scale: float
    whole: bool  # decoded numbers are rounded
    integer: bool  # decoded numbers are int64
    missing: bool

    @property
    def names(self) -> tuple[str, ...]:
        return (self.name, f"{self.name} is missing") if self.missing else (self.name,)

    def encode(self, column: NDArray[Any], out: NDArray[np.float64]) -> None:
        """Fill this column's part of the matrix."""
        values = numbers_of(self.name, column)
        gaps = np.isnan(values)
        if gaps.any() and not self.missing:
            raise ValueError(_unexpected_gap(self.name, gaps))
        out[:, 0] = np.where(gaps, 0.0, (values - self.offset) / self.scale)
        if self.missing:
            out[:, 1] = gaps

    def decode(self, matrix: NDArray[np.float64]) -> NDArray[Any]:
        """The column back from its part of the matrix."""
        values = matrix[:, 0] * self.scale + self.offset
        if self.whole:
            values = np.round(values)
        if self.missing:
            return np.where(matrix[:, 1] > 0.5, np.nan, values)
        return values.astype(np.int64) if self.integer else values


@dataclasses.dataclass(frozen=True)
class _Labels:
    """A categorical column: one column per level, and one for missing if entries may be."""

    name: str
    levels: tuple[Any, ...]
    missing: bool

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(f"{self.name}={level}" for level in self.levels) + ((f"{self.name} is missing",) * self.missing)

    def encode(self, column: NDArray[Any], out: NDArray[np.float64]) -> None:
        """Fill this column's part of the matrix."""
        codes = {level: code for code, level in enumerate(self.levels)}
        entries = labels_of(self.name, column)
        if self.missing:
            codes[None] = len(self.levels)
        elif None in entries:
            raise ValueError(_unexpected_gap(self.name, np.array([entry is None for entry in entries])))
        unknown = next((row for row, entry in enumerate(entries) if entry not in codes), None)
        if unknown is not None:
            raise ValueError(
                f"column {self.name!r} holds {entries[unknown]!r} in row {unknown} (counting from 0), which is none of "
                f"the {len(self.levels)} levels the encoder knows; fit it with levels={{{self.name!r}: [...]}} that "
                "include it."
            )
        out[:] = 0.0
        out[np.arange(len(entries)), [codes[entry] for entry in entries]] = 1.0

    def decode(self, matrix: NDArray[np.float64]) -> NDArray[Any]:
        """The column back from its part of the matrix: the level with the largest value, the first if several."""
        found = np.array([*self.levels, None], dtype=object)[np.argmax(matrix, axis=1)]
        return found.astype(type(self.levels[0])) if not self.missing and not isinstance(self.levels[0], str) else found


@final
@dataclasses.dataclass(frozen=True)
class TableEncoder:
    """Numbers scaled, labels one column per level; the inverse gives back the table.

    A numeric column ``x`` becomes ``(x - offset) / scale``: mean 0 and standard deviation 1 with
    ``scaling="standard"``, the range [-1, 1] with ``"range"``, itself with ``"none"``; a column of one value has scale
    1. A categorical column becomes one column per level, 1 for the record's level and 0 for the others. Where entries
    may be missing there is one more column: 1 if missing, with a scaled number of 0.

    ``decode(encode(table))`` gives back labels and missing entries exactly, whole numbers exactly, and other numbers to
    rounding errors of the largest magnitude in their column. ``decode`` takes any matrix of that width, such as
    synthetic records: the largest value of a block decides its level, and columns of whole numbers are rounded.

    Args:
        columns: What was learned about every column; use ``fit``.
        scaling: How numbers are scaled.

    Example:
        >>> people = {"age": [20, 30, 70], "city": ["Bonn", None, "Rome"]}
        >>> encoder = TableEncoder.fit(people)
        >>> encoder.names
        ('age', 'city=Bonn', 'city=Rome', 'city is missing')
        >>> encoder.decode(encoder.encode(people))["city"].tolist()
        ['Bonn', None, 'Rome']
    """

    columns: tuple[_Numbers | _Labels, ...]
    scaling: ScalingName = "standard"

    @classmethod
    def fit(
        cls,
        table: Any,
        *,
        categorical: Collection[str] = (),
        levels: Mapping[str, Sequence[Any]] | None = None,
        scaling: ScalingName = "standard",
        missing: Literal["seen", "always"] = "seen",
    ) -> TableEncoder:
        """Learn scales and levels.

        Args:
            table: Mapping of column names to arrays, structured or 2-D array, pandas, polars or pyarrow table. Text
                and truth values are labels, None and NaN are missing.
            categorical: Names of further columns that hold labels, such as codes.
            levels: All levels of some categorical columns, by name, where ``table`` may lack some of them.
            scaling: ``"standard"``, ``"range"`` or ``"none"``.
            missing: ``"seen"`` makes room for missing entries in the columns that have some here, ``"always"`` in all.

        Raises:
            TypeError: a column mixes types, or holds neither numbers nor labels.
            ValueError: no rows, nothing but missing numbers in a column, infinity, or a name that is no column.
        """
        _validate.one_of(("standard", "range", "none"), scaling=scaling)
        _validate.one_of(("seen", "always"), missing=missing)
        found = columns_of(table)
        given = dict(levels or {})
        for name in (*categorical, *given):
            if name not in found:
                raise ValueError(f"categorical or levels names the column {name!r}, which is not in the table.")
        if len(next(iter(found.values()))) == 0:
            raise ValueError("table has no rows; at least one is needed to learn scales and levels.")
        learned: list[_Numbers | _Labels] = []
        for name, column in found.items():
            if numeric(name, column, (*categorical, *given)):
                learned.append(_learn_numbers(name, column, scaling, missing == "always"))
            else:
                learned.append(_learn_labels(name, column, given.get(name), missing == "always"))
        return cls(tuple(learned), scaling)

    @property
    def names(self) -> tuple[str, ...]:
        """One name per column of the matrix."""
        return tuple(name for column in self.columns for name in column.names)

    @property
    def width(self) -> int:
        """Number of columns of the matrix."""
        return len(self.names)

    def encode(self, table: Any) -> FloatArray:
        """The table as a matrix ``(n, width)``.

        Raises:
            TypeError: a column holds another type than when the encoder was fitted.
            ValueError: the columns differ, a label is unknown, or an entry is missing where none was.
        """
        found = columns_of(table)
        expected = [column.name for column in self.columns]
        if found.keys() != set(expected):
            lacks, extra = sorted(set(expected) - found.keys()), sorted(found.keys() - set(expected))
            raise ValueError(f"table lacks the columns {lacks} and has the unknown columns {extra}; pass those fitted.")
        out = np.empty((len(found[expected[0]]), self.width))
        for column, part in self._parts():
            column.encode(found[column.name], out[:, part])
        return out

    def decode(self, matrix: Any) -> dict[str, NDArray[Any]]:
        """The table of a matrix ``(n, width)``: float64 or int64 arrays of numbers, labels with None where missing.

        Raises:
            ValueError: the width differs, or an entry is NaN or infinite.
        """
        values = _validate.finite(matrix=_validate.as_records(matrix=matrix))
        if values.shape[1] != self.width:
            raise ValueError(f"matrix has {values.shape[1]} columns; the encoder makes and takes {self.width}.")
        return {column.name: column.decode(values[:, part]) for column, part in self._parts()}

    def _parts(self) -> list[tuple[_Numbers | _Labels, slice]]:
        """Every column with its place in the matrix."""
        edges = np.cumsum([0, *(len(column.names) for column in self.columns)]).tolist()
        return [(c, slice(low, high)) for c, low, high in zip(self.columns, edges[:-1], edges[1:], strict=True)]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON; ``from_dict`` reads them back."""
        columns = [
            {"kind": "numbers" if isinstance(column, _Numbers) else "labels", **dataclasses.asdict(column)}
            for column in self.columns
        ]
        return {"format": _FORMAT, "scaling": self.scaling, "columns": columns}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TableEncoder:
        """The encoder that ``to_dict`` described.

        Raises:
            ValueError: the values are not those of an encoder.
        """
        if values.get("format") != _FORMAT:
            raise ValueError(f"format={values.get('format')!r} is not {_FORMAT!r}; pass what to_dict returned.")
        columns: list[_Numbers | _Labels] = []
        for entry in values["columns"]:
            about = {name: value for name, value in entry.items() if name != "kind"}
            if entry["kind"] == "labels":
                columns.append(_Labels(about["name"], tuple(about["levels"]), about["missing"]))
            else:
                columns.append(_Numbers(**about))
        return cls(tuple(columns), values["scaling"])

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the encoder as JSON; ``load`` reads it back without loss."""
        file = Path(path)
        file.write_text(json.dumps(self.to_dict(), indent=1, allow_nan=False) + "\n", encoding="utf-8")
        return file

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> TableEncoder:
        """The encoder in a file that ``save`` wrote.

        Raises:
            ValueError: the file holds something else.
        """
        try:
            values = json.loads(Path(path).read_text(encoding="utf-8"))
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise ValueError(f"{path} is not a saved encoder: {error}.") from error
        if not isinstance(values, dict):
            raise ValueError(f"{path} is not a saved encoder; pass a file that TableEncoder.save wrote.")
        return cls.from_dict(values)


def _learn_numbers(name: str, column: NDArray[Any], scaling: ScalingName, missing: bool) -> _Numbers:
    """Offset and scale of one column."""
    values = numbers_of(name, column)
    seen = values[~np.isnan(values)]
    if len(seen) == 0:
        raise ValueError(f"column {name!r} has only missing entries; leave it out.")
    offset, scale = 0.0, 1.0
    if scaling == "standard":
        offset, scale = float(seen.mean()), float(seen.std())
    elif scaling == "range":
        offset, scale = float(seen.min() / 2 + seen.max() / 2), float(seen.max() / 2 - seen.min() / 2)
    if seen.min() == seen.max():
        offset, scale = (0.0 if scaling == "none" else float(seen[0])), 1.0
    if not (np.isfinite(offset) and np.isfinite(scale) and scale > 0.0):
        raise ValueError(f"column {name!r} spans {seen.min():g} to {seen.max():g}, too much to scale; rescale it.")
    whole = bool(np.array_equal(seen, np.round(seen)) and np.abs(seen).max() <= 2.0**48)
    gaps = missing or len(seen) < len(values)
    return _Numbers(name, offset, scale, whole, whole and column.dtype.kind in "iu", gaps)


def _learn_labels(name: str, column: NDArray[Any], given: Sequence[Any] | None, missing: bool) -> _Labels:
    """The levels of one column, in ascending order unless they are given."""
    entries = labels_of(name, column)
    seen = set(entries) - {None}
    levels = tuple(sorted(seen) if given is None else given)
    if not levels or len(set(levels)) < len(levels):
        raise ValueError(f"column {name!r} has the levels {levels!r}; at least one is needed, each once.")
    labels_of(name, np.array([*levels, None], dtype=object))  # levels of one type
    if not seen <= set(levels):
        raise ValueError(f"column {name!r} holds {sorted(seen - set(levels))[0]!r}, which levels does not list.")
    return _Labels(name, levels, missing or None in entries)


def _unexpected_gap(name: str, gaps: NDArray[np.bool_]) -> str:
    """The message for a missing entry that has no column to go to."""
    return (
        f"column {name!r} has {int(gaps.sum())} missing entries, first in row {int(np.argmax(gaps))} (from 0), "
        "but had none when the encoder was fitted; fit with missing='always'."
    )
