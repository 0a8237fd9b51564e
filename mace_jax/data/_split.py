"""Random splits: folds dealt evenly within each class, and disjoint index sets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mace_jax import _validate
from mace_jax._random import generator
from mace_jax._types import Seed

__all__ = ["split_records", "stratified_folds"]


def stratified_folds(
    n_members: int, n_nonmembers: int, n_folds: int, *, seed: Seed
) -> tuple[NDArray[np.int8], NDArray[np.int8]]:
    """Deal members and nonmembers into folds, each class as evenly as its count allows.

    Every assignment with these fold sizes is equally likely, so a fold is a simple random sample of its class.
    Folds that are one record short among the members are the first to receive an extra nonmember.

    Args:
        n_members: Number of members, at least ``n_folds``.
        n_nonmembers: Number of nonmembers, at least ``n_folds``.
        n_folds: Number of folds, 2 to 127.
        seed: Decides the assignment.

    Returns:
        The fold of every member and of every nonmember, 0 to ``n_folds - 1``.

    Raises:
        ValueError: a class has fewer records than there are folds, or ``n_folds`` is out of range.

    Example:
        >>> members, nonmembers = stratified_folds(5, 4, 2, seed=0)
        >>> sorted(members.tolist()), sorted(nonmembers.tolist())
        ([0, 0, 0, 1, 1], [0, 0, 1, 1])
    """
    n_folds = _validate.positive_int(minimum=2, n_folds=n_folds)
    if n_folds > np.iinfo(np.int8).max:
        raise ValueError(f"n_folds={n_folds} must be at most {np.iinfo(np.int8).max}.")
    n_members = _validate.positive_int(minimum=n_folds, n_members=n_members)
    n_nonmembers = _validate.positive_int(minimum=n_folds, n_nonmembers=n_nonmembers)
    members = (np.arange(n_members) % n_folds).astype(np.int8)
    nonmembers = ((np.arange(n_nonmembers) + n_members) % n_folds).astype(np.int8)
    return (
        generator(seed, "folds", "members").permutation(members),
        generator(seed, "folds", "nonmembers").permutation(nonmembers),
    )


def split_records(n: int, sizes: Sequence[int], *, seed: Seed) -> tuple[NDArray[np.int64], ...]:
    """Draw disjoint index sets of the given sizes out of ``n`` records, uniformly at random.

    Args:
        n: Number of records to split.
        sizes: Size of each set; they add up to at most ``n``.
        seed: Decides the split.

    Returns:
        One ascending index array per size.

    Raises:
        ValueError: a size is below 1, or the sizes add up to more than ``n``.

    Example:
        >>> members, nonmembers = split_records(10, (4, 3), seed=0)
        >>> len(members), len(nonmembers), len(set(members) & set(nonmembers))
        (4, 3, 0)
    """
    n = _validate.positive_int(n=n)
    checked = [_validate.positive_int(size=size) for size in sizes]
    if sum(checked) > n:
        raise ValueError(f"sizes={tuple(sizes)!r} add up to {sum(checked)}, more than the {n} records there are.")
    order = generator(seed, "split").permutation(n)
    edges = np.cumsum([0, *checked])
    return tuple(np.sort(order[low:high]) for low, high in zip(edges[:-1], edges[1:], strict=True))
