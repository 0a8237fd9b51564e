"""IndividualRisk: the membership posterior of every record, with intervals and q-values."""

from __future__ import annotations

import dataclasses
from typing import Any

from mace_jax._types import FloatArray

__all__ = ["IndividualRisk", "RecordRisks"]


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class RecordRisks:
    """Risks of one group of records, in the order the records came in; every array is ``(n,)``."""

    posterior: FloatArray  # P(member | query output) at the stated prior
    log_ratio: FloatArray  # ln f(output | member) / f(output | non-member), nats; free of the prior
    low: FloatArray  # Clopper-Pearson limits of the posterior, local counting error only
    high: FloatArray
    q_value: FloatArray  # Benjamini-Hochberg over all records: is the neighborhood richer in members than chance?

    def to_dict(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name).tolist() for field in dataclasses.fields(self)}

    def __repr__(self) -> str:
        return f"RecordRisks({len(self.posterior)} records)"


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class IndividualRisk:
    """Posterior membership probability of each record given its query output under this model.

    It is neither a per-record worst case nor the risk over retrainings.
    """

    members: RecordRisks
    nonmembers: RecordRisks
    prior: float
    confidence_level: float
    n_neighbors: int

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, ready for JSON."""
        return {
            "members": self.members.to_dict(),
            "nonmembers": self.nonmembers.to_dict(),
            "prior": self.prior,
            "confidence_level": self.confidence_level,
            "n_neighbors": self.n_neighbors,
        }

    def __repr__(self) -> str:
        top = float(self.members.posterior.max())
        return f"IndividualRisk({self.members!r}, {self.nonmembers!r}, prior={self.prior}, highest={top:.3f})"
