"""Tables read through Arrow: csv, parquet, arrow and feather as numeric columns. The only user of pyarrow."""

from __future__ import annotations

import contextlib
import csv
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pyarrow

__all__ = ["read_arrow", "read_csv", "read_parquet", "reading"]

_MISSING = frozenset({"", "na", "n/a", "nan", "null", "-nan", "#n/a"})


@contextlib.contextmanager
def reading(file: Path) -> Iterator[None]:
    """Whatever a parser makes of a broken file becomes one error that names the file."""
    try:
        yield
    except PermissionError:
        raise
    except Exception as error:  # parsers of damaged files raise errors of every type
        reason = str(error).removeprefix("CSV parse error: ").rstrip(".") or type(error).__name__
        raise ValueError(
            f"{file} cannot be read as {file.suffix.lower()[1:]}: {reason}. Check the file or write it again."
        ) from error


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

    with reading(file):
        try:
            table = read(True)
        except pyarrow.ArrowInvalid:
            table = read(False)  # reading with one thread knows the line number of a ragged row
        names = table.column_names
    return _columns(file, table, names if header else [None] * len(names))


def read_parquet(file: Path) -> list[tuple[str | None, np.ndarray]]:
    """Columns of one parquet file; a stored pandas index is left out."""
    import pyarrow.parquet

    with reading(file), pyarrow.parquet.ParquetFile(str(file)) as opened:
        table = opened.read()
        names = table.column_names
    return _columns(file, table, names)


def read_arrow(file: Path) -> list[tuple[str | None, np.ndarray]]:
    """Columns of an Arrow file: the random-access form, feather, or a stream."""
    import pyarrow
    import pyarrow.feather
    import pyarrow.ipc

    with reading(file):
        try:
            table = pyarrow.feather.read_table(str(file))
        except pyarrow.ArrowInvalid:
            with pyarrow.OSFile(str(file)) as source:
                table = pyarrow.ipc.open_stream(source).read_all()
        table.validate(full=True)
        names = table.column_names
    return _columns(file, table, names)


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


def _columns(file: Path, table: pyarrow.Table, names: Sequence[str | None]) -> list[tuple[str | None, np.ndarray]]:
    """Every column as float64, or an error that names the column and the first bad row."""
    return [
        (name, _numbers(file, repr(name) if name else str(place), table.column(place)))
        for place, name in enumerate(names)
        if not (name or "").startswith("__index_level_")  # where pandas keeps its row index
    ]


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
