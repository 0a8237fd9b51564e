"""The IDX format of the MNIST family: a short header, then bytes."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

__all__ = ["find_idx", "read_idx"]


def find_idx(folder: Path, name: str) -> Path | None:
    """The file ``name`` or ``name.gz`` in the folder; None if it has neither."""
    return next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)


def read_idx(path: Path) -> tuple[NDArray[np.uint8], str]:
    """An array of bytes from an IDX file, plain or gzip-compressed, and the SHA-256 of its uncompressed content.

    The header is two zero bytes, the type (8: unsigned byte), the rank, and each extent as four bytes, highest first.

    Raises:
        ValueError: the file is no IDX file of bytes, or is shorter or longer than its header says.
    """
    content = path.read_bytes()
    if content[:2] == b"\x1f\x8b":
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError(f"{path} cannot be decompressed: {error}. Get the file again.") from error
    if len(content) < 4 or content[:3] != b"\0\0\x08":
        raise ValueError(f"{path} is not an IDX file of bytes (it begins with {content[:4].hex()}); check the file.")
    rank = content[3]
    start = 4 + 4 * rank
    shape = tuple(int(extent) for extent in np.frombuffer(content[4:start].ljust(4 * rank, b"\0"), ">u4"))
    expected = start + int(np.prod(shape, dtype=np.int64))
    if rank == 0 or len(content) != expected:
        raise ValueError(
            f"{path} holds {len(content)} bytes where its header {shape} asks for {expected}; get the file again."
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape), hashlib.sha256(content).hexdigest()
