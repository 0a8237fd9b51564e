"""load_records: a file of records as float64 columns, or an error that says what to fix; never pickle."""

from __future__ import annotations

import dataclasses
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mace_jax._types import FloatArray
from mace_jax.data._table import read_arrow, read_csv, read_parquet, reading

__all__ = ["Records", "common_columns", "load_records"]


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Records:
    """Records read from a file: ``values`` is ``(n, d)`` float64, finite; ``columns`` holds d names.

    Columns that the file does not name are called ``"column 0"``, ``"column 1"``, and so on.
    """

    values: FloatArray
    columns: tuple[str, ...]

    @property
    def named(self) -> bool:
        """Whether the file named at least one of its columns."""
        return self.columns != _numbered(len(self.columns))

    def __len__(self) -> int:
        return len(self.values)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.values, dtype=dtype, copy=copy)

    def __repr__(self) -> str:
        return f"Records({self.values.shape[0]} rows, {self.values.shape[1]} columns)"

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, ready for JSON."""
        return {"values": self.values.tolist(), "columns": list(self.columns)}


def load_records(path: str | os.PathLike[str]) -> Records:
    r"""Read the records of one file; every number is finite or the call fails.

    The suffix decides: ``.npy``; ``.npz`` (one array, or several arrays of equal length that become named columns);
    ``.csv`` (``,``, ``;`` or tab between fields; the first line is a header if any of its fields is not a number);
    ``.parquet``; ``.arrow``, ``.feather``. Pickled content is never read. Records of a higher rank (images) are
    flattened; booleans become 0 and 1.

    Args:
        path: The file.

    Returns:
        The records with the names of their columns.

    Raises:
        FileNotFoundError: there is no such file.
        PermissionError: the file may not be read.
        ValueError: the file is empty, broken, pickled, ragged or of an unknown type; or a column holds text, dates or
            nested values, missing values, NaN or infinity. The message names the column and the first bad row, counted
            from 0 without the header.

    Example:
        >>> import pathlib, tempfile
        >>> path = pathlib.Path(tempfile.mkdtemp(), "scores.csv")
        >>> _ = path.write_text("loss,margin\n0.5,1\n0.25,2\n")
        >>> load_records(path).columns
        ('loss', 'margin')
    """
    file = Path(path)
    reader = _reader(file)
    try:
        columns = reader(file)
    except PermissionError as error:
        raise PermissionError(
            f"{file} may not be read by this user ({os.strerror(error.errno or 0)}); change its permissions."
        ) from error
    values = _stack(file, columns)
    return Records(values=_finite(file, values, columns), columns=_names(columns))


def common_columns(**records: Records) -> tuple[str, ...] | None:
    """The column names that all named files share, or None if no file names its columns.

    Raises:
        ValueError: two files name their columns differently; the message names the first difference.
    """
    named = [(argument, entry.columns) for argument, entry in records.items() if entry.named]
    if not named:
        return None
    first, expected = named[0]
    for argument, columns in named[1:]:
        if len(columns) != len(expected):
            raise ValueError(
                f"{first} has {len(expected)} columns but {argument} has {len(columns)}; "
                "both must hold the same features in the same order."
            )
        for place, (left, right) in enumerate(zip(expected, columns, strict=True)):
            if left != right:
                raise ValueError(
                    f"column {place} is called {left!r} in {first} but {right!r} in {argument}; "
                    "both must hold the same features in the same order."
                )
    return expected


Columns = list[tuple[str | None, np.ndarray]]
"""Named pieces of a file, each ``(n,)`` or ``(n, w)``; None = the file gives no name."""


def _reader(file: Path) -> Callable[[Path], Columns]:
    """The reader for the suffix, after the checks that need no reading."""
    if not file.exists():
        raise FileNotFoundError(f"{file} does not exist; check the path.")
    if file.is_dir():
        raise ValueError(f"{file} is a directory; pass one file of records.")
    reader = _READERS.get(file.suffix.lower())
    if reader is None:
        raise ValueError(f"{file} has the unknown suffix {file.suffix!r}; use one of {', '.join(sorted(_READERS))}.")
    if file.stat().st_size == 0:
        raise ValueError(f"{file} is empty (0 bytes); write the records to it first.")
    return reader


def _read_numpy(file: Path) -> Columns:
    """Arrays of an npy or npz file, told apart by content."""
    with reading(file), file.open("rb") as opened:
        try:
            loaded = np.load(opened, allow_pickle=False)
            arrays = loaded if isinstance(loaded, np.ndarray) else {name: loaded[name] for name in loaded.files}
        except ValueError as error:
            if "pickle" not in str(error).lower():
                raise
            arrays = None
    if arrays is None:
        raise ValueError(
            f"{file} holds pickled (object) data, which is never loaded because it can run code; "
            "save plain numbers with numpy.save(..., allow_pickle=False)."
        )
    if isinstance(arrays, np.ndarray):
        return _array_columns(file, None, arrays)
    if not arrays:
        raise ValueError(f"{file} holds no arrays; save one array of records in it.")
    if len(arrays) == 1:
        ((name, array),) = arrays.items()
        return _array_columns(file, None if array.ndim != 1 or name == "arr_0" else name, array)
    lengths = {name: len(array) if array.ndim else 0 for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{name}: {length}" for name, length in lengths.items())
        raise ValueError(
            f"{file} holds arrays of different lengths ({listed}); keep one array, or arrays with one row per record."
        )
    return [column for name, array in arrays.items() for column in _array_columns(file, name, array)]


def _array_columns(file: Path, name: str | None, array: np.ndarray) -> Columns:
    """One numeric array as columns; fields of a structured array become named columns."""
    if array.dtype.names is not None and array.ndim == 1:
        return [column for field in array.dtype.names for column in _array_columns(file, field, array[field])]
    if array.dtype.kind not in "biuf":
        place = "" if name is None else f", array {name!r},"
        raise ValueError(
            f"{file}{place} has dtype {array.dtype}, which is not numeric; "
            "encode text, dates, complex numbers and objects as real numbers first."
        )
    if array.ndim == 0:
        raise ValueError(f"{file} holds a single number; save one row per record.")
    width = int(np.prod(array.shape[1:], dtype=np.int64))
    flat = array.reshape(len(array), width)
    if name is None:
        return [(None, flat)]
    if array.ndim == 1:
        return [(name, flat)]
    return [(f"{name} {place}", flat[:, place]) for place in range(width)]


def _stack(file: Path, columns: Columns) -> FloatArray:
    """All pieces side by side as float64 ``(n, d)``."""
    pieces = [np.asarray(array, dtype=np.float64).reshape(len(array), -1) for _, array in columns if len(array)]
    values = np.ascontiguousarray(np.concatenate(pieces, axis=1)) if pieces else np.empty((0, 0))
    if values.shape[0] == 0:
        raise ValueError(f"{file} has no rows; one row per record is needed.")
    if values.shape[1] == 0:
        raise ValueError(f"{file} has no columns; at least one number per record is needed.")
    return values


def _numbered(width: int) -> tuple[str, ...]:
    return tuple(f"column {place}" for place in range(width))


def _names(columns: Columns) -> tuple[str, ...]:
    """One name per final column."""
    names: list[str] = []
    for name, array in columns:
        for _ in range(1 if array.ndim == 1 else array.shape[1]):
            names.append(name if name else f"column {len(names)}")
    return tuple(names)


def _finite(file: Path, values: FloatArray, columns: Columns) -> FloatArray:
    """The values if all are finite; otherwise an error with count, first row and column."""
    bad = ~np.isfinite(values).all(axis=1)
    if bad.any():
        row = int(np.argmax(bad))
        column = int(np.argmax(~np.isfinite(values[row])))
        raise ValueError(
            f"{file} has NaN or infinity in {int(bad.sum())} of {len(values)} rows, first in row {row} "
            f"(counting from 0), column {_names(columns)[column]!r}: {values[row, column]}. "
            "Remove or impute these rows first."
        )
    return values


def _read_table(read: Callable[[Path], Columns]) -> Callable[[Path], Columns]:
    """A table reader that warns about what looks like a row index."""

    def reader(file: Path) -> Columns:
        columns = read(file)
        if len(columns) > 1 and columns[0][0] == "":
            warnings.warn(
                f"{file}: the first column has no name and is kept as 'column 0'; "
                "if it is a row index, remove it, since a row number is not a feature.",
                UserWarning,
                stacklevel=4,
            )
        return columns

    return reader


_READERS: dict[str, Callable[[Path], Columns]] = {
    ".npy": _read_numpy,
    ".npz": _read_numpy,
    ".csv": _read_table(read_csv),
    ".parquet": _read_table(read_parquet),
    ".arrow": _read_table(read_arrow),
    ".feather": _read_table(read_arrow),
}
