"""Prepared copies on disk: finding the folder of a data set, without opening it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

__all__ = ["find_prepared"]

_VERSION = re.compile(r"\d+\.\d+\.\d+")


def find_prepared(name: str, folders: Iterable[Path]) -> Path | None:
    """The newest version of the data set ``name`` (or ``name/config``) below the first folder that has it.

    Raises:
        ValueError: there are several configurations and the name picks none.
    """
    if not re.fullmatch(r"[\w+-]+(?:\.[\w+-]+)*(?:/[\w.+-]+)?", name):
        return None
    for folder in folders:
        root = folder / name
        found = _versions(root)
        if found:
            return found[-1]
        configured = [place for place in sorted(root.iterdir()) if _versions(place)] if root.is_dir() else []
        if len(configured) > 1:
            names = ", ".join(f"'{name}/{place.name}'" for place in configured)
            raise ValueError(f"name={name!r} was prepared in several configurations; pass one of {names}.")
        if configured:
            return _versions(configured[0])[-1]
    return None


def _versions(folder: Path) -> list[Path]:
    """Version folders with a finished copy, oldest version first."""
    if not folder.is_dir():
        return []
    places = [place for place in folder.iterdir() if _VERSION.fullmatch(place.name)]
    places = [place for place in places if (place / "dataset_info.json").is_file()]
    return sorted(places, key=lambda place: [int(number) for number in place.name.split(".")])
