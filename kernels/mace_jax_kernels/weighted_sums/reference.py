"""The oracle: every weight in one matrix, from JAX's own threefry, multiplied in float64."""

from __future__ import annotations

import math

import jax.numpy as jnp
import numpy as np
from jax.extend.random import threefry_2x32

__all__ = ["weight_matrix", "weighted_sums"]


def _words(key, first, second):
    """Two words for every pair of a first and a second counter, ``(a, b)`` each."""
    pairs = np.broadcast_arrays(np.asarray(first, np.uint32)[:, None], np.asarray(second, np.uint32)[None, :])
    counters = np.concatenate([pair.ravel() for pair in pairs])
    both = np.asarray(threefry_2x32(tuple(jnp.asarray(key)), jnp.asarray(counters)))
    return both[: both.size // 2].reshape(pairs[0].shape), both[both.size // 2 :].reshape(pairs[0].shape)


def weight_matrix(key, replicates, rows, kind):
    """Weights ``(replicates, rows)``; replicate ``b`` is number ``b % 64`` of its block of 64."""
    blocks, places = np.divmod(np.asarray(replicates, np.int64), 64)
    calls = {"poisson": 16, "double_or_nothing": 1, "bayesian": 32}[kind]
    parts, counters = np.divmod(places, calls)
    first, second = _words(key, blocks * calls + counters, rows)
    if kind == "double_or_nothing":
        word = np.where((parts < 32)[:, None], first, second)
        return 2.0 * ((word >> (parts % 32)[:, None].astype(np.uint32)) & 1)
    if kind == "bayesian":
        word = np.where((parts == 0)[:, None], first, second)
        return -np.log((word.astype(np.float32) + np.float32(0.5)).astype(np.float64) / 2.0**32)
    word = np.where((parts < 2)[:, None], first, second)
    half = (word >> (16 * (parts % 2))[:, None].astype(np.uint32)) & 0xFFFF
    at_most = np.cumsum([math.exp(-1.0) / math.factorial(j) for j in range(8)])
    return np.searchsorted(np.round(65536 * at_most), half, side="right").astype(np.float64)


def draw_matrix(key, replicates, first_row, n, n_total):
    """How often each of the ``n`` rows is among ``n_total`` draws with replacement, ``(replicates, n)``."""
    high, low = _words(key, replicates, np.arange(n_total))
    counts = np.zeros((len(replicates), n))
    for b in range(len(replicates)):
        for u, v in zip(high[b].tolist(), low[b].tolist(), strict=True):
            row = (n_total * ((u << 32) | v) >> 64) - first_row
            if 0 <= row < n:
                counts[b, row] += 1
    return counts


def weighted_sums(key, values, n_resamples, weights, first_replicate, rows, first_row, n_total):
    """The matrix of weights times the values and a column of ones; memory ``8 * n_resamples * n`` and more."""
    values = np.asarray(values, np.float64)
    replicates = first_replicate + np.arange(n_resamples)
    if weights == "multinomial":
        matrix = draw_matrix(key, replicates, first_row, len(values), n_total)
    else:
        matrix = weight_matrix(key, replicates, rows, weights)
    return matrix @ np.column_stack([values, np.ones(len(values))])
