"""The application that commands register with, and the options that several of them take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["EXAMPLE", "FILES", "RECORDS", "Confidence", "Delta", "Out", "Seed", "app"]

app = typer.Typer(
    name="mace-jax",
    help="How much does a trained generative model reveal about the records it was trained on?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _version(wanted: bool) -> None:
    if wanted:
        import mace_jax

        typer.echo(f"mace-jax {mace_jax.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    pass


EXAMPLE = "\b\nExample:\n  "
Out = Annotated[Path, typer.Option(help="Folder for report.json and report.html; created if needed.")]
Seed = Annotated[int, typer.Option(help="Decides every random choice; the same seed gives the same report.")]
Delta = Annotated[float, typer.Option(help="The delta of (epsilon, delta)-differential privacy.")]
Confidence = Annotated[float, typer.Option(help="Confidence level of intervals and certificates.")]
FILES = "npy, npz, csv, parquet or arrow"
RECORDS = f"{FILES}; one row per record"
