"""Bias and concentration of the plug-in total variation of a finite-valued query."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from mace_jax import _validate

__all__ = ["DiscreteBounds", "discrete_bounds"]


@dataclasses.dataclass(frozen=True)
class DiscreteBounds:
    """What the shares of K values say about TV = (1/2) sum |f1 - f0|; ``lower`` and ``upper`` are one-sided each."""

    total_variation: float  # the plug-in
    bias: float  # largest mean excess of the plug-in, estimated from the shares
    largest_bias: float  # the same whatever the shares are
    null_mean: float  # mean of the plug-in if both classes have the pooled shares
    deviation: float  # the plug-in exceeds its mean, or falls below it, by more with probability 1 - confidence_level
    lower: float
    upper: float
    confidence_level: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return dataclasses.asdict(self)


def discrete_bounds(
    counts_members: ArrayLike, counts_nonmembers: ArrayLike, *, confidence_level: float = 0.95
) -> DiscreteBounds:
    """Plug-in total variation of a finite-valued query, its bias, and one-sided bounds of the truth.

    With shares f1, f0 over K values of n1 members and n0 non-members: 0 <= E[plug-in] - TV <= b, where
    b = (1/2) sum_j sqrt(f1j (1 - f1j)/n1 + f0j (1 - f0j)/n0) <= (1/2) sqrt((K - 1)(1/n1 + 1/n0)); if the classes do not
    differ the mean is about sqrt(2/pi) b. One record moves the plug-in by 1/n1 or 1/n0, so it deviates from its mean by
    more than s = sqrt((1/n1 + 1/n0) ln(1/(1 - confidence_level))/2) with probability at most 1 - confidence_level on
    either side: TV <= plug-in + s, and TV >= plug-in - (1/2) sqrt((K - 1)(1/n1 + 1/n0)) - s.

    Args:
        counts_members: Members showing each of the K possible values, ``(K,)``; values nobody shows count too, and K
            must be fixed without looking at these records for ``lower`` to hold.
        counts_nonmembers: Non-members showing each value, ``(K,)``.
        confidence_level: Of each bound alone.

    Raises:
        ValueError: lengths differ, a count is negative or no integer, or a class is empty.

    The bounds treat records as independent draws and speak about this one query. They are conservative; a rule fitted
    on one half and judged on the other (``certify``) has no term that grows with K.

    References: McDiarmid (1989) for the deviation.

    Example:
        >>> bounds = discrete_bounds([400, 100], [100, 400])
        >>> round(bounds.total_variation, 6), round(bounds.lower, 4), round(bounds.upper, 4)
        (0.6, 0.491, 0.6774)
    """
    level = _validate.in_open_unit(confidence_level=confidence_level)
    first = _counts(counts_members=counts_members)
    second = _counts(counts_nonmembers=counts_nonmembers)
    if len(first) != len(second):
        raise ValueError(
            f"counts_members has {len(first)} values but counts_nonmembers has {len(second)}; "
            "both must count the same values in the same order, with 0 where nobody shows one."
        )
    n1, n0 = first.sum(), second.sum()
    f1, f0, pooled = first / n1, second / n0, (first + second) / (n1 + n0)
    inverse = 1.0 / n1 + 1.0 / n0
    plug_in = 0.5 * float(np.abs(f1 - f0).sum())
    largest = 0.5 * float(np.sqrt((len(first) - 1) * inverse))
    deviation = float(np.sqrt(inverse * -np.log1p(-level) / 2.0))
    null = 0.5 * float(np.sqrt(pooled * (1.0 - pooled) * inverse).sum())
    return DiscreteBounds(
        total_variation=plug_in,
        bias=0.5 * float(np.sqrt(f1 * (1.0 - f1) / n1 + f0 * (1.0 - f0) / n0).sum()),
        largest_bias=largest,
        null_mean=float(np.sqrt(2.0 / np.pi)) * null,
        deviation=deviation,
        lower=max(0.0, plug_in - largest - deviation),
        upper=min(1.0, plug_in + deviation),
        confidence_level=level,
    )


def _counts(**argument: ArrayLike) -> np.ndarray:
    ((name, value),) = argument.items()
    counts = np.asarray(value, dtype=np.float64)
    if counts.ndim != 1 or not len(counts):
        raise ValueError(f"{name} has shape {counts.shape}; pass one count per value, (K,).")
    if not (np.isfinite(counts).all() and (counts >= 0).all() and (counts == np.floor(counts)).all()):
        raise ValueError(f"{name} must hold whole numbers of at least 0; pass numbers of records, not shares.")
    if not counts.sum():
        raise ValueError(f"{name} counts no record; both classes are needed.")
    return counts
