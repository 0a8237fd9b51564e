"""BootstrapResult: an interval and the replicates behind it."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from mace_jax._status import Status
from mace_jax._types import FloatArray

__all__ = ["BootstrapResult"]


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class BootstrapResult:
    """An interval and the replicates behind it. ``covers`` says for what the interval is meant.

    For one statistic the limits are numbers and ``distribution`` is ``(n_resamples,)``; for q statistics of the same
    records they are ``(q,)`` and ``(n_resamples, q)``, and replicate b of every statistic has the same weights.
    """

    low: Any
    high: Any
    standard_error: Any
    distribution: FloatArray
    confidence_level: float
    method: str  # as asked for, or what took its place where counts are small
    covers: str
    status: Status

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {
            "low": np.asarray(self.low).tolist(),
            "high": np.asarray(self.high).tolist(),
            "standard_error": np.asarray(self.standard_error).tolist(),
            "distribution": self.distribution.tolist(),
            "confidence_level": self.confidence_level,
            "method": self.method,
            "covers": self.covers,
            "status": list(self.status.sentences),
        }

    def __repr__(self) -> str:
        level = f"confidence_level={self.confidence_level}"
        if np.ndim(self.low) == 0:
            return f"BootstrapResult([{self.low:.4f}, {self.high:.4f}], {level})"
        return f"BootstrapResult({np.size(self.low)} intervals, {level})"
