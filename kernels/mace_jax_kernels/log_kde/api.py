"""``log_kernel_sums``: Gaussian kernel sums in log space, many bandwidths at the price of one set of distances."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int

from mace_jax_kernels._precision import relative_slack
from mace_jax_kernels._tiling import TILE_BYTES, Rows, is_traced, pad_rows, padded_size, tile_sizes
from mace_jax_kernels.knn.api import check_operands
from mace_jax_kernels.log_kde import reference as oracle
from mace_jax_kernels.log_kde import xla

__all__ = ["DIRECT_FEATURES", "log_kernel_sums", "log_sum_error"]

DIRECT_FEATURES = 8
"""Up to this many features, differences cost little more than a matrix product and cancel nothing."""


def log_kernel_sums(
    queries: Float[Rows, "n d"],
    reference: Float[Rows, "m d"],
    inverse_bandwidth: Float[Rows, " b"],
    log_weights: Float[Rows, " m"] | None = None,
    exclude_ids: Int[Rows, " n"] | None = None,
    *,
    direct: bool | None = None,
    implementation: str | None = None,
    tile_bytes: int = TILE_BYTES,
) -> Float[Array, "b n"]:
    """``log sum_j w_j exp(-|x_i - y_j|^2 / (2 h^2))`` for each query ``x_i`` and bandwidth ``h``.

    A running largest exponent and a sum scaled by it stream over tiles, so no sum is lost to underflow and no array of
    all pairs exists. Squared distances of a tile serve every bandwidth. With ``direct`` they are sums of squared
    differences, right to ``d + 2`` roundings; otherwise a centered matrix product, off by up to ``relative_slack(d)
    (|x|^2 + |y|^2)``, which moves a log-sum by at most the bound of ``log_sum_error``. For a small ``h`` in float32
    that is too much: use ``direct`` or float64. The rest errs by about ``d + 4`` roundings of the
    largest exponent and a few of the sum.

    Args:
        queries: ``(n, d)``, finite, float32 (float64 under ``jax.enable_x64``).
        reference: ``(m, d)``, same dtype.
        inverse_bandwidth: ``(b,)``, ``1 / h``, same dtype; above 0, and its square finite.
        log_weights: ``(m,)``, same dtype, ``-inf`` for rows that do not count; by default all 0.
        exclude_ids: Per query one reference row to leave out, -1 for none.
        direct: Differences in place of products; by default up to 8 features.
        implementation: ``"xla"`` (default) or ``"reference"`` (quadratic memory).
        tile_bytes: Budget of one distance tile.

    Returns:
        ``(b, n)``; ``-inf`` where no row counts.

    Peak memory beyond the padded operands and their centered copies, in bytes: about ``3 * tile_bytes``. Another
    number of rows in the same bucket compiles nothing; another number of bandwidths does.

    Raises:
        ValueError: shapes or dtypes do not fit.
        NotImplementedError: unknown ``implementation``.

    Example:
        >>> import numpy as np
        >>> rows = np.float32([[0.0], [1.0], [60.0]])
        >>> log_kernel_sums(rows[2:], rows[:2], np.float32([1.0, 0.5])).tolist()
        [[-1740.5], [-435.125]]
    """
    check_operands(queries, reference)
    (n, d), m = queries.shape, reference.shape[0]
    _check_vector("inverse_bandwidth", inverse_bandwidth, None, queries.dtype)
    if log_weights is None:
        log_weights = np.zeros(m, queries.dtype)
    _check_vector("log_weights", log_weights, m, queries.dtype)
    exclude_ids = np.full(n, -1, np.int32) if exclude_ids is None else exclude_ids.astype(np.int32)
    if implementation == "reference":
        return jnp.asarray(oracle.log_kernel_sums(queries, reference, inverse_bandwidth, log_weights, exclude_ids))
    if implementation not in (None, "xla"):
        raise NotImplementedError(f"implementation={implementation!r} does not exist; use 'xla' or 'reference'.")
    query_rows, tile_rows, _ = tile_sizes(n, m, d, queries.dtype.itemsize, tile_bytes)
    padded_n, padded_m = padded_size(n, query_rows), padded_size(m, tile_rows)
    found = xla.sums_padded(
        pad_rows(queries, padded_n),
        pad_rows(reference, padded_m),
        pad_rows(log_weights, padded_m, -np.inf),
        pad_rows(exclude_ids, padded_n, -1),
        inverse_bandwidth,
        np.int32(n),
        np.int32(m),
        query_rows=query_rows,
        tile_rows=tile_rows,
        direct=d <= DIRECT_FEATURES if direct is None else direct,
    )
    return found[:, :n] if is_traced(found) else jnp.asarray(np.asarray(found)[:, :n])


def log_sum_error(query_norms: Any, reference_norms: Any, inverse_bandwidth: Any, d: int, dtype: DTypeLike) -> Any:
    """How far matrix products may move a log-sum: ``relative_slack(d) (|x|^2 + max |y|^2) / (2 h^2)``.

    A log-sum is a soft maximum: if no exponent moves by more than ``e``, neither does it. Exponents move by the error
    of a squared distance over ``2 h^2``.

    Args:
        query_norms: Squared norms of centered queries.
        reference_norms: The largest squared norm among the centered reference rows that matter; broadcast.
        inverse_bandwidth: ``1 / h``; broadcast.
        d: Number of features.
        dtype: Type of the products.
    """
    return relative_slack(d, dtype) * (query_norms + reference_norms) * (inverse_bandwidth**2 / 2)


def _check_vector(name: str, array: Any, size: int | None, dtype: Any) -> None:
    """Refuse a vector of another length or type than the operands have."""
    if array.ndim != 1 or array.shape[0] != (array.shape[0] or 1 if size is None else size):
        wanted = "(b,) with b at least 1" if size is None else f"({size},)"
        raise ValueError(f"{name} has shape {array.shape}; it must be {wanted}.")
    if array.dtype != dtype:
        raise ValueError(f"{name} ({array.dtype}) must be of the dtype of queries, {dtype}.")
