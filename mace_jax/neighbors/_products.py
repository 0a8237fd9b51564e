"""In what numbers the filtering pass multiplies: the shortest that save time, longer ones where those prove little."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from mace_jax.neighbors._filter import Filter
from mace_jax.neighbors._operands import Bytes, Floats, Halves
from mace_jax.neighbors._scan import AbstractScan, Block, Tiles
from mace_jax.neighbors._scan_compiled import CompiledScan
from mace_jax.neighbors._scan_tiled import TiledScan
from mace_jax_kernels._byte_dot import BYTE_DOT_WIDTH, compiles_to_bytes
from mace_jax_kernels._tiling import bucket

__all__ = ["Depth", "prepared", "short_products"]

_FEWEST, _FEWEST_FOR_BYTES = 16, 48
"""Features from which short products are worth their weaker bounds; with few, selection takes the time."""


def short_products(d: int) -> tuple[str, ...]:
    """Short products that save time here, the shortest first: enough features, and a CPU with instructions for them."""
    if d < _FEWEST or jax.default_backend() != "cpu":
        return ()
    words = _processor_words()
    whole = _FEWEST_FOR_BYTES <= d <= BYTE_DOT_WIDTH and bool(words & {"avx512_vnni", "amx_int8"})
    half = bool(words & {"avx512_bf16", "amx_bf16", "bf16"})
    return ("bytes",) * (whole and compiles_to_bytes()) + ("bfloat16",) * half


def prepared(products: str, filtered: Filter, sizes: Tiles, block: Block, n_rows: int) -> AbstractScan:
    """A scan with these products."""
    if filtered.dtype != np.float32 or jax.default_backend() != "cpu":
        return CompiledScan.prepare(filtered, sizes, block, n_rows)
    kind = {"bytes": Bytes, "bfloat16": Halves, "float32": Floats}[products]
    return TiledScan.prepare(kind(filtered), sizes, block, n_rows)


@functools.cache
def _processor_words() -> frozenset[str]:
    path = Path("/proc/cpuinfo")
    return frozenset(path.read_text(encoding="ascii", errors="ignore").split() if path.exists() else ())


class Depth(NamedTuple):
    """How far the lists of a filter go for ``k`` neighbors; unequal to prove most rows at least cost."""

    kept: int  # groups kept
    few: int  # groups that are ranked
    near: int  # rows of these of which the bounds are listed

    @classmethod
    def of(cls, k: int, d: int, products: str) -> Depth:
        """Bounds of shorter products overlap more: more groups hold rows that may be among the ``k`` nearest."""
        if products == "bytes":
            few, kept, more = k + k // 2 + 5 + d // 64, 2 * k + 12 + d // 18, 8
        else:
            few, kept, more = k + 3 + k // 8, k + 6 + k // 8, 4
        few, kept = _rounded_up(max(12, few)), _rounded_up(max(16, kept))
        return cls(max(few, kept), few, few + more)


def _rounded_up(n: int) -> int:
    """To four lengths per power of two: few lengths of lists, few compilations."""
    step = bucket(n) // 8
    return -(-n // step) * step
