"""Train a model on a drawn part of a data set, and leave behind all that an audit of it needs."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np

from mace_jax import _validate
from mace_jax._random import as_seed
from mace_jax._training_inputs import Source, choose_settings, read_source
from mace_jax._types import Seed
from mace_jax.data import Split, split_dataset

__all__ = ["train_members"]

_SPLIT, _ENCODER, _MODEL, _CHECKPOINT = "split.npz", "encoder.json", "model.msgpack", "checkpoint"
_STAGING = ".mace-jax-training-"
_PARTS = ("members", "nonmembers", "reference")


def train_members(
    model: str,
    data: str,
    out: str | os.PathLike[str],
    *,
    members_fraction: float,
    reference_fraction: float = 0.0,
    seed: Seed = 0,
    steps: int | None = None,
    labels: str | None = None,
    settings: str | os.PathLike[str] | None = None,
    published: bool = False,
    duplicates: Literal["warn", "allow", "leave_out"] = "warn",
    data_dir: str | os.PathLike[str] | None = None,
    announce: Callable[[str], None] | None = None,
    progress: bool = False,
) -> list[str]:
    """Split records at random, train a model on the members, and write everything below ``out``.

    ``out`` gets the model (``mace_jax.models.load`` reads it), ``split.npz`` (``mace_jax.data.Split.load``),
    ``members.npy``, ``nonmembers.npy`` and, if asked for, ``reference.npy``; for a table with categories or missing
    numbers these hold encoded records and ``encoder.json`` the ``TableEncoder``. The state of the training is kept in
    ``out/checkpoint``: a repeated call continues where a killed one stopped, and larger ``steps`` continue a finished
    one.

    Args:
        model: ``"gan"``, ``"wgan-gp"``, ``"privgan"``, ``"pigan"`` or ``"vae"``.
        data: A name for ``mace_jax.datasets.load``, or a file for ``mace_jax.data.load_records``.
        out: Folder, made if absent.
        members_fraction: Share of the records to train on, in (0, 1).
        reference_fraction: Share set aside for calibration; all others are nonmembers.
        seed: Decides the split and the training.
        steps: Training steps; None for 6,000, or the published number with ``published``.
        labels: Train conditionally on a column of the file, or with ``"class"`` on the classes of the data set.
        settings: JSON file of a settings dictionary, as ``to_dict`` gives.
        published: Take the published architecture for MNIST and Fashion-MNIST instead.
        duplicates: As in ``mace_jax.data.split_dataset``.
        data_dir: As in ``mace_jax.datasets.load``.
        announce: Receives one line per stage.
        progress: Show a bar, if standard error is a terminal.

    Returns:
        The words of the command that audits the model.

    Raises:
        FileNotFoundError: a file is missing.
        TypeError: an argument or a setting is of the wrong type.
        ValueError: an argument is out of range, or ``out`` holds another run; then nothing in it was changed.
        FloatingPointError: training diverged.
    """
    say = announce or (lambda _line: None)
    folder, seed = Path(out), as_seed(seed)
    members = _validate.in_open_unit(members_fraction=members_fraction)
    reference = _validate.probability(reference_fraction=reference_fraction)
    if members + reference >= 1.0:
        raise ValueError(
            f"members_fraction={members:g} and reference_fraction={reference:g} leave no nonmembers; pass smaller ones."
        )
    steps = None if steps is None else _validate.positive_int(steps=steps)
    say(f"[1/3] Reading {data} ...")
    source = read_source(data, data_dir=data_dir, labels=labels)
    split = split_dataset(source, members=members, reference=reference, seed=seed, duplicates=duplicates)
    for part in ("members", "nonmembers"):
        _validate.min_rows(2, **{part: split.parts[part]})
    chosen, usual_steps = choose_settings(
        model, settings=settings, published=published, pixels=source.pixels, n_members=len(split.members)
    )
    _check_folder(folder, split)
    _write(folder, source, split)

    steps = usual_steps if steps is None else steps
    kind, again = type(chosen).__name__, ", from the last checkpoint" if (folder / _CHECKPOINT).exists() else ""
    say(f"[2/3] Training a {kind} on {len(split.members)} of {len(source.records)} records ({steps} steps{again}) ...")
    fitted = chosen.fit(
        source.numbers[split.members],
        None if labels is None else source.labels[split.members],
        steps=steps,
        seed=seed,
        progress=progress,
        checkpoint_dir=folder / _CHECKPOINT,
    )
    say("[3/3] Saving the model ...")
    fitted.save(folder)
    files = [word for part in _PARTS if len(split.parts[part]) for word in (f"--{part}", str(folder / f"{part}.npy"))]
    return ["mace-jax", "audit", "--model", str(folder), *files, "--out", str(folder / "report")]


def _check_folder(folder: Path, split: Split) -> None:
    """Refuse a folder with anything but an earlier run on the same split."""
    if (folder / _SPLIT).exists():
        if Split.load(folder / _SPLIT).to_dict() != split.to_dict():
            raise ValueError(
                f"out={str(folder)!r} holds a run on other members (its {_SPLIT} differs); repeat that run's "
                "arguments to continue it, or choose another folder."
            )
        return
    ours = (*(f"{part}.npy" for part in _PARTS), _ENCODER, _MODEL, _CHECKPOINT)
    taken = next((name for name in ours if (folder / name).exists()), None)
    if taken is not None:
        raise ValueError(
            f"out={str(folder)!r} holds {taken} but no {_SPLIT}, so it is not from an earlier run; choose another "
            "folder."
        )


def _write(folder: Path, source: Source, split: Split) -> None:
    """All files of the records, each whole or not at all, the split first."""
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob(f"{_STAGING}*"):
        shutil.rmtree(left)
    with tempfile.TemporaryDirectory(prefix=_STAGING, dir=folder) as staging:
        written = [split.save(Path(staging, _SPLIT))]
        if source.encoder is not None:
            written.append(source.encoder.save(Path(staging, _ENCODER)))
        for part in _PARTS:
            if len(split.parts[part]):
                written.append(Path(staging, f"{part}.npy"))
                np.save(written[-1], source.numbers[split.parts[part]])
        for file in written:
            os.replace(file, folder / file.name)
