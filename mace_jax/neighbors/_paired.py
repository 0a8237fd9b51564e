"""Both labels in one call: what every two-sample estimator reads."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from mace_jax import _validate
from mace_jax._types import FloatArray, pytree
from mace_jax.neighbors._base import AbstractNeighborBackend, Neighbors
from mace_jax.neighbors._blocks import checked_records
from mace_jax.neighbors._choose import resolve

__all__ = ["PairedNeighbors", "paired_knn"]


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

    One search per label, each of its rows against all pooled ones, so no pair of rows is looked at twice; every smaller
    ``k`` is a prefix. A row is left out of its own list by its id: other rows equal to it stay.

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
    return PairedNeighbors(
        among_members.search(pooled, members, k_max, exclude_ids=np.where(row < n, row, -1)),
        among_nonmembers.search(pooled, nonmembers, k_max, exclude_ids=np.where(row < n, -1, row - n)),
    )
