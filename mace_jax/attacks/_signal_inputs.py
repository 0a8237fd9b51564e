"""Checked outputs of a classifier: one row per record, one column per class, probabilities or logits."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal, final

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

__all__ = ["ROW_BLOCK", "Outputs", "as_outputs", "blocks"]

ROW_BLOCK = 1 << 19
"""Entries of a block of rows: what is computed at a time."""
SUM_TOLERANCE = 1e-3
"""How far the probabilities of a row may sum from 1: those of half precision or printed with four decimals pass."""
_LARGEST = 1e300


@final
@dataclasses.dataclass(frozen=True, eq=False)
class Outputs:
    """What a classifier said of n records; ``values`` are never copied and keep their dtype."""

    labels: NDArray[np.int64] | None  # (n,) column numbers
    values: NDArray[Any]  # (n, C)
    are_logits: bool


def as_outputs(labels: Any, probabilities: Any, logits: Any, *, label_free: bool = False) -> Outputs:
    """Check labels and exactly one kind of outputs."""
    if (probabilities is None) == (logits is None):
        raise ValueError("pass exactly one of probabilities and logits; which one it is cannot be told from numbers.")
    kind: Literal["probabilities", "logits"] = "logits" if probabilities is None else "probabilities"
    values = _matrix(kind, logits if probabilities is None else probabilities)
    (_check_logits if kind == "logits" else _check_probabilities)(values)
    if labels is None and label_free:
        return Outputs(None, values, kind == "logits")
    return Outputs(_columns(labels, values, kind), values, kind == "logits")


def blocks(n: int, n_classes: int) -> list[slice]:
    """Row ranges of at most ``ROW_BLOCK`` entries, of a power of two of rows each but the last."""
    step = 1 << max(0, (ROW_BLOCK // n_classes).bit_length() - 1)
    return [slice(start, min(n, start + step)) for start in range(0, n, step)]


def _matrix(name: str, value: Any) -> NDArray[Any]:
    if not hasattr(value, "__array__") and hasattr(value, "__dlpack__"):
        value = np.from_dlpack(value)
    array = np.asarray(value)
    if not (jnp.issubdtype(array.dtype, np.floating) or array.dtype.kind in "biu"):
        raise TypeError(f"{name} has dtype {array.dtype}; pass real numbers, one column per class.")
    if array.ndim == 1 or (array.ndim == 2 and array.shape[1] == 1):
        other = "1 - p, p" if name == "probabilities" else "np.zeros_like(z), z"
        raise ValueError(
            f"{name} has shape {array.shape}, one number per record; a binary classifier needs two columns too: pass "
            f"np.stack([{other}], axis=1), where the number belongs to class 1."
        )
    if array.ndim != 2 or 0 in array.shape:
        raise ValueError(f"{name} has shape {array.shape}; pass one row per record and one column per class.")
    return array


def _check_logits(values: NDArray[Any]) -> None:
    for rows in blocks(*values.shape):
        bad = ~(np.abs(values[rows].astype(np.float64)) <= _LARGEST).all(axis=1)
        if bad.any():
            row = rows.start + int(np.argmax(bad))
            raise ValueError(
                f"logits has NaN, infinity or a number beyond 1e300 in row {row} (counting from 0): {values[row]}; "
                "leave such rows out, and give a class that is never predicted a low finite logit such as -1000."
            )


def _check_probabilities(values: NDArray[Any]) -> None:
    for rows in blocks(*values.shape):
        block = values[rows].astype(np.float64)
        bad = ~((block >= 0.0) & (block <= 1.0)).all(axis=1)
        if bad.any():
            row = rows.start + int(np.argmax(bad))
            raise ValueError(
                f"probabilities must lie in [0, 1], but row {row} (counting from 0) is {values[row]}; if these are "
                "logits, pass them as logits=..."
            )
        total = block.sum(axis=1)
        bad = np.abs(total - 1.0) > SUM_TOLERANCE
        if bad.any():
            row = int(np.argmax(bad))
            raise ValueError(
                f"probabilities must sum to 1 within {SUM_TOLERANCE:g} in every row, but row {rows.start + row} "
                f"(counting from 0) sums to {total[row]:.6g}; divide every row by its sum if all classes are there."
            )


def _columns(labels: Any, values: NDArray[Any], kind: str) -> NDArray[np.int64]:
    if not hasattr(labels, "__array__") and hasattr(labels, "__dlpack__"):
        labels = np.from_dlpack(labels)
    array = np.asarray(labels)
    n, n_classes = values.shape
    if array.shape != (n,):
        hint = "; pass labels.argmax(axis=1) of one-hot rows" if array.shape == values.shape else ""
        raise ValueError(f"labels has shape {array.shape}, but {kind} has {n} rows; pass one label per record{hint}.")
    remedy = f"labels are column numbers of {kind}, 0 to {n_classes - 1}; look names up in your list of columns"
    if array.dtype.kind not in "biu" and not (array.dtype.kind == "f" and (array == np.floor(array)).all()):
        raise TypeError(f"labels has dtype {array.dtype}, for example {array[0]!r}; {remedy}.")
    bad = (array < 0) | (array >= n_classes)
    if bad.any():
        row = int(np.argmax(bad))
        raise ValueError(f"labels is {array[row]} in row {row} (counting from 0); {remedy}.")
    return array.astype(np.int64)
