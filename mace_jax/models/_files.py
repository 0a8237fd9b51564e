"""Fitted models on disk: one file that holds settings, scaling, labels, history and weights."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from mace_jax.models import checkpoint
from mace_jax.models.encoding import Labels, Scaling

__all__ = ["load", "save", "saved_array", "saved_kind"]

_FORMAT = "mace_jax model 1"


def save(fitted: Any, directory: str | os.PathLike[str], **arrays: np.ndarray) -> Path:
    """Write the fitted model into ``directory``, with arrays that only its kind has."""
    about = {
        "settings": fitted.settings.to_dict(),
        "steps": fitted.steps,
        "seed": str(fitted.seed),
        "label_values": list(fitted.labels.values),
        "label_shares": list(fitted.labels.shares),
        "history": [list(row) for row in fitted.history],
    }
    content = {
        "format": _FORMAT,
        "about": json.dumps(about),
        "low": fitted.scaling.low,
        "span": fitted.scaling.span,
        "parameters": jax.tree.map(np.asarray, fitted.parameters),
        **arrays,
    }
    return checkpoint.write(directory, checkpoint.MODEL_FILE, content)


def saved_kind(directory: str | os.PathLike[str]) -> str:
    """The kind of model in ``directory``, for example "GAN"."""
    return _read(directory)[1]["settings"]["kind"]


def saved_array(directory: str | os.PathLike[str], name: str) -> np.ndarray | None:
    """An array that was saved beside the model; None if there is none of that name."""
    return _read(directory)[0].get(name)


def load(
    directory: str | os.PathLike[str], settings_class: Any, trainer: Callable[[Any, int, int], Any], *arrays: str
) -> dict[str, Any]:
    """Constructor arguments of a fitted model, with the named arrays that only its kind has.

    Weights are checked against the shapes the settings imply.
    """
    content, about = _read(directory)
    kind = about["settings"]["kind"]
    if kind != settings_class.__name__:
        raise ValueError(f"{directory} holds a {kind}, not a {settings_class.__name__}; use mace_jax.models.load.")
    settings = settings_class.from_dict(about["settings"])
    labels = Labels(tuple(about["label_values"]), tuple(about["label_shares"]))
    expected = jax.eval_shape(trainer(settings, len(content["low"]), len(labels)).initial, jax.random.key(0))
    parameters = content["parameters"]
    shapes = jax.tree.map(lambda leaf: (leaf.shape, str(leaf.dtype)), [expected["parameters"], parameters])
    if shapes[0] != shapes[1]:
        raise ValueError(f"the weights in {directory} do not fit its settings; the file is damaged: save it again.")
    missing = [name for name in arrays if name not in content]
    if missing:
        raise ValueError(f"{directory} holds a {kind} without {missing}; the file is damaged: save it again.")
    return {
        "settings": settings,
        "parameters": parameters,
        "scaling": Scaling(content["low"], content["span"]),
        "labels": labels,
        "steps": about["steps"],
        "seed": int(about["seed"]),
        "history": tuple(tuple(row) for row in about["history"]),
        **{name: content[name] for name in arrays},
    }


def _read(directory: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    content = checkpoint.read(directory, checkpoint.MODEL_FILE)
    if content.get("format") != _FORMAT:
        raise ValueError(f"{directory} holds no model this version can read (format {content.get('format')!r}).")
    return content, json.loads(content["about"])
