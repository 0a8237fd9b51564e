"""Group labels: integers or strings, one per record."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Groups", "as_groups", "look_up", "numbered", "plain", "same_kind"]

Groups = NDArray[Any]
"""int64 or strings, one per record."""


def as_groups(name: str, value: Any, n: int) -> Groups:
    """``(n,)`` int64 or strings; anything else names the argument."""
    if not hasattr(value, "__array__") and hasattr(value, "__dlpack__"):
        value = np.from_dlpack(value)
    array = np.asarray(value)
    if array.shape != (n,):
        raise ValueError(f"{name} has shape {array.shape}, but there are {n} records; pass one label per record.")
    if array.dtype.kind == "O" and all(isinstance(each, str) for each in array):
        array = array.astype(np.str_)
    if array.dtype.kind == "U":
        return array
    whole = array.dtype.kind in "biu" or (array.dtype.kind == "f" and bool((array == np.floor(array)).all()))
    if not whole:
        shown = array[0] if n else array.dtype
        raise TypeError(f"{name} must be whole numbers or strings, got {shown!r}; number the groups or name them.")
    return array.astype(np.int64)


def same_kind(**groups: Groups) -> None:
    """Numbers never equal strings, so a mixture would silently have no class in common."""
    (first, a), *others = groups.items()
    for name, b in others:
        if a.dtype.kind != b.dtype.kind:
            kinds = {"U": "strings", "i": "whole numbers"}
            raise TypeError(
                f"{first} are {kinds[a.dtype.kind]} but {name} are {kinds[b.dtype.kind]}; name classes in one way."
            )


def look_up(groups: Groups, classes: Groups) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Place of every label among the sorted ``classes``, and whether it is one of them."""
    place = np.minimum(np.searchsorted(classes, groups), len(classes) - 1)
    return place, classes[place] == groups


def numbered(groups: Groups) -> tuple[Groups, NDArray[np.intp]]:
    """The classes that occur, ascending, and the place of every label among them; counted, not sorted, if they can."""
    if groups.dtype.kind != "U" and len(groups):
        lowest, highest = int(groups.min()), int(groups.max())
        if highest - lowest < 4 * len(groups):
            occurs = np.bincount(groups - lowest) > 0
            return np.flatnonzero(occurs) + lowest, (np.cumsum(occurs) - 1)[groups - lowest]
    return np.unique(groups, return_inverse=True)


def plain(groups: Groups) -> list[int | str]:
    """Python values."""
    return groups.tolist()
