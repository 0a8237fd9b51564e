"""Disjoint parts of the training records, for models whose privacy rests on them."""

from __future__ import annotations

from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int
from scipy.special import expit

from mace_jax import _random
from mace_jax._types import FloatArray, Seed
from mace_jax.models import _settings
from mace_jax.models._training_data import TrainingData
from mace_jax.models.encoding import Labels

__all__ = ["Reduce", "Scale", "assigned", "deal", "dealt", "parts_of_rows", "reduced", "rows_of_parts"]

Reduce = Literal["mean", "max", "none"]
Scale = Literal["logit", "probability"]


def deal(seed: Seed, n_parts: int, one_hot: np.ndarray, labels: Labels) -> np.ndarray:
    """Number of each record's part: shuffled records are dealt out in turn, label by label if there are labels.

    Part sizes differ by at most one, and so do the numbers of records a part has of each label.
    """
    if labels.values:
        counts = one_hot.sum(axis=0)
        if counts.min() < n_parts:
            raise ValueError(
                f"labels has {int(counts.min())} records of {labels.values[int(counts.argmin())]!r}, fewer than the "
                f"{n_parts} parts, and each part needs one; merge rare labels or use fewer parts."
            )
    order = _random.generator(seed, "parts").permutation(len(one_hot))
    if labels.values:
        order = order[np.argsort(one_hot.argmax(axis=1)[order], kind="stable")]
    parts = np.empty(len(one_hot), np.int32)
    parts[order] = np.arange(len(one_hot)) % n_parts
    return parts


def dealt(data: TrainingData, n_parts: int) -> tuple[np.ndarray, TrainingData]:
    """Each record's part, and the records sorted by part."""
    parts = deal(data.seed, n_parts, data.one_hot, data.labels)
    order = np.argsort(parts, kind="stable")
    return parts, data._replace(unit=data.unit[order], one_hot=data.one_hot[order])


def _layout(n: int, n_parts: int) -> tuple[np.ndarray, np.ndarray]:
    """First row and length of every part when ``n`` dealt records are sorted by part."""
    sizes = n // n_parts + (np.arange(n_parts) < n % n_parts)
    return (np.cumsum(sizes) - sizes).astype(np.int32), sizes.astype(np.int32)


def rows_of_parts(key: Array, parts: Int[Array, "*n"], n: int, n_parts: int) -> Int[Array, "*n"]:
    """For each part number one row of that part, uniform, among ``n`` dealt records sorted by part."""
    starts, sizes = (jnp.asarray(value) for value in _layout(n, n_parts))
    return starts[parts] + jax.random.randint(key, parts.shape, 0, sizes[parts], jnp.int32)


def parts_of_rows(rows: Int[Array, "*n"], n: int, n_parts: int) -> Int[Array, "*n"]:
    """The part of each row, among ``n`` dealt records sorted by part."""
    starts, _ = _layout(n, n_parts)
    return jnp.searchsorted(jnp.asarray(starts), rows, side="right").astype(jnp.int32) - 1


def assigned(seed: Seed, n: int, n_parts: int) -> np.ndarray:
    """The part each of ``n`` synthetic rows is drawn from, in equal numbers.

    Every block of ``n_parts`` rows holds each part once, in random order: entry i does not depend on ``n``, and where
    a row stands does not tell its part.
    """
    blocks = -(-n // n_parts)
    order = _random.generator(seed, "sampled parts").random((blocks, n_parts)).argsort(axis=1)
    return order.ravel()[:n].astype(np.int32)


def reduced(logits: FloatArray, reduce: Any, scale: Any) -> FloatArray:
    """One score per record from logits ``(parts, n)``, or one column per part."""
    _settings.choice("reduce", reduce, ("mean", "max", "none"))
    _settings.choice("scale", scale, ("logit", "probability"))
    values = logits if scale == "logit" else expit(logits)
    if reduce == "none":
        return np.ascontiguousarray(values.T)
    return values.mean(axis=0) if reduce == "mean" else values.max(axis=0)
