"""What every threshold of a score fixed beforehand proves at once: the Dvoretzky-Kiefer-Wolfowitz bound."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from mace_jax import _validate
from mace_jax._types import FloatArray

__all__ = ["DKWBound", "dkw_bound"]


class DKWBound(NamedTuple):
    """Kolmogorov-Smirnov distance of two samples of scores, and a lower bound of their total variation distance."""

    ks: float
    lower: float


def dkw_bound(member_scores: Any, nonmember_scores: Any, *, confidence_level: float = 0.95) -> DKWBound:
    """Lower bound of TV from the empirical distribution functions F1, F0 of a scalar score.

    KS = sup_t |F1(t) - F0(t)|, members above or below, is a lower bound of TV in truth, with equality if the likelihood
    ratio is monotone. With alpha = 1 - confidence_level,

        TV >= KS - sqrt(ln(4/alpha) / (2 n1)) - sqrt(ln(4/alpha) / (2 n0)),

    for all thresholds and both signs at once: no split, but the score itself must not depend on these records.

    Args:
        member_scores: ``(n1,)`` or ``(n1, 1)``.
        nonmember_scores: ``(n0,)`` or ``(n0, 1)``.
        confidence_level: Probability with which the bound holds, for independent draws.

    Raises:
        ValueError: no rows, NaN or infinity, or more than one column.

    References: Dvoretzky, Kiefer and Wolfowitz (1956); Massart (1990) for the constant.

    Example:
        >>> ks, lower = dkw_bound([1.0] * 1000, [0.0] * 1000)
        >>> ks, round(lower, 4)
        (1.0, 0.9064)
    """
    level = _validate.in_open_unit(confidence_level=confidence_level)
    first = _column(member_scores=member_scores)
    second = _column(nonmember_scores=nonmember_scores)
    at = np.unique(np.concatenate([first, second]))
    below1 = np.searchsorted(np.sort(first), at, side="right") / len(first)
    below0 = np.searchsorted(np.sort(second), at, side="right") / len(second)
    ks = float(np.abs(below1 - below0).max())
    spread = np.log(4.0 / (1.0 - level)) / 2.0
    return DKWBound(ks, max(0.0, ks - float(np.sqrt(spread / len(first)) + np.sqrt(spread / len(second)))))


def _column(**argument: Any) -> FloatArray:
    ((name, value),) = argument.items()
    records = _validate.finite(**{name: _validate.min_rows(1, **{name: _validate.as_records(**{name: value})})})
    if records.shape[1] != 1:
        raise ValueError(f"{name} has {records.shape[1]} columns; pass one score per record, (n,).")
    return records[:, 0]
