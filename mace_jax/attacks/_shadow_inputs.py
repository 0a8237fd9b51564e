"""Checks that attacks by shadow models share."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mace_jax._types import FloatArray

__all__ = ["finite_array", "independent", "membership"]


def finite_array(name: str, value: Any, shape: tuple[int | None, ...], what: str) -> FloatArray:
    """Finite numbers of a shape in float64; None in ``shape`` takes any length of at least 1."""
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name} has dtype {array.dtype}; pass numbers, {what}.")
    fits = array.ndim == len(shape) and all(
        length == wanted if wanted is not None else length >= 1
        for length, wanted in zip(array.shape, shape, strict=True)
    )
    if not fits:
        raise ValueError(f"{name} has shape {array.shape}; pass {what}.")
    array = array.astype(np.float64)
    bad = ~np.isfinite(array)
    if bad.any():
        first = tuple(int(place) for place in np.argwhere(bad)[0])
        raise ValueError(
            f"{name} has NaN or infinity in {int(bad.sum())} places, first {array[first]} at {first} (counting from "
            "0); compute it from logits, which do not saturate, and leave broken records out."
        )
    return array


def membership(name: str, value: Any, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Truth values of a shape; 0 and 1 are taken as such."""
    array = np.asarray(value)
    if array.shape != shape:
        raise ValueError(f"{name} has shape {array.shape}; pass truth values of shape {shape}.")
    if array.dtype != np.bool_ and not (array.dtype.kind in "iu" and ((array == 0) | (array == 1)).all()):
        raise TypeError(f"{name} must hold truth values, got dtype {array.dtype}; pass for example {name} > 0.")
    return array.astype(bool)


def independent(target: NDArray[np.bool_], included: NDArray[np.bool_], source: str) -> None:
    """A shadow model with the target's members, or with exactly all others, is an error: it knows the answer."""
    equal = (included == target).all(axis=1)
    opposite = (included != target).all(axis=1)
    for which, word in ((equal, "equals"), (opposite, "complements")):
        if which.any():
            raise ValueError(
                f"the membership of {source} {int(np.argmax(which))} {word} the target's: it gives the answer away; "
                f"leave {int(which.sum())} such models out of the attack."
            )
