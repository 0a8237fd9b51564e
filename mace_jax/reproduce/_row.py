"""One line of a reproduction table: our figure with its interval, and beside it what was published."""

from __future__ import annotations

import dataclasses
from typing import Any, final

__all__ = ["Row"]


@final
@dataclasses.dataclass(frozen=True)
class Row:
    """A figure, or the reason why there is none.

    Args:
        experiment: What it belongs to.
        dataset: Data set.
        model: What was attacked or judged, with the settings that matter.
        quantity: What the figure says.
        value: The figure; None if it was not measured.
        low: Lower confidence limit, None where no interval can be given.
        high: Upper confidence limit.
        confidence_level: Of both limits together.
        interval: What the interval covers.
        chance: Value without information, if there is one.
        published: The published figure for the same setting.
        source: Where it was published.
        accepted: The range in which this figure counts as reproduced, as (low, high); None if nothing is claimed.
        n_members: Training records.
        n_nonmembers: Records compared with them.
        steps: Training steps.
        seed: Seed of split and training; None where several are summarized.
        note: Anything else a reader must know.
    """

    experiment: str
    dataset: str
    model: str
    quantity: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    confidence_level: float = 0.95
    interval: str = ""
    chance: float | None = None
    published: float | None = None
    source: str = ""
    accepted: tuple[float | None, float | None] | None = None
    n_members: int | None = None
    n_nonmembers: int | None = None
    steps: int | None = None
    seed: int | None = None
    note: str = ""

    @property
    def reproduced(self) -> bool | None:
        """Whether the figure lies in the accepted range; None if nothing is claimed or nothing was measured."""
        if self.accepted is None or self.value is None:
            return None
        low, high = self.accepted
        return (low is None or self.value >= low) and (high is None or self.value <= high)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {**dataclasses.asdict(self), "reproduced": self.reproduced}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Row:
        """The row that ``to_dict`` returned."""
        plain = {name: value for name, value in values.items() if name != "reproduced"}
        if plain.get("accepted") is not None:
            plain["accepted"] = tuple(plain["accepted"])
        return cls(**plain)
