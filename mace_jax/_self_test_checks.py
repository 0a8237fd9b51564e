"""What a pipeline's results say about a null, and whether many of them say it too often."""

from __future__ import annotations

import dataclasses
import numbers
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from mace_jax._binomial import clopper_pearson_lower, clopper_pearson_upper
from mace_jax.certificates import Certificate
from mace_jax.report import Report

__all__ = ["Reading", "SelfTestCheck", "judge", "read_result"]

_ROUNDING = 1e-12  # 1 - 0.9 is below 0.1
_POWER = 0.9


class Reading(NamedTuple):
    """One thing a result claims: a p-value, or an alarm that may sound at most at rate ``level``."""

    name: str
    level: float
    alarm: bool
    p_value: float | None = None


@dataclasses.dataclass(frozen=True)
class SelfTestCheck:
    """How often one reading found a leak where there was none."""

    name: str
    n_alarms: int
    n_repeats: int
    level: float  # alarms allowed, as a rate
    rate_low: float  # Clopper-Pearson limits of the alarm rate over splits of these records
    rate_high: float
    alarm_p_value: float  # of so many alarms or more, if the rate were ``level``
    uniform_p_value: float | None  # one-sided Kolmogorov-Smirnov: p-values smaller than uniform ones; None for alarms
    noticeable_rate: float  # an alarm rate that fails this check nine times in ten
    passed: bool

    @property
    def rate(self) -> float:
        """Share of repeats with an alarm."""
        return self.n_alarms / self.n_repeats


def read_result(result: Any, *, confidence_level: float, null_value: float) -> list[Reading]:
    """What one result of a pipeline claims.

    Raises:
        TypeError: a result of a kind that makes no such claim.
        ValueError: a p-value outside [0, 1], an interval without order, an estimate without permutations.
    """
    level = 1.0 - confidence_level
    if isinstance(result, bool | np.bool_):
        return [Reading("alarm", level, bool(result))]
    if isinstance(result, numbers.Real) or (hasattr(result, "dtype") and np.ndim(result) == 0):
        return [_p_value("p-value", float(result), level)]
    if isinstance(result, Certificate):
        return [_certificate(result)]
    if isinstance(result, Report):
        smallest = min(query.advantage.p_value for query in result.queries)
        name = "p-value" if len(result.queries) == 1 else f"smallest p-value times {len(result.queries)} queries"
        return [
            _p_value(name, min(1.0, len(result.queries) * smallest), level),
            _certificate(result.certificate),
        ]
    readings = []
    if hasattr(result, "p_value"):
        if hasattr(result, "null") and not len(result.null):
            raise ValueError("the pipeline's estimate has no permutations, so its p-value is always 1; ask for some.")
        readings.append(_p_value("p-value", float(result.p_value), level))
    if hasattr(result, "low") and hasattr(result, "high"):
        low, high = float(result.low), float(result.high)
        if not low <= high:
            raise ValueError(f"the pipeline returned the interval [{low}, {high}], whose low exceeds its high.")
        allowed = 1.0 - float(getattr(result, "confidence_level", confidence_level))
        readings.append(Reading(f"interval without {null_value:g}", allowed, not low <= null_value <= high))
    if not readings:
        raise TypeError(
            f"the pipeline returned a {type(result).__name__}; return a p-value, a Certificate, a Report, or an object "
            "with p_value or with low and high."
        )
    return readings


def _p_value(name: str, value: float, level: float) -> Reading:
    if not 0.0 <= value <= 1.0:
        raise ValueError(f"the pipeline returned the p-value {value!r}; a p-value lies between 0 and 1.")
    return Reading(f"{name} <= {level:.4g}", level, value <= level + _ROUNDING, value)


def _certificate(result: Certificate) -> Reading:
    found = result.epsilon > 0.0 or result.advantage > 0.0
    return Reading("certificate above 0", 1.0 - result.confidence_level, found)


def judge(repeats: Sequence[Sequence[Reading]], *, confidence_level: float) -> tuple[SelfTestCheck, ...]:
    """One check per reading; together they fail a calibrated pipeline with at most 1 - confidence_level."""
    named = [tuple((reading.name, reading.level) for reading in readings) for readings in repeats]
    for place, found in enumerate(named):
        if found != named[0]:
            raise ValueError(
                f"the pipeline returned {_list(found)} in repeat {place} but {_list(named[0])} in repeat 0; "
                "every repeat must return the same kind of result at the same level."
            )
    columns = list(zip(*repeats, strict=True))
    n_tests = sum(1 + (column[0].p_value is not None) for column in columns)
    return tuple(_check(column, (1.0 - confidence_level) / n_tests, confidence_level) for column in columns)


def _list(names: Sequence[tuple[str, float]]) -> str:
    return ", ".join(f"{name!r} (level {level:.4g})" for name, level in names)


def _check(column: Sequence[Reading], error: float, confidence_level: float) -> SelfTestCheck:
    first, total = column[0], len(column)
    alarms = sum(reading.alarm for reading in column)
    tail = (1.0 - confidence_level) / 2.0
    alarm_p = float(stats.binom.sf(alarms - 1, total, first.level))
    uniform_p = None
    if first.p_value is not None:
        # ties only ever lower the distance of p-values that are super-uniform
        ordered = np.sort(np.asarray([reading.p_value for reading in column], np.float64))
        distance = float(np.max(np.arange(1, total + 1) / total - ordered))
        uniform_p = float(stats.ksone.sf(max(distance, 0.0), total))
    fails_from = _first_failing(total, first.level, error)
    noticeable = 1.0 if fails_from > total else float(stats.beta.ppf(_POWER, fails_from, total - fails_from + 1))
    return SelfTestCheck(
        name=first.name,
        n_alarms=int(alarms),
        n_repeats=total,
        level=first.level,
        rate_low=float(clopper_pearson_lower(alarms, total, tail)),
        rate_high=float(clopper_pearson_upper(alarms, total, tail)),
        alarm_p_value=min(1.0, alarm_p),
        uniform_p_value=uniform_p,
        noticeable_rate=noticeable,
        passed=alarm_p > error and (uniform_p is None or uniform_p > error),
    )


def _first_failing(total: int, level: float, error: float) -> int:
    """The smallest number of alarms that fails, ``total + 1`` if none does."""
    tails = stats.binom.sf(np.arange(total + 1) - 1, total, level)
    return int(np.argmax(tails <= error)) if (tails <= error).any() else total + 1
