"""Checks shared by the measures of utility."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mace_jax import _validate
from mace_jax._types import FloatArray

__all__ = ["Features", "checked_labels", "pair"]

Features = Callable[[FloatArray], Any]


def pair(real: Any, synthetic: Any, minimum: int, features: Features | None) -> tuple[FloatArray, FloatArray]:
    """Both sets of records, finite and of one width, or their features."""
    found = []
    for name, value in (("real", real), ("synthetic", synthetic)):
        array = _validate.finite(**{name: _validate.min_rows(minimum, **{name: _validate.as_records(**{name: value})})})
        found.append(array)
    _validate.same_features(real=found[0], synthetic=found[1])
    if features is None:
        return found[0], found[1]
    if not callable(features):
        raise TypeError(f"features={features!r} must be a function of records, such as ClassifierFeatures.fit(...).")
    mapped = []
    for name, array in zip(("real", "synthetic"), found, strict=True):
        label = f"features({name})"
        values = _validate.finite(**{label: _validate.as_records(**{label: features(array)})})
        if len(values) != len(array):
            raise ValueError(f"{label} returned {len(values)} rows for {len(array)} records; it must return one each.")
        mapped.append(values)
    return mapped[0], mapped[1]


def checked_labels(n: int, **labels: Any) -> NDArray[Any]:
    """One label per record: whole numbers, truth values or text."""
    ((name, value),) = labels.items()
    array = np.asarray(value)
    if array.dtype.kind == "O":
        array = np.asarray([str(entry) for entry in array.ravel()]).reshape(array.shape)
    if array.dtype.kind == "f" and np.array_equal(array, np.round(array)):
        array = array.astype(np.int64)
    if array.dtype.kind not in "iubU":
        raise TypeError(f"{name} has dtype {array.dtype}; pass one whole number or text per record.")
    if array.shape != (n,):
        raise ValueError(f"{name} has shape {array.shape}; pass one label for each of the {n} records.")
    return array
