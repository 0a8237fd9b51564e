"""Predictions of a classifier from files: one column of labels, one of output per class."""

from __future__ import annotations

import numpy as np

from mace_jax.attacks import Predictions
from mace_jax.data import Records

__all__ = ["as_predictions"]


def as_predictions(name: str, records: Records, *, label: str, are_logits: bool) -> Predictions:
    """The column called ``label`` as labels, all others, in their order, as the outputs of the classes."""
    if label not in records.columns:
        raise ValueError(
            f"{name} has no column {label!r} for the labels; it has {', '.join(map(repr, records.columns[:10]))}"
            f"{' and more' if len(records.columns) > 10 else ''}."
        )
    place = records.columns.index(label)
    labels, outputs = records.values[:, place], np.delete(records.values, place, axis=1)
    whole = np.floor(labels) == labels
    if not whole.all() or labels.min() < 0 or labels.max() >= outputs.shape[1]:
        row = int(np.argmax(~whole | (labels < 0) | (labels >= outputs.shape[1])))
        raise ValueError(
            f"{name} has the label {labels[row]:g} in row {row} of column {label!r}; labels are the numbers of the "
            f"{outputs.shape[1]} columns of classes, from 0 to {outputs.shape[1] - 1}."
        )
    if are_logits:
        return Predictions(labels.astype(np.int64), logits=outputs)
    return Predictions(labels.astype(np.int64), probabilities=outputs)
