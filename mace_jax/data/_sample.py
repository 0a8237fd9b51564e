"""MembershipSample: query outputs of members and of non-members, checked once at construction."""

from __future__ import annotations

import dataclasses
from typing import Any

from mace_jax import _validate
from mace_jax._types import FloatArray

__all__ = ["MembershipSample"]


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class MembershipSample:
    """What the adversary sees of the model on records it was and was not trained on.

    Args:
        members: Query outputs of training records, ``(n, q)`` or ``(n,)``; any unit, higher = more member-like for
            scalar scores.
        nonmembers: Query outputs of held-out records from the same source, ``(m, q)`` or ``(m,)``.

    Both are stored as float64 arrays of two dimensions.

    Raises:
        TypeError: an array is not numeric.
        ValueError: fewer than 2 rows, NaN or infinity (the first row is named), or different widths.

    Example:
        >>> sample = MembershipSample([0.9, 0.8, 0.4], [0.1, 0.5])
        >>> sample
        MembershipSample(members=(3, 1), nonmembers=(2, 1))
    """

    members: FloatArray
    nonmembers: FloatArray

    def __init__(self, members: Any, nonmembers: Any) -> None:
        first = _validate.finite(members=_validate.min_rows(2, members=_validate.as_records(members=members)))
        second = _validate.finite(
            nonmembers=_validate.min_rows(2, nonmembers=_validate.as_records(nonmembers=nonmembers))
        )
        _validate.same_features(members=first, nonmembers=second)
        object.__setattr__(self, "members", first)
        object.__setattr__(self, "nonmembers", second)

    @property
    def n_outputs(self) -> int:
        """Number of query outputs q per record."""
        return self.members.shape[1]

    def __repr__(self) -> str:
        return f"MembershipSample(members={self.members.shape}, nonmembers={self.nonmembers.shape})"

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, ready for JSON."""
        return {"members": self.members.tolist(), "nonmembers": self.nonmembers.tolist()}
