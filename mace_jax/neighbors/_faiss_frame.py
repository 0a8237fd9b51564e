"""The map to float32 in which FAISS works, and what its values prove."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mace_jax._types import FloatArray, IntArray
from mace_jax.neighbors._blocks import Rows, checked_records
from mace_jax.neighbors._pairs import row_chunks, widened

__all__ = ["Frame"]


@dataclasses.dataclass(frozen=True, eq=False)
class Frame:
    """The map ``x -> (x - mean) * scale`` rounded to float32 and padded with zero columns to ``width``."""

    center: FloatArray
    scale: float
    width: int

    @classmethod
    def of(cls, rows: Rows, width: int | None = None, *, check: bool = False) -> Frame:
        """Center by the mean of the reference; scale by a power of two, its longest row to at most about 2^20."""
        d = rows.shape[1]
        total, low, high = np.zeros(d), np.full(d, np.inf), np.full(d, -np.inf)
        step = rows.step(8 << 20)
        for place, block in enumerate(rows.blocks(step)):
            if check:
                checked_records(f"reference (block from row {place * step})", block)
            total += block.sum(axis=0)
            low, high = np.minimum(low, block.min(axis=0)), np.maximum(high, block.max(axis=0))
        center = total / len(rows)
        longest = float(np.sqrt(np.square(np.maximum(high - center, center - low)).sum()))
        exponent = 0 if longest == 0 else 20 - np.frexp(longest)[1]
        return cls(center, float(np.ldexp(1.0, int(exponent))), width or d)

    def image(self, rows: Rows, start: int = 0, stop: int | None = None, chosen: IntArray | None = None) -> Any:
        """Mapped rows ``start:stop``, or the chosen ones; queries far outside overflow and find no candidates."""
        n = len(chosen) if chosen is not None else (len(rows) if stop is None else stop) - start
        mapped = np.zeros((n, self.width), np.float32)
        for part in row_chunks(n, 24 * self.width):
            here = slice(start + part.start, start + part.stop) if chosen is None else chosen[part]
            with np.errstate(over="ignore"):
                mapped[part, : len(self.center)] = (rows[here] - self.center) * self.scale
        return mapped

    def proves(self, queries: FloatArray, last: NDArray[np.float32], squared: FloatArray) -> NDArray[np.bool_]:
        """Whether lists without only rows of float32 values of at least ``last`` hold all rows up to ``squared``.

        The float32 value of a pair errs by at most ``c (|x|^2 + |y|^2)``, and a row that belongs to the list has
        ``|y| <= |x| + D`` for the k-th distance ``D``, so its value is at most ``D^2 + c (|x|^2 + (|x| + D)^2)``.
        """
        d = len(self.center)
        c, lost = 4 * (d + 10) * 2.0**-24, 8 * d * float(np.finfo(np.float32).tiny)
        proven = np.empty(len(queries), dtype=bool)
        for part in row_chunks(len(queries), 16 * d):
            with np.errstate(over="ignore", invalid="ignore"):
                norm = np.sqrt(np.square((queries[part] - self.center) * self.scale).sum(axis=1))
                reach = np.sqrt(widened(squared[part], d)) * self.scale
                limit = reach**2 + c * (norm**2 + (norm + reach) ** 2) + lost
                proven[part] = last[part].astype(np.float64) > widened(limit, d)
        return proven & np.isfinite(last)
