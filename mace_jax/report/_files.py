"""Writing files so that an interruption leaves the old file or the new one, never a broken one."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

__all__ = ["write_atomically"]


def write_atomically(path: Path, text: str) -> Path:
    """Write ``text`` beside ``path`` and move it into place."""
    temporary = path.parent / f".{secrets.token_hex(8)}.tmp"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "x", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        _remove(temporary)
        reason = error.strerror or str(error)
        raise type(error)(f"cannot write {path}: {reason}; choose a file in a folder you may write to.") from error
    except BaseException:
        _remove(temporary)
        raise
    return path


def _remove(temporary: Path) -> None:
    try:
        temporary.unlink()
    except OSError:  # never created, or its folder is gone: nothing is left behind
        return
