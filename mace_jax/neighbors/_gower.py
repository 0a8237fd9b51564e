"""Gower's coefficient in its variants, and the one place where a mixed-type distance is measured."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal, final

import numpy as np
from numpy.typing import NDArray

from mace_jax._types import FloatArray, IntArray
from mace_jax.neighbors._mixed_encode import Column

__all__ = ["Gower", "Measure"]

RANGES = ("union", "reference", "given")
ZERO_RANGES = ("one", "zero", "zero_or_top_zero", "indicator", "floor_one")
NUMERIC_MISSING = ("skip", "mismatch", "one_if_both", "nan", "nan_everywhere", "drop_column", "refuse")
CATEGORICAL_MISSING = ("skip", "level", "differs", "unseen", "refuse")
AGGREGATES = ("sum", "mean", "weighted", "split_weighted", "sum_over_weights")
SELF_RULES = ("none", "exclude", "add_one", "constant")
DTYPES = ("float64", "float32")


@final
@dataclasses.dataclass(frozen=True)
class Gower:
    """Gower's dissimilarity of records with numbers and labels, every choice spelled out.

    A numeric column contributes ``|x - y| / range``, a categorical one 0 or 1 for equal or different labels. The
    defaults are the coefficient as published: pooled ranges, comparisons with a missing value left out, weighted mean
    over the others; pairs with nothing to compare are at distance infinity.

    Args:
        ranges: Where a range comes from: ``"union"`` (queries and reference of this call together, so distances depend
            on all queries passed; they are scaled once), ``"reference"``, or ``"given"``.
        given_ranges: Column to range, or one number for every numeric column; with ``ranges="given"`` only.
        zero_range: For a range of 0: ``"one"`` divides by 1, ``"zero"`` ignores the column, ``"zero_or_top_zero"``
            ignores it also if its largest value is 0, ``"indicator"`` contributes 1 wherever values differ,
            ``"floor_one"`` replaces every range below 1 by 1.
        clip: Cap every numeric contribution at 1.
        divide_first: ``|x / r - y / r|`` instead of ``|x - y| / r``; they differ by rounding only.
        numeric_missing: ``"skip"`` leaves the column out of the pair; ``"mismatch"`` contributes 1, or 0 if both are
            missing; ``"one_if_both"`` contributes 1 if both are, otherwise the distance is NaN; ``"nan"``;
            ``"nan_everywhere"`` makes every distance NaN; ``"drop_column"`` makes the column contribute 0;
            ``"refuse"`` raises. NaN sorts last.
        categorical_missing: ``"skip"``; ``"level"`` treats missing as a label; ``"differs"`` never equals anything;
            ``"unseen"`` as ``"level"``, and reference labels that no query has count as missing; ``"refuse"``.
        aggregate: ``"sum"``; ``"mean"`` over columns (observed ones with ``"skip"``); ``"weighted"`` mean;
            ``"split_weighted"``: ``(sum_N w a + |C| sum_C w b / sum_C w) / sum w``; ``"sum_over_weights"``: unweighted
            sum over the sum of weights.
        weights: Column to weight, at least 0; columns not named have weight 1.
        self_rule: For row ``i`` of tables that are the same: ``"none"``; ``"exclude"``; ``"add_one"`` to its distance,
            if the tables are equal by value with nothing missing; ``"constant"`` replaces it by ``self_distance``.
            ``"exclude"`` and ``"constant"`` apply when queries and reference are one object.
        self_distance: For ``self_rule="constant"``.
        dtype: ``"float32"`` rounds distances to single precision before they are ordered.

    Source: Gower (1971), A general coefficient of similarity and some of its properties, Biometrics 27.

    Example:
        >>> Gower.sdmetrics().clip, Gower.anonymeter().aggregate
        (True, 'sum')
    """

    ranges: Literal["union", "reference", "given"] = "union"
    zero_range: Literal["one", "zero", "zero_or_top_zero", "indicator", "floor_one"] = "zero"
    clip: bool = False
    divide_first: bool = False
    numeric_missing: Literal["skip", "mismatch", "one_if_both", "nan", "nan_everywhere", "drop_column", "refuse"] = (
        "skip"
    )
    categorical_missing: Literal["skip", "level", "differs", "unseen", "refuse"] = "skip"
    aggregate: Literal["sum", "mean", "weighted", "split_weighted", "sum_over_weights"] = "weighted"
    self_rule: Literal["none", "exclude", "add_one", "constant"] = "none"
    dtype: Literal["float64", "float32"] = "float64"
    given_ranges: Mapping[str, float] | float | None = None
    weights: Mapping[str, float] | None = None
    self_distance: float = 0.0

    def __post_init__(self) -> None:
        choices = {
            "ranges": RANGES, "zero_range": ZERO_RANGES, "numeric_missing": NUMERIC_MISSING,
            "categorical_missing": CATEGORICAL_MISSING, "aggregate": AGGREGATES, "self_rule": SELF_RULES,
            "dtype": DTYPES,
        }  # fmt: skip
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name}={getattr(self, name)!r} must be one of {', '.join(map(repr, allowed))}.")
        if (self.ranges == "given") != (self.given_ranges is not None):
            raise ValueError("given_ranges must be passed with ranges='given', and only then.")
        if self.skips and self.aggregate in ("split_weighted", "sum_over_weights"):
            raise ValueError(f"aggregate={self.aggregate!r} has no meaning with missing values skipped.")
        if self.categorical_missing == "skip" and self.numeric_missing not in ("skip", "refuse"):
            raise ValueError("categorical_missing='skip' needs numeric_missing='skip' or 'refuse'.")
        if self.weights is not None and self.aggregate in ("sum", "mean"):
            raise ValueError(f"aggregate={self.aggregate!r} takes no weights; use 'weighted'.")
        if not (np.isfinite(self.self_distance) and self.self_distance >= 0):
            raise ValueError(f"self_distance={self.self_distance!r} must be finite and at least 0.")

    @property
    def skips(self) -> bool:
        """Whether some comparisons are left out."""
        return "skip" in (self.numeric_missing, self.categorical_missing)

    @classmethod
    def anonymeter(cls) -> Gower:
        """Anonymeter 1.1.0: sum over columns, pooled ranges, a range of 0 taken as 1."""
        return cls(
            zero_range="one", divide_first=True, numeric_missing="one_if_both", categorical_missing="level",
            aggregate="sum",
        )  # fmt: skip

    @classmethod
    def sdmetrics(cls) -> Gower:
        """SDMetrics 0.32.0, distance to the closest record: ranges of the reference, clipped, mean over columns."""
        return cls(
            ranges="reference", zero_range="indicator", clip=True, numeric_missing="mismatch",
            categorical_missing="level", aggregate="mean",
        )  # fmt: skip

    @classmethod
    def syntheval(cls, weights: Mapping[str, float] | None = None) -> Gower:
        """SynthEval 1.7.3: ranges of at least 1, categorical weights normalized among themselves, +1 on the diagonal.

        Its second neighbor is the smaller of the second distance and the first plus 1. Labels must not be missing.
        """
        return cls(
            zero_range="floor_one", numeric_missing="nan_everywhere", categorical_missing="refuse",
            aggregate="split_weighted", self_rule="add_one", weights=weights,
        )  # fmt: skip

    @classmethod
    def gower(cls, weights: Mapping[str, float] | None = None) -> Gower:
        """The ``gower`` package 0.1.2: a column whose largest value is 0 is ignored, NaN makes the pair NaN."""
        return cls(
            zero_range="zero_or_top_zero", numeric_missing="nan", categorical_missing="differs", weights=weights,
            dtype="float32",
        )  # fmt: skip

    @classmethod
    def synthyverse(cls, *, normalize: bool = False) -> Gower:
        """Synthyverse 0.2.7: numbers scaled by the caller, sum (``normalize``: mean) over the columns observed."""
        return cls(
            ranges="given", given_ranges=1.0, numeric_missing="skip", categorical_missing="level",
            aggregate="mean" if normalize else "sum", self_rule="exclude", dtype="float32",
        )  # fmt: skip

    @classmethod
    def sure(cls, weights: Mapping[str, float] | None = None) -> Gower:
        """Clearbox SURE 0.2.16, from its published formula: weights enter the denominator only, self distance 5."""
        return cls(
            numeric_missing="drop_column", categorical_missing="unseen", aggregate="sum_over_weights",
            self_rule="constant", self_distance=5.0, weights=weights, dtype="float32",
        )  # fmt: skip


@dataclasses.dataclass(frozen=True, eq=False)
class Term:
    """One column ready to be measured: ``|x - y| / divisor`` or ``x != y``, times ``weight``."""

    name: str
    numeric: bool
    x: NDArray[Any]
    y: NDArray[Any]
    divisor: float
    indicator: bool
    weight: float


@dataclasses.dataclass(frozen=True, eq=False)
class Measure:
    """All columns under one ``Gower``; ``distances`` is the only way a stored value comes about."""

    gower: Gower
    terms: list[Term]
    denominator: float
    nowhere: bool

    @classmethod
    def prepare(cls, gower: Gower, columns: list[Column]) -> Measure:
        """Scale once over all queries and work out weights; refuses what the settings cannot handle."""
        named = {} if gower.weights is None else dict(gower.weights)
        _known(named, columns, "weights")
        weights = {column.name: _weight(column.name, named.get(column.name, 1.0)) for column in columns}
        total = sum(weights.values())
        if not total > 0:
            raise ValueError("weights are all 0; give at least one column a positive weight.")
        if gower.skips and min(weights.values()) <= 0:
            raise ValueError("weights must be positive where missing values are skipped; leave such columns out.")
        weighted = gower.aggregate in ("weighted", "split_weighted")
        effective = {name: weight if weighted else 1.0 for name, weight in weights.items()}
        labels = [column.name for column in columns if not column.numeric]
        if gower.aggregate == "split_weighted" and labels:
            share = sum(weights[name] for name in labels)
            if not share > 0:
                raise ValueError("weights of the categorical columns are all 0; give one of them a positive weight.")
            effective |= {name: len(labels) * weights[name] / share for name in labels}
        denominator = {"sum": 1.0, "mean": float(len(columns))}.get(gower.aggregate, total)
        given = gower.given_ranges
        if isinstance(given, Mapping):
            _known(dict(given), columns, "given_ranges")
        terms = [_term(gower, column, effective[column.name]) for column in columns]
        gaps = any(column.numeric and _has_gap(column) for column in columns)
        return cls(gower, terms, denominator, gower.numeric_missing == "nan_everywhere" and gaps)

    def distances(self, rows: IntArray, ids: IntArray) -> FloatArray:
        """Distances between queries ``rows (p,)`` and reference rows ``ids (p, b)``; each entry is computed alone."""
        total = np.zeros(ids.shape)
        if self.nowhere:
            return np.full(ids.shape, np.nan)
        observed = np.zeros(ids.shape) if self.gower.skips else None
        weighted = self.gower.aggregate == "weighted"
        for term in self.terms:
            x, y = term.x[rows][:, None], term.y[ids]
            value, seen = self._numeric(term, x, y) if term.numeric else self._categorical(x, y)
            total += term.weight * value if term.weight != 1 else value
            if observed is not None:
                observed += (term.weight if weighted else 1.0) * seen
        if observed is not None:
            nothing = observed == 0
            divisor = 1.0 if self.gower.aggregate == "sum" else np.where(nothing, 1.0, observed)
            total = np.where(nothing, np.inf, total / divisor)
        elif self.denominator != 1:
            total /= self.denominator
        return total.astype(np.float32).astype(np.float64) if self.gower.dtype == "float32" else total

    def _numeric(self, term: Term, x: FloatArray, y: FloatArray) -> tuple[Any, Any]:
        """Contribution and whether it counts as observed."""
        if term.indicator:
            value = np.where(np.isnan(x) | np.isnan(y), np.nan, (x != y).astype(np.float64))
        elif self.gower.divide_first:
            value = np.abs(x / term.divisor - y / term.divisor)
        else:
            value = np.abs(x - y)
            if term.divisor != 1:
                value /= term.divisor
        if self.gower.clip:
            value = np.minimum(value, 1.0)
        rule = self.gower.numeric_missing
        if rule in ("nan", "nan_everywhere", "refuse"):
            return value, True
        gap = np.isnan(value)
        if not gap.any():
            return value, True
        both = np.isnan(x) & np.isnan(y)
        if rule == "mismatch":
            return np.where(gap, np.where(both, 0.0, 1.0), value), True
        if rule == "one_if_both":
            return np.where(both, 1.0, value), True
        return np.where(gap, 0.0, value), ~gap

    def _categorical(self, x: NDArray[Any], y: NDArray[Any]) -> tuple[Any, Any]:
        differ = x != y
        if self.gower.categorical_missing == "differs":
            return differ | (x < 0), True
        if self.gower.categorical_missing == "skip":
            seen = (x >= 0) & (y >= 0)
            return differ & seen, seen
        return differ, True


def _known(named: Mapping[str, Any], columns: list[Column], argument: str) -> None:
    unknown = sorted(set(named) - {column.name for column in columns})
    if unknown:
        raise ValueError(f"{argument} names columns that the tables lack: {unknown}.")


def _weight(name: str, weight: float) -> float:
    if not (np.isfinite(weight) and weight >= 0):
        raise ValueError(f"the weight of column {name!r} is {weight!r}; weights must be finite and at least 0.")
    return float(weight)


def _has_gap(column: Column) -> bool:
    if column.numeric:
        return bool(np.isnan(column.x).any() or np.isnan(column.y).any())
    return bool((column.x < 0).any() or (column.y < 0).any())


def _term(gower: Gower, column: Column, weight: float) -> Term:
    """Scale of a numeric column, codes of a categorical one."""
    rule = gower.numeric_missing if column.numeric else gower.categorical_missing
    if rule == "refuse" and _has_gap(column):
        part = "queries" if ((np.isnan(column.x) if column.numeric else column.x < 0).any()) else "reference"
        raise ValueError(
            f"column {column.name!r} of {part} has missing values, which these settings refuse; impute them."
        )
    if not column.numeric:
        y = column.y
        if rule == "unseen" and len(column.unseen):
            y = np.where(column.unseen[y] & (y >= 0), -1, y).astype(np.int32)
        return Term(column.name, False, column.x, y, 1.0, False, weight)
    if rule == "drop_column" and _has_gap(column):
        zero = np.zeros(1)
        return Term(column.name, True, np.broadcast_to(zero, column.x.shape), np.broadcast_to(zero, column.y.shape),
                    1.0, False, weight)  # fmt: skip
    spread, top = _range(gower, column)
    floor = gower.zero_range == "floor_one"
    ignored = gower.zero_range.startswith("zero") and spread == 0
    ignored = ignored or (gower.zero_range == "zero_or_top_zero" and top == 0)
    divisor = max(spread, 1.0) if floor else (spread if spread > 0 else 1.0)
    indicator = spread == 0 and gower.zero_range == "indicator"
    x, y = column.x, column.y
    if ignored:  # the value counts for nothing, a missing one still by its rule, except where NaN would spread
        gap = 0.0 if gower.zero_range == "zero_or_top_zero" else np.nan
        x, y = (np.where(np.isnan(part), gap, 0.0) for part in (x, y))
    return Term(column.name, True, x, y, divisor, indicator, weight)


def _range(gower: Gower, column: Column) -> tuple[float, float]:
    """Range and largest value of a numeric column."""
    if gower.ranges == "given":
        given = gower.given_ranges
        spread = given.get(column.name) if isinstance(given, Mapping) else given
        if spread is None or not (np.isfinite(spread) and spread >= 0):
            raise ValueError(
                f"given_ranges has {spread!r} for column {column.name!r}; pass a finite range of at least 0."
            )
        return float(spread), 1.0
    values = column.y if gower.ranges == "reference" else np.concatenate((column.x, column.y))
    values = values[~np.isnan(values)]
    if not len(values):
        return 0.0, 0.0
    with np.errstate(over="ignore"):
        spread = float(values.max() - values.min())
    if not np.isfinite(spread):
        raise ValueError(f"column {column.name!r} spans more than the largest float64; rescale it.")
    return spread, float(values.max())
