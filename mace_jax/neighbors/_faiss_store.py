"""What tells a stored index from another: the file beside it and checksums."""

from __future__ import annotations

import hashlib
import zlib
from pathlib import Path

import numpy as np

from mace_jax.neighbors._blocks import Rows

__all__ = ["crc32_of", "description_of", "sha256_of"]


def description_of(path: Path) -> Path:
    """The JSON file beside an index."""
    return path.with_name(path.name + ".json")


def sha256_of(path: Path) -> str:
    """Of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def crc32_of(rows: Rows) -> int:
    """Of the rows as float64, so that a copy of another type that holds the same numbers passes."""
    code = 0
    for block in rows.blocks(rows.step(8 << 20)):
        code = zlib.crc32(np.ascontiguousarray(block).data, code)
    return code
