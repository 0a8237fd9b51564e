"""Status flags: trouble that depends on the data, carried by results instead of raised."""

from __future__ import annotations

import enum

__all__ = ["Status"]


class Status(enum.IntFlag):
    """What a result wants its reader to know; ``sentences`` spells each flag out."""

    OK = 0
    TOO_FEW_SAMPLES = enum.auto()
    RARE_COUNTS = enum.auto()
    TIES = enum.auto()
    ZERO_DISTANCE = enum.auto()
    UNCERTIFIED = enum.auto()

    @property
    def sentences(self) -> tuple[str, ...]:
        return tuple(text for flag, text in _SENTENCES.items() if flag in self)


_SENTENCES = {
    Status.TOO_FEW_SAMPLES: "Fewer than 30 members or non-members: intervals are wide and rules are poorly fitted.",
    Status.RARE_COUNTS: (
        "A count behind the estimate is below 10, where a bootstrap cannot see the boundary; "
        "the limits were widened to the Clopper-Pearson ones."
    ),
    Status.TIES: "Many query outputs are equal; tied neighbors were counted by their expected share.",
    Status.ZERO_DISTANCE: "Identical records were found at distance zero.",
    Status.UNCERTIFIED: "Some neighbor rows are not proven exact.",
}
