"""Checks at the public door; every message names the argument, the value and what to do."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mace_jax._types import FloatArray

__all__ = [
    "as_records",
    "finite",
    "in_open_unit",
    "min_rows",
    "non_negative",
    "one_of",
    "positive_int",
    "probability",
    "same_features",
    "scores",
]


def _only(argument: dict[str, Any]) -> tuple[str, Any]:
    ((name, value),) = argument.items()
    return name, value


def _number(name: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be a number, got {value!r}.") from None


def in_open_unit(**argument: Any) -> float:
    """Return the value if it lies strictly between 0 and 1."""
    name, value = _only(argument)
    number = _number(name, value)
    if not 0.0 < number < 1.0:
        raise ValueError(f"{name}={value!r} must lie strictly between 0 and 1; pass for example {name}=0.5.")
    return number


def probability(**argument: Any) -> float:
    """Return the value if it lies in [0, 1)."""
    name, value = _only(argument)
    number = _number(name, value)
    if not 0.0 <= number < 1.0:
        raise ValueError(f"{name}={value!r} must be a probability in [0, 1); pass for example {name}=0.")
    return number


def non_negative(**argument: Any) -> float:
    """Return the value if it is finite and at least 0."""
    name, value = _only(argument)
    number = _number(name, value)
    if not (np.isfinite(number) and number >= 0.0):
        raise ValueError(f"{name}={value!r} must be a finite number of at least 0.")
    return number


def positive_int(*, minimum: int = 1, **argument: Any) -> int:
    """Return the value if it is an integer of at least ``minimum``."""
    name, value = _only(argument)
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {value!r}.") from None
    if number < minimum:
        raise ValueError(f"{name}={value!r} must be at least {minimum}.")
    return number


def as_records(**argument: Any) -> FloatArray:
    """Anything array-like as a C-contiguous float64 array ``(n, d)``; 1-D becomes one column.

    Records of a higher rank (images) are flattened per record.
    """
    name, value = _only(argument)
    if not hasattr(value, "__array__") and hasattr(value, "__dlpack__"):
        value = np.from_dlpack(value)
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        raise TypeError(
            f"{name} has dtype {array.dtype}, which is not numeric; encode text, dates and objects as numbers first."
        )
    if array.ndim == 0:
        raise ValueError(f"{name} is a single number; pass one row per record.")
    width = int(np.prod(array.shape[1:], dtype=np.int64))
    if array.ndim > 1 and width == 0:
        raise ValueError(f"{name} has shape {array.shape}: no columns; pass at least one number per record.")
    return np.ascontiguousarray(array.reshape(len(array), width), dtype=np.float64)


def finite(**argument: Any) -> FloatArray:
    """Return the records if no entry is NaN or infinite; the message counts and locates them."""
    name, array = _only(argument)
    bad = ~np.isfinite(array).all(axis=1)
    if bad.any():
        first = int(np.argmax(bad))
        column = int(np.argmax(~np.isfinite(array[first])))
        raise ValueError(
            f"{name} has NaN or infinity in {int(bad.sum())} of {len(array)} rows, first in row {first}, "
            f"column {column} (counting from 0): {array[first, column]}. Remove or impute these rows before the audit."
        )
    return array


def min_rows(minimum: int, **argument: Any) -> FloatArray:
    """Return the records if there are at least ``minimum`` rows."""
    name, array = _only(argument)
    if len(array) < minimum:
        raise ValueError(f"{name} has {len(array)} rows; at least {minimum} are needed.")
    return array


def same_features(**arguments: NDArray[Any]) -> None:
    """Check that two sets of records have the same number of columns."""
    (name_a, a), (name_b, b) = arguments.items()
    if a.shape[1] != b.shape[1]:
        raise ValueError(
            f"{name_a} has {a.shape[1]} columns but {name_b} has {b.shape[1]}; "
            "both must hold the same features in the same order."
        )


def scores(**argument: Any) -> FloatArray:
    """One finite number per record, as ``(n,)``."""
    name, value = _only(argument)
    array = finite(**{name: min_rows(1, **{name: as_records(**{name: value})})})
    if array.shape[1] != 1:
        raise ValueError(f"{name} must be one number per record, got shape {array.shape}; pass one column.")
    return np.ascontiguousarray(array[:, 0])


def one_of(choices: tuple[str, ...], **argument: Any) -> Any:
    """Return the value if it is one of the choices."""
    name, value = _only(argument)
    if value not in choices:
        raise ValueError(f"{name}={value!r} is not known; pass one of {', '.join(map(repr, choices))}.")
    return value
