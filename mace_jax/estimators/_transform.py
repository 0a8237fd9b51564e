"""Logarithms and logits of one-sided and of (0, 1) scores, before densities are estimated."""

from __future__ import annotations

import numpy as np
from scipy import special

from mace_jax._types import FloatArray

__all__ = ["transformed"]


def transformed(train: FloatArray, test: FloatArray, transform: str | None) -> tuple[FloatArray, FloatArray]:
    """Both parts, column by column; an unseen output outside the domain becomes the nearest training output."""
    if transform is None:
        return train, test
    columns = [_column(train[:, i], test[:, i], transform, i) for i in range(train.shape[1])]
    first, second = (np.stack(part, axis=1) for part in zip(*columns, strict=True))
    return first, second


def _column(train: FloatArray, test: FloatArray, transform: str, place: int) -> tuple[FloatArray, FloatArray]:
    low, high = train.min(), train.max()
    if transform == "auto":
        transform = "none" if low <= 0.0 else "log" if high >= 1.0 else "logit"
    if transform == "log":
        if low <= 0.0:
            raise ValueError(f"transform='log' needs positive outputs, but column {place} goes down to {low}.")
        return np.log(train), np.log(np.where(test > 0.0, test, low))
    if transform == "logit":
        if low <= 0.0 or high >= 1.0:
            raise ValueError(
                f"transform='logit' needs outputs strictly between 0 and 1, but column {place} goes from {low} to "
                f"{high}."
            )
        inside = np.where(test <= 0.0, low, np.where(test >= 1.0, high, test))
        return special.logit(train), special.logit(inside)
    return train, test
