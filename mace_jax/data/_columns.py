"""A table from whatever library as named columns of one length, each of numbers or of labels."""

from __future__ import annotations

import numbers
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["columns_of", "is_missing", "labels_of", "numbers_of", "numeric"]

_MISSING_TYPES = ("NAType", "NaTType")


def columns_of(table: Any) -> dict[str, NDArray[Any]]:
    """A mapping, structured or 2-D array, pandas, polars or pyarrow table as 1-D arrays of one length."""
    if isinstance(table, Mapping):
        pairs = [(name, table[name]) for name in table]
    elif hasattr(table, "column_names") and hasattr(table, "column"):  # pyarrow
        pairs = [(name, table.column(place)) for place, name in enumerate(table.column_names)]
    elif hasattr(table, "columns") and hasattr(table, "__getitem__"):  # pandas, polars
        pairs = [(name, table[name]) for name in table.columns]
    else:
        array = np.asarray(table)
        if array.dtype.names is not None:
            pairs = [(name, array[name]) for name in array.dtype.names]
        elif array.ndim == 2:
            pairs = [(f"column {place}", array[:, place]) for place in range(array.shape[1])]
        else:
            raise TypeError(
                f"table of type {type(table).__name__} is not a table; pass a mapping of columns, a structured or "
                "2-D array, or a pandas, polars or pyarrow table."
            )
    names = [str(name) for name, _ in pairs]
    if not names:
        raise ValueError("table has no columns; pass at least one.")
    if len(set(names)) < len(names):
        raise ValueError(f"table has several columns named {next(n for n in names if names.count(n) > 1)!r}.")
    columns = {name: _array(name, values) for name, (_, values) in zip(names, pairs, strict=True)}
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"table has columns of different lengths: {lengths}.")
    return columns


def _array(name: str, values: Any) -> NDArray[Any]:
    """One column; a list keeps its Python values unless all are numbers."""
    if hasattr(values, "to_numpy"):
        array = np.asarray(values.to_numpy())
    elif hasattr(values, "__array__"):
        array = np.asarray(values)
    else:
        entries = list(values)
        array = np.empty(len(entries), dtype=object)
        array[:] = entries
        if entries and all(_is_number(entry) for entry in entries):
            array = np.asarray(entries)
    if array.ndim != 1:
        raise ValueError(f"column {name!r} has shape {array.shape}; pass one value per row.")
    return array


def _is_number(value: Any) -> bool:
    """A number that is no truth value."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool | np.bool_)


def is_missing(value: Any) -> bool:
    """None, NaN, or what table libraries use for them."""
    if value is None or type(value).__name__ in _MISSING_TYPES:
        return True
    return isinstance(value, numbers.Real) and value != value


def numeric(name: str, column: NDArray[Any], categorical: Collection[str]) -> bool:
    """Whether a column holds numbers; text and truth values are labels, and so is every column in ``categorical``."""
    if name in categorical or column.dtype.kind in "bUT":
        return False
    if column.dtype.kind in "iuf":
        return True
    if column.dtype.kind == "O":
        kinds = {"number" if _is_number(v) else type(v).__name__ for v in column.tolist() if not is_missing(v)}
        if kinds <= {"str", "bool"} and len(kinds) <= 1:
            return False
        if kinds == {"number"}:
            return True
        raise TypeError(
            f"column {name!r} holds values of several or unknown types ({', '.join(sorted(kinds))}); convert it to "
            "numbers or text."
        )
    raise TypeError(f"column {name!r} has dtype {column.dtype}; convert it to numbers or text.")


def numbers_of(name: str, column: NDArray[Any]) -> NDArray[np.float64]:
    """Numbers as float64, NaN where missing."""
    if column.dtype.kind in "iuf":
        values = column.astype(np.float64)
    elif column.dtype.kind == "O":
        entries = column.tolist()
        wrong = next((v for v in entries if not (is_missing(v) or _is_number(v))), None)
        if wrong is not None:
            raise TypeError(f"column {name!r} holds numbers, but one entry is {wrong!r}.")
        values = np.array([np.nan if is_missing(v) else float(v) for v in entries], dtype=np.float64)
    else:
        raise TypeError(f"column {name!r} holds numbers, but this table has dtype {column.dtype} there.")
    if np.isinf(values).any():
        row = int(np.argmax(np.isinf(values)))
        raise ValueError(f"column {name!r} holds infinity in row {row} (counting from 0); remove or replace it.")
    return values


def labels_of(name: str, column: NDArray[Any]) -> list[Any]:
    """Labels as Python values of one type, None where missing."""
    entries = [None if is_missing(v) else v for v in column.tolist()]
    kinds = {type(v) for v in entries if v is not None}
    if not kinds <= {str, bool, int, float} or len(kinds) > 1:
        names = ", ".join(sorted(kind.__name__ for kind in kinds))
        raise TypeError(f"column {name!r} holds labels of the types {names}; make them all text.")
    return entries
