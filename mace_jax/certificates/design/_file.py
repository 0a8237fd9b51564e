"""Design files: JSON with the coins as packed bits, a version, and a checksum over everything else."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import secrets
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["fingerprint_of", "pack", "read_payload", "unpack", "write_payload"]

_FORMAT = "mace_jax design"
_VERSION = 1


def pack(coins: NDArray[np.bool_]) -> str:
    """Coins in row-major order, eight to a byte, as base64 text."""
    return base64.b64encode(np.packbits(coins.ravel()).tobytes()).decode("ascii")


def unpack(text: str, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """The coins again; raises ValueError where they do not fill the shape."""
    total = int(np.prod(shape, dtype=np.int64))
    raw = np.frombuffer(base64.b64decode(text, validate=True), np.uint8)
    if len(raw) != -(-total // 8):
        raise ValueError(f"{len(raw)} bytes of coins where {total} coins need {-(-total // 8)}")
    return np.unpackbits(raw, count=total).astype(bool).reshape(shape)


def fingerprint_of(payload: dict[str, Any]) -> str:
    """SHA-256 of the canonical JSON form."""
    text = json.dumps({"format": _FORMAT, "version": _VERSION, **payload}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def write_payload(path: str | Path, payload: dict[str, Any]) -> Path:
    """Write beside the file and move into place, so that an interruption leaves the old file or the new one."""
    path = Path(path)
    whole = {"format": _FORMAT, "version": _VERSION, **payload, "checksum": fingerprint_of(payload)}
    temporary = path.parent / f".{secrets.token_hex(8)}.tmp"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def read_payload(path: str | Path) -> dict[str, Any]:
    """The fields of a design file whose checksum is right.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no design file, one of a newer version, or one that was changed.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; check the path.")
    try:
        payload = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is no design file: it is not JSON ({error}).") from None
    if not isinstance(payload, dict) or payload.pop("format", None) != _FORMAT:
        raise ValueError(f"{path} is no design file; pass one that a design's save(path) wrote.")
    version, checksum = payload.pop("version", None), payload.pop("checksum", None)
    if version != _VERSION:
        raise ValueError(f"{path} has version {version!r}; this release reads version {_VERSION}.")
    if checksum != fingerprint_of(payload):
        raise ValueError(f"{path} was changed after it was saved: its checksum is wrong. Restore the original file.")
    return payload
