"""Share of synthetic records in a ball around the record."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, final

import numpy as np

from mace_jax import _validate
from mace_jax._types import FloatArray, Seed
from mace_jax.neighbors import knn, radius_count
from mace_jax.queries._base import AbstractQuery, fixed_records, query_records

__all__ = ["MonteCarlo", "default_radius"]

_MAX_ROWS = 1000


@final
@dataclasses.dataclass(frozen=True, eq=False, init=False, repr=False)
class MonteCarlo(AbstractQuery):
    """Share of the synthetic records within a radius of the record.

    The radius is fixed without a look at the records under audit. Unless it is given, it is the median, over at most
    1000 evenly spaced records of the reference set, of the distance to the max(5, ceil(s / 1000))-th nearest of the s
    synthetic records. Without a reference set the synthetic records themselves take its place, and the neighbors are
    the *other* synthetic records. If that median is 0, because synthetic records repeat, the radius is the smallest
    distance from at most 1000 evenly spaced distinct synthetic records to another distinct one.

    Args:
        synthetic: Records drawn from the model, ``(s, d)``.
        reference: Other records of the same population, to set the radius; neither members nor non-members under audit.
        radius: Radius of the closed ball, in the units of the records.

    Raises:
        TypeError: an argument is not numeric.
        ValueError: NaN, different numbers of columns, a radius that is not above 0, too few synthetic records to set
            one, or only equal ones.

    References:
        Hilprecht et al. (2019), Monte Carlo and reconstruction membership inference attacks against generative models.
        They set the radius from the records under audit; here it is fixed beforehand.

    Example:
        >>> MonteCarlo([[0.0], [1.0], [4.0], [9.0]], radius=1.0)([[0.5], [4.0]], seed=0).ravel().tolist()
        [0.5, 0.25]
    """

    synthetic: FloatArray
    radius: float

    def __init__(self, synthetic: Any, reference: Any = None, radius: float | None = None) -> None:
        array = fixed_records("synthetic", synthetic)
        centers = None if reference is None else fixed_records("reference", reference)
        if centers is not None:
            _validate.same_features(synthetic=array, reference=centers)
        if radius is None:
            radius = default_radius(array, centers)
            if radius == 0.0:
                raise ValueError(
                    f"no radius above 0 can be chosen from synthetic ({len(array)} rows): the Monte Carlo query needs "
                    "at least 6 rows that are not all equal; draw more records or pass radius."
                )
        elif _validate.non_negative(radius=radius) == 0.0:
            raise ValueError(f"radius={radius!r} must be above 0; leave it out to have one chosen.")
        object.__setattr__(self, "synthetic", array)
        object.__setattr__(self, "radius", float(radius))

    @property
    def name(self) -> str:
        return "Monte Carlo ball count"

    @property
    def description(self) -> str:
        return "How large a share of the synthetic records lies within a fixed distance of the record."

    @property
    def source(self) -> str:
        return "Hilprecht et al. (2019)"

    def __call__(self, records: Any, *, seed: Seed) -> FloatArray:
        values = query_records(records, synthetic=self.synthetic)
        counts = np.asarray(radius_count(values, self.synthetic, self.radius), dtype=np.float64)
        return counts.reshape(-1, 1) / len(self.synthetic)

    def __repr__(self) -> str:
        return f"MonteCarlo(synthetic={self.synthetic.shape}, radius={self.radius:.6g})"


def default_radius(synthetic: FloatArray, reference: FloatArray | None) -> float:
    """The radius described in ``MonteCarlo``; 0 when the synthetic records are too few or all equal."""
    place = max(5, math.ceil(len(synthetic) / 1000))
    itself = 0 if reference is not None else 1  # a synthetic record is its own nearest neighbor, at distance 0
    if len(synthetic) < place + itself:
        return 0.0
    centers = _spread(synthetic if reference is None else reference)
    radius = float(np.median(knn(centers, synthetic, place + itself).distances[:, -1]))
    if radius == 0.0:
        distinct = np.unique(synthetic, axis=0)
        if len(distinct) > 1:
            radius = float(knn(_spread(distinct), distinct, 2).distances[:, 1].min())
    return radius


def _spread(rows: FloatArray) -> FloatArray:
    """At most 1000 evenly spaced rows."""
    return rows[np.linspace(0, len(rows) - 1, min(_MAX_ROWS, len(rows))).round().astype(np.int64)]
