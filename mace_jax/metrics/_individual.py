"""IndividualRisk: the membership posterior of every record, with intervals and q-values."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from scipy import special

from mace_jax import _validate
from mace_jax._types import FloatArray

__all__ = ["IndividualRisk", "RecordRisks"]


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class RecordRisks:
    """Risks of one group of records, in the order the records came in; every array is ``(n,)``."""

    posterior: FloatArray  # P(member | query output) at the stated prior
    log_ratio: FloatArray  # ln f(output | member) / f(output | non-member), nats; free of the prior
    low: FloatArray  # Clopper-Pearson limits of the posterior, local counting error only
    high: FloatArray
    q_value: FloatArray  # Benjamini-Hochberg over all records: is this output more frequent among members?

    @property
    def absolute_log_ratio(self) -> FloatArray:
        """|ln f(output | member) / f(output | non-member)|, nats: at most epsilon under pure differential privacy."""
        return np.abs(self.log_ratio)

    @property
    def advantage(self) -> FloatArray:
        """|2 eta - 1| with eta the posterior at prior one half; over equally many of both its mean is the advantage."""
        return np.abs(np.tanh(self.log_ratio / 2.0))

    def moved(self, old: float, new: float) -> RecordRisks:
        """The same with posterior and limits carried from one prior to another."""
        shift = special.logit(new) - special.logit(old)
        with np.errstate(divide="ignore"):
            low, high = (special.expit(special.logit(limit) + shift) for limit in (self.low, self.high))
        posterior = special.expit(self.log_ratio + special.logit(new))  # not from the old one, which may have rounded
        return dataclasses.replace(self, posterior=posterior, low=low, high=high)

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
    n_neighbors: int  # the most behind any posterior; 0 where none are counted

    def at_prior(self, prior: float) -> IndividualRisk:
        """The same at another prior, without refitting: logit eta' = logit eta + logit p' - logit p."""
        prior = _validate.in_open_unit(prior=prior)
        members, nonmembers = (group.moved(self.prior, prior) for group in (self.members, self.nonmembers))
        return dataclasses.replace(self, members=members, nonmembers=nonmembers, prior=prior)

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
