"""Certificate: a lower bound with its level, its claim and everything it rests on."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

__all__ = ["Certificate"]


@dataclasses.dataclass(frozen=True)
class Certificate:
    """A lower bound on leakage; never a proof of privacy.

    ``epsilon`` and ``advantage`` hold together with probability at least ``confidence_level`` over the draw of
    the held-out records. ``claim`` says of what: of this one trained model, or of the algorithm that trained it.
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

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return dataclasses.asdict(self)

    def __repr__(self) -> str:
        return (
            f"Certificate(epsilon >= {self.epsilon:.4g}, advantage >= {self.advantage:.4g}, "
            f"confidence_level={self.confidence_level}, delta={self.delta}, claim={self.claim!r})"
        )
