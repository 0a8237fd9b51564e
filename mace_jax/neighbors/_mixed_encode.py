"""Tables of numbers, dates and labels as plain columns, whatever library they come from."""

from __future__ import annotations

import dataclasses
import datetime
import numbers
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Column", "encode"]

_MISSING_TYPES = ("NAType", "NaTType")


@dataclasses.dataclass(frozen=True, eq=False)
class Column:
    """One column of both tables.

    A numeric one holds float64 with NaN where missing (dates and durations in seconds from a common origin); a
    categorical one int32 codes of levels shared by both tables, -1 where missing. ``unseen`` marks levels that the
    queries lack.
    """

    name: str
    numeric: bool
    x: NDArray[Any]
    y: NDArray[Any]
    unseen: NDArray[np.bool_]


def encode(queries: Any, reference: Any, categorical: Collection[Any] | None) -> list[Column]:
    """Columns of both tables, numeric ones first, in the order of the reference."""
    tables = {"queries": _columns_of(queries, "queries"), "reference": _columns_of(reference, "reference")}
    x, y = tables["queries"], tables["reference"]
    if x.keys() != y.keys():
        only = [f"only in {name}: {sorted(ours)}" for name, ours in _differences(x, y) if ours]
        raise ValueError(f"queries and reference must have the same columns; {'; '.join(only)}.")
    chosen = None if categorical is None else _named(categorical, list(y))
    encoded = [_column(name, x[name], y[name], chosen) for name in y]
    return sorted(encoded, key=lambda column: not column.numeric)


def _differences(x: Mapping[str, Any], y: Mapping[str, Any]):
    return (("queries", x.keys() - y.keys()), ("reference", y.keys() - x.keys()))


def _named(categorical: Collection[Any], names: list[str]) -> set[str]:
    """The chosen columns by name; a whole number counts columns from 0."""
    if isinstance(categorical, str):
        raise TypeError(f"categorical={categorical!r} must be a list of column names or numbers.")
    chosen = set()
    for entry in categorical:
        known = str(entry)
        if known not in names and isinstance(entry, numbers.Integral) and 0 <= int(entry) < len(names):
            known = names[int(entry)]
        if known not in names:
            raise ValueError(f"categorical names the column {entry!r}, which is not one of {names}.")
        chosen.add(known)
    return chosen


def _columns_of(table: Any, argument: str) -> dict[str, NDArray[Any]]:
    """A mapping, structured or 2-D array, pandas, polars or pyarrow table as named 1-D arrays of one length."""
    if isinstance(table, Mapping):
        pairs = [(name, table[name]) for name in table]
    elif hasattr(table, "column_names") and hasattr(table, "column"):  # pyarrow
        pairs = [(name, table.column(index)) for index, name in enumerate(table.column_names)]
    elif hasattr(table, "columns") and hasattr(table, "__getitem__"):  # pandas, polars
        names = list(table.columns)
        pairs = [(name, table[name]) for name in names] if len(set(names)) == len(names) else [(n, None) for n in names]
    else:
        array = np.asarray(table)
        if array.dtype.names is not None:
            pairs = [(name, array[name]) for name in array.dtype.names]
        elif array.ndim == 2:
            pairs = [(f"column {j}", array[:, j]) for j in range(array.shape[1])]
        else:
            raise TypeError(
                f"{argument} of type {type(table).__name__} is not a table; pass a mapping of columns, a structured or "
                "2-D array, or a pandas, polars or pyarrow table."
            )
    names = [str(name) for name, _ in pairs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"{argument} has more than one column named {twice}; rename them.")
    if not names:
        raise ValueError(f"{argument} has no columns.")
    columns = {name: _array_of(values, argument, name) for name, (_, values) in zip(names, pairs, strict=True)}
    lengths = {len(column) for column in columns.values()}
    if len(lengths) > 1:
        raise ValueError(f"{argument} has columns of different lengths: {sorted(lengths)}.")
    if lengths == {0}:
        raise ValueError(f"{argument} has no rows.")
    return columns


def _array_of(values: Any, argument: str, name: str) -> NDArray[Any]:
    """One column as a NumPy array of one dimension."""
    if hasattr(values, "chunks") and hasattr(values, "to_numpy"):  # pyarrow
        array = values.to_numpy()
    elif hasattr(values, "to_numpy"):
        array = values.to_numpy()
    elif hasattr(values, "__array__"):
        array = np.asarray(values)
    else:
        values = list(values)
        plain = all(_is_number(value) for value in values)
        array = np.asarray(values) if plain else np.fromiter(values, object, len(values))
    if array.ndim != 1:
        raise ValueError(f"column {name!r} of {argument} has shape {array.shape}; pass one value per row.")
    return array


def _is_number(value: Any) -> bool:
    """A number that is no truth value."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool | np.bool_)


def _is_missing(value: Any) -> bool:
    if value is None or type(value).__name__ in _MISSING_TYPES:
        return True
    if isinstance(value, np.datetime64 | np.timedelta64):
        return bool(np.isnat(value))
    return isinstance(value, numbers.Real) and value != value


def _kind(array: NDArray[Any]) -> str:
    """``number``, ``date``, ``duration``, ``label`` or ``unknown`` (nothing but missing values)."""
    if array.dtype.kind in "iuf":
        return "number" if array.dtype.kind != "f" or not np.isnan(array).all() else "unknown"
    if array.dtype.kind in "mM":
        return "date" if array.dtype.kind == "M" else "duration"
    if array.dtype.kind != "O":
        return "label"
    values = array.tolist()

    def present(one: type) -> Any:
        """A value of this type that is not missing, if there is one."""
        return next((value for value in values if type(value) is one and not _is_missing(value)), None)

    # The type of a value tells its kind.
    kinds = {_kind_of_value(value) for value in map(present, set(map(type, values))) if value is not None}
    if not kinds:
        return "unknown"
    return kinds.pop() if len(kinds) == 1 else "label"


def _kind_of_value(value: Any) -> str:
    if _is_number(value):
        return "number"
    if isinstance(value, datetime.datetime | np.datetime64):
        return "date"
    return "duration" if isinstance(value, datetime.timedelta | np.timedelta64) else "label"


def _column(name: str, x: NDArray[Any], y: NDArray[Any], chosen: set[str] | None) -> Column:
    """Both sides of one column, of one kind."""
    kinds = {"queries": "label", "reference": "label"}
    if chosen is None or name not in chosen:
        kinds = {"queries": _kind(x), "reference": _kind(y)}
    known = set(kinds.values()) - {"unknown"}
    if len(known) > 1:
        raise TypeError(
            f"column {name!r} holds a {kinds['queries']} in queries but a {kinds['reference']} in reference; convert "
            "one of them or name the column in categorical."
        )
    kind = known.pop() if known else "number"
    if kind == "label" and chosen is not None and name not in chosen:
        raise TypeError(
            f"column {name!r} holds labels but is not named in categorical; add it or encode it as numbers."
        )
    if kind == "label":
        codes, unseen = _codes(name, x, y)
        return Column(name, False, codes[: len(x)], codes[len(x) :], unseen)
    if kind == "number":
        parts = [_numbers(part) for part in (x, y)]
    else:
        parts = _seconds(x, y, "M8[ns]" if kind == "date" else "m8[ns]")
    for argument, part in zip(("queries", "reference"), parts, strict=True):
        if np.isinf(part).any():
            row = int(np.argmax(np.isinf(part)))
            raise ValueError(
                f"column {name!r} of {argument} holds infinity in row {row} (from 0); remove or replace it."
            )
    return Column(name, True, parts[0], parts[1], np.zeros(0, bool))


def _numbers(part: NDArray[Any]) -> NDArray[np.float64]:
    if part.dtype.kind in "iuf":
        return part.astype(np.float64)
    return np.array([np.nan if _is_missing(value) else float(value) for value in part.tolist()], np.float64)


def _seconds(x: NDArray[Any], y: NDArray[Any], dtype: str) -> list[NDArray[np.float64]]:
    """Seconds from the earliest entry of both, counted in whole nanoseconds before they become floats."""
    parts = []
    for part in (x, y):
        if part.dtype.kind not in "mM":
            stamps = np.full(len(part), "NaT", dtype)
            for row, value in enumerate(part.tolist()):
                if not _is_missing(value):
                    stamps[row] = value
            part = stamps
        parts.append(part.astype(dtype))
    stamps = np.concatenate(parts).view(np.int64)
    missing = np.isnat(np.concatenate(parts))
    origin = stamps[~missing].min() if not missing.all() else np.int64(0)
    seconds = np.where(missing, np.nan, (stamps - origin) / 1e9)
    return [seconds[: len(x)], seconds[len(x) :]]


def _codes(name: str, x: NDArray[Any], y: NDArray[Any]) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """Codes of the pooled column, -1 for missing; and which levels the queries lack."""
    try:
        sides = [part.tolist() if part.dtype.kind not in "mM" else list(part) for part in (x, y)]
        in_queries = dict.fromkeys(sides[0])
        levels = {level: code for code, level in enumerate(dict.fromkeys(sides[1], None) | in_queries)}
    except TypeError as error:
        raise TypeError(f"column {name!r} holds entries that cannot be compared as labels: {error}.") from None
    codes = np.concatenate([np.fromiter(map(levels.__getitem__, side), np.int32, len(side)) for side in sides])
    missing = np.array([_is_missing(level) for level in levels], bool)
    mapped = np.where(missing, -1, np.cumsum(~missing) - 1).astype(np.int32)
    unseen = np.array([level not in in_queries for level in levels], bool)[~missing]
    return mapped[codes], unseen
