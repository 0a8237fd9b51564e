"""Gaussian kernel densities at query points: logarithms only, one pass over the distances for all bandwidths."""

from __future__ import annotations

import math
from typing import Any

import jax
import numpy as np

from mace_jax import _validate
from mace_jax._types import FloatArray, IntArray
from mace_jax.neighbors._blocks import Rows, checked_records
from mace_jax.neighbors._filter import Filter
from mace_jax.neighbors._pairs import row_chunks
from mace_jax.neighbors._threads import in_threads, processors
from mace_jax_kernels._tiling import TILE_BYTES, bucket, pad_rows, tile_sizes
from mace_jax_kernels.log_kde import DIRECT_FEATURES, add_block, log_sum_error

__all__ = ["log_kde"]

_TOLERANCE = 1e-8
"""A log-sum may err by this, relative where it is beyond 1: products that do not prove it are redone."""
_MARGIN = 30.0
"""Rows whose kernels add up to less than e^-30 of a sum have no say in its error."""
_EXTREME = 1e150
_CENTER_ROWS = 500
_SLICE_BYTES = 1 << 20


def log_kde(
    queries: Any, reference: Any, bandwidth: Any, *, exclude_self: bool = False, weights: Any = None
) -> FloatArray:
    """Log density in nats of the Gaussian kernel estimate over ``reference``, at each query.

    ``log p(x) = log sum_j w_j exp(-|x - y_j|^2 / (2 h^2)) - log sum_j w_j - d log h - (d / 2) log(2 pi)`` (Rosenblatt
    1956; Parzen 1962), with one bandwidth ``h`` for all features. The sum is kept as its largest exponent and a scaled
    rest, so a query far from every record has a finite value (-inf only where ``|x - y|^2 / (2 h^2)`` overflows). It
    is computed in float64 and its logarithm is right to 1e-8, relative where it is beyond 1 in size: up to 8 features
    from squared differences, beyond that from centered matrix products with a proven error ``c (|x|^2 + |y|^2) /
    (2 h^2)``; queries for which the proof fails (a bandwidth about a thousand times smaller than the spread) are redone
    from differences. Whatever else is asked in the same call changes a value by rounding only.

    Args:
        queries: ``(n, d)`` finite numbers, any unit; one dimension means one column.
        reference: ``(m, d)``.
        bandwidth: ``h`` in the unit of the features, between 1e-150 and 1e150, or a sequence of ``b`` of them, which
            share one pass over the distances.
        exclude_self: Leave out row ``i`` for query ``i`` (leave-one-out); both arguments are then the same records.
        weights: ``(m,)`` finite, not negative and not all 0; equal by default.

    Returns:
        ``(n,)`` float64, or ``(b, n)`` for a sequence of bandwidths.

    Peak memory beyond inputs and result, in bytes: ``8 (n + m) d`` for inputs that are not float64, ``16 b n`` running
    sums, ``40 m`` with weights, up to 128 MiB of two pieces of the reference and about 16 MiB per processor. A
    ``numpy.memmap`` on either side is read in blocks of 64 MiB and never held whole.

    Raises:
        TypeError: an array is not numeric.
        ValueError: an array is empty, has NaN, infinity or entries beyond 1e150, widths or lengths differ, or
            ``bandwidth`` or ``weights`` do not fit.

    Example:
        >>> log_kde([[0.0], [50.0]], [[-1.0], [1.0]], 1.0).round(3).tolist()
        [-1.419, -1202.112]
    """
    widths, scalar = _bandwidths(bandwidth)
    x, y = _source("queries", queries), _source("reference", reference)
    _validate.same_features(queries=x.array, reference=y.array)
    if exclude_self:
        if len(x) != len(y):
            raise ValueError(
                f"exclude_self=True needs queries and reference to be the same records, got {len(x)} and {len(y)} rows."
            )
        if len(y) < 2:
            raise ValueError("reference has 1 row; exclude_self=True needs at least 2.")
    log_weights, log_totals = _weights(weights, len(y), exclude_self)
    d, result, start = x.shape[1], np.empty((len(widths), len(x))), 0
    for rows in _blocks("queries", x):
        part = slice(start, start + len(rows))
        own = np.arange(part.start, part.stop) if exclude_self else None
        totals = log_totals[part] if exclude_self else log_totals
        result[:, part] = _log_sums(rows, y, widths, log_weights, own, totals) - totals
        start = part.stop
    result -= (d * (np.log(widths) + 0.5 * math.log(2 * math.pi)))[:, None]
    return result[0] if scalar else result


def _log_sums(
    x: FloatArray, y: Rows, widths: FloatArray, log_weights: FloatArray | None, own: IntArray | None, totals: Any
) -> FloatArray:
    """``(b, n)`` log-sums: by products where that is proven to be enough, by differences for the other queries."""
    d = x.shape[1]
    if d <= DIRECT_FEATURES:
        return _pass(x, y, widths, log_weights, own, None)[0]
    center = np.median(np.vstack([_sample(x), _sample(y)]), axis=0)
    found, longest = _pass(x, y, widths, log_weights, own, center)
    norms = np.concatenate([np.square(x[part] - center).sum(axis=1) for part in row_chunks(len(x), 16 * d)])
    h = widths[:, None]
    with np.errstate(over="ignore", invalid="ignore"):
        # A row farther than `reach` has a share below e^-30, and one nearer is at most that much longer than x.
        reach = h * np.sqrt(2 * np.maximum(totals - found + _MARGIN, 0))
        nearby = np.minimum(longest, np.square(np.sqrt(norms) + reach))
        error = log_sum_error(norms, nearby, 1 / h, d, np.float64)
        proven = (error <= _TOLERANCE * np.maximum(1, np.abs(found))).all(axis=0)
    rest = np.flatnonzero(~proven)
    if len(rest):
        found[:, rest] = _pass(x[rest], y, widths, log_weights, None if own is None else own[rest], None)[0]
    return found


def _pass(
    x: FloatArray,
    y: Rows,
    widths: FloatArray,
    log_weights: FloatArray | None,
    own: IntArray | None,
    center: FloatArray | None,
) -> tuple[FloatArray, float]:
    """Log-sums over the whole reference, and its largest squared norm; by products if there is a center."""
    (n, d), m = x.shape, len(y)
    workers = processors() if jax.default_backend() == "cpu" else 1
    # Few queries are split as well, so that every processor has some; only the bucket of n decides, as for compiling.
    query_rows, tile_rows, piece_rows = tile_sizes(max(1, bucket(n) // workers), m, d, 8, TILE_BYTES // 8)
    tile_rows = min(tile_rows, max(8, bucket(_SLICE_BYTES // (8 * d) + 1) // 2))
    mapped = Filter(np.zeros(d) if center is None else center, 1.0, 0.0, np.float64)
    rates = 0.5 / np.square(widths)
    largest, total = np.full((len(rates), n), -np.inf), np.zeros((len(rates), n))
    longest, start = 0.0, 0

    def add(part: slice, operands: Any, start: int) -> None:
        size = part.stop - part.start
        rows, norms = mapped.block(x, None, part.start, part.stop, query_rows)
        excluded = np.full(query_rows, -1, np.int32)
        if own is not None:
            local = own[part] - start
            excluded[:size] = np.where((local >= 0) & (local < piece_rows), local, -1)
        state = (pad_rows(array[:, part].T, query_rows).T for array in (largest, total))
        with jax.enable_x64(True):
            found = add_block(
                rows, norms, *operands, excluded, rates, *state, tile_rows=tile_rows, direct=center is None
            )
            largest[:, part], total[:, part] = (np.asarray(array)[:, :size] for array in found)

    for block in _blocks("reference", y):
        for part in row_chunks(len(block), 1, piece_rows):
            size = part.stop - part.start
            rows, norms = mapped.block(block, None, part.start, part.stop, piece_rows, in_parallel=True)
            longest = max(longest, float(norms[:size].max()))
            logs = np.zeros(size) if log_weights is None else log_weights[start : start + size]
            with jax.enable_x64(True):
                operands = [jax.device_put(array) for array in (rows, norms, pad_rows(logs, piece_rows, -np.inf))]
            in_threads(
                lambda part, operands=operands, start=start: add(part, operands, start),
                row_chunks(n, 1, query_rows),
                workers=workers,
            )
            start += size
    with np.errstate(divide="ignore"):  # no kernel at all is left where every exponent is beyond float64
        return largest + np.log(total), longest


def _source(name: str, value: Any) -> Rows:
    """Records to read in blocks: a memory map is checked as it is read, anything else now."""
    return Rows.of(name, value if isinstance(value, np.memmap) else checked_records(name, value))


def _blocks(name: str, rows: Rows) -> Any:
    """One block of what is in memory, checked blocks of a memory map."""
    if rows.in_memory:
        yield rows.array
        return
    start = 0
    for block in rows.blocks():
        yield checked_records(f"{name} (block from row {start})", block)
        start += len(block)


def _sample(rows: Any) -> FloatArray:
    """A few hundred rows, evenly spaced."""
    return rows[:: 1 + len(rows) // _CENTER_ROWS]


def _bandwidths(bandwidth: Any) -> tuple[FloatArray, bool]:
    """The bandwidths as a vector, and whether there was only a number."""
    array = np.asarray(bandwidth)
    if array.dtype.kind not in "iuf":
        raise TypeError(f"bandwidth has dtype {array.dtype}; pass a positive number or several.")
    if array.ndim > 1 or array.size == 0:
        raise ValueError(f"bandwidth has shape {array.shape}; pass a positive number or a sequence of them.")
    widths = np.atleast_1d(array).astype(np.float64)
    bad = ~((widths >= 1 / _EXTREME) & (widths <= _EXTREME))
    if bad.any():
        raise ValueError(
            f"bandwidth={widths[bad][0]:g} (entry {int(np.argmax(bad))}) must be positive and finite, "
            f"between {1 / _EXTREME:g} and {_EXTREME:g}."
        )
    return widths, array.ndim == 0


def _weights(weights: Any, m: int, exclude_self: bool) -> tuple[FloatArray | None, Any]:
    """Log weights (None if all are 1) and the log of their total, per query without its own if that is left out."""
    if weights is None:
        return None, np.full(m, math.log(m - 1)) if exclude_self else math.log(m)
    array = np.asarray(weights)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"weights has dtype {array.dtype}; pass one number for each row of reference.")
    if array.shape != (m,):
        raise ValueError(f"weights has shape {array.shape}; pass one number for each of the {m} rows of reference.")
    array = array.astype(np.float64)
    bad = ~(np.isfinite(array) & (array >= 0))
    if bad.any():
        first = int(np.argmax(bad))
        raise ValueError(f"weights must be finite and at least 0, got {array[first]} in row {first}.")
    if np.count_nonzero(array) <= exclude_self:
        least = "two weights" if exclude_self else "one weight"
        raise ValueError(f"weights has {np.count_nonzero(array)} entries above 0; at least {least} must be positive.")
    array = array / array.max()  # the estimate depends on ratios only, and a sum of these cannot overflow
    with np.errstate(divide="ignore"):
        logs = np.log(array)
        if not exclude_self:
            return logs, math.log(array.sum())
        # Sums from either end: a difference from the whole would cancel where one weight is nearly all of it.
        before, after = np.cumsum(array), np.cumsum(array[::-1])[::-1]
        return logs, np.log(np.append(0.0, before[:-1]) + np.append(after[1:], 0.0))
