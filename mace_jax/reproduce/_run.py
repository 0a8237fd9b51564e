"""Where an experiment works: its folder, its data and its models, which are trained once."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, final

import numpy as np

from mace_jax import _validate
from mace_jax.datasets import Dataset, load

__all__ = ["Run"]


@final
@dataclasses.dataclass(frozen=True)
class Run:
    """Settings of one run of an experiment.

    Args:
        out: Folder for models and rows.
        data_dir: Folder to look for data in.
        fraction: Share of the training steps to do, in (0, 1]; below 1 nothing published can be reproduced.
        progress: Show bars on a terminal.
        announce: Receives one line per stage.
    """

    out: Path
    data_dir: str | os.PathLike[str] | None = None
    fraction: float = 1.0
    progress: bool = False
    announce: Callable[[str], None] = lambda _line: None

    def __post_init__(self) -> None:
        """Check the fraction."""
        if not 0.0 < _validate.non_negative(fraction=self.fraction) <= 1.0:
            raise ValueError(f"fraction={self.fraction!r} must lie in (0, 1]; pass 1 for the whole training.")

    def dataset(self, name: str) -> Dataset:
        """The data set of that name."""
        return load(name, data_dir=self.data_dir)

    def steps(self, steps: int) -> int:
        """The steps to do instead of ``steps``."""
        return max(1, round(steps * self.fraction))

    @property
    def note(self) -> str:
        """What shortening means for a row."""
        return "" if self.fraction == 1.0 else f"trained for {self.fraction:g} of the steps: not a reproduction"

    def fitted(
        self, name: str, settings: Any, records: np.ndarray, *, steps: int, seed: int, labels: Any = None
    ) -> Any:
        """The model, trained to ``steps`` or continued from where an interrupted run stopped."""
        folder = self.out / "models" / f"{name}-seed{seed}"
        self.announce(f"{name}, seed {seed}: {steps} steps on {len(records)} records")
        return settings.fit(records, labels, steps=steps, seed=seed, progress=self.progress, checkpoint_dir=folder)
