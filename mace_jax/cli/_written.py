"""Where a report goes: checked before the long work, written whole or not at all after it."""

from __future__ import annotations

import math
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from mace_jax.cli._outcome import GATE_FAILED

if TYPE_CHECKING:
    from mace_jax.report import Report

__all__ = ["check_settings", "finish", "gate"]


def check_settings(out: Path, fail_above_epsilon: float | None) -> None:
    """What can be refused before the long work: the gate and the place of the report."""
    if fail_above_epsilon is not None and not (math.isfinite(fail_above_epsilon) and fail_above_epsilon >= 0):
        raise ValueError(f"fail-above-epsilon={fail_above_epsilon} must be a finite number of at least 0.")
    place = _existing(out)
    if not place.is_dir():
        raise ValueError(f"out={str(out)!r} cannot be a folder because {place} is a file; choose another with --out.")
    for name in ("report.json", "report.html"):
        if (out / name).is_dir():
            raise ValueError(f"out={str(out)!r} holds a folder called {name}; remove it or choose another --out.")
    try:
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        raise PermissionError(
            f"out={str(out)!r} is not writable ({error.strerror}); choose another folder with --out."
        ) from error


def _existing(out: Path) -> Path:
    """The folder itself, or the nearest parent that exists."""
    return next(place for place in (out, *out.absolute().parents) if os.path.lexists(place))


def finish(report: Report, out: Path) -> None:
    """Write both files, whole or not at all, and say what was found and where it is."""
    names = ("report.json", "report.html")
    with tempfile.TemporaryDirectory(prefix=".mace-jax-", dir=_existing(out)) as staging:
        report.to_json(Path(staging, names[0]))
        report.to_html(Path(staging, names[1]))
        out.mkdir(parents=True, exist_ok=True)
        for name in names:
            os.replace(Path(staging, name), out / name)
    typer.echo(report.summary())
    for name in names:
        typer.echo(f"Written: {out / name}")


def gate(report: Report, fail_above_epsilon: float | None) -> None:
    """Exit with a code of its own where more is certified than the caller allows."""
    if fail_above_epsilon is not None and report.certificate.epsilon > fail_above_epsilon:
        typer.echo(
            f"Gate failed: the certified epsilon {report.certificate.epsilon:.4f} "
            f"exceeds fail-above-epsilon={fail_above_epsilon:g}.",
            err=True,
        )
        raise typer.Exit(GATE_FAILED)
