"""What goes with a high risk score: rank correlations, and distances to neighbors in a feature space."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import special, stats

from mace_jax import _validate
from mace_jax._types import FloatArray
from mace_jax.attacks._groups import as_groups, same_kind
from mace_jax.attacks._inputs import finite_records
from mace_jax.neighbors import knn

__all__ = ["NeighborDistances", "RankCorrelation", "neighbor_distances", "risk_correlates"]


@dataclasses.dataclass(frozen=True)
class RankCorrelation:
    """Spearman's rank correlation with limits."""

    correlation: float
    low: float
    high: float
    n: int
    confidence_level: float


def risk_correlates(
    posterior: ArrayLike, correlates: Mapping[str, ArrayLike], *, confidence_level: float = 0.95
) -> dict[str, RankCorrelation]:
    """Spearman's correlation of the risk score with other numbers about the same records.

    Limits are tanh(atanh(rho) -+ z sqrt((1 + rho^2/2) / (n - 3))); equal values share their mean rank.

    Args:
        posterior: Risk scores, ``(n,)``.
        correlates: For each name (sensitivity, generalization error, distance to the nearest neighbor of the class ...)
            one number per record, ``(n,)``.
        confidence_level: Of each interval by itself.

    Returns:
        One ``RankCorrelation`` per name.

    Raises:
        ValueError: fewer than 4 records, other lengths, or numbers that are all equal.

    Bias: the limits are those of continuous numbers; with heavy ties they are approximate.

    References: Spearman (1904); Bonett and Wright (2000).

    Example:
        >>> found = risk_correlates([0.9, 0.7, 0.6, 0.5, 0.4], {"distance": [5.0, 4.0, 1.0, 2.0, 0.5]})
        >>> round(found["distance"].correlation, 3)
        0.9
    """
    score = _varied("posterior", posterior)
    z = special.ndtri((1.0 + _validate.in_open_unit(confidence_level=confidence_level)) / 2.0)
    ranks = stats.rankdata(score)
    found = {}
    for name, given in correlates.items():
        other = _varied(f"correlates[{name!r}]", given)
        if len(other) != len(score):
            raise ValueError(f"correlates[{name!r}] has {len(other)} entries for {len(score)} records.")
        rho = float(np.clip(np.corrcoef(ranks, stats.rankdata(other))[0, 1], -1.0, 1.0))
        reach = z * np.sqrt((1.0 + rho**2 / 2.0) / (len(score) - 3))
        middle = np.arctanh(np.clip(rho, -1.0 + 1e-15, 1.0 - 1e-15))
        low, high = float(np.tanh(middle - reach)), float(np.tanh(middle + reach))
        found[name] = RankCorrelation(rho, min(low, rho), max(high, rho), len(score), confidence_level)
    return found


@dataclasses.dataclass(frozen=True, eq=False)
class NeighborDistances:
    """Euclidean distances to the nearest reference records, ascending."""

    same_class: FloatArray  # (n, k) among those of the record's own class
    any_class: FloatArray  # (n, k)

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, ready for JSON."""
        return {"same_class": self.same_class.tolist(), "any_class": self.any_class.tolist()}


def neighbor_distances(
    features: ArrayLike,
    labels: ArrayLike,
    reference: ArrayLike | None = None,
    reference_labels: ArrayLike | None = None,
    *,
    k: int = 1,
) -> NeighborDistances:
    """Distances from each record to its ``k`` nearest reference records, of its class and of any.

    Args:
        features: ``(n, d)``, such as the last hidden layer; any unit.
        labels: Classes of the records, ``(n,)``.
        reference: ``(m, d)``; None measures the records against each other, none against itself.
        reference_labels: Classes of the reference records; with ``reference``.
        k: Number of neighbors.

    Returns:
        ``NeighborDistances``.

    Raises:
        TypeError: labels that are neither whole numbers nor strings, or some of either.
        ValueError: labels and records differ in number, or a class has fewer than ``k`` reference records.

    Example:
        >>> found = neighbor_distances([[0.0], [1.0], [5.0], [2.0]], [0, 1, 0, 1])
        >>> found.same_class.ravel().tolist(), found.any_class.ravel().tolist()
        ([5.0, 1.0, 5.0, 1.0], [1.0, 1.0, 3.0, 1.0])
    """
    x = finite_records("features", features)
    y = as_groups("labels", labels, len(x))
    k = _validate.positive_int(k=k)
    if (reference is None) != (reference_labels is None):
        raise ValueError("reference and reference_labels go together; pass both or neither.")
    itself = reference is None
    z = x if itself else finite_records("reference", reference)
    of = y if itself else as_groups("reference_labels", reference_labels, len(z))
    same_kind(labels=y, reference_labels=of)
    _validate.same_features(features=x, reference=z)
    same = np.empty((len(x), k))
    for one in np.unique(y):
        mine, known = y == one, of == one
        if known.sum() - itself < k:
            raise ValueError(
                f"class {one} has {int(known.sum()) - itself} reference records to be neighbors of its records; "
                f"k={k} needs as many. Pass a smaller k, more reference records, or leave the class out."
            )
        same[mine] = knn(x[mine], z[known], k, exclude_self=itself).distances
    return NeighborDistances(same, np.asarray(knn(x, z, k, exclude_self=itself).distances))


def _varied(name: str, value: ArrayLike) -> FloatArray:
    """At least 4 finite numbers that are not all equal."""
    array = _validate.scores(**{name: value})
    if len(array) < 4:
        raise ValueError(f"{name} has {len(array)} entries; limits of a rank correlation need at least 4.")
    if array.min() == array.max():
        raise ValueError(f"{name} is {array[0]} for every record, so that no order can be compared; leave it out.")
    return array
