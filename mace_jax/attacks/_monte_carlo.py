"""Monte Carlo attack: how many of the model's samples fall close to a record, and how close."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, final

import numpy as np
from scipy.spatial.distance import cdist

from mace_jax import _validate
from mace_jax._random import as_seed
from mace_jax._types import FloatArray, SamplesRecords, Seed
from mace_jax.attacks._ball import distances_within
from mace_jax.attacks._features import features_of
from mace_jax.attacks._inputs import finite_records
from mace_jax.attacks._streams import AbstractSource, Held, Regenerated, chunk_rows_of
from mace_jax.neighbors import knn, radius_count

__all__ = ["monte_carlo"]

_KINDS = ("count", "log", "inverse", "nearest")
_TERMS = {"count": np.ones_like, "log": lambda share: 0.0 - np.log(share), "inverse": lambda share: 1.0 / share}
_FLOOR = 1e-12
_QUANTILE_PAIRS = 1 << 22


def monte_carlo(
    records: Any,
    synthetic: Any,
    *,
    radius: str | float = "median",
    quantile: float | None = None,
    kind: str | Sequence[str] = "count",
    features: Any = None,
    labels: Any = None,
    synthetic_labels: Any = None,
    n_samples: int | None = None,
    chunk_rows: int | None = None,
    seed: Seed = 0,
) -> FloatArray:
    """Score every record by the model's samples in the open ball of radius r around it.

    With d(x, g) the Euclidean distance of features and n samples g,

    * ``"count"``: ``f(x) = #{d < r} / n``,
    * ``"log"``: ``f(x) = sum_{d < r} -log(d / r) / n``,
    * ``"inverse"``: ``f(x) = sum_{d < r} (r / d) / n``,
    * ``"nearest"``: ``f(x) = -min d``, which needs no radius.

    The radius of the source, ``"median"``, is the median over the records under audit of the distance to the nearest
    sample. So half of an even number of records has f = 0 (if the two middle distances differ), and a cut at the
    median of any of the scores calls the same records members. **It looks at the records under audit**, as does
    ``quantile``: a score then depends on which other records are asked about. To fix it beforehand, pass the number
    ``-numpy.median(monte_carlo(others, synthetic, kind="nearest"))`` of other records.

    Samples of a model are drawn in chunks from the seed and never stored: a first pass finds the nearest ones, and so
    the radius, and a second draws the same samples again and adds up; a radius given as a number needs one pass only.
    Distances are measured in float64.

    Args:
        records: Records under audit, ``(n, d)``.
        synthetic: Samples ``(s, d)``, or a model with ``sample(n, *, seed)`` (and ``labels`` if conditional), whose
            records must depend on its arguments alone.
        radius: ``"median"``, or a number above 0 in the units of the features.
        quantile: Instead of a radius, the share of record-sample distances that lie below it, in (0, 1). It is
            measured on the samples of the first chunk, as many as make 4 million distances.
        kind: One of the scores above, or several of them from the same passes.
        features: A function of records or an object with ``transform(records)``, such as ``PrincipalComponents`` or
            ``OrientedGradients``, fitted apart from the records under audit; None for the records themselves.
        labels: One label per record: each is compared with samples of its own label only.
        synthetic_labels: Labels of the samples ``(s,)``, where ``labels`` are given and samples too.
        n_samples: Samples to draw from a model; with ``labels``, for each label.
        chunk_rows: Samples at a time, by default a power of two of about 64 MiB, at most 131,072; with a model,
            another value means other samples.
        seed: Of the samples of a model.

    Returns:
        Scores ``(n,)``, or ``(n, q)`` for q kinds; higher = more member-like. A distance below 1e-12 r counts as that,
        so that "log" and "inverse" stay finite.

    Peak memory beyond the inputs, whatever the number of samples: about four chunks, of samples and of features
    together, 160 MiB for the pairs of a tile ("log", "inverse"), and what ``knn`` takes for one chunk.

    Raises:
        TypeError: an array is not numeric, or ``features`` is no map.
        ValueError: NaN, shapes that do not fit, a radius or quantile out of range, a median of 0, a label without
            samples, ``n_samples`` missing or out of place, or a model that draws other records for the same seed.

    References:
        Hilprecht et al. (2019), Monte Carlo and reconstruction membership inference attacks against generative models.

    Example:
        >>> monte_carlo([[0.0], [9.0]], [[0.5], [1.0], [5.0]], radius=1.5).round(3).tolist()
        [0.667, 0.0]
    """
    values = finite_records("records", records)
    kinds = (kind,) if isinstance(kind, str) else tuple(kind)
    for one in kinds:
        _validate.one_of(_KINDS, kind=one)
    if not kinds:
        raise ValueError(f"kind is empty; name at least one of {_KINDS}.")
    _check_radius(radius, quantile)
    rows = chunk_rows_of(values.shape[1], chunk_rows)
    groups = _groups(values, synthetic, features, labels, synthetic_labels, n_samples, rows, seed)
    sums = tuple(name for name in dict.fromkeys(kinds) if name != "nearest")
    found: dict[str, FloatArray] = {}
    if "nearest" in kinds or (sums and radius == "median" and quantile is None):
        found["nearest"] = np.empty(len(values))
        for group in groups:
            found["nearest"][group.rows] = _nearest(group)
    if sums:
        width = _width(radius, quantile, groups, found)
        found.update({name: np.empty(len(values)) for name in sums})
        for group in groups:
            for name, part in _sums(group, width, sums).items():
                found[name][group.rows] = part
    if "nearest" in kinds:
        found["nearest"] = 0.0 - found["nearest"]
    return found[kinds[0]] if isinstance(kind, str) else np.stack([found[name] for name in kinds], axis=1)


@final
@dataclasses.dataclass(frozen=True, eq=False)
class _Group:
    """Records, by row and in feature space, and the samples they are compared with."""

    rows: np.ndarray
    values: FloatArray
    source: AbstractSource


def _nearest(group: _Group) -> FloatArray:
    """Distance to the nearest sample."""
    best = np.full(len(group.values), np.inf)
    for chunk in group.source.chunks():
        np.minimum(best, knn(group.values, chunk, 1).distances[:, 0], out=best)
    return best


def _sums(group: _Group, width: float, kinds: tuple[str, ...]) -> dict[str, FloatArray]:
    """Mean over all samples of what each kind makes of those in the open ball; one pass."""
    n = len(group.values)
    total = {name: np.zeros(n) for name in kinds}
    inside = float(np.nextafter(width, 0.0))
    for chunk in group.source.chunks():
        if kinds == ("count",):
            total["count"] += radius_count(group.values, chunk, inside)
            continue
        for rows, distances in distances_within(group.values, chunk, inside):
            share = np.maximum(distances / width, _FLOOR)
            for name in kinds:
                total[name] += np.bincount(rows, _TERMS[name](share), n)
    return {name: sums / group.source.n for name, sums in total.items()}


def _width(radius: Any, quantile: float | None, groups: list[_Group], found: dict[str, FloatArray]) -> float:
    """The radius as a number."""
    if quantile is not None:
        width = float(np.quantile(_first_distances(groups), quantile))
    elif radius == "median":
        width = float(np.median(found["nearest"]))
    else:
        return float(radius)
    if width == 0.0:
        raise ValueError(
            "the radius is 0, because so many samples equal records; pass radius as a number, or kind='nearest'."
        )
    return width


def _first_distances(groups: list[_Group]) -> FloatArray:
    """Distances of all records to the first samples, 4 million at most."""
    n = max(1, _QUANTILE_PAIRS // sum(len(group.rows) for group in groups))
    parts = [cdist(group.values, next(group.source.chunks())[:n]).ravel() for group in groups]
    return np.concatenate(parts, dtype=np.float64)


def _groups(
    values: FloatArray,
    synthetic: Any,
    features: Any,
    labels: Any,
    synthetic_labels: Any,
    n_samples: int | None,
    chunk_rows: int,
    seed: Seed,
) -> list[_Group]:
    """Records and samples of each label, or all of them."""
    mapped = features_of(features, values, "records")
    if isinstance(synthetic, SamplesRecords):
        if n_samples is None or synthetic_labels is not None:
            raise ValueError("a model needs n_samples, and draws its own labels: leave synthetic_labels out.")
        given = _validate.positive_int(n_samples=n_samples), values.shape[1], features, chunk_rows, as_seed(seed)
        if labels is None:
            return [_Group(np.arange(len(values)), mapped, Regenerated(synthetic, *given))]
        return [
            _Group(rows, mapped[rows], Regenerated(synthetic, *given, label=label))
            for label, rows in _by_label("labels", labels, len(values)).items()
        ]
    if n_samples is not None:
        raise ValueError(f"n_samples={n_samples} has no effect on samples that are given; leave it out.")
    samples = finite_records("synthetic", synthetic)
    _validate.same_features(records=values, synthetic=samples)
    if (labels is None) != (synthetic_labels is None):
        raise ValueError("labels and synthetic_labels belong together; pass both or neither.")
    if labels is None:
        return [_Group(np.arange(len(values)), mapped, Held(samples, features, chunk_rows))]
    own = _by_label("synthetic_labels", synthetic_labels, len(samples))
    groups = []
    for label, rows in _by_label("labels", labels, len(values)).items():
        if label not in own:
            raise ValueError(f"no synthetic record has the label {label!r} of {len(rows)} records; draw some.")
        groups.append(_Group(rows, mapped[rows], Held(samples[own[label]], features, chunk_rows)))
    return groups


def _by_label(name: str, labels: Any, n: int) -> dict[Any, np.ndarray]:
    """Rows of each label."""
    array = np.asarray(labels)
    if array.shape != (n,):
        raise ValueError(f"{name} has shape {array.shape}; pass one label for each of {n} rows.")
    levels, place = np.unique(array, return_inverse=True)
    return {level: np.flatnonzero(place == i) for i, level in enumerate(levels.tolist())}


def _check_radius(radius: Any, quantile: float | None) -> None:
    """A known word or a positive number, and no second rule beside it."""
    if quantile is not None:
        _validate.in_open_unit(quantile=quantile)
        if radius != "median":
            raise ValueError(f"radius={radius!r} and quantile={quantile!r} exclude each other; pass one of them.")
    elif isinstance(radius, str):
        _validate.one_of(("median",), radius=radius)
    elif _validate.non_negative(radius=radius) == 0.0:
        raise ValueError("radius=0 must be above 0, in the units of the features.")
