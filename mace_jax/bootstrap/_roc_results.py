"""One interval each: the area, and the TPR at one rate, from a sample and its replicates."""

from __future__ import annotations

from typing import Literal

import numpy as np

from mace_jax._binomial import clopper_pearson_lower, clopper_pearson_upper
from mace_jax._status import Status
from mace_jax._types import FloatArray
from mace_jax.bootstrap._intervals import limit
from mace_jax.bootstrap._result import BootstrapResult
from mace_jax.bootstrap._roc_limits import FEW_ALARMS, TprLimits, area_limits, error_freedom, tpr_limits
from mace_jax.bootstrap._roc_sample import RocSample

__all__ = ["RocMethod", "area_result", "rate_limits", "tpr_result", "trouble"]

RocMethod = Literal["auto", "bca", "percentile", "basic"]
_FEW = 30


def trouble(sample: RocSample) -> Status:
    """Too few units to trust large-sample limits."""
    return Status.TOO_FEW_SAMPLES if min(sample.units) < _FEW else Status.OK


def area_result(sample: RocSample, replicates: FloatArray, level: float, method: RocMethod) -> BootstrapResult:
    """The area: logit scale and Student quantile, a named method, or exact limits where nothing varies."""
    tail, status, used = (1.0 - level) / 2.0, trouble(sample), str(method)
    error = float(replicates.std(ddof=1))
    covers = "the area under the ROC curve of the population"
    second = sum(float((unit**2).sum()) / len(unit) ** 2 for unit in sample.influence)
    if error == 0.0 or second == 0.0 or not 0.0 < sample.area < 1.0:
        pairs = min(sample.units)
        low = float(clopper_pearson_lower(sample.area * pairs, pairs, tail))
        high = float(clopper_pearson_upper(sample.area * pairs, pairs, tail))
        status |= Status.RARE_COUNTS
        covers += "; the groups do not overlap or have no spread, so exact limits of disjoint pairs were taken"
        used = "disjoint pairs"
    elif method == "auto":
        freedom = error_freedom(list(sample.influence))
        low, high = (float(x) for x in area_limits(sample.area, error, freedom, tail))
    else:
        third = sum(float((unit**3).sum()) / len(unit) ** 3 for unit in sample.influence)
        low, high = (
            limit(at, sample.area, replicates, method=method, acceleration=third / (6.0 * second**1.5))
            for at in (tail, 1.0 - tail)
        )
    return _result(low, high, replicates, level, used, covers, status)


def tpr_result(
    sample: RocSample, rate: float, replicates: FloatArray, level: float, method: RocMethod
) -> BootstrapResult:
    """The TPR at one rate; bounds where counts are rare, whatever the method."""
    tail, status, used = (1.0 - level) / 2.0, trouble(sample), str(method)
    limits = rate_limits(sample, rate, tail)
    low, high = float(limits.low), float(limits.high)
    covers = f"the TPR at a true false positive rate of {rate:g}; the error of the threshold is included"
    if bool(limits.tied):
        status |= Status.TIES
    if bool(limits.conservative):
        status |= Status.RARE_COUNTS
        covers += "; counts are small, so the limits are bounds that cover more often than the level says"
        used = "order statistics" if min(rate, 1.0 - rate) * sample.units[1] < FEW_ALARMS else "random rank"
    elif method != "auto":
        low, high = (limit(at, sample.tpr(rate), replicates, method=method) for at in (tail, 1.0 - tail))
    return _result(low, high, replicates, level, used, covers, status)


def rate_limits(sample: RocSample, rate: float, tail: float) -> TprLimits:
    """Limits of the TPR at one rate, from counts by rank."""
    return tpr_limits(
        sample.above,
        sample.level_or_above,
        len(sample.members),
        rate,
        tail,
        member_units=sample.units[0],
        nonmember_units=sample.units[1],
    )


def _result(
    low: float, high: float, replicates: FloatArray, level: float, used: str, covers: str, status: Status
) -> BootstrapResult:
    return BootstrapResult(
        low=float(np.clip(low, 0.0, 1.0)),
        high=float(np.clip(high, 0.0, 1.0)),
        standard_error=float(replicates.std(ddof=1)),
        distribution=replicates,
        confidence_level=level,
        method=used,
        covers=covers,
        status=status,
    )
