"""In what numbers the filtering pass multiplies: the shortest that save time, longer ones where those prove little."""

from __future__ import annotations

import functools
from pathlib import Path

import jax
import numpy as np

from mace_jax._types import IntArray
from mace_jax.neighbors._filter import Filter
from mace_jax.neighbors._operands import Bytes, Floats, Halves
from mace_jax.neighbors._scan import AbstractScan, Block, Tiles
from mace_jax.neighbors._scan_compiled import CompiledScan
from mace_jax.neighbors._scan_tiled import TiledScan
from mace_jax_kernels._byte_dot import BYTE_DOT_WIDTH, compiles_to_bytes

__all__ = ["prepared", "short_products"]

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


def prepared(products: str, filtered: Filter, sizes: Tiles, block: Block, ids: IntArray) -> AbstractScan:
    """A scan, with these products, of a piece whose rows have these ids."""
    if filtered.dtype != np.float32 or jax.default_backend() != "cpu":
        return CompiledScan.prepare(filtered, sizes, block, ids)
    kind = {"bytes": Bytes, "bfloat16": Halves, "float32": Floats}[products]
    return TiledScan.prepare(kind(filtered), sizes, block, ids)


@functools.cache
def _processor_words() -> frozenset[str]:
    path = Path("/proc/cpuinfo")
    return frozenset(path.read_text(encoding="ascii", errors="ignore").split() if path.exists() else ())
