"""Published experiments, run again: our figures with intervals beside the published ones."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from mace_jax import _validate
from mace_jax.reproduce._black_box import attacks_digits, attacks_fashion_mnist
from mace_jax.reproduce._cvae import cvae_fashion_mnist
from mace_jax.reproduce._full_black_box import full_black_box_fashion_mnist
from mace_jax.reproduce._metric_private import metric_private_vae
from mace_jax.reproduce._row import Row
from mace_jax.reproduce._run import Run
from mace_jax.reproduce._shadow_attacks import shadow_attacks_digits, shadow_attacks_fashion_mnist
from mace_jax.reproduce._summary import over_seeds
from mace_jax.reproduce._table import markdown, read_rows, write_rows
from mace_jax.reproduce._white_box import white_box_digits, white_box_fashion_mnist

__all__ = ["EXPERIMENTS", "Experiment", "Row", "markdown", "read_rows", "reproduce"]


class Experiment(NamedTuple):
    """One table: what it shows, how many seeds by default, how long it takes on two cores."""

    title: str
    rows: Callable[[Run, tuple[int, ...]], Iterator[Row]]
    n_seeds: int
    duration: str


EXPERIMENTS = {
    "white-box-digits": Experiment(
        "The white-box attack on a GAN, privGAN and PIGAN: digits, small networks", white_box_digits, 5, "5 minutes"
    ),
    "white-box-fashion-mnist": Experiment(
        "The white-box attack on a GAN, privGAN and PIGAN: Fashion-MNIST, published networks, 500 epochs",
        white_box_fashion_mnist,
        2,
        "3 hours",
    ),
    "metric-private-vae": Experiment(
        "Records released with metric privacy: leakage and use against epsilon, digits",
        metric_private_vae,
        10,
        "10 minutes",
    ),
    "attacks-digits": Experiment(
        "Every attack on every reference model, alone and stacked: digits, small networks",
        attacks_digits,
        1,
        "6 minutes",
    ),
    "attacks-fashion-mnist": Experiment(
        "Every attack on every reference model, alone and stacked: Fashion-MNIST, small networks",
        attacks_fashion_mnist,
        1,
        "30 minutes",
    ),
    "full-black-box-fashion-mnist": Experiment(
        "The full black-box attack against the number of members, with and without calibration: Fashion-MNIST",
        full_black_box_fashion_mnist,
        3,
        "4 minutes",
    ),
    "cvae-fashion-mnist": Experiment(
        "Reconstruction and Monte Carlo attacks on a conditional VAE, single and on sets: Fashion-MNIST",
        cvae_fashion_mnist,
        1,
        "3 minutes",
    ),
    "shadow-attacks-digits": Experiment(
        "LiRA, RMIA, quantile and loss attacks on classifiers, 64 shadow models: digits",
        shadow_attacks_digits,
        1,
        "3 minutes",
    ),
    "shadow-attacks-fashion-mnist": Experiment(
        "LiRA, RMIA, quantile and loss attacks on classifiers, 64 shadow models: Fashion-MNIST",
        shadow_attacks_fashion_mnist,
        3,
        "10 minutes",
    ),
}


def reproduce(
    name: str,
    *,
    out: str | os.PathLike[str],
    data_dir: str | os.PathLike[str] | None = None,
    n_seeds: int | None = None,
    fraction: float = 1.0,
    progress: bool = False,
    announce: Callable[[str], None] | None = None,
) -> list[Row]:
    """Run one experiment and keep its rows in ``out/NAME.jsonl`` and, as a table, in ``out/NAME.md``.

    Models are trained once and kept in ``out/models``; a run that was interrupted continues where it stopped.

    Args:
        name: One of ``EXPERIMENTS``.
        out: Folder, created if needed.
        data_dir: Folder to look for data sets in, as in ``mace_jax.datasets.load``.
        n_seeds: Number of repetitions of split and training; by default the experiment's own.
        fraction: Share of the training steps to do, in (0, 1].
        progress: Show bars on a terminal.
        announce: Receives one line per stage.

    Returns:
        The rows. If the data are not on this machine, one row that says so and what to do.

    Raises:
        ValueError: an unknown name or a bad setting, or ``out`` holds models of another experiment.

    Example:
        >>> "metric-private-vae" in EXPERIMENTS
        True
    """
    experiment = EXPERIMENTS[_validate.one_of(tuple(EXPERIMENTS), name=name)]
    seeds = tuple(range(experiment.n_seeds if n_seeds is None else _validate.positive_int(n_seeds=n_seeds)))
    folder = Path(out)
    run = Run(folder, data_dir, fraction, progress, announce or (lambda _line: None))
    folder.mkdir(parents=True, exist_ok=True)
    file, rows = folder / f"{name}.jsonl", []
    try:
        for row in experiment.rows(run, seeds):
            rows.append(row)
            write_rows(file, rows)
    except (FileNotFoundError, ImportError) as error:
        again = shlex.join(["mace-jax", "reproduce", name, "--out", str(folder)])
        missing = Row(name, "", "", experiment.title, note=f"{error} Then run: {again}")
        rows.append(missing)
    rows += over_seeds(rows)
    write_rows(file, rows)
    (folder / f"{name}.md").write_text(f"# {experiment.title}\n\n{markdown(rows)}\n", encoding="utf-8")
    return rows
