"""The command line: a thin door to ``audit``, training and the certificates; heavy imports wait for a command.

Exit codes: 0 done, 1 a gate failed, 2 bad input, 3 an unexpected error (with its traceback), 130 interrupted.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import shlex
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from mace_jax.report import Report

__all__ = ["app", "main"]

DONE, GATE_FAILED, BAD_INPUT, UNEXPECTED, INTERRUPTED = 0, 1, 2, 3, 130

app = typer.Typer(
    name="mace-jax",
    help="How much does a trained generative model reveal about the records it was trained on?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def main() -> None:
    """Run the command line and exit with its code."""
    app(prog_name="mace-jax")


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


_EXAMPLE = "\b\nExample:\n  "
_Out = Annotated[Path, typer.Option(help="Folder for report.json and report.html; created if needed.")]
_Seed = Annotated[int, typer.Option(help="Decides every random choice; the same seed gives the same report.")]
_Delta = Annotated[float, typer.Option(help="The delta of (epsilon, delta)-differential privacy.")]
_Confidence = Annotated[float, typer.Option(help="Confidence level of intervals and certificates.")]
_Files = "npy, npz, csv, parquet or arrow"
_Records = f"{_Files}; one row per record"


@app.command(
    epilog=_EXAMPLE
    + "mace-jax audit --members train.csv --nonmembers holdout.csv --synthetic synthetic.csv --out report"
)
def audit(
    members: Annotated[Path, typer.Option(help=f"Training records, or their query outputs ({_Records}).")],
    nonmembers: Annotated[Path, typer.Option(help="Unseen records from the same source, in the same form.")],
    synthetic: Annotated[Path | None, typer.Option(help="Records drawn from the trained model.")] = None,
    reference: Annotated[Path | None, typer.Option(help="More unseen records, for calibration only.")] = None,
    model: Annotated[Path | None, typer.Option(help="Folder of a model saved by mace_jax.models.")] = None,
    prior: Annotated[float, typer.Option(help="Probability that a record is a member, between 0 and 1.")] = 0.5,
    delta: _Delta = 0.0,
    confidence: _Confidence = 0.95,
    seed: _Seed = 0,
    resamples: Annotated[int, typer.Option(help="Bootstrap resamples behind the intervals.")] = 10_000,
    fail_above_epsilon: Annotated[
        float | None, typer.Option(help="Exit with code 1 if the certified epsilon exceeds this value.")
    ] = None,
    out: _Out = Path("mace-jax-report"),
) -> None:
    """Audit one trained model: how well can anyone tell its training records from unseen ones?

    With --synthetic or --model the files hold records. Without them they hold query outputs: one score column or
    several, higher = more member-like.
    """
    with _exit_codes() as warned:
        _check_settings(out, fail_above_epsilon)
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
        with _progress() as progress:
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
        _finish(dataclasses.replace(report, settings=settings, warnings=(*warned, *report.warnings)), out)
        _gate(report, fail_above_epsilon)


@app.command(epilog=_EXAMPLE + "mace-jax demo --out demo-report")
def demo(out: _Out = Path("mace-jax-report"), seed: _Seed = 0) -> None:
    """Train a small model on handwritten digits, audit it, and write the report: the main job on real data."""
    with _exit_codes():
        _check_settings(out, None)
        from mace_jax.demo import run_demo

        with _progress() as progress:
            report = run_demo(seed=seed, announce=lambda line: typer.echo(line, err=True), progress=progress)
        _finish(report, out)


@app.command(
    epilog=_EXAMPLE
    + "mace-jax train gan --data digits --members-fraction 0.3 --out run\n  "
    + "mace-jax train vae --data table.csv --labels class --members-fraction 0.5 --steps 3000 --out run"
)
def train(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="gan, wgan-gp, privgan, pigan or vae.")],
    data: Annotated[str, typer.Option(help=f"Name of a data set, such as digits or adult, or a file ({_Records}).")],
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
    with _exit_codes(interrupted="repeat the command to continue"):
        _check_settings(out, None)
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
    epilog=_EXAMPLE
    + "mace-jax certify --true-positives 420 --members 1000 --false-positives 50 --nonmembers 1000\n  "
    + "mace-jax certify --method gdp --delta 1e-5 --true-positives 420 --members 1000 --false-positives 50 "
    + "--nonmembers 1000\n  "
    + "mace-jax certify --canaries 1000 --guesses 100 --correct 95 --delta 1e-5\n  "
    + "mace-jax certify --design coins.json --scores scores.csv"
)
def certify(
    true_positives: Annotated[int | None, typer.Option(help="Members that the attack called members.")] = None,
    members: Annotated[int | None, typer.Option(help="Members the attack was tried on.")] = None,
    false_positives: Annotated[int | None, typer.Option(help="Nonmembers that the attack called members.")] = None,
    nonmembers: Annotated[int | None, typer.Option(help="Nonmembers the attack was tried on.")] = None,
    canaries: Annotated[int | None, typer.Option(help="Records that fair coins included in training or not.")] = None,
    guesses: Annotated[int | None, typer.Option(help="Canaries whose coin the attack guessed.")] = None,
    correct: Annotated[int | None, typer.Option(help="Guesses that were right.")] = None,
    design: Annotated[Path | None, typer.Option(help="Instead of counts: a file of the design command,")] = None,
    scores: Annotated[Path | None, typer.Option(help=f"and the scores of its candidates, in order ({_Files}).")] = None,
    method: Annotated[
        str | None,
        typer.Option(
            help="clopper_pearson (default), katz, adjusted_log, bailey, inverse_sinh, gdp or joint_beta; with "
            "canaries or a design one_run (default) or one_run_fdp."
        ),
    ] = None,
    delta: _Delta = 0.0,
    confidence: _Confidence = 0.95,
) -> None:
    """Turn counts of one attack, fixed before these records were seen, or scores, into a lower bound on epsilon."""
    counts = {
        "true_positives": true_positives,
        "members": members,
        "false_positives": false_positives,
        "nonmembers": nonmembers,
        "canaries": canaries,
        "guesses": guesses,
        "correct": correct,
    }
    with _exit_codes():
        from mace_jax.certificates import _sentences

        if design is None and scores is None:
            lines = _sentences.of_counts(counts, method=method, delta=delta, confidence_level=confidence)
        else:
            lines = _sentences.of_design(
                design, scores, counts, method=method, delta=delta, confidence_level=confidence
            )
        for line in lines:
            typer.echo(line)


@app.command(epilog=_EXAMPLE + "mace-jax design --records 1000 --seed 7 --out coins.json --included included.csv")
def design(
    records: Annotated[int, typer.Option(help="Candidates; each gets a coin. With --pairs: pairs of candidates.")],
    seed: Annotated[int, typer.Option(help="Decides the coins; keep it from whoever makes the scores.")],
    out: Annotated[Path, typer.Option(help="File to keep the coins in, for certify --design.")],
    pairs: Annotated[bool, typer.Option("--pairs", help="A coin chooses one of each pair.")] = False,
    models: Annotated[int | None, typer.Option(help="Draw anew for each of so many trainings.")] = None,
    included: Annotated[
        Path | None,
        typer.Option(help="Also write 0 or 1 as csv: a line per candidate, pair (two columns) or model."),
    ] = None,
) -> None:
    """Draw before training which candidates are trained on, for a claim about the training algorithm."""
    with _exit_codes():
        from mace_jax.certificates import design as designs

        if pairs and models is not None:
            raise ValueError("--pairs and --models are two designs; pass one of them.")
        if pairs:
            drawn = designs.paired_coins(records, seed=seed)
        elif models is not None:
            drawn = designs.retrainings(records, models, seed=seed)
        else:
            drawn = designs.independent_coins(records, seed=seed)
        drawn.save(out)
        typer.echo(f"{drawn}\nWritten: {out}")
        if included is not None:
            import numpy as np

            np.savetxt(included, drawn.included, fmt="%d", delimiter=",")
            typer.echo(f"Written: {included}")


@app.command(
    epilog=_EXAMPLE
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
    with _exit_codes(interrupted="repeat the command to continue"):
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


def _check_settings(out: Path, fail_above_epsilon: float | None) -> None:
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


def _finish(report: Report, out: Path) -> None:
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


def _gate(report: Report, fail_above_epsilon: float | None) -> None:
    if fail_above_epsilon is not None and report.certificate.epsilon > fail_above_epsilon:
        typer.echo(
            f"Gate failed: the certified epsilon {report.certificate.epsilon:.4f} "
            f"exceeds fail-above-epsilon={fail_above_epsilon:g}.",
            err=True,
        )
        raise typer.Exit(GATE_FAILED)


@contextlib.contextmanager
def _progress() -> Iterator[bool | Callable[[str, float], None]]:
    """A progress bar on standard error, or False where nobody watches."""
    if not sys.stderr.isatty():
        yield False
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task("Starting", total=1.0)
        yield lambda stage, fraction: bars.update(task, description=stage, completed=fraction)


@contextlib.contextmanager
def _exit_codes(interrupted: str = "no report was written") -> Iterator[list[str]]:
    """Exceptions as exit codes: one sentence for bad input, a traceback only for what nobody foresaw.

    Yields the list of warnings about the input, which are also shown as one line each.
    """
    with warnings.catch_warnings():
        shown: list[str] = []
        warnings.showwarning = _short_warnings(warnings.showwarning, shown)
        try:
            yield shown
        except (typer.Exit, BrokenPipeError):
            raise
        except KeyboardInterrupt:
            typer.echo(f"Interrupted; {interrupted}.", err=True)
            raise typer.Exit(INTERRUPTED) from None
        except Exception as error:
            if not _is_bad_input(error):
                traceback.print_exc()
                raise typer.Exit(UNEXPECTED) from error
            typer.echo("Error: " + " ".join(str(error).split()), err=True)
            raise typer.Exit(BAD_INPUT) from error


def _is_bad_input(error: Exception) -> bool:
    """Whether the message is for the user: of the file system, or a check of this package, raised here."""
    if isinstance(error, OSError | ImportError):
        return True
    if not isinstance(error, ValueError | TypeError | FloatingPointError):
        return False
    *_, (frame, _line) = traceback.walk_tb(error.__traceback__)
    return frame.f_globals.get("__name__", "").partition(".")[0] == "mace_jax"


def _short_warnings(default: Callable[..., None], shown: list[str]) -> Callable[..., None]:
    def show(message: Any, category: type[Warning], *args: Any, **kwargs: Any) -> None:
        if category is UserWarning:
            shown.append(str(message))
            typer.echo(f"Warning: {message}", err=True)
        else:
            default(message, category, *args, **kwargs)

    return show


if __name__ == "__main__":
    main()
