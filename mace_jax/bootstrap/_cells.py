"""Efron's bootstrap of statistics of counts, drawn as counts: exact, and independent of the number of records."""

from __future__ import annotations

from typing import Literal

import numpy as np

from mace_jax._types import FloatArray

__all__ = ["resample_rate"]


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
