"""Both labels in one call: what every two-sample estimator reads."""

from __future__ import annotations

import functools
from typing import Any, Protocol

import numpy as np

from mace_jax import _validate
from mace_jax._types import FloatArray, pytree
from mace_jax.neighbors._base import AbstractNeighborBackend, Neighbors
from mace_jax.neighbors._blocks import checked_records
from mace_jax.neighbors._choose import resolve
from mace_jax.neighbors._exact import ExactBackend

__all__ = ["PairedNeighbors", "paired_knn"]

_FEWEST, _DEVIATIONS = 8, 5.0


class _Sample(Protocol):
    """Two sets of records, such as a ``MembershipSample``."""

    @property
    def members(self) -> FloatArray: ...

    @property
    def nonmembers(self) -> FloatArray: ...


@pytree
class PairedNeighbors:
    """Nearest members and nearest nonmembers of every pooled row, members first; no row is its own neighbor.

    Attributes:
        to_members: ``Neighbors`` of the ``n + m`` pooled rows among the ``n`` members.
        to_nonmembers: ``Neighbors`` of the pooled rows among the ``m`` nonmembers.
    """

    to_members: Neighbors
    to_nonmembers: Neighbors

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, ready for JSON."""
        return {"to_members": self.to_members.to_dict(), "to_nonmembers": self.to_nonmembers.to_dict()}


def paired_knn(sample: _Sample, k_max: int, *, backend: str | AbstractNeighborBackend = "auto") -> PairedNeighbors:
    """The ``k_max`` nearest members and the ``k_max`` nearest nonmembers of every row of a sample.

    One search per label, each of its rows against all pooled ones, so no pair of rows is looked at twice; distances to
    members tell the second how far to look first. Every smaller ``k`` is a prefix. A row is left out of its own list
    by its id: other rows equal to it stay.

    Args:
        sample: Anything with ``members (n, d)`` and ``nonmembers (m, d)``.
        k_max: Neighbors per label, at most ``min(n, m) - 1``.
        backend: as in ``knn``.

    Returns:
        ``PairedNeighbors``; indices count from 0 within each label.

    Raises:
        TypeError: an array is not numeric or ``k_max`` is not an integer.
        ValueError: records are empty, not finite or of different widths, or ``k_max`` does not fit.

    Example:
        >>> from mace_jax.data import MembershipSample
        >>> found = paired_knn(MembershipSample([0.0, 1.0, 5.0], [0.5, 4.0]), 1)
        >>> found.to_members.indices[:, 0].tolist(), found.to_nonmembers.indices[:, 0].tolist()
        ([1, 0, 1, 0, 2], [0, 0, 1, 1, 0])
    """
    members = checked_records("members", sample.members)
    nonmembers = checked_records("nonmembers", sample.nonmembers)
    _validate.same_features(members=members, nonmembers=nonmembers)
    k_max = _validate.positive_int(k_max=k_max)
    n, m = len(members), len(nonmembers)
    if k_max > min(n, m) - 1:
        raise ValueError(
            f"k_max={k_max} is more than the {min(n, m) - 1} rows other than the query itself in the smaller label "
            f"({n} members, {m} nonmembers); pass a smaller k_max or more rows."
        )
    pooled = np.concatenate([members, nonmembers])
    row = np.arange(n + m)
    among_members = resolve(backend, n + m, n, pooled.shape[1], k_max)
    among_nonmembers = resolve(backend, n + m, m, pooled.shape[1], k_max)
    to_members = among_members.search(pooled, members, k_max, exclude_ids=np.where(row < n, row, -1))
    search = among_nonmembers.search
    if isinstance(among_nonmembers, ExactBackend) and k_max >= _FEWEST:
        search = functools.partial(among_nonmembers.search, reach=_reach(to_members.squared_distances, m / n))
    return PairedNeighbors(to_members, search(pooled, nonmembers, k_max, exclude_ids=np.where(row < n, -1, row - n)))


def _reach(squared: FloatArray, ratio: float) -> FloatArray:
    """Squared distances within which ``k`` rows most probably lie of ``ratio`` times as many rows, spread alike.

    ``squared (n, k)`` are those of the nearest. Counts grow by a power of the radius, which each list itself tells, or
    by the median power where that is slower: the distance goes to where ``k`` and five standard deviations are due.
    """
    k = squared.shape[1]
    due = max(1.0, (k + _DEVIATIONS * np.sqrt(k)) / (k * ratio))
    reach = np.full(len(squared), np.inf)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        power = np.log(squared[:, -1] / squared[:, k // 2 - 1]) / np.log(k / (k // 2))
        known = np.isfinite(power)
        if known.any():
            reach[known] = squared[known, -1] * due ** np.maximum(power[known], np.median(power[known]))
    return reach
