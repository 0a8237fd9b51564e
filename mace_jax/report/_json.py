"""The JSON form of a report: plain values, no NaN or infinity, one line per list of numbers."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import secrets
from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["encode", "plain"]

_Leaf = Callable[[Any, str], Any]


def plain(value: Any, where: str = "report") -> Any:
    """Dicts, lists, strings and numbers; arrays become lists at full precision."""
    return _walk(value, where, lambda leaf, _: leaf.tolist() if isinstance(leaf, np.ndarray) else leaf)


def encode(value: Any, where: str = "report") -> str:
    """JSON text; entries of float arrays are rounded to 6 significant digits, single numbers are not."""
    mark = secrets.token_hex(16)
    lines: list[str] = []

    def leaf(entry: Any, path: str) -> Any:
        if isinstance(entry, np.ndarray):
            bad = ~np.isfinite(entry)
            if bad.any():
                place = tuple(int(axis) for axis in np.argwhere(bad)[0])
                raise _not_finite(f"{path}{list(place)}", float(entry[place]))
            if entry.dtype.kind != "f" or entry.ndim != 1:
                return entry.tolist()
            lines.append("[" + ", ".join(map("%.6g".__mod__, entry.tolist())) + "]")
            return f"{mark}{len(lines) - 1}"
        if isinstance(entry, float) and not math.isfinite(entry):
            raise _not_finite(path, entry)
        if isinstance(entry, list) and entry and all(isinstance(number, int | float) for number in entry):
            lines.append(json.dumps(entry))
            return f"{mark}{len(lines) - 1}"
        return entry

    first, *rest = json.dumps(_walk(value, where, leaf), indent=1, allow_nan=False).split(f'"{mark}')
    pieces = [first]
    for piece in rest:
        place, _, after = piece.partition('"')
        pieces += [lines[int(place)], after]
    return "".join(pieces) + "\n"


def _walk(value: Any, path: str, leaf: _Leaf) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = (field.name for field in dataclasses.fields(value))
        return {name: _walk(getattr(value, name), f"{path}.{name}", leaf) for name in names}
    if isinstance(value, dict):
        return {str(name): _walk(entry, f"{path}.{name}", leaf) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return leaf([_walk(entry, f"{path}[{place}]", leaf) for place, entry in enumerate(value)], path)
    if isinstance(value, np.ndarray):
        if value.dtype.kind not in "biuf":
            return _walk(value.tolist(), path, leaf)
        return leaf(value, path)
    if isinstance(value, np.generic):
        return _walk(value.item(), path, leaf)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if value is None or isinstance(value, bool | int | float | str):
        return leaf(value, path)
    raise TypeError(f"{path} is a {type(value).__name__}, which has no JSON form; store numbers, text, lists or dicts.")


def _not_finite(path: str, value: float) -> ValueError:
    return ValueError(f"{path} is {value}, which JSON cannot hold; a report must carry finite numbers only.")
