"""The largest parameter that a test still rejects: every certificate is a test read backwards."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["largest_rejected"]

_LARGEST = 2.0**1000


def largest_rejected(
    rejects: Callable[[float], bool], low: float = 0.0, high: float | None = None, *, tolerance: float = 4e-15
) -> float:
    """Bisection to ``tolerance``, from the rejected side; ``low`` if even that is not rejected.

    ``rejects`` must be True up to some parameter and False from there on. Without ``high`` it is found by doubling.
    """
    if not rejects(low):
        return low
    if high is None:
        high = max(1.0, 2.0 * low)
        while rejects(high):
            low, high = high, 2.0 * high
            if high > _LARGEST:
                return float("inf")
    elif rejects(high):
        return high
    while high - low > tolerance * max(1.0, high):
        middle = low + (high - low) / 2.0
        if rejects(middle):
            low = middle
        else:
            high = middle
    return low
