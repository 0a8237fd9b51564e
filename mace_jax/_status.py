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
    ATOMS = enum.auto()
    SUPPORT_MISMATCH = enum.auto()
    HIGH_DIMENSION = enum.auto()
    HEAVY_TAIL = enum.auto()
    DEGENERATE = enum.auto()
    SPARSE_CELLS = enum.auto()
    COARSE_POSTERIOR = enum.auto()
    LOWER_BOUND = enum.auto()
    SMALL_FOR_INTERVAL = enum.auto()

    @property
    def sentences(self) -> tuple[str, ...]:
        return tuple(text for flag, text in _SENTENCES.items() if flag in self)


_SENTENCES = {
    Status.TOO_FEW_SAMPLES: "Fewer than 30 members or non-members: intervals are wide and rules are poorly fitted.",
    Status.RARE_COUNTS: (
        "A count behind the estimate is below 10, or below 20 for expected false positives, where a bootstrap cannot "
        "see the boundary; the limits are exact binomial ones, and wide."
    ),
    Status.TIES: "Many query outputs are equal; tied neighbors were counted by their expected share.",
    Status.ZERO_DISTANCE: "Identical records were found at distance zero.",
    Status.UNCERTIFIED: "Some neighbor rows are not proven exact.",
    Status.ATOMS: (
        "Over 1 % of the records are copies, or a record occurs more than k times: the form for continuous data was "
        "refused, repeated records were counted as cells and only the others were compared by distance."
    ),
    Status.SUPPORT_MISMATCH: (
        "Over a tenth of the first sample lies where the second has hardly a record, or the estimate keeps growing "
        "with the number of records: the divergence is larger than shown, if not unbounded; report total variation "
        "or Jensen-Shannon instead."
    ),
    Status.HIGH_DIMENSION: (
        "Five or more features: neighbor distances concentrate, which moves the estimate by more than its standard "
        "error, mostly towards 0."
    ),
    Status.HEAVY_TAIL: (
        "A hundredth of the records carries over a fifth of a mean, or over half of the integral of a power of the "
        "density ratio: the estimate is low and unstable."
    ),
    Status.DEGENERATE: (
        "The estimate is within two standard errors of 0, where its first-order errors vanish: read the interval as "
        "one-sided or use a permutation test."
    ),
    Status.SPARSE_CELLS: (
        "Fewer than 20 records per cell on average: corrections for the noise of cell frequencies are rough."
    ),
    Status.COARSE_POSTERIOR: (
        "An epsilon lies beyond the logarithm of k: neighbor counts cannot resolve posteriors that close to 1."
    ),
    Status.SMALL_FOR_INTERVAL: (
        "Fewer than 500 members or non-members: 95 % intervals around estimates from neighbors were found to cover "
        "between 90 and 99 %."
    ),
    Status.LOWER_BOUND: (
        "The log ratio was clipped: no estimate of this kind can exceed the logarithm of the number of records."
    ),
}
