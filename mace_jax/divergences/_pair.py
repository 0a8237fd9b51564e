"""Two checked samples with the neighbor lists of one paired search."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mace_jax import _validate
from mace_jax._status import Status
from mace_jax._types import FloatArray
from mace_jax.divergences._radius_search import along_a_tree, lists_at_p, radii
from mace_jax.neighbors import PairedNeighbors, paired_knn

__all__ = ["Pair", "Sample", "checked_pair", "known_method", "searched_pair"]

_FEW = 30
_MANY_FEATURES = 5
_COPIES = 0.01


@dataclasses.dataclass(frozen=True, eq=False)
class Pair:
    """P records ``(n, d)``, Q records ``(m, d)``, and for every pooled row its neighbors among both.

    A pair for a value alone has the lists of its P rows only; it is made for records without copies.
    """

    p: FloatArray
    q: FloatArray
    to_p: FloatArray  # (n + m, width) or (n, width) squared distances, ascending; no row is its own neighbor
    to_q: FloatArray
    searched: Status

    @property
    def n(self) -> int:
        return len(self.p)

    @property
    def m(self) -> int:
        return len(self.q)

    @property
    def d(self) -> int:
        return self.p.shape[1]

    @property
    def width(self) -> int:
        return self.to_p.shape[1]

    @property
    def at_q(self) -> bool:
        """Whether there are lists of the Q rows."""
        return len(self.to_p) > self.n

    @property
    def largest_k(self) -> int:
        return min(self.n, self.m) - 1

    @property
    def pooled(self) -> FloatArray:
        return np.concatenate([self.p, self.q])

    @property
    def copied(self) -> NDArray[np.bool_]:
        """Pooled rows that have an equal row elsewhere."""
        return (self.to_p[:, 0] == 0.0) | (self.to_q[:, 0] == 0.0)

    def has_atoms(self, k: int) -> bool:
        """A record in more than k places, or more than 1 % copies: no density to speak of."""
        return bool(
            (self.to_p[:, k - 1] == 0.0).any() or (self.to_q[:, k - 1] == 0.0).any() or self.copied.mean() > _COPIES
        )

    def status(self) -> Status:
        """Flags any estimator over these lists shares."""
        status = self.searched
        if min(self.n, self.m) < _FEW:
            status |= Status.TOO_FEW_SAMPLES
        if self.d >= _MANY_FEATURES:
            status |= Status.HIGH_DIMENSION
        if self.copied.any():
            status |= Status.ZERO_DISTANCE
        return status


@dataclasses.dataclass(frozen=True, eq=False)
class Sample:
    """Two sets of records, as ``paired_knn`` takes them."""

    members: FloatArray
    nonmembers: FloatArray


def checked_pair(p_samples: Any, q_samples: Any, *, minimum: int = 2) -> tuple[FloatArray, FloatArray]:
    """Both samples as finite float64 records of one width."""
    p = _validate.as_records(p_samples=p_samples)
    q = _validate.as_records(q_samples=q_samples)
    p = _validate.finite(p_samples=_validate.min_rows(minimum, p_samples=p))
    q = _validate.finite(q_samples=_validate.min_rows(minimum, q_samples=q))
    _validate.same_features(p_samples=p, q_samples=q)
    return p, q


def searched_pair(
    p_samples: Any,
    q_samples: Any,
    k: int,
    *,
    neighbors: PairedNeighbors | None,
    wider: int = 0,
    radii_only: bool = False,
    at_q: bool = True,
) -> Pair:
    """The pair with lists of at least ``k``; a new search makes them up to ``wider`` longer.

    ``radii_only`` allows distances that differ in the last digit, ``at_q=False`` lists of the P rows alone; records
    with copies get full lists all the same.
    """
    p, q = checked_pair(p_samples, q_samples, minimum=3)
    n, m = len(p), len(q)
    k = _validate.positive_int(k=k)
    if k > min(n, m) - 1:
        raise ValueError(
            f"k={k} is more than the {min(n, m) - 1} rows other than the record itself in the smaller sample "
            f"({n} and {m} rows); pass a smaller k or more rows."
        )
    back = slice(None)
    if neighbors is None:
        width, found = min(k + wider, min(n, m) - 1), None
        if radii_only:
            found = radii(p, q, width, at_q=at_q)
        if found is None and not at_q:
            found = lists_at_p(p, q, width)
        if found is not None:
            return Pair(p, q, found.to_p, found.to_q, found.searched & Status.UNCERTIFIED)
        orders = [along_a_tree(rows) for rows in (p, q)]
        back = np.argsort(np.concatenate([orders[0], n + orders[1]]))
        neighbors = paired_knn(Sample(p[orders[0]], q[orders[1]]), width)
    to_p = np.asarray(neighbors.to_members.squared_distances)[back]
    to_q = np.asarray(neighbors.to_nonmembers.squared_distances)[back]
    for name, lists in (("to_members", to_p), ("to_nonmembers", to_q)):
        if lists.shape[0] != n + m or lists.shape[1] < k:
            raise ValueError(
                f"neighbors.{name} has lists of shape {lists.shape}, but {n} + {m} records with k={k} need "
                f"({n + m}, at least {k}); pass paired_knn of the same two samples with k_max >= {k}."
            )
    status = Status(int(neighbors.to_members.status) | int(neighbors.to_nonmembers.status))
    return Pair(p, q, to_p, to_q, status & Status.UNCERTIFIED)


def known_method(method: str, known: tuple[str, ...]) -> str:
    """The method, if it is one of ``known``."""
    if method not in known:
        raise ValueError(f"method={method!r} is not known here; pass one of {', '.join(map(repr, known))}.")
    return method
