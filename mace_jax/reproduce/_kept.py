"""Arrays that took time, kept on file: an interrupted experiment goes on after the last attack that ended."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable
from typing import Any

import numpy as np

from mace_jax.reproduce._run import Run

__all__ = ["digest", "kept", "slug"]


def slug(name: str) -> str:
    """The name as part of a file name."""
    return re.sub(r"\W+", "-", name).strip("-")


def digest(*parts: Any) -> str:
    """SHA-256 of arrays (values, shapes and types) and of anything else by its ``repr``."""
    found = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            found.update(repr((part.shape, part.dtype.str)).encode())
            found.update(np.ascontiguousarray(part).tobytes())
        else:
            found.update(repr(part).encode())
    return found.hexdigest()


def kept(run: Run, name: str, inputs: str, make: Callable[[], dict[str, Any]]) -> dict[str, np.ndarray]:
    """The arrays that ``make`` returns, from the file if that was made of the same ``inputs`` (a digest of them)."""
    folder = run.out / "scores"
    file = folder / f"{slug(name)}.npz"
    if file.exists():
        with np.load(file, allow_pickle=False) as content:
            if str(content["inputs"]) == inputs:
                return {key: content[key] for key in content.files if key != "inputs"}
    run.announce(name)
    made = {key: np.asarray(value) for key, value in make().items()}
    folder.mkdir(parents=True, exist_ok=True)
    staging = folder / f"{slug(name)}.{os.getpid()}.tmp"
    with staging.open("wb") as stream:
        np.savez(stream, **{"inputs": np.array(inputs), **made})  # type: ignore[arg-type]
    os.replace(staging, file)
    return made
