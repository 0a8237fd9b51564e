"""``mace-jax audit`` and ``mace-jax demo``: a report on one model."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import typer

from mace_jax.cli._app import EXAMPLE, RECORDS, Confidence, Delta, Out, Seed, app
from mace_jax.cli._outcome import exit_codes, progress_bar
from mace_jax.cli._written import check_settings, finish, gate

__all__ = ["audit", "demo"]


@app.command(
    epilog=EXAMPLE
    + "mace-jax audit --members train.csv --nonmembers holdout.csv --synthetic synthetic.csv --out report"
)
def audit(
    members: Annotated[Path, typer.Option(help=f"Training records, or their query outputs ({RECORDS}).")],
    nonmembers: Annotated[Path, typer.Option(help="Unseen records from the same source, in the same form.")],
    synthetic: Annotated[Path | None, typer.Option(help="Records drawn from the trained model.")] = None,
    reference: Annotated[Path | None, typer.Option(help="More unseen records, for calibration only.")] = None,
    model: Annotated[Path | None, typer.Option(help="Folder of a model saved by mace_jax.models.")] = None,
    prior: Annotated[float, typer.Option(help="Probability that a record is a member, between 0 and 1.")] = 0.5,
    delta: Delta = 0.0,
    confidence: Confidence = 0.95,
    seed: Seed = 0,
    resamples: Annotated[int, typer.Option(help="Bootstrap resamples behind the intervals.")] = 10_000,
    fail_above_epsilon: Annotated[
        float | None, typer.Option(help="Exit with code 1 if the certified epsilon exceeds this value.")
    ] = None,
    out: Out = Path("mace-jax-report"),
) -> None:
    """Audit one trained model: how well can anyone tell its training records from unseen ones?

    With --synthetic or --model the files hold records. Without them they hold query outputs: one score column or
    several, higher = more member-like.
    """
    with exit_codes() as warned:
        check_settings(out, fail_above_epsilon)
        import mace_jax
        from mace_jax.data import common_columns, load_records

        given = {"members": members, "nonmembers": nonmembers, "synthetic": synthetic, "reference": reference}
        files = {name: file for name, file in given.items() if file is not None}
        records = {name: load_records(file) for name, file in files.items()}
        columns = common_columns(**records)
        values: dict[str, Any] = {name: entry.values for name, entry in records.items()}
        if model is not None:
            from mace_jax.models import load

            values["model"] = load(model)
            files["model"] = model
        with progress_bar() as progress:
            report = mace_jax.audit(
                **values,
                prior=prior,
                delta=delta,
                confidence_level=confidence,
                n_resamples=resamples,
                seed=seed,
                progress=progress,
                column_names=columns,
            )
        settings = {**report.settings, "files": {name: str(file) for name, file in files.items()}}
        finish(dataclasses.replace(report, settings=settings, warnings=(*warned, *report.warnings)), out)
        gate(report, fail_above_epsilon)


@app.command(epilog=EXAMPLE + "mace-jax demo --out demo-report")
def demo(out: Out = Path("mace-jax-report"), seed: Seed = 0) -> None:
    """Train a small model on handwritten digits, audit it, and write the report: the main job on real data."""
    with exit_codes():
        check_settings(out, None)
        from mace_jax.demo import run_demo

        with progress_bar() as progress:
            report = run_demo(seed=seed, announce=lambda line: typer.echo(line, err=True), progress=progress)
        finish(report, out)
