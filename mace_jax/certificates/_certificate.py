"""Certificate: a lower bound with its level, its claim and everything it rests on."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

__all__ = ["Certificate", "Neighbors"]

Neighbors = Literal["add or remove one record", "replace one record"]


@dataclasses.dataclass(frozen=True)
class Certificate:
    """A lower bound on leakage; never a proof of privacy.

    ``epsilon``, ``advantage`` and ``profile`` hold together with probability at least ``confidence_level``. ``claim``
    says of what: of this one trained model, or of the algorithm that trained it. For an algorithm, ``neighbors`` says
    which data sets its epsilon is about.
    """

    epsilon: float
    advantage: float
    confidence_level: float
    delta: float
    claim: Literal["this model", "the training algorithm"]
    method: str
    assumptions: tuple[str, ...]
    counts: tuple[dict[str, Any], ...]  # per certified rule: rule, query, true_positives, members, false_positives, ...
    fingerprint: str
    direction: str = "lower bound on leakage"
    neighbors: Neighbors | None = None
    profile: tuple[tuple[float, float], ...] = ()  # (epsilon, lower bound of delta at this epsilon)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return dataclasses.asdict(self)

    def __repr__(self) -> str:
        neighbors = "" if self.neighbors is None else f", neighbors={self.neighbors!r}"
        return (
            f"Certificate(epsilon >= {self.epsilon:.4g}, advantage >= {self.advantage:.4g}, "
            f"confidence_level={self.confidence_level}, delta={self.delta}, claim={self.claim!r}{neighbors})"
        )
