"""Finished shadow models on disk, one file each, so that an interrupted run trains only the others."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any, final

import jax
import numpy as np

from mace_jax._types import FloatArray
from mace_jax.models import checkpoint
from mace_jax.models._shadow_groups import Group

__all__ = ["Cache", "open_cache"]

_FORMAT = "shadow models 1"  # to be raised when the same arguments lead to other models

Kept = dict[int, tuple[Any, FloatArray]]


@final
@dataclasses.dataclass(frozen=True)
class Cache:
    """A folder of models of one run, or nothing at all."""

    directory: Path | None
    run: str

    def read(self, n_models: int) -> Kept:
        """Weights and losses of the models that are there; those of another run are an error."""
        found: Kept = {}
        if self.directory is None:
            return found
        names = [_name(model) for model in range(n_models)]
        checkpoint.sweep(self.directory, *names)
        for model, name in enumerate(names):
            if (self.directory / name).exists():
                content = checkpoint.read(self.directory, name)
                self._check(content)
                found[model] = content["weights"], content["losses"]
        if not found:  # perhaps of a run with more models
            for path in sorted(self.directory.glob("shadow-*.msgpack"))[:1]:
                self._check(checkpoint.read(self.directory, path.name))
        return found

    def _check(self, content: dict[str, Any]) -> None:
        if content.get("run") != self.run:
            raise ValueError(
                f"checkpoint_dir={str(self.directory)!r} holds shadow models of other settings, seed, members or "
                "records; pass an empty directory or repeat the earlier arguments."
            )

    def keep(self, group: Group) -> Kept:
        """The models of a group by number, each written to its file."""
        found: Kept = {}
        for place, model in enumerate(group.models):
            weights = jax.tree.map(lambda leaf, place=place: leaf[place].copy(), group.weights)
            found[model] = weights, group.losses[place].copy()
            if self.directory is not None:
                content = {"run": self.run, "weights": weights, "losses": found[model][1]}
                checkpoint.write(self.directory, _name(model), content)
        return found


def _name(model: int) -> str:
    return f"shadow-{model:05d}.msgpack"


def open_cache(
    directory: str | os.PathLike[str] | None,
    settings: dict[str, Any],
    seed: int,
    first_model: int,
    unit: np.ndarray,
    classes: np.ndarray,
    included: np.ndarray,
) -> Cache:
    """The cache of the run that these arguments decide."""
    if directory is None:
        return Cache(None, "")
    about = {"format": _FORMAT, "settings": settings, "seed": str(seed)} | (
        {"first_model": first_model} if first_model else {}
    )
    run = checkpoint.fingerprint(about, unit, classes, included)
    return Cache(Path(directory), run)
