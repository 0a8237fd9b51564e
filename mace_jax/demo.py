"""The main job on real data that come with the installation: an overfit model of handwritten digits, audited."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

from mace_jax._types import Seed

if TYPE_CHECKING:
    from mace_jax.report import Report

__all__ = ["run_demo"]

N_MEMBERS = 500
N_NONMEMBERS = 700
N_SYNTHETIC = 5_000
STEPS = 6_000


def run_demo(
    *,
    seed: Seed = 0,
    steps: int = STEPS,
    n_synthetic: int = N_SYNTHETIC,
    n_resamples: int = 10_000,
    announce: Callable[[str], None] | None = None,
    progress: bool | Callable[[str, float], None] = False,
) -> Report:
    """Train a GAN on 500 handwritten digits until it knows them, and audit what it reveals.

    The digits are split at random into 500 members, 700 nonmembers and a reference of the remaining 597. The audit
    sees the members, the nonmembers, the reference, the synthetic records and the model.

    Args:
        seed: Decides the split, the training, the synthetic records and the audit.
        steps: Training steps.
        n_synthetic: Synthetic records to draw.
        n_resamples: Bootstrap resamples of the audit.
        announce: Receives one line per stage.
        progress: As in ``mace_jax.audit``; anything but False also shows the training's own bar on a terminal.

    Returns:
        The report; its settings tell the data set, the split and the model.

    Example:
        >>> from mace_jax.demo import run_demo
        >>> report = run_demo(seed=1)  # doctest: +SKIP
    """
    import mace_jax
    from mace_jax._random import as_seed
    from mace_jax.data import split_records
    from mace_jax.datasets import load
    from mace_jax.models import GAN

    say = announce or (lambda _line: None)
    seed = as_seed(seed)
    digits = load("digits")
    sizes = (N_MEMBERS, N_NONMEMBERS, len(digits) - N_MEMBERS - N_NONMEMBERS)
    members, nonmembers, reference = (digits.records[rows] for rows in split_records(len(digits), sizes, seed=seed))

    say(f"[1/3] Training a GAN on {sizes[0]} of {len(digits)} handwritten digits ({steps} steps) ...")
    settings = GAN(scaling="common")
    model = settings.fit(members, steps=steps, seed=seed, progress=progress is not False)
    say(f"[2/3] Drawing {n_synthetic} synthetic digits ...")
    synthetic = model.sample(n_synthetic, seed=seed)
    say(f"[3/3] Auditing {sizes[0]} members against {sizes[1]} nonmembers ...")
    report = mace_jax.audit(
        members,
        nonmembers,
        synthetic=synthetic,
        reference=reference,
        model=model,
        n_resamples=n_resamples,
        seed=seed,
        progress=progress,
        column_names=digits.columns,
    )
    demo = {
        "dataset": digits.name,
        "source": digits.source,
        "license": digits.license,
        "n_members": sizes[0],
        "n_nonmembers": sizes[1],
        "n_reference": sizes[2],
        "steps": steps,
        "model": settings.to_dict(),
    }
    return dataclasses.replace(report, settings={**report.settings, "demo": demo})
