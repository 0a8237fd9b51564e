"""Model, training state and history on disk: one file each, replaced atomically, never pickle."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from flax import serialization

__all__ = ["HISTORY_FILE", "MODEL_FILE", "TRAINING_FILE", "fingerprint", "read", "sweep", "write", "write_lines"]

MODEL_FILE = "model.msgpack"
TRAINING_FILE = "training.msgpack"
HISTORY_FILE = "history.jsonl"


def write(directory: str | os.PathLike[str], name: str, content: dict[str, Any]) -> Path:
    """Write ``content`` so that a reader sees the old file or the new one, never a part."""
    return _replace(directory, name, serialization.msgpack_serialize(content))


def write_lines(directory: str | os.PathLike[str], name: str, rows: list[dict[str, Any]]) -> Path:
    """Write one JSON object per line, in the same way."""
    return _replace(directory, name, "".join(f"{json.dumps(row)}\n" for row in rows).encode())


def sweep(directory: str | os.PathLike[str], *names: str) -> None:
    """Delete what a killed process left half-written."""
    for name in names:
        for path in Path(directory).glob(f".{name}.*"):
            path.unlink(missing_ok=True)


def _replace(directory: str | os.PathLike[str], name: str, data: bytes) -> Path:
    """Put the data beside the old file, safely on disk, and then in its place."""
    folder = Path(directory)
    folder.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f".{name}.", dir=folder)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, folder / name)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return folder / name


def read(directory: str | os.PathLike[str], name: str) -> dict[str, Any]:
    """The content of a file made by ``write``; a damaged file is a ``ValueError`` that names it."""
    path = Path(directory) / name
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; pass the directory a model was saved to.")
    try:
        content = serialization.msgpack_restore(path.read_bytes())
    except Exception as error:  # msgpack has no common base class for what damaged bytes can raise
        raise ValueError(f"{path} cannot be read ({error}); it is damaged: delete it.") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} is not a file of this package; delete it or pass another directory.")
    return content


def fingerprint(settings: dict[str, Any], *arrays: np.ndarray) -> str:
    """Hash of all that decides a training run."""
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for array in arrays:
        digest.update(f"{array.shape}{array.dtype}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
