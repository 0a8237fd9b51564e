"""Squared maximum mean discrepancy with Gaussian kernels, in blocks: no n-by-m matrix is ever held."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.spatial.distance import pdist

from mace_jax._types import FloatArray

__all__ = ["gaussian_row_sums", "median_bandwidth", "permuted_mmd", "unbiased_mmd"]

_SAMPLE = 1000
_BLOCK_ENTRIES = 1 << 21
_DRAWS = 256


def median_bandwidth(p: FloatArray, q: FloatArray) -> float:
    """Median distance between at most 1000 pooled rows, spread over their sorted order; 1 if it is 0."""
    pooled = np.concatenate([p, q])
    ordered = pooled[np.lexsort(pooled.T[::-1])]
    chosen = ordered[np.linspace(0, len(ordered) - 1, min(len(ordered), _SAMPLE)).astype(int)]
    distance = float(np.median(pdist(chosen)))
    return distance if distance > 0.0 else 1.0


def gaussian_row_sums(rows: FloatArray, reference: FloatArray, bandwidths: tuple[float, ...]) -> FloatArray:
    """``sum_j mean_s exp(-|x_i - y_j|^2 / (2 s^2))`` for every row, in float64, a block of rows at a time."""
    out = np.empty(len(rows))
    squares = np.einsum("ij,ij->i", reference, reference)
    step = max(1, _BLOCK_ENTRIES // len(reference))
    for start in range(0, len(rows), step):
        block = rows[start : start + step]
        squared = block @ reference.T
        squared *= -2.0
        squared += squares
        squared += np.einsum("ij,ij->i", block, block)[:, None]
        np.maximum(squared, 0.0, out=squared)
        total = np.zeros(len(block))
        for bandwidth in bandwidths:
            total += np.exp(squared * (-0.5 / bandwidth**2)).sum(axis=1)
        out[start : start + step] = total / len(bandwidths)
    return out


def unbiased_mmd(
    p: FloatArray, q: FloatArray, bandwidths: tuple[float, ...]
) -> tuple[float, tuple[FloatArray, FloatArray]]:
    """The U-statistic and its first-order projections (not centered)."""
    n, m = len(p), len(q)
    center = np.concatenate([p, q]).mean(axis=0)
    p, q = p - center, q - center
    within_p = (gaussian_row_sums(p, p, bandwidths) - 1.0) / (n - 1)
    within_q = (gaussian_row_sums(q, q, bandwidths) - 1.0) / (m - 1)
    p_to_q, q_to_p = gaussian_row_sums(p, q, bandwidths) / m, gaussian_row_sums(q, p, bandwidths) / n
    value = within_p.mean() + within_q.mean() - 2.0 * p_to_q.mean()
    return float(value), (2.0 * (within_p - p_to_q), 2.0 * (within_q - q_to_p))


def permuted_mmd(
    p: FloatArray, q: FloatArray, bandwidths: tuple[float, ...], n_permutations: int, rng: np.random.Generator
) -> FloatArray:
    """The statistic under random relabelings: label matrix times Gram matrix, both in blocks; float32 sums."""
    n, m = len(p), len(q)
    pooled = np.concatenate([p, q])
    pooled = (pooled - pooled.mean(axis=0)).astype(np.float32)
    total_rows = n + m
    step = max(8, min(total_rows, _BLOCK_ENTRIES // total_rows))
    padded = np.zeros((-(-total_rows // step) * step, pooled.shape[1]), np.float32)
    padded[:total_rows] = pooled
    gamma = jnp.asarray([0.5 / bandwidth**2 for bandwidth in bandwidths], jnp.float32)
    out = []
    for start in range(0, n_permutations, _DRAWS):
        size = min(_DRAWS, n_permutations - start)
        labels = np.zeros((len(padded), _DRAWS), np.float32)
        for draw in range(size):
            labels[rng.permutation(total_rows)[:n], draw] = 1.0
        inside, across, everything = (
            np.asarray(x, np.float64) for x in _forms(jnp.asarray(padded), jnp.asarray(labels), gamma, step, total_rows)
        )
        inside, across = inside[:size], across[:size]
        between = across - inside
        rest = everything - inside - 2.0 * between
        out.append((inside - n) / (n * (n - 1)) + (rest - m) / (m * (m - 1)) - 2.0 * between / (n * m))
    return np.concatenate(out)


@functools.partial(jax.jit, static_argnames=("step", "rows"))
def _forms(
    pooled: Float[Array, "t d"], labels: Float[Array, "t b"], gamma: Float[Array, " s"], step: int, rows: int
) -> tuple[Float[Array, " b"], Float[Array, " b"], Float[Array, ""]]:
    """``l' K l``, ``l' K 1`` and ``1' K 1`` for every column l of labels, one block of Gram rows at a time."""
    real = (jnp.arange(pooled.shape[0]) < rows).astype(jnp.float32)
    squares = jnp.sum(pooled**2, axis=1)
    columns = jnp.concatenate([labels, real[:, None]], axis=1)

    def block(start: Array) -> tuple[Array, Array]:
        x = jax.lax.dynamic_slice_in_dim(pooled, start, step)
        own = jax.lax.dynamic_slice_in_dim(columns, start, step)
        product = jnp.matmul(x, pooled.T, precision="highest")
        squared = jnp.maximum(jnp.sum(x**2, axis=1)[:, None] - 2.0 * product + squares[None, :], 0.0)
        gram = jnp.mean(jnp.exp(-gamma[:, None, None] * squared[None]), axis=0)
        reached = jnp.matmul(gram, columns, precision="highest")
        return jnp.sum(own * reached, axis=0), jnp.sum(own * reached[:, -1:], axis=0)

    quadratic, to_all = jax.lax.map(block, jnp.arange(0, pooled.shape[0], step))
    quadratic, to_all = jnp.sum(quadratic, axis=0), jnp.sum(to_all, axis=0)
    return quadratic[:-1], to_all[:-1], quadratic[-1]
