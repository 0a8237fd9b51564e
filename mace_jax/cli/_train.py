"""``mace-jax train`` and ``mace-jax reproduce``: work that an interruption does not lose."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from mace_jax.cli._app import EXAMPLE, RECORDS, app
from mace_jax.cli._outcome import BAD_INPUT, exit_codes
from mace_jax.cli._written import check_settings

__all__ = ["reproduce", "train"]


@app.command(
    epilog=EXAMPLE
    + "mace-jax train gan --data digits --members-fraction 0.3 --out run\n  "
    + "mace-jax train vae --data table.csv --labels class --members-fraction 0.5 --steps 3000 --out run"
)
def train(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="gan, wgan-gp, privgan, pigan or vae.")],
    data: Annotated[str, typer.Option(help=f"Name of a data set, such as digits or adult, or a file ({RECORDS}).")],
    members_fraction: Annotated[float, typer.Option(help="Share of the records to train on, between 0 and 1.")],
    out: Annotated[Path, typer.Option(help="Folder for the model, the records and the state of the training.")],
    reference_fraction: Annotated[
        float, typer.Option(help="Share set aside for calibration; the others are nonmembers.")
    ] = 0.0,
    steps: Annotated[
        int | None, typer.Option(help="Training steps (default: 6000, or as published with --published).")
    ] = None,
    seed: Annotated[int, typer.Option(help="Decides the members and the training.")] = 0,
    labels: Annotated[
        str | None,
        typer.Option(
            help="Train conditionally: the column of labels in the file, or the word class for a named data set."
        ),
    ] = None,
    settings: Annotated[Path | None, typer.Option(help="JSON file of settings, as to_dict of the model gives.")] = None,
    published: Annotated[
        bool, typer.Option("--published", help="The published networks for MNIST (gan, privgan, vae).")
    ] = False,
    duplicates: Annotated[
        str, typer.Option(help="Equal records in two parts: warn, allow, or leave_out all but the first.")
    ] = "warn",
    data_dir: Annotated[Path | None, typer.Option(help="Folder to look for the named data set in.")] = None,
) -> None:
    """Train a model on a random part of the records, ready to be audited; repeat a killed command to continue it."""
    with exit_codes(interrupted="repeat the command to continue"):
        check_settings(out, None)
        from mace_jax._training_run import train_members

        audit_it = train_members(
            model,
            data,
            out,
            members_fraction=members_fraction,
            reference_fraction=reference_fraction,
            seed=seed,
            steps=steps,
            labels=labels,
            settings=settings,
            published=published,
            duplicates=duplicates,  # type: ignore[arg-type]
            data_dir=data_dir,
            announce=lambda line: typer.echo(line, err=True),
            progress=True,
        )
        typer.echo(f"Written: {out}\nNext:\n  {shlex.join(audit_it)}")


@app.command(
    epilog=EXAMPLE
    + "mace-jax reproduce\n  mace-jax reproduce white-box-digits --out reproduction\n  "
    + "mace-jax reproduce white-box-fashion-mnist --data-dir ~/fashion-mnist --out reproduction"
)
def reproduce(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="The experiment; without it they are listed.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for models and tables.")] = Path("reproduction"),
    data_dir: Annotated[Path | None, typer.Option(help="Folder to look for the data set in.")] = None,
    seeds: Annotated[int | None, typer.Option(help="Repetitions of split and training.")] = None,
    fraction: Annotated[float, typer.Option(help="Share of the training steps to do, for a quick look.")] = 1.0,
) -> None:
    """Run a published experiment again: our figures with intervals beside the published ones.

    Repeat an interrupted command to continue; models that are trained are not trained again.
    """
    with exit_codes(interrupted="repeat the command to continue"):
        from mace_jax import reproduce as experiments

        if name is None:
            for known, experiment in experiments.EXPERIMENTS.items():
                seeds_of = f"{experiment.n_seeds} seeds" if experiment.n_seeds > 1 else "1 seed"
                typer.echo(f"{known}\n  {experiment.title}.\n  {seeds_of}, about {experiment.duration} on two cores.")
            return
        rows = experiments.reproduce(
            name,
            out=out,
            data_dir=data_dir,
            n_seeds=seeds,
            fraction=fraction,
            progress=True,
            announce=lambda line: typer.echo(line, err=True),
        )
        typer.echo(experiments.markdown(rows))
        for suffix in ("jsonl", "md"):
            typer.echo(f"Written: {out / name}.{suffix}")
        if all(row.value is None for row in rows):
            raise typer.Exit(BAD_INPUT)
