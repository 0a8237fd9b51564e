"""Log densities of records: Gaussian kernels and nearest neighbors, both in the logarithm throughout."""

from __future__ import annotations

import abc
import dataclasses
import math
from typing import Any, Protocol, final, runtime_checkable

import numpy as np

from mace_jax import _validate
from mace_jax._types import FloatArray
from mace_jax.attacks._inputs import finite_records
from mace_jax.neighbors import knn, log_kde

__all__ = ["AbstractDensity", "KernelDensity", "LogDensity", "NeighborDensity", "log_density_of"]

_SINGULAR = 1e-12
"""Smallest share of the largest variance, of standardized columns, that a covariance may have in some direction."""


@runtime_checkable
class LogDensity(Protocol):
    """Anything that knows the log density of records, in nats."""

    def log_density(self, records: Any) -> Any: ...


class AbstractDensity(abc.ABC):
    """Settings of a density estimate."""

    @abc.abstractmethod
    def fit(self, records: Any) -> LogDensity:
        """The density of ``records``, ``(n, d)``."""


@final
@dataclasses.dataclass(frozen=True)
class KernelDensity(AbstractDensity):
    """Gaussian kernels around the records: ``p(x) = mean_j N(x; y_j, h^2 S)``.

    By default S is the covariance of the records and h is Scott's factor ``n**(-1 / (d + 4))``, so that the density
    follows any linear change of units. A number is the standard deviation of the kernel in every direction.

    Args:
        width: Standard deviation of the kernel, in the units of the records; None for Scott's rule.

    Raises:
        ValueError: ``width`` is not above 0; on fitting by Scott's rule, fewer than 2 records, or a covariance that is
            singular (constant or dependent columns, as in images).

    References:
        Scott (1992), Multivariate density estimation.

    Example:
        >>> KernelDensity(width=1.0).fit([[-1.0], [1.0]]).log_density([[0.0]]).round(3).tolist()
        [-1.419]
    """

    width: float | None = None

    def __post_init__(self) -> None:
        if self.width is not None and _validate.non_negative(width=self.width) == 0.0:
            raise ValueError("width=0 must be above 0; leave it out for Scott's rule.")

    def fit(self, records: Any) -> LogDensity:
        values = finite_records("records", records)
        if self.width is not None:
            return _Kernels(values, np.eye(values.shape[1]), float(self.width))
        _validate.min_rows(2, records=values)
        return _Kernels(values, _root_of_covariance(values), len(values) ** (-1.0 / (values.shape[1] + 4)))


@final
@dataclasses.dataclass(frozen=True)
class NeighborDensity(AbstractDensity):
    """Density from the distance r to the k-th nearest record: ``log p(x) = log k - log n - log V_d - d log r``.

    V_d is the volume of the unit ball. Distances mix all columns, so bring them to one scale first. Its integral is
    infinite, so only differences of two such densities mean anything far from all records.

    Args:
        k: Which neighbor; few show peaks, many are smooth.

    Raises:
        TypeError: ``k`` is not an integer.
        ValueError: ``k`` is below 1; on fitting, fewer than ``k`` records; on evaluation, a distance of 0 (``k`` equal
            records), where the density is infinite.

    References:
        Loftsgaarden and Quesenberry (1965), A nonparametric estimate of a multivariate density function.

    Example:
        >>> NeighborDensity(k=1).fit([[0.0], [4.0]]).log_density([[1.0]]).round(3).tolist()  # log(1 / 2 / 2)
        [-1.386]
    """

    k: int = 5

    def __post_init__(self) -> None:
        _validate.positive_int(k=self.k)

    def fit(self, records: Any) -> LogDensity:
        values = finite_records("records", records)
        if self.k > len(values):
            raise ValueError(f"k={self.k} exceeds the {len(values)} records; pass k={len(values)} or more records.")
        return _Neighbors(values, self.k)


@final
@dataclasses.dataclass(frozen=True, eq=False)
class _Kernels:
    """Kernels of covariance ``width**2 root root'`` around the records."""

    records: FloatArray
    root: FloatArray
    width: float

    def log_density(self, records: Any) -> FloatArray:
        """In nats, of the records given."""
        from scipy.linalg import solve_triangular

        values = finite_records("records", records)
        _validate.same_features(records=values, fitted=self.records)
        center = self.records.mean(axis=0)
        inside, outside = (
            np.ascontiguousarray(solve_triangular(self.root, (part - center).T, lower=True).T)
            for part in (self.records, values)
        )
        return log_kde(outside, inside, self.width) - np.log(np.diag(self.root)).sum()


@final
@dataclasses.dataclass(frozen=True, eq=False)
class _Neighbors:
    """The k-th nearest neighbor among the records."""

    records: FloatArray
    k: int

    def log_density(self, records: Any) -> FloatArray:
        """In nats, of the records given."""
        values = finite_records("records", records)
        radius = knn(values, self.records, self.k).distances[:, -1]
        if not radius.all():
            raise ValueError(
                f"{int((radius == 0).sum())} of {len(values)} records equal their {self.k} nearest fitted ones, where "
                f"the density is infinite; pass a larger k than k={self.k}, or use density='kde'."
            )
        (n, d) = self.records.shape
        ball = 0.5 * d * math.log(math.pi) - math.lgamma(0.5 * d + 1.0)
        return math.log(self.k) - math.log(n) - ball - d * np.log(radius)


def log_density_of(fitted: LogDensity, records: FloatArray, name: str) -> FloatArray:
    """One finite log density per record; anything else names the argument."""
    logs = np.asarray(fitted.log_density(records), np.float64)
    if logs.shape != (len(records),):
        raise ValueError(
            f"{name}.log_density returned shape {logs.shape} for {len(records)} records; return one number each."
        )
    if not np.isfinite(logs).all():
        bad = int((~np.isfinite(logs)).sum())
        raise ValueError(
            f"the density of {name} has no finite logarithm at {bad} of {len(records)} records; scale the columns to "
            "comparable ranges or pass a density with wider tails."
        )
    return logs


def _root_of_covariance(values: FloatArray) -> FloatArray:
    """Lower triangular root of the covariance; an error where it is singular."""
    sd = values.std(axis=0, ddof=1)
    constant = np.flatnonzero(sd <= _SINGULAR * np.abs(values).max(axis=0))
    if len(constant):
        raise ValueError(
            f"records is constant in {len(constant)} columns, first in column {constant[0]}, so its covariance is "
            "singular; leave such columns out, project on fewer principal components or pass KernelDensity(width=...)."
        )
    scaled = (values - values.mean(axis=0)) / sd
    correlation = np.atleast_2d(scaled.T @ scaled / (len(values) - 1))
    spread = np.linalg.eigvalsh(correlation)
    if spread[0] <= _SINGULAR * spread[-1]:
        raise ValueError(
            f"records has dependent columns ({values.shape[1]} columns, {len(values)} rows), so its covariance is "
            "singular; project on fewer principal components, pass more rows or KernelDensity(width=...)."
        )
    return np.linalg.cholesky(correlation) * sd[:, None]
