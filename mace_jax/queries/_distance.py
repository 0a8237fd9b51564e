"""Distances from a record to the synthetic records, plain and calibrated."""

from __future__ import annotations

import dataclasses
from typing import Any, final

from mace_jax import _validate
from mace_jax._types import FloatArray, Seed
from mace_jax.neighbors import knn
from mace_jax.queries._base import AbstractQuery, fixed_records, query_records

__all__ = ["CalibratedDistance", "NearestSynthetic"]


@final
@dataclasses.dataclass(frozen=True, eq=False, init=False, repr=False)
class NearestSynthetic(AbstractQuery):
    """Minus the Euclidean distances to the k nearest synthetic records.

    A model that memorizes puts synthetic records next to its training records.

    Args:
        synthetic: Records drawn from the model, ``(s, d)``; any unit, the same as the records under audit.
        k: 1 for a score, more for the vector of the k nearest distances.

    Raises:
        TypeError: ``synthetic`` is not numeric or ``k`` is not an integer.
        ValueError: NaN in ``synthetic``, or more neighbors than synthetic records.

    References:
        Chen et al. (2020), GAN-Leaks: the full black-box attack.

    Example:
        >>> NearestSynthetic([[0.0], [4.0]])([[1.0], [4.0]], seed=0).ravel().tolist()
        [-1.0, 0.0]
    """

    synthetic: FloatArray
    k: int = 1

    def __init__(self, synthetic: Any, k: int = 1) -> None:
        array = fixed_records("synthetic", synthetic)
        if _validate.positive_int(k=k) > len(array):
            raise ValueError(f"k={k} exceeds the {len(array)} synthetic records; pass k={len(array)} or draw more.")
        object.__setattr__(self, "synthetic", array)
        object.__setattr__(self, "k", int(k))

    @property
    def name(self) -> str:
        return "nearest synthetic distance" if self.k == 1 else f"{self.k} nearest synthetic"

    @property
    def description(self) -> str:
        if self.k == 1:
            return "How close the most similar synthetic record comes to the record."
        return f"How close the {self.k} most similar synthetic records come to the record, taken together."

    @property
    def source(self) -> str:
        return "Chen et al. (2020)"

    def __call__(self, records: Any, *, seed: Seed) -> FloatArray:
        values = query_records(records, synthetic=self.synthetic)
        return 0.0 - _nearest(values, self.synthetic, self.k)

    def __repr__(self) -> str:
        return f"NearestSynthetic(synthetic={self.synthetic.shape}, k={self.k})"


@final
@dataclasses.dataclass(frozen=True, eq=False, init=False, repr=False)
class CalibratedDistance(AbstractQuery):
    """Distance to the nearest reference record minus distance to the nearest synthetic record.

    Records in a dense part of the population have close neighbors everywhere; the reference set removes that. It must
    hold neither members nor non-members under audit, and works best when it is as large as the synthetic set.

    Args:
        synthetic: Records drawn from the model, ``(s, d)``.
        reference: Other records of the same population, ``(r, d)``, in the same units.

    Raises:
        TypeError: an argument is not numeric.
        ValueError: NaN, no rows, or different numbers of columns.

    References:
        Chen et al. (2020), GAN-Leaks, calibrates with a reference model; here reference records take its place, as in
        van Breugel et al. (2023).

    Example:
        >>> CalibratedDistance([[0.0], [4.0]], [[3.0]])([[1.0], [4.0]], seed=0).ravel().tolist()
        [1.0, 1.0]
    """

    synthetic: FloatArray
    reference: FloatArray

    def __init__(self, synthetic: Any, reference: Any) -> None:
        first, second = fixed_records("synthetic", synthetic), fixed_records("reference", reference)
        _validate.same_features(synthetic=first, reference=second)
        object.__setattr__(self, "synthetic", first)
        object.__setattr__(self, "reference", second)

    @property
    def name(self) -> str:
        return "calibrated distance"

    @property
    def description(self) -> str:
        return "How much closer the most similar synthetic record comes to the record than other real records do."

    @property
    def source(self) -> str:
        return "Chen et al. (2020)"

    def __call__(self, records: Any, *, seed: Seed) -> FloatArray:
        values = query_records(records, synthetic=self.synthetic)
        return _nearest(values, self.reference, 1) - _nearest(values, self.synthetic, 1)

    def __repr__(self) -> str:
        return f"CalibratedDistance(synthetic={self.synthetic.shape}, reference={self.reference.shape})"


def _nearest(records: FloatArray, others: FloatArray, k: int) -> FloatArray:
    """Ascending distances to the k nearest."""
    return knn(records, others, k).distances.astype("float64")
