"""What a data set is, and what is known about it before it is opened."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mace_jax._types import FloatArray
from mace_jax.data import TableEncoder

__all__ = ["Dataset", "DatasetSpec", "pixel_names"]


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Records with labels.

    Args:
        records: ``(n, d)``, one row per record; images are flattened row by row. float64, but float32 for sets of
            8-bit images, whose values it holds exactly in half the memory. A column named in ``levels`` holds the
            position of the record's level, -1 where it is missing: use ``table`` or ``encoded`` for those, since
            such positions have no arithmetic. A missing number is NaN.
        labels: ``(n,)`` integers, the class of each record.
        name: The name it was loaded by.
        columns: d names.
        record_shape: Shape of one record before flattening, for example ``(8, 8)``.
        feature_range: Smallest and largest value a feature can take, or None where features have their own scales.
        class_names: One name per label value.
        source: Where the data come from.
        license: Under what terms.
        levels: The levels of every categorical column, by its name; empty for a set of numbers only.
        parts: Names and sizes of the parts the source comes in, in the order of the records; empty if it has none.
    """

    records: FloatArray | NDArray[np.float32]
    labels: NDArray[np.int64]
    name: str
    columns: tuple[str, ...]
    record_shape: tuple[int, ...]
    feature_range: tuple[float, float] | None
    class_names: tuple[str, ...]
    source: str
    license: str
    levels: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    parts: tuple[tuple[str, int], ...] = ()

    def __len__(self) -> int:
        return len(self.records)

    def __repr__(self) -> str:
        n, d = self.records.shape
        mixed = f", categorical={len(self.levels)}" if self.levels else ""
        return f"Dataset({self.name!r}, records=({n}, {d}), classes={len(self.class_names)}{mixed})"

    @property
    def categorical(self) -> tuple[str, ...]:
        """Names of the categorical columns, in the order of the columns."""
        return tuple(name for name in self.columns if name in self.levels)

    @property
    def table(self) -> dict[str, NDArray[Any]]:
        """The records as named columns, as the searches on mixed tables and ``TableEncoder`` take them.

        Numbers are float64 with NaN where missing, categorical columns hold text with None where missing.
        """
        return {name: self._column(name, self.records[:, place]) for place, name in enumerate(self.columns)}

    def _column(self, name: str, values: NDArray[Any]) -> NDArray[Any]:
        """One column of the table."""
        if name not in self.levels:
            return values.astype(np.float64)
        return np.array([*self.levels[name], None], dtype=object)[values.astype(np.int64)]

    def take(self, rows: ArrayLike) -> Dataset:
        """The data set of some records only; ``parts`` is empty.

        Args:
            rows: Row numbers, or one truth value per record.

        Example:
            >>> from mace_jax.datasets import load
            >>> load("digits").take([3, 5])
            Dataset('digits', records=(2, 64), classes=10)
        """
        chosen = np.asarray(rows)
        if chosen.dtype.kind not in "iub" or chosen.ndim != 1:
            raise TypeError(f"rows must be one row number each, got {chosen.dtype} of shape {chosen.shape}.")
        return dataclasses.replace(self, records=self.records[chosen], labels=self.labels[chosen], parts=())

    def encoded(self, encoder: TableEncoder | None = None) -> Dataset:
        """The same records as numbers with a common meaning: scaled, and one column per level.

        Args:
            encoder: A fitted encoder; by default one fitted on these records. Fit it on records that are neither
                members nor non-members where the scales must not depend on those under audit.

        Returns:
            A data set whose columns are those of the encoder.
        """
        if encoder is None:
            encoder = TableEncoder.fit(self.table, levels=self.levels)
        records = encoder.encode(self.table)
        shape = (records.shape[1],)
        return dataclasses.replace(
            self, records=records, columns=encoder.names, record_shape=shape, feature_range=None, levels={}
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON; missing numbers are None."""
        plain = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        records = self.records
        if np.isnan(records).any():
            plain["records"] = records.astype(object)
            plain["records"][np.isnan(records)] = None
        plain["levels"] = {name: list(levels) for name, levels in self.levels.items()}
        return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in plain.items()}


@dataclasses.dataclass(frozen=True)
class DatasetSpec:
    """A data set that can be loaded by name; ``n_records`` and ``record_shape`` hold before it is opened.

    ``load`` takes the folders to look in, first to last.
    """

    name: str
    n_records: int
    record_shape: tuple[int, ...]
    description: str
    load: Callable[[tuple[Path, ...]], Dataset]


def pixel_names(shape: tuple[int, ...]) -> tuple[str, ...]:
    """One name per pixel, row by row: ``pixel_0_0``, ``pixel_0_1``, ..."""
    return tuple("pixel_" + "_".join(map(str, place)) for place in np.ndindex(*shape))
