"""Tables read through Arrow: csv, parquet, arrow and feather as numeric columns. The only user of pyarrow."""

from __future__ import annotations

import csv
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pyarrow

__all__ = ["read_arrow", "read_csv", "read_parquet"]

_MISSING = frozenset({"", "na", "n/a", "nan", "null", "-nan", "#n/a"})


def read_csv(file: Path) -> list[tuple[str | None, np.ndarray]]:
    """Columns of a csv file; the first line is a header if any of its fields is not a number."""
    import pyarrow
    import pyarrow.csv

    delimiter, first = _first_line(file)
    header = not all(_is_number(field) for field in first)
    if not header and len(first) > 2 and [field.strip() for field in first] == [str(i) for i in range(len(first))]:
        warnings.warn(
            f"{file}: the first line counts 0, 1, 2, ... and is read as a record; "
            "if it numbers the columns, remove it.",
            UserWarning,
            stacklevel=4,
        )

    def read(threads: bool) -> Any:
        return pyarrow.csv.read_csv(
            str(file),
            read_options=pyarrow.csv.ReadOptions(use_threads=threads, autogenerate_column_names=not header),
            parse_options=pyarrow.csv.ParseOptions(delimiter=delimiter),
        )

    try:
        table = read(True)
    except pyarrow.ArrowInvalid:
        try:
            table = read(False)  # single-threaded reading knows the line number
        except pyarrow.ArrowInvalid as error:
            reason = str(error).removeprefix("CSV parse error: ").rstrip(".")
            raise ValueError(
                f"{file} cannot be read as csv (lines count from 1): {reason}. "
                "Give every line the same number of fields."
            ) from error
    return _columns(file, table, named=header)


def read_parquet(file: Path) -> list[tuple[str | None, np.ndarray]]:
    """Columns of one parquet file; a stored pandas index is left out."""
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(str(file)) as opened:
            table = opened.read()
    except (pyarrow.ArrowException, OSError) as error:
        raise _unreadable(file, error) from error
    return _columns(file, table, named=True)


def read_arrow(file: Path) -> list[tuple[str | None, np.ndarray]]:
    """Columns of an Arrow file: the random-access form, feather, or a stream."""
    import pyarrow
    import pyarrow.feather
    import pyarrow.ipc

    try:
        table = pyarrow.feather.read_table(str(file))
    except pyarrow.ArrowInvalid:
        try:
            with pyarrow.OSFile(str(file)) as source:
                table = pyarrow.ipc.open_stream(source).read_all()
        except (pyarrow.ArrowException, OSError) as error:
            raise _unreadable(file, error) from error
    return _columns(file, table, named=True)


def _unreadable(file: Path, error: Exception) -> Exception:
    if isinstance(error, PermissionError):
        return error
    return ValueError(f"{file} cannot be read as {file.suffix.lower()[1:]}: {error}. Write the file again.")


def _first_line(file: Path) -> tuple[str, list[str]]:
    """The delimiter and the fields of the first line that is not blank."""
    with file.open("r", encoding="utf-8-sig", errors="replace", newline="") as lines:
        line = next((line for line in lines if line.strip()), "")
    if not line:
        raise ValueError(f"{file} holds only blank lines; write the records to it first.")
    delimiter = next((mark for mark in ",;\t" if mark in line), ",")
    return delimiter, next(csv.reader([line], delimiter=delimiter))


def _is_number(field: str) -> bool:
    if field.strip().lower() in _MISSING:
        return True
    try:
        float(field)
    except ValueError:
        return False
    return "_" not in field


def _columns(file: Path, table: pyarrow.Table, *, named: bool) -> list[tuple[str | None, np.ndarray]]:
    """Every column as float64, or an error that names the column and the first bad row."""
    columns: list[tuple[str | None, np.ndarray]] = []
    for place, name in enumerate(table.column_names):
        if name.startswith("__index_level_"):  # where pandas keeps its row index
            continue
        label = repr(name) if named and name else f"{place}"
        columns.append((name if named else None, _numbers(file, label, table.column(place))))
    return columns


def _numbers(file: Path, label: str, column: pyarrow.ChunkedArray) -> np.ndarray:
    """One Arrow column as float64."""
    import pyarrow.types as types

    if types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    kind = column.type
    numeric = types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind) or types.is_boolean(kind)
    if not numeric and not types.is_null(kind):
        row, value = _first_bad(column)
        raise ValueError(
            f"{file}: column {label} is not numeric (type {kind}), first in row {row} (counting from 0): {value!r}. "
            "Encode it as numbers or leave the column out."
        )
    if column.null_count:
        row = int(np.argmax(column.is_null().to_numpy()))
        raise ValueError(
            f"{file}: column {label} has {column.null_count} missing values in {len(column)} rows, "
            f"first in row {row} (counting from 0). Remove or impute these rows first."
        )
    if types.is_boolean(kind):
        return column.to_numpy().astype(np.float64)
    if types.is_decimal(kind):
        column = column.cast("float64")
    return np.asarray(column.to_numpy(), dtype=np.float64)


def _first_bad(column: pyarrow.ChunkedArray) -> tuple[int, Any]:
    """The first entry that is neither missing nor a number."""
    row = 0
    for row, scalar in enumerate(column):
        value = scalar.as_py()
        text = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
        if value is not None and not (isinstance(text, str) and _is_number(text)):
            return row, text if not isinstance(text, str) or len(text) <= 40 else text[:40] + "..."
    return 0, column[0].as_py() if len(column) else None
