"""Figures of several seeds as one row: their mean with a t interval."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator

import numpy as np
from scipy import stats

from mace_jax.reproduce._row import Row

__all__ = ["over_seeds"]


def over_seeds(rows: Iterable[Row]) -> Iterator[Row]:
    """For every figure measured with two seeds or more a row with the mean, in the order of the rows."""
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        if row.value is not None:
            groups.setdefault((row.experiment, row.dataset, row.model, row.quantity), []).append(row)
    for group in groups.values():
        if len(group) < 2:
            continue
        values, level = np.array([row.value for row in group], np.float64), group[0].confidence_level
        half = stats.t.ppf(0.5 + level / 2, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
        yield dataclasses.replace(
            group[0],
            value=float(values.mean()),
            low=float(values.mean() - half),
            high=float(values.mean() + half),
            interval=f"mean over {len(values)} seeds of split and training",
            seed=None,
        )
