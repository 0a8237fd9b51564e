"""Features of a classifier trained on reference records: what distances between distributions are measured in."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal, final, get_args

import numpy as np

from mace_jax import _validate
from mace_jax._types import FloatArray, Seed
from mace_jax.utility._downstream import fit_classifier
from mace_jax.utility._records import checked_labels

__all__ = ["ClassifierFeatures"]

ScalingKind = Literal["per_column", "common"]


@final
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class ClassifierFeatures:
    """Records as the hidden layer of a classifier sees them: ``max(0, (x - mean) / scale @ weights + bias)``.

    Args:
        mean: Column means of the reference records, ``(d,)``.
        scale: Their standard deviations, 1 for a constant column; or all the same.
        weights: ``(d, width)``.
        bias: ``(width,)``.
        accuracy: Of the classifier on the records it was trained on.

    Example:
        >>> features = ClassifierFeatures.fit([[0.0], [1.0], [0.1], [0.9]], [0, 1, 0, 1], width=3, seed=0)
        >>> features([[0.5], [2.0]]).shape
        (2, 3)
    """

    mean: FloatArray
    scale: FloatArray
    weights: FloatArray
    bias: FloatArray
    accuracy: float

    @classmethod
    def fit(
        cls, reference: Any, labels: Any, *, width: int = 64, scaling: ScalingKind = "per_column", seed: Seed
    ) -> ClassifierFeatures:
        """Train a perceptron with one hidden layer to tell the classes of reference records apart.

        Args:
            reference: Real records that are neither members nor the real records to compare with, ``(r, d)``.
            labels: One class each, at least two classes.
            width: Number of features.
            scaling: "per_column" divides each column by its own standard deviation (tables), "common" all by the
                same one (images: a pixel that is nearly always black would otherwise outweigh all others).
            seed: Seeds the weights and batches.

        Raises:
            TypeError: records or labels of the wrong type.
            ValueError: NaN, one class only, or not one label per record.
        """
        width = _validate.positive_int(width=width)
        records = _validate.finite(reference=_validate.min_rows(2, reference=_validate.as_records(reference=reference)))
        known = checked_labels(len(records), labels=labels)
        if len(np.unique(known)) < 2:
            raise ValueError(f"labels has the one class {known[0]!r}; at least two are needed to learn features.")
        common = _validate.one_of(get_args(ScalingKind), scaling=scaling) == "common"
        unit = float(records.std(axis=0).max()) if common else 1.0
        if unit == 0.0:
            raise ValueError("reference holds equal records; features are learned from different ones.")
        scaled = records / unit
        model = fit_classifier("mlp", scaled, known, seed, width, with_std=not common)
        scaler, network = model.steps[0][1], model.steps[1][1]
        return cls(
            mean=np.asarray(scaler.mean_) * unit,
            scale=np.full(records.shape[1], unit) if common else np.asarray(scaler.scale_),
            weights=np.asarray(network.coefs_[0]),
            bias=np.asarray(network.intercepts_[0]),
            accuracy=float(model.score(scaled, known)),
        )

    def __call__(self, records: Any) -> FloatArray:
        """Features ``(n, width)`` of records ``(n, d)``."""
        values = _validate.as_records(records=records)
        if values.shape[1] != len(self.mean):
            raise ValueError(f"records has {values.shape[1]} columns; the features were learned from {len(self.mean)}.")
        return np.maximum((values - self.mean) / self.scale @ self.weights + self.bias, 0.0)

    def __repr__(self) -> str:
        return f"ClassifierFeatures({len(self.mean)} -> {len(self.bias)}, accuracy={self.accuracy:.3f})"
