"""Fitted models on disk: one file that holds settings, scaling, labels, history and weights."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np

from mace_jax.models import checkpoint
from mace_jax.models.encoding import Labels, Scaling

__all__ = ["check_weights", "load", "parts", "read", "save", "saved_array", "saved_kind", "write"]

What = Literal["model", "shadow models"]
_FORMATS: dict[What, str] = {"model": "mace_jax model 1", "shadow models": "mace_jax shadow models 1"}


def save(fitted: Any, directory: str | os.PathLike[str], **arrays: np.ndarray) -> Path:
    """Write the fitted model into ``directory``, with arrays that only its kind has."""
    about = {"steps": fitted.steps, "history": [list(row) for row in fitted.history]}
    return write(fitted, directory, "model", about, **arrays)


def write(
    fitted: Any, directory: str | os.PathLike[str], what: What, about: dict[str, Any], **arrays: np.ndarray
) -> Path:
    """Write what every fitted model has, with facts and arrays that only its kind has."""
    known = {
        "settings": fitted.settings.to_dict(),
        "seed": str(fitted.seed),
        "label_values": list(fitted.labels.values),
        "label_shares": list(fitted.labels.shares),
    }
    content = {
        "format": _FORMATS[what],
        "about": json.dumps(known | about),
        "low": fitted.scaling.low,
        "span": fitted.scaling.span,
        "parameters": jax.tree.map(np.asarray, fitted.parameters),
        **arrays,
    }
    return checkpoint.write(directory, checkpoint.MODEL_FILE, content)


def saved_kind(directory: str | os.PathLike[str]) -> str:
    """The kind of model in ``directory``, for example "GAN"."""
    return read(directory, "model", "shadow models")[1]["settings"]["kind"]


def saved_array(directory: str | os.PathLike[str], name: str) -> np.ndarray | None:
    """An array that was saved beside the model; None if there is none of that name."""
    return read(directory, "model")[0].get(name)


def load(
    directory: str | os.PathLike[str], settings_class: Any, trainer: Callable[[Any, int, int], Any], *arrays: str
) -> dict[str, Any]:
    """Constructor arguments of a fitted model, with the named arrays that only its kind has.

    Weights are checked against the shapes the settings imply.
    """
    content, about = read(directory, "model")
    kind = about["settings"]["kind"]
    if kind != settings_class.__name__:
        raise ValueError(f"{directory} holds a {kind}, not a {settings_class.__name__}; use mace_jax.models.load.")
    known = parts(content, about, settings_class)
    made = trainer(known["settings"], len(known["scaling"].low), len(known["labels"]))
    expected = jax.eval_shape(made.initial, jax.random.key(0))["parameters"]
    check_weights(directory, "its", known["parameters"], expected)
    missing = [name for name in arrays if name not in content]
    if missing:
        raise ValueError(f"{directory} holds a {kind} without {missing}; the file is damaged: save it again.")
    history = tuple(tuple(row) for row in about["history"])
    return {**known, "steps": about["steps"], "history": history, **{name: content[name] for name in arrays}}


def parts(content: dict[str, Any], about: dict[str, Any], settings_class: Any) -> dict[str, Any]:
    """Constructor arguments that every fitted model has."""
    return {
        "settings": settings_class.from_dict(about["settings"]),
        "parameters": content["parameters"],
        "scaling": Scaling(content["low"], content["span"]),
        "labels": Labels(tuple(about["label_values"]), tuple(about["label_shares"])),
        "seed": int(about["seed"]),
    }


def check_weights(directory: str | os.PathLike[str], whose: str, parameters: Any, expected: Any) -> None:
    """Refuse weights that are not of the shapes that the settings they were saved with imply."""
    shapes = jax.tree.map(lambda leaf: (leaf.shape, str(leaf.dtype)), [expected, parameters])
    if shapes[0] != shapes[1]:
        raise ValueError(f"the weights in {directory} do not fit {whose} settings; the file is damaged: save it again.")


def read(directory: str | os.PathLike[str], *whats: What) -> tuple[dict[str, Any], dict[str, Any]]:
    """The file's content, and what it says about the model; it must be one of ``whats``."""
    content = checkpoint.read(directory, checkpoint.MODEL_FILE)
    if content.get("format") not in [_FORMATS[what] for what in whats]:
        raise ValueError(f"{directory} holds no {whats[0]} this version can read (format {content.get('format')!r}).")
    return content, json.loads(content["about"])
