"""Rows on file (JSON lines) and as a table to read (Markdown)."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from mace_jax.reproduce._row import Row

__all__ = ["markdown", "read_rows", "write_rows"]

_HEAD = ("data", "model", "figure", "ours", "chance", "published", "accepted", "")


def write_rows(path: Path, rows: Iterable[Row]) -> Path:
    """Replace the file by these rows, whole or not at all."""
    staging = path.with_suffix(".tmp")
    staging.write_text("".join(json.dumps(row.to_dict()) + "\n" for row in rows), encoding="utf-8")
    os.replace(staging, path)
    return path


def read_rows(path: Path) -> list[Row]:
    """Rows that ``write_rows`` wrote.

    Raises:
        ValueError: the file holds something else.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        return [Row.from_dict(json.loads(line)) for line in lines if line.strip()]
    except (TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"{path} holds no rows of a reproduction ({error}); remove it.") from error


def markdown(rows: Iterable[Row]) -> str:
    """A table; where several seeds were run, only their mean is shown if there is one, else every seed."""
    given = list(rows)
    several = {_figure(row) for row in given if row.seed is None and row.value is not None}
    seeds = Counter(_figure(row) for row in given)
    lines = ["| " + " | ".join(_HEAD) + " |", "|" + " --- |" * len(_HEAD)]
    for row in given:
        if row.seed is None or _figure(row) not in several:
            named = seeds[_figure(row)] > 1 and row.seed is not None
            model = f"{row.model}, seed {row.seed}" if named else row.model
            lines.append("| " + " | ".join(_cells(row, model)) + " |")
    return "\n".join(lines)


def _figure(row: Row) -> tuple[str, ...]:
    return row.experiment, row.dataset, row.model, row.quantity


def _cells(row: Row, model: str) -> list[str]:
    if row.value is None:
        return [row.dataset, model, row.quantity, "not run", "", "", "", _plain(row.note)]
    ours = f"{row.value:.3f}"
    if row.low is not None and row.high is not None:
        ours += f" [{row.low:.3f}, {row.high:.3f}]"
    accepted = ""
    if row.accepted is not None:
        low, high = row.accepted
        accepted = f"{low:g} to {high:g}" if low is not None and high is not None else ""
        accepted = accepted or (f"at least {low:g}" if low is not None else f"at most {high:g}")
    verdict = {True: "yes", False: "NO", None: ""}[row.reproduced]
    published = "" if row.published is None else f"{row.published:.3f}"
    chance = "" if row.chance is None else f"{row.chance:.3f}"
    return [row.dataset, model, row.quantity, ours, chance, published, accepted, verdict]


def _plain(text: str) -> str:
    """One line that cannot break the table."""
    return " ".join(text.replace("|", "/").split())
