"""Efron's bootstrap of statistics of counts, drawn as counts: exact, and independent of the number of records."""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from mace_jax._types import FloatArray

__all__ = ["CountWeights", "resample_counts", "resample_rate"]

CountWeights = Literal["poisson", "multinomial", "bayesian", "double_or_nothing"]


def resample_rate(
    hits: int,
    total: int,
    n_resamples: int,
    *,
    weights: Literal["poisson", "multinomial"],
    rng: np.random.Generator,
) -> FloatArray:
    """Replicates of ``hits / total``, ``(n_resamples,)``.

    Resampling ``total`` records with replacement (``multinomial``) makes the number of hits binomial; independent
    Poisson(1) weights (``poisson``) make hits and misses independent Poisson counts.
    """
    if weights == "multinomial":
        return rng.binomial(total, hits / total, n_resamples) / total
    drawn, missed = rng.poisson(hits, n_resamples), rng.poisson(total - hits, n_resamples)
    # all weights zero happens with probability exp(-total): keep the estimate there
    return np.where(drawn + missed > 0, drawn / np.maximum(drawn + missed, 1), hits / total)


def resample_counts(
    counts: Any, n_resamples: int, *, weights: CountWeights, rng: np.random.Generator
) -> NDArray[np.int64] | FloatArray:
    """Replicates of a table of counts, ``(n_resamples, *counts.shape)``.

    The sum of the weights of the ``c`` records of a cell is Poisson(c), Gamma(c) or 2 Binomial(c, 1/2), independent
    between cells; resampling all records with replacement makes the table multinomial. Time and memory
    ``8 n_resamples`` bytes per cell, however many records there are.

    Raises:
        ValueError: no records, or counts that are negative or not whole.
    """
    table = np.asarray(counts)
    whole = table.astype(np.int64) if table.dtype.kind in "iuf" and np.isfinite(table).all() else np.full(1, -1)
    if table.size == 0 or (whole < 0).any() or (whole != table).any():
        raise ValueError("counts must be whole numbers of at least 0, one per cell.")
    total = int(whole.sum())
    if total == 0:
        raise ValueError("counts are all 0; at least one record is needed.")
    size = (n_resamples, *whole.shape)
    if weights == "poisson":
        return rng.poisson(whole, size)
    if weights == "multinomial":
        return rng.multinomial(total, whole.ravel() / total, n_resamples).reshape(size)
    if weights == "bayesian":
        return rng.standard_gamma(whole.astype(np.float64), size)
    if weights == "double_or_nothing":
        return 2 * rng.binomial(whole, 0.5, size)
    raise ValueError(f"weights={weights!r} is not known; pass one of {', '.join(map(repr, get_args(CountWeights)))}.")
