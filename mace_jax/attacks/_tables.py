"""Attacks on tables with numbers and labels: by Gower's distance, or in scaled and one-hot encoded columns."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np

from mace_jax import _validate
from mace_jax._types import FloatArray
from mace_jax.attacks._densities import AbstractDensity, KernelDensity
from mace_jax.attacks._domias import domias
from mace_jax.data import TableEncoder
from mace_jax.data._columns import columns_of, numbers_of, numeric
from mace_jax.neighbors import Gower, mixed_knn, mixed_radius_count

__all__ = ["domias_table", "encode_tables", "gan_leaks_table", "monte_carlo_table", "nearest_synthetic_table"]

_KINDS = ("count", "nearest")


def nearest_synthetic_table(
    records: Any, synthetic: Any, *, metric: Gower | None = None, categorical: Collection[str] = ()
) -> FloatArray:
    """Score every record by minus Gower's distance to the nearest of the model's samples.

    The distance is the mean over columns of ``|x - y| / range`` for numbers and of 0 or 1 for labels; comparisons with
    a missing value are left out. By default a range is that of the synthetic column, so that a record's score does not
    depend on the other records; a column that is constant there is left out too.

    Args:
        records: Records under audit: mapping of column names to arrays, structured or 2-D array, pandas, polars or
            pyarrow table. None and NaN are missing.
        synthetic: Samples of the model, with the same columns.
        metric: Another coefficient; one with pooled ranges (``"union"``) is refused.
        categorical: Names of columns of numbers that are labels.

    Returns:
        Scores ``(n,)``, higher = more member-like, at most 0.

    Raises:
        TypeError: a table is none, or kinds of columns differ.
        ValueError: columns differ, a value is infinite, ranges depend on the records, or a record has no value in
            common with any sample.

    References:
        Gower (1971), A general coefficient of similarity and some of its properties. Chen et al. (2020), GAN-Leaks.

    Example:
        >>> made = {"age": [20.0, 60.0], "city": ["Bonn", "Rome"]}
        >>> nearest_synthetic_table({"age": [20.0, 30.0], "city": ["Bonn", "Rome"]}, made).round(3).tolist()
        [0.0, -0.375]
    """
    return 0.0 - _nearest(records, synthetic, _metric(metric, categorical, synthetic), categorical)


def gan_leaks_table(
    records: Any,
    synthetic: Any,
    *,
    reference_synthetic: Any = None,
    metric: Gower | None = None,
    categorical: Collection[str] = (),
) -> FloatArray:
    """The full black-box attack of GAN-Leaks by Gower's distance, calibrated by a reference model if one is given.

    ``s(x) = -d(x, nearest sample)``, or ``d(x, nearest reference sample) - d(x, nearest sample)``. Both distances use
    the same ranges, by default those of both sets of samples together, so equal models give scores of 0.

    Args:
        records: Records under audit, as in ``nearest_synthetic_table``.
        synthetic: Samples of the model.
        reference_synthetic: As many samples of a model trained in the same way on other records.
        metric: Another coefficient; its ranges must be ``"given"`` with a reference.
        categorical: Names of columns of numbers that are labels.

    Returns:
        Scores ``(n,)``, higher = more member-like.

    Raises:
        TypeError: as ``nearest_synthetic_table``.
        ValueError: as there, or the numbers of samples differ.

    References:
        Chen et al. (2020), GAN-Leaks: A taxonomy of membership inference attacks against generative models.

    Example:
        >>> made, other = {"age": [20.0, 60.0]}, {"age": [30.0, 40.0]}
        >>> gan_leaks_table({"age": [20.0, 40.0]}, made, reference_synthetic=other).tolist()
        [0.25, -0.5]
    """
    if reference_synthetic is None:
        return nearest_synthetic_table(records, synthetic, metric=metric, categorical=categorical)
    first, second = columns_of(synthetic), columns_of(reference_synthetic)
    sizes = [len(next(iter(table.values()))) for table in (first, second)]
    if sizes[0] != sizes[1]:
        raise ValueError(
            f"reference_synthetic has {sizes[1]} rows but synthetic has {sizes[0]}; the nearest of more samples is "
            "nearer, so pass the same number."
        )
    if metric is not None and metric.ranges != "given":
        raise ValueError(f"metric has ranges={metric.ranges!r}, which differ between the models; pass ranges='given'.")
    shared = _metric(metric, categorical, _together(first, second))
    return _nearest(records, second, shared, categorical) - _nearest(records, first, shared, categorical)


def monte_carlo_table(
    records: Any,
    synthetic: Any,
    *,
    radius: str | float = "median",
    kind: str = "count",
    metric: Gower | None = None,
    categorical: Collection[str] = (),
) -> FloatArray:
    """Score every record by the share of samples in the open ball of radius r around it, by Gower's distance.

    ``"count"``: ``f(x) = #{d(x, g) < r} / n``; ``"nearest"``: ``f(x) = -min d``, which needs no radius. The radius
    ``"median"`` is the median over the records under audit of the distance to the nearest sample, so it looks at them:
    half of an even number of them have f = 0 if the two middle distances differ.

    Args:
        records: Records under audit, as in ``nearest_synthetic_table``.
        synthetic: Samples of the model.
        radius: ``"median"``, or a number above 0: a share of the columns' ranges.
        kind: ``"count"`` or ``"nearest"``.
        metric: Another coefficient; one with pooled ranges is refused.
        categorical: Names of columns of numbers that are labels.

    Returns:
        Scores ``(n,)``, higher = more member-like.

    Raises:
        TypeError: as ``nearest_synthetic_table``.
        ValueError: as there, or a radius that is not above 0, as the median is where samples equal half the records.

    References:
        Hilprecht et al. (2019), Monte Carlo and reconstruction membership inference attacks against generative models.

    Example:
        >>> made = {"age": [20.0, 30.0, 60.0], "city": ["Bonn", "Bonn", "Rome"]}
        >>> monte_carlo_table({"age": [22.0], "city": ["Bonn"]}, made, radius=0.2).round(3).tolist()
        [0.667]
    """
    _validate.one_of(_KINDS, kind=kind)
    if isinstance(radius, str):
        _validate.one_of(("median",), radius=radius)
    elif _validate.non_negative(radius=radius) == 0.0:
        raise ValueError("radius=0 must be above 0, as a share of the columns' ranges.")
    chosen = _metric(metric, categorical, synthetic)
    if kind == "nearest":
        return 0.0 - _nearest(records, synthetic, chosen, categorical)
    width = float(np.median(_nearest(records, synthetic, chosen, categorical)) if radius == "median" else radius)
    if width == 0.0:
        raise ValueError(
            "the radius is 0, because so many samples equal records; pass radius as a number, or kind='nearest'."
        )
    inside = float(np.nextafter(width, 0.0))
    counts = mixed_radius_count(
        columns_of(records), columns_of(synthetic), inside, metric=chosen, categorical=_labels(categorical, synthetic)
    )
    return counts / len(next(iter(columns_of(synthetic).values())))


def domias_table(
    records: Any,
    synthetic: Any,
    reference: Any,
    *,
    density: str | AbstractDensity | Any = "kde",
    categorical: Collection[str] = (),
) -> FloatArray:
    """DOMIAS on tables: ``log p_G(x) - log p_R(x)`` of scaled and one-hot encoded records.

    Numbers get mean 0 and standard deviation 1, labels one column per level, as learned from both side sets together
    and not from the records under audit; a missing number is 0 with an indicator of 1. One-hot columns depend on each
    other, so no kernel of full covariance exists: ``"kde"`` has the same width in every direction, Scott's factor
    ``r**(-1 / (d + 4))`` of the r reference records and d table columns, for both densities.

    Args:
        records: Records under audit, as in ``nearest_synthetic_table``.
        synthetic: Samples of the model.
        reference: Other records of the population, none of those under audit.
        density: ``"kde"``, ``"knn"``, or settings of a density that takes dependent columns.
        categorical: Names of columns of numbers that are labels.

    Returns:
        Scores ``(n,)`` in nats, higher = more member-like.

    Raises:
        TypeError: as ``nearest_synthetic_table``.
        ValueError: columns differ, a record has a label that neither side set has, or what ``domias`` refuses.

    References:
        van Breugel et al. (2023), Membership inference attacks against synthetic data through overfitting detection.

    Example:
        >>> made, known = {"age": [20.0, 21.0], "city": ["Bonn", None]}, {"age": [60.0, 50.0], "city": ["Rome", "Bonn"]}
        >>> scores = domias_table({"age": [20.5, 55.0], "city": ["Bonn", "Rome"]}, made, known)
        >>> bool(scores[0] > scores[1])
        True
    """
    values, samples, others = encode_tables(records, synthetic, reference, categorical=categorical)
    if isinstance(density, str) and density == "kde":
        density = KernelDensity(len(others) ** (-1.0 / (len(columns_of(reference)) + 4)))
    return domias(values, samples, others, density=density)


def encode_tables(records: Any, *others: Any, categorical: Collection[str] = ()) -> tuple[FloatArray, ...]:
    """Tables as matrices for attacks on numbers: scales and levels are learned from ``others``, never from ``records``.

    Args:
        records: Records under audit, as in ``nearest_synthetic_table``.
        others: At least one further table of the same columns, such as samples and reference records.
        categorical: Names of columns of numbers that are labels.

    Returns:
        One matrix per table, ``records`` first. Every column has an indicator of missing values, whether or not some
        are missing.

    Raises:
        TypeError: a table is none, or a column holds neither numbers nor labels.
        ValueError: no further table, columns that differ, infinity, or a label in ``records`` that no other table has.

    Example:
        >>> encode_tables({"age": [30.0]}, {"age": [20.0, 40.0]})[0].tolist()
        [[0.0, 0.0]]
    """
    if not others:
        raise ValueError("others is empty; pass the samples, or other records, to learn scales and levels from.")
    tables = [columns_of(table) for table in (records, *others)]
    encoder = TableEncoder.fit(_together(*tables[1:]), categorical=tuple(categorical), missing="always")
    return tuple(encoder.encode(table) for table in tables)


def _nearest(records: Any, samples: Any, metric: Gower, categorical: Collection[str]) -> FloatArray:
    """Distance to the nearest sample, which must be finite."""
    labels = _labels(categorical, samples)
    found = mixed_knn(columns_of(records), columns_of(samples), 1, metric=metric, categorical=labels).distances[:, 0]
    bad = np.flatnonzero(~np.isfinite(found))
    if len(bad):
        raise ValueError(
            f"records has {len(bad)} rows without a value that could be compared with any sample, first row {bad[0]} "
            "(counting from 0); leave out rows and columns where all is missing."
        )
    return found


def _metric(metric: Gower | None, categorical: Collection[str], samples: Any) -> Gower:
    """The coefficient asked for, or the published one with ranges of the samples."""
    if metric is None:
        spread = _ranges(columns_of(samples), categorical)
        return Gower(ranges="given", given_ranges=spread) if spread else Gower()
    if not isinstance(metric, Gower):
        raise TypeError(f"metric={metric!r} is no Gower; pass neighbors.Gower(...) or leave it out.")
    if metric.ranges == "union":
        raise ValueError(
            "metric has ranges='union', so that a score would depend on the other records under audit; "
            "pass a Gower with ranges='reference' or 'given'."
        )
    return metric


def _ranges(columns: dict[str, np.ndarray], categorical: Collection[str]) -> dict[str, float]:
    """Largest minus smallest number of each numeric column."""
    found = {}
    for name, column in columns.items():
        if numeric(name, column, tuple(categorical)):
            values = numbers_of(name, column)
            seen = values[~np.isnan(values)]
            found[name] = float(seen.max() - seen.min()) if len(seen) else 0.0
    return found


def _labels(categorical: Collection[str], samples: Any) -> tuple[str, ...]:
    """All columns that hold labels, so that both tables are read alike."""
    columns = columns_of(samples)
    unknown = sorted(set(categorical) - columns.keys())
    if unknown:
        raise ValueError(f"categorical names {unknown}, which are no columns; the columns are {sorted(columns)}.")
    return tuple(name for name, column in columns.items() if not numeric(name, column, tuple(categorical)))


def _together(*tables: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Tables below each other; they must have the same columns."""
    first = tables[0]
    for table in tables[1:]:
        if table.keys() != first.keys():
            raise ValueError(
                f"tables have different columns: {sorted(first.keys() ^ table.keys())} are in one only; pass the same."
            )
    return {name: np.concatenate([table[name] for table in tables]) for name in first}
