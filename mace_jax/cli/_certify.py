"""``mace-jax design`` and ``mace-jax certify``: before the training, and after the attack."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mace_jax.cli._app import EXAMPLE, FILES, Confidence, Delta, app
from mace_jax.cli._outcome import exit_codes

__all__ = ["certify", "design"]


@app.command(
    epilog=EXAMPLE
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
    scores: Annotated[Path | None, typer.Option(help=f"and the scores of its candidates, in order ({FILES}).")] = None,
    method: Annotated[
        str | None,
        typer.Option(
            help="clopper_pearson (default), katz, adjusted_log, bailey, inverse_sinh, gdp or joint_beta; with "
            "canaries or a design one_run (default) or one_run_fdp."
        ),
    ] = None,
    delta: Delta = 0.0,
    confidence: Confidence = 0.95,
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
    with exit_codes():
        from mace_jax.certificates import _sentences

        if design is None and scores is None:
            lines = _sentences.of_counts(counts, method=method, delta=delta, confidence_level=confidence)
        else:
            lines = _sentences.of_design(
                design, scores, counts, method=method, delta=delta, confidence_level=confidence
            )
        for line in lines:
            typer.echo(line)


@app.command(epilog=EXAMPLE + "mace-jax design --records 1000 --seed 7 --out coins.json --included included.csv")
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
    with exit_codes():
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
