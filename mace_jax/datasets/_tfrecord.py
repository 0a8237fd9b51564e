"""The TFRecord container, read in order without TensorFlow."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

__all__ = ["read_tfrecord"]


def read_tfrecord(path: Path) -> Iterator[bytes]:
    """The entries of one file: each has its length (8 bytes), a checksum (4), its bytes, and a checksum (4).

    The checksums are not compared; an entry that is cut short is an error.
    """
    with path.open("rb") as file:
        while head := file.read(12):
            length = struct.unpack("<Q", head[:8])[0] if len(head) == 12 else -1
            entry = file.read(length + 4) if length >= 0 else b""
            if length < 0 or len(entry) != length + 4:
                raise ValueError(f"{path} ends inside an entry; prepare the data set again.")
            yield entry[:-4]
