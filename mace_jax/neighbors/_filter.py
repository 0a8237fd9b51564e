"""Operands of the filtering products: centered, scaled and rounded, with what that rounding proves."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mace_jax._types import FloatArray, IntArray
from mace_jax.neighbors._pairs import row_chunks, rows_at, squared_threshold, widened
from mace_jax.neighbors._threads import in_threads
from mace_jax_kernels._precision import relative_slack

__all__ = ["Filter", "aligned"]

_MEDIAN_ROWS = 500
_FILL_BYTES = 2 << 20
_ALIGNMENT = 64
_LARGEST_BYTE = 127
_LEAST_LOSS = 2.0**-11


@dataclasses.dataclass(frozen=True, eq=False)
class Filter:
    """The map ``x -> (x - center) * scale`` rounded to ``dtype``, and the relative error of products of its images.

    ``slack`` is 0 when images are integers so small that every product and sum is exact.
    """

    center: FloatArray
    scale: float
    slack: float
    dtype: Any
    byte_loss: float = 0.0  # about the norm of what rounding to bytes takes from a row, over the row's norm

    @property
    def keep(self) -> Any:
        """What the rounding of products leaves of a squared norm."""
        return np.dtype(self.dtype).type(1.0 - self.slack)

    @property
    def keep_short(self) -> np.float32:
        """The same for short copies of rows, with one part in fifty of the slack as room."""
        return np.float32(1.0 - 1.02 * self.slack)

    @classmethod
    def prepare(cls, queries: FloatArray, reference: FloatArray, dtype: Any) -> Filter:
        """Center by a median, which outliers do not move; scale by a power of two, the longest row to about 2^20."""
        some = [array[:: 1 + len(array) // _MEDIAN_ROWS] for array in (queries, reference)]
        sample = np.vstack(some)
        center = np.median(sample, axis=0)
        whole = np.rint(center)
        parts = [
            (array, part) for array in (queries, reference) for part in row_chunks(len(array), 16 * array.shape[1])
        ]
        integers = bool((np.abs(whole) < 2.0**50).all()) and all(
            bool((array[part] == np.rint(array[part])).all()) for array, part in parts
        )
        origin = whole if integers else center

        def longest(item: tuple[FloatArray, slice]) -> float:
            rows = item[0][item[1]] - origin
            return float(np.einsum("ij,ij->i", rows, rows).max())

        largest = max(in_threads(longest, parts))
        # |x|^2 + |y|^2, 2 x.y and their difference are whole numbers of at most 4 * largest.
        if integers and 4 * largest <= _whole_limit(dtype):
            return cls(whole, 1.0, 0.0, dtype)
        exponent = 0 if largest == 0 else 20 - np.frexp(np.sqrt(largest))[1]
        scale = float(np.ldexp(1.0, int(exponent)))
        return cls(center, scale, relative_slack(queries.shape[1], dtype), dtype, _byte_loss(sample - center))

    def block(
        self,
        array: FloatArray,
        chosen: IntArray | None,
        start: int,
        stop: int,
        rows: int,
        *,
        in_parallel: bool = False,
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """Rows ``start:stop`` (of the chosen ones) mapped, and their squared norms; padded with norms of infinity."""
        moved = aligned((rows, array.shape[1]), self.dtype)
        moved[stop - start :] = 0
        norms = aligned((rows,), self.dtype)
        norms[stop - start :] = np.inf

        def fill(part: slice) -> None:
            here = slice(start + part.start, start + part.stop)
            exact = (array[here] if chosen is None else rows_at(array, chosen[here])) - self.center
            exact *= self.scale
            moved[part] = exact
            norms[part] = np.einsum("ij,ij->i", exact, exact)

        in_threads(fill, row_chunks(stop - start, 24 * array.shape[1], _FILL_BYTES), None if in_parallel else 1)
        return moved, norms

    def by_size(self, array: FloatArray, chosen: IntArray | None) -> IntArray:
        """The rows (the chosen ones) in order of the largest distance of an entry from the center, or nearly so."""
        n = len(array) if chosen is None else len(chosen)
        found, center = np.empty(n, np.int32), self.center.astype(array.dtype)

        def measure(part: slice) -> None:
            rows = (array[part] if chosen is None else rows_at(array, chosen[part])) - center
            bits = np.abs(rows, out=rows).view(f"i{rows.itemsize}")  # in the order of the sizes, and compared faster
            found[part] = bits.max(axis=1) >> (8 * rows.itemsize - 32)

        in_threads(measure, row_chunks(n, 8 * array.shape[1], _FILL_BYTES))
        return np.argsort(found)

    def proves(self, bounds: NDArray[Any], squared: FloatArray) -> NDArray[np.bool_]:
        """Whether lists that left out only rows with at least these bounds hold all rows up to ``squared``."""
        if self.slack == 0.0:
            return np.ones(len(bounds), dtype=bool)
        d = len(self.center)
        # Squares that vanish in `dtype`, some of them divided by a ratio of 2^-11 or more afterwards, cost an absolute
        # error; measured distances err by (d + 2) roundings.
        lost = 2.0**12 * d * float(np.finfo(self.dtype).tiny)
        lowest = (bounds.astype(np.float64) - lost) / self.scale / self.scale
        return widened(lowest, d, -1) > squared

    def limits(self, radius: FloatArray) -> tuple[NDArray[Any], NDArray[Any]]:
        """Squared radii on the mapped scale between which a product does not decide."""
        threshold = squared_threshold(radius)
        if self.slack == 0.0:
            exact = (np.minimum(np.floor(threshold), _whole_limit(self.dtype)) + 0.5).astype(self.dtype)
            return exact, exact
        d = len(self.center)
        below, above = (widened(threshold, d, sign) * self.scale * self.scale for sign in (-1, 1))
        room = 4 * float(np.finfo(self.dtype).eps)
        lost = 8 * d * float(np.finfo(self.dtype).tiny)
        largest = float(np.finfo(self.dtype).max)
        low = np.minimum(below * (1 - room) - lost, largest)
        return low.astype(self.dtype), np.minimum(above * (1 + room) + lost, largest).astype(self.dtype)

    def edges(self, low: NDArray[Any], high: NDArray[Any], norms: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        """``limits`` less the part of the bounds that does not depend on the reference, rounded away from a mistake."""
        inner = low.astype(np.float64) - (1.0 + self.slack) * norms.astype(np.float64)
        outer = high.astype(np.float64) - (1.0 - self.slack) * norms.astype(np.float64)
        if self.slack == 0.0:
            return inner.astype(self.dtype), outer.astype(self.dtype)
        room = 4 * float(np.finfo(self.dtype).eps)
        inner, outer = inner - room * np.abs(inner), outer + room * np.abs(outer)
        largest = float(np.finfo(self.dtype).max)
        inner, outer = np.clip(inner, -largest, largest), np.clip(outer, -largest, largest)
        return inner.astype(self.dtype), outer.astype(self.dtype)


def _byte_loss(rows: FloatArray) -> float:
    """Median over the rows, each rounded to 127 steps either way."""
    steps = np.abs(rows).max(axis=1) / _LARGEST_BYTE
    rows = rows[steps > 0.0] / steps[steps > 0.0, None]
    lost = np.linalg.norm(rows - np.rint(rows), axis=1) / np.linalg.norm(rows, axis=1)
    return max(_LEAST_LOSS, float(np.median(lost)) if len(lost) else 0.0)


def aligned(shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
    """An uninitialized array that starts on a cache line, which JAX takes over without a copy."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    raw = np.empty(size + _ALIGNMENT, np.uint8)
    offset = -raw.ctypes.data % _ALIGNMENT
    return raw[offset : offset + size].view(dtype).reshape(shape)


def _whole_limit(dtype: Any) -> float:
    """Whole numbers up to here, and one half more, are exact in ``dtype`` with room to spare: 2^22 for float32."""
    return 2.0 ** (np.finfo(dtype).nmant - 1)
