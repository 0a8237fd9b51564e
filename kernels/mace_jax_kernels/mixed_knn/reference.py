"""The oracle: the whole matrix of dissimilarities in float64, cut into blocks."""

from __future__ import annotations

import numpy as np

from mace_jax_kernels.mixed_knn.xla import LARGE

__all__ = ["block_counts", "block_minima", "matrix"]


def matrix(numbers, codes, other_numbers, other_codes, terms, *, skip: bool, mean: bool):
    """Every dissimilarity ``(n, m)``, column by column; quadratic memory."""
    total = np.zeros((len(numbers), len(other_numbers)))
    observed = np.zeros_like(total)
    for j in range(numbers.shape[1]):
        term = np.abs(numbers[:, j, None].astype(np.float64) - other_numbers[None, :, j])
        gap = np.isnan(term)
        total += np.where(gap, terms.missing[j], np.minimum(term, terms.caps[j]))
        observed += ~gap * float(terms.number_weights[j])
    for j in range(codes.shape[1]):
        x, y = codes[:, j, None], other_codes[None, :, j]
        gap = (x < 0) | (y < 0) if skip else np.zeros(total.shape, bool)
        total += np.where((x != y) & ~gap, float(terms.code_weights[j]), 0.0)
        observed += ~gap * float(terms.code_weights[j])
    total = np.minimum(total, LARGE)
    if skip:
        with np.errstate(invalid="ignore", divide="ignore"):
            total = np.where(observed == 0, LARGE, total / observed if mean else total)
    return total


def _blocks(values, n_blocks: int, block: int, fill):
    padded = np.full((len(values), n_blocks * block), fill, values.dtype)
    padded[:, : values.shape[1]] = values
    return padded.reshape(len(values), n_blocks, block)


def block_minima(values, n_blocks: int, block: int):
    """Smallest entry of each block of columns."""
    return _blocks(values, n_blocks, block, np.inf).min(axis=2).astype(np.float32)


def block_counts(values, low, high, n_blocks: int, block: int):
    """Entries up to ``low``, and above it up to ``high``, of each block of columns."""
    inside = values <= low[:, None]
    near = (values <= high[:, None]) & ~inside
    return tuple(_blocks(part, n_blocks, block, False).sum(axis=2).astype(np.int32) for part in (inside, near))
