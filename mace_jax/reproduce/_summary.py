"""Figures of several seeds as one row: their mean with a t interval."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterable, Iterator

import numpy as np
from scipy import stats

from mace_jax._types import FloatArray
from mace_jax.reproduce._row import Row

__all__ = ["over_seeds"]

_SHARE = (
    r"(?!.* minus )(.+: )?"
    r"(AUC( of .+)?|TPR at FPR \S+|(white-box )?top-n(, .+)?|(downstream )?accuracy( on .+|, .+)?|precision|recall)"
)
_NOT_NEGATIVE = r"Frechet distance .+|TPR at FPR \S+ of .+ over .+"


def over_seeds(rows: Iterable[Row]) -> Iterator[Row]:
    """For every figure measured with three seeds or more a row with the mean, in the order of the rows.

    The t interval of two values says next to nothing: they stay two rows. A t interval knows no ends: where it leaves
    the range of its quantity it is cut, and ``interval`` says so.
    """
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        if row.value is not None:
            groups.setdefault((row.experiment, row.dataset, row.model, row.quantity), []).append(row)
    for group in groups.values():
        if len(group) < 3:
            continue
        values, level = np.array([row.value for row in group], np.float64), group[0].confidence_level
        half = stats.t.ppf(0.5 + level / 2, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
        low, high = float(values.mean() - half), float(values.mean() + half)
        least, most = _range_of(group[0].quantity, values)
        cut = ", cut to its range" if low < least or high > most else ""
        yield dataclasses.replace(
            group[0],
            value=float(values.mean()),
            low=max(low, least),
            high=min(high, most),
            interval=f"mean over {len(values)} seeds of split and training{cut}",
            seed=None,
        )


def _range_of(quantity: str, values: FloatArray) -> tuple[float, float]:
    """What the quantity cannot leave; no ends for differences, quotients, and names that mean something else here."""
    least, most = -math.inf, math.inf
    if re.fullmatch(_SHARE, quantity):
        least, most = 0.0, 1.0
    elif re.fullmatch(_NOT_NEGATIVE, quantity):
        least = 0.0
    return (least, most) if least <= values.min() and values.max() <= most else (-math.inf, math.inf)
