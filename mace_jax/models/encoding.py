"""How records and labels enter a model: a stored scaling to the unit cube, labels as one-hot rows."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal, final

import numpy as np

from mace_jax import _random
from mace_jax._types import FloatArray, Seed

__all__ = ["Labels", "Scaling", "ScalingKind"]

ScalingKind = Literal["common", "per_column"]


@final
@dataclasses.dataclass(frozen=True, eq=False)
class Scaling:
    """Minimum and range of the training records; it is part of the model and so of what the model reveals."""

    low: FloatArray
    span: FloatArray

    @classmethod
    def fit(cls, records: FloatArray, kind: ScalingKind) -> Scaling:
        """Range of each column, or one range common to all columns (images)."""
        axis = 0 if kind == "per_column" else None
        low = np.broadcast_to(records.min(axis=axis), records.shape[1:])
        high = np.broadcast_to(records.max(axis=axis), records.shape[1:])
        return cls(low.astype(np.float64), (high - low).astype(np.float64))

    @classmethod
    def known(cls, bounds: Any, n_features: int) -> Scaling:
        """Range of each column from public knowledge: two numbers, or two rows of one number per column."""
        array = np.asarray(bounds, np.float64)
        if array.shape not in ((2,), (2, n_features)):
            raise ValueError(f"bounds has shape {array.shape}; pass (low, high), or two rows of {n_features} numbers.")
        low, high = (np.broadcast_to(side, (n_features,)).copy() for side in array)
        if not (np.isfinite(array).all() and (low < high).all()):
            raise ValueError(f"bounds={array.tolist()!r} must be finite, with every lower bound below its upper bound.")
        return cls(low, high - low)

    def to_unit(self, records: FloatArray) -> np.ndarray:
        """Training records land in [0, 1]; a constant column becomes 0, whatever a new record holds there."""
        unit = (records - self.low) / np.where(self.span > 0, self.span, np.inf)
        return unit.astype(np.float32)

    def from_unit(self, unit: np.ndarray) -> FloatArray:
        """Back to the original units."""
        return self.low + self.span * unit.astype(np.float64)


@final
@dataclasses.dataclass(frozen=True)
class Labels:
    """The distinct labels of the training records and their shares; no labels = an unconditional model."""

    values: tuple[Any, ...] = ()
    shares: tuple[float, ...] = ()

    @classmethod
    def fit(cls, labels: Any, n_records: int) -> tuple[Labels, np.ndarray]:
        """The coding and the one-hot rows of the training records."""
        if labels is None:
            return cls(), np.zeros((n_records, 0), np.float32)
        values, counts = np.unique(_as_labels(labels, n_records), return_counts=True)
        made = cls(tuple(values.tolist()), tuple((counts / n_records).tolist()))
        return made, made.one_hot(labels, n_records)

    @classmethod
    def known(cls, values: Any) -> Labels:
        """Labels from public knowledge, with equal shares; None for an unconditional model."""
        if values is None:
            return cls()
        array = _as_labels(values, len(values))
        distinct = np.unique(array)
        if not len(array) or len(distinct) != len(array):
            raise ValueError(f"label_values={list(values)!r} must name each possible label once.")
        return cls(tuple(distinct.tolist()), (1.0 / len(distinct),) * len(distinct))

    def __len__(self) -> int:
        return len(self.values)

    def one_hot(self, labels: Any, n_records: int) -> np.ndarray:
        """One row per record; an unknown label is an error."""
        array = _as_labels(labels, n_records)
        if not self.values:
            raise ValueError("labels were given, but this model was fitted without labels; leave labels out.")
        position = {value: place for place, value in enumerate(self.values)}
        unknown = sorted({str(value) for value in array.tolist() if value not in position})
        if unknown:
            raise ValueError(
                f"labels holds {unknown[:5]}, which the model never saw; it knows {list(self.values)[:20]}."
            )
        return self.rows(np.array([position[value] for value in array.tolist()]))

    def rows(self, places: np.ndarray) -> np.ndarray:
        """One-hot rows of label positions."""
        return np.eye(len(self.values), dtype=np.float32)[places]

    def candidates(self, labels: Any, n_records: int) -> list[np.ndarray]:
        """One-hot rows to score under: the given labels, or every label in turn when none are given."""
        if labels is not None:
            return [self.one_hot(labels, n_records)]
        if not self.values:
            return [np.zeros((n_records, 0), np.float32)]
        return [self.rows(np.full(n_records, place)) for place in range(len(self.values))]

    def required(self, labels: Any, n_records: int) -> np.ndarray:
        """One-hot rows of the labels given, which a conditional model needs."""
        if labels is None and self.values:
            raise ValueError(
                f"labels=None, but the model is conditional; pass one of {list(self.values)[:20]} per record."
            )
        return self.candidates(labels, n_records)[0]

    def given_or_drawn(self, labels: Any, n: int, seed: Seed) -> np.ndarray:
        """One-hot rows of n records to sample: of the labels given, or drawn where none are."""
        return self.draw(n, seed) if labels is None else self.one_hot(labels, n)

    def log_mean(self, logs: FloatArray) -> FloatArray:
        """Log of the mean over labels, by their shares, of what has the logs ``(labels, n)``; one row stays."""
        shares = np.ones(1) if len(logs) == 1 else np.asarray(self.shares)
        return np.logaddexp.reduce(logs + np.log(shares)[:, None], axis=0)

    def draw(self, n: int, seed: Seed) -> np.ndarray:
        """One-hot rows of n labels in their training shares; row i does not depend on n."""
        if not self.values:
            return np.zeros((n, 0), np.float32)
        uniform = _random.generator(seed, "labels").random(n)
        places = np.searchsorted(np.cumsum(self.shares), uniform, side="right")
        return self.rows(np.minimum(places, len(self.values) - 1))


def _as_labels(labels: Any, n_records: int) -> np.ndarray:
    """A one-dimensional array of integers or strings, one per record."""
    array = np.asarray(labels)
    if array.dtype.kind == "O" and all(isinstance(label, str) for label in array.ravel()):
        array = array.astype(str)
    if array.dtype.kind not in "biuU":
        raise TypeError(f"labels has dtype {array.dtype}; pass one integer or string per record.")
    if array.shape != (n_records,):
        raise ValueError(f"labels has shape {array.shape}; pass one label per record: ({n_records},).")
    return array
