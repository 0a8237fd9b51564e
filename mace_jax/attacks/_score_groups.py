"""Groups of records to report apart: all, the records of each class, and slices by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from mace_jax.attacks._groups import as_groups, plain, same_kind

__all__ = ["Masks", "groups_of"]

Masks = tuple[np.ndarray, np.ndarray]
"""Which members and which non-members belong to a group."""


def groups_of(
    sizes: Sequence[int],
    member_labels: ArrayLike | None,
    nonmember_labels: ArrayLike | None,
    slices: Mapping[str, tuple[ArrayLike, ArrayLike]] | None,
) -> dict[str, Masks]:
    """Masks of ``"all"``, of ``"class 3"`` and the like, and of each slice; ``sizes`` are those of the two sides.

    Raises:
        TypeError: labels that are neither whole numbers nor strings, or some of either.
        ValueError: labels of one side alone, labels or masks of another length, or a slice with a name that is taken.
    """
    groups: dict[str, Masks] = {"all": (np.ones(sizes[0], bool), np.ones(sizes[1], bool))}
    groups.update(_classes(sizes, member_labels, nonmember_labels))
    for name, masks in (slices or {}).items():
        if name in groups:
            raise ValueError(f"slices has the name {name!r}, which is taken; choose another.")
        groups[name] = _checked(name, sizes, masks)
    return groups


def _classes(
    sizes: Sequence[int], member_labels: ArrayLike | None, nonmember_labels: ArrayLike | None
) -> dict[str, Masks]:
    if member_labels is None and nonmember_labels is None:
        return {}
    if member_labels is None or nonmember_labels is None:
        raise ValueError("member_labels and nonmember_labels go together; pass both or neither.")
    ours = as_groups("member_labels", member_labels, sizes[0])
    theirs = as_groups("nonmember_labels", nonmember_labels, sizes[1])
    same_kind(member_labels=ours, nonmember_labels=theirs)
    return {f"class {one}": (ours == one, theirs == one) for one in plain(np.union1d(ours, theirs))}


def _checked(name: str, sizes: Sequence[int], masks: tuple[ArrayLike, ArrayLike]) -> Masks:
    found = tuple(np.asarray(mask) for mask in masks)
    if len(found) != 2 or any(
        mask.dtype != bool or mask.shape != (size,) for mask, size in zip(found, sizes, strict=True)
    ):
        raise ValueError(f"slices[{name!r}] must be two masks of bool, one entry per member and per non-member.")
    return found[0], found[1]
