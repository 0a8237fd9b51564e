"""How alike the records of parts of a data set are: equal ones, and how near the nearest are."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from mace_jax import _validate
from mace_jax._random import generator
from mace_jax._types import Seed
from mace_jax.data import Split, first_equal_row
from mace_jax.datasets._registry import Dataset
from mace_jax.neighbors import Gower, knn, mixed_knn

__all__ = ["DuplicateReport", "duplicate_report"]


@final
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class DuplicateReport:
    """Equal and near records within and across parts.

    Attributes:
        sizes: Records by part.
        repeated: Records of a part that equal an earlier one of the same part.
        equal_rows: As ``"nonmembers in members"``: records of the first part that equal one of the second.
        quantiles: Levels of the distance quantiles.
        distances: Quantiles of the distance to the nearest other record: ``"members"`` within a part,
            ``"nonmembers in members"`` from one part to another.
        closer: Share of the records of the first part that come nearer to the second than the lowest quantile
            of the distances within the second; about the level of that quantile if both parts are alike.
        metric: ``"euclidean"`` or ``"gower"``.
    """

    sizes: Mapping[str, int]
    repeated: Mapping[str, int]
    equal_rows: Mapping[str, int]
    quantiles: tuple[float, ...]
    distances: Mapping[str, tuple[float, ...]]
    closer: Mapping[str, float]
    metric: str

    @property
    def summary(self) -> str:
        """One line on equal records."""
        within = ", ".join(f"{count} of {self.sizes[name]} {name}" for name, count in self.repeated.items())
        across = ", ".join(f"{count} {pair}" for pair, count in self.equal_rows.items())
        return (
            f"Equal to an earlier record of the same part: {within}. Equal across parts: {across or 'one part only'}."
        )

    def __repr__(self) -> str:
        return f"DuplicateReport({self.summary})"

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        plain = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        plain["quantiles"] = list(self.quantiles)
        plain["distances"] = {name: list(values) for name, values in self.distances.items()}
        return plain | {name: dict(plain[name]) for name in ("sizes", "repeated", "equal_rows", "closer")}


def duplicate_report(
    parts: Mapping[str, Any] | Dataset,
    split: Split | None = None,
    *,
    quantiles: Sequence[float] = (0.01, 0.05, 0.5),
    most_queries: int = 2000,
    seed: Seed = 0,
) -> DuplicateReport:
    """Count equal records within and across parts, and measure how near the nearest records are.

    Equality is exact and covers every record. Distances to the nearest record, Euclidean for numbers and Gower's
    coefficient for a data set with categorical columns, are measured from at most ``most_queries`` random records of a
    part against all records of the other. Nearest records get farther apart in a smaller part; compare parts of
    one size.

    Args:
        parts: Records ``(n, d)`` by the name of their part, or a data set.
        split: The parts of the data set; without it the whole set is one part.
        quantiles: Levels in [0, 1), ascending; the first decides ``closer``.
        most_queries: Records of a part to measure from, at least 1.
        seed: Draws them.

    Returns:
        The counts, quantiles and shares.

    Raises:
        TypeError: an argument is of the wrong type.
        ValueError: a part is empty or has NaN, widths differ, or ``split`` belongs to other data.

    Example:
        >>> duplicate_report({"members": [0.0, 1.0, 1.0], "nonmembers": [1.0, 5.0]}).equal_rows
        {'members in nonmembers': 2, 'nonmembers in members': 1}
    """
    levels = tuple(_validate.probability(quantiles=level) for level in quantiles)
    if not levels or list(levels) != sorted(set(levels)):
        raise ValueError(f"quantiles={tuple(quantiles)!r} must be at least one level, ascending.")
    _validate.positive_int(most_queries=most_queries)
    measured = _Measured.of(parts, split)
    names, records = list(measured.records), measured.records
    first = first_equal_row(np.concatenate(list(records.values())))
    edges = np.cumsum([0, *map(len, records.values())])
    firsts = {name: first[low:high] for name, low, high in zip(names, edges[:-1], edges[1:], strict=True)}
    pairs = {(one, other): f"{one} in {other}" for one, other in itertools.permutations(names, 2)}
    within = {(name, name): name for name in names if len(records[name]) > 1}
    nearest: dict[str, NDArray[np.float64]] = {}
    for (one, other), key in (within | pairs).items():
        chosen = generator(seed, "duplicate report", one).permutation(len(records[one]))[:most_queries]
        nearest[key] = measured.nearest(one, np.sort(chosen), other)
    return DuplicateReport(
        sizes={name: len(part) for name, part in records.items()},
        repeated={name: len(part) - len(np.unique(part)) for name, part in firsts.items()},
        equal_rows={key: int(np.isin(firsts[one], firsts[other]).sum()) for (one, other), key in pairs.items()},
        quantiles=levels,
        distances={key: tuple(np.quantile(values, levels).tolist()) for key, values in nearest.items()},
        closer={
            key: float(np.mean(nearest[key] < np.quantile(nearest[other], levels[0])))
            for (_, other), key in pairs.items()
            if other in nearest
        },
        metric="euclidean" if measured.dataset is None else "gower",
    )


@dataclasses.dataclass(frozen=True, eq=False)
class _Measured:
    """Records by part, and for a mixed table the data set and the rows that they are."""

    records: dict[str, NDArray[Any]]
    dataset: Dataset | None = None
    rows: Mapping[str, NDArray[np.int64]] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, parts: Mapping[str, Any] | Dataset, split: Split | None) -> _Measured:
        """Checked records of every part that has some."""
        if isinstance(parts, Dataset):
            if split is not None:
                split.check(parts)
            rows = {"records": np.arange(len(parts))} if split is None else split.parts
            rows = {name: chosen for name, chosen in rows.items() if len(chosen)}
            records = {name: parts.records[chosen] for name, chosen in rows.items()}
            return cls(records, parts if parts.levels else None, rows)
        if split is not None:
            raise TypeError("split goes with a data set; pass the data set it was made from, or parts without split.")
        if not isinstance(parts, Mapping) or not parts:
            raise TypeError(f"parts of type {type(parts).__name__} must map names to records, or be a data set.")
        records = {}
        for name, value in parts.items():
            array = _validate.min_rows(1, **{name: _validate.as_records(**{name: value})})
            records[name] = _validate.finite(**{name: array})
            _validate.same_features(**{next(iter(records)): next(iter(records.values())), f"parts[{name!r}]": array})
        return cls(records)

    def nearest(self, one: str, chosen: NDArray[np.int64], other: str) -> NDArray[np.float64]:
        """Distances of some records of one part to the nearest of another part, or to the nearest other of its own."""
        k = 2 if one == other else 1
        if self.dataset is None:
            found = knn(self.records[one][chosen], self.records[other], k)
        else:
            x, y = (self.dataset.take(rows).table for rows in (self.rows[one][chosen], self.rows[other]))
            found = mixed_knn(x, y, k, metric=self._metric(), categorical=self.dataset.categorical)
        own = (found.indices[:, 0] == chosen) & (one == other)
        return np.asarray(np.where(own, found.distances[:, -1], found.distances[:, 0]), np.float64)

    def _metric(self) -> Gower:
        """Gower's coefficient with the ranges of the whole data set; a missing entry is a value of its own."""
        assert self.dataset is not None
        ranges = {}
        for name, column in self.dataset.table.items():
            if name not in self.dataset.levels:
                seen = column[~np.isnan(column)]
                ranges[name] = float(seen.max() - seen.min()) if len(seen) else 0.0
        return Gower(
            ranges="given",
            given_ranges=ranges,
            numeric_missing="mismatch",
            categorical_missing="level",
            aggregate="mean",
        )
