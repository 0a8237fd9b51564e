"""What a data set is, and what is known about it before it is opened."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mace_jax._types import FloatArray

__all__ = ["Dataset", "DatasetSpec"]


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Records with labels.

    Args:
        records: ``(n, d)`` float64, one row per record; images are flattened row by row.
        labels: ``(n,)`` integers, the class of each record.
        name: The name it was loaded by.
        columns: d names.
        record_shape: Shape of one record before flattening, for example ``(8, 8)``.
        feature_range: Smallest and largest value a feature can take, or None where features have their own scales.
        class_names: One name per label value.
        source: Where the data come from.
        license: Under what terms.
    """

    records: FloatArray
    labels: NDArray[np.int64]
    name: str
    columns: tuple[str, ...]
    record_shape: tuple[int, ...]
    feature_range: tuple[float, float] | None
    class_names: tuple[str, ...]
    source: str
    license: str

    def __len__(self) -> int:
        return len(self.records)

    def __repr__(self) -> str:
        n, d = self.records.shape
        return f"Dataset({self.name!r}, records=({n}, {d}), classes={len(self.class_names)})"

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        plain = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in plain.items()}


@dataclasses.dataclass(frozen=True)
class DatasetSpec:
    """A data set that can be loaded by name; ``n_records`` and ``record_shape`` hold before it is opened."""

    name: str
    n_records: int
    record_shape: tuple[int, ...]
    description: str
    load: Callable[[], Dataset]
