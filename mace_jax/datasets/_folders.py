"""Where data sets are looked for, and what to say when one is absent."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

__all__ = ["absent", "search_folders"]

_VARIABLE = "TFDS_DATA_DIR"


def search_folders(data_dir: str | os.PathLike[str] | None) -> tuple[Path, ...]:
    """``data_dir`` and the folder in TFDS_DATA_DIR, those that are given, in this order."""
    if data_dir is not None and not Path(data_dir).is_dir():
        raise FileNotFoundError(f"data_dir={os.fspath(data_dir)!r} is not a folder; leave it out or create it.")
    given = [data_dir, os.environ.get(_VARIABLE)]
    return tuple(dict.fromkeys(Path(folder) for folder in given if folder))


def absent(name: str, looked: Iterable[Path], remedies: Sequence[str]) -> FileNotFoundError:
    """The error for a data set that is in none of the folders."""
    folders = ", ".join(map(str, looked))
    return FileNotFoundError(
        f"the data set {name!r} was not found in {folders or 'any folder (none was given)'}. "
        f"Do one of these: {'; '.join(remedies)}. Nothing is downloaded unless asked for."
    )
