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
    + "mace-jax audit --members train.csv --nonmembers holdout.csv --synthetic synthetic.csv --out report\n  "
    + "mace-jax audit --members train_answers.csv --nonmembers test_answers.csv --probabilities label --out report"
)
def audit(
    members: Annotated[Path, typer.Option(help=f"Training records, or their query outputs ({RECORDS}).")],
    nonmembers: Annotated[Path, typer.Option(help="Unseen records from the same source, in the same form.")],
    synthetic: Annotated[Path | None, typer.Option(help="Records drawn from the trained model.")] = None,
    reference: Annotated[Path | None, typer.Option(help="More unseen records, for calibration only.")] = None,
    model: Annotated[Path | None, typer.Option(help="Folder of a model saved by mace_jax.models.")] = None,
    probabilities: Annotated[
        str | None, typer.Option(metavar="LABEL", help="The files hold a column LABEL and a probability per class.")
    ] = None,
    logits: Annotated[
        str | None, typer.Option(metavar="LABEL", help="The files hold a column LABEL and a logit per class.")
    ] = None,
    shadow_members: Annotated[
        Path | None, typer.Option(help="The same of a shadow model, for its own training records.")
    ] = None,
    shadow_nonmembers: Annotated[Path | None, typer.Option(help="And for records it was not trained on.")] = None,
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

    With --synthetic or --model the files hold records. With --probabilities or --logits they hold what a classifier
    says of each record. Otherwise they hold query outputs: one score column or several, higher = more member-like.
    """
    with exit_codes() as warned:
        check_settings(out, fail_above_epsilon)
        import mace_jax
        from mace_jax.data import common_columns, load_records

        label = _one_of_both(probabilities, logits)
        given = {
            "members": members,
            "nonmembers": nonmembers,
            "synthetic": synthetic,
            "reference": reference,
            "shadow_members": shadow_members,
            "shadow_nonmembers": shadow_nonmembers,
        }
        files = {name: file for name, file in given.items() if file is not None}
        if label is None and (shadow_members or shadow_nonmembers):
            raise ValueError("shadow files hold what a classifier says; pass --probabilities or --logits with them.")
        if label is not None and (synthetic or reference or model):
            raise ValueError(
                "--probabilities and --logits are of a classifier: leave synthetic, reference and model out."
            )
        records = {name: load_records(file) for name, file in files.items()}
        columns = common_columns(**records)
        options: dict[str, Any] = {
            "prior": prior,
            "delta": delta,
            "confidence_level": confidence,
            "n_resamples": resamples,
            "seed": seed,
        }
        if label is not None:
            from mace_jax._prediction_files import as_predictions

            answers = {
                name: as_predictions(name, entry, label=label, are_logits=logits is not None)
                for name, entry in records.items()
            }
            with progress_bar() as progress:
                report = mace_jax.audit_predictions(**answers, **options, progress=progress)
        else:
            values: dict[str, Any] = {name: entry.values for name, entry in records.items()}
            if model is not None:
                from mace_jax.models import load

                values["model"] = load(model)
                files["model"] = model
            with progress_bar() as progress:
                report = mace_jax.audit(**values, **options, progress=progress, column_names=columns)
        settings = {**report.settings, "files": {name: str(file) for name, file in files.items()}}
        finish(dataclasses.replace(report, settings=settings, warnings=(*warned, *report.warnings)), out)
        gate(report, fail_above_epsilon)


def _one_of_both(probabilities: str | None, logits: str | None) -> str | None:
    if probabilities is not None and logits is not None:
        raise ValueError("--probabilities and --logits say what the same columns are; pass one of them.")
    return probabilities if logits is None else logits


@app.command(epilog=EXAMPLE + "mace-jax demo --out demo-report")
def demo(out: Out = Path("mace-jax-report"), seed: Seed = 0) -> None:
    """Train a small model on handwritten digits, audit it, and write the report: the main job on real data."""
    with exit_codes():
        check_settings(out, None)
        from mace_jax.demo import run_demo

        with progress_bar() as progress:
            report = run_demo(seed=seed, announce=lambda line: typer.echo(line, err=True), progress=progress)
        finish(report, out)
