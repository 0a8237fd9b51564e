"""Counts at the public door, and the exact limits that every certificate from counts starts from."""

from __future__ import annotations

from typing import NamedTuple

from mace_jax import _validate
from mace_jax._binomial import clopper_pearson_lower, clopper_pearson_upper

__all__ = ["Rates", "checked_part", "error_of", "rate_limits"]


class Rates(NamedTuple):
    """A lower limit of TPR and an upper limit of FPR that hold together."""

    true_positive_rate_low: float
    false_positive_rate_high: float


def checked_part(*, total_name: str, total: int, **part: int) -> int:
    """A count of at least 0 that does not exceed its total."""
    ((name, value),) = part.items()
    count = _validate.positive_int(minimum=0, **part)
    if count > total:
        raise ValueError(f"{name}={value} exceeds its total {total}; {name} must be a part of {total_name}.")
    return count


def error_of(confidence_level: float) -> float:
    """1 minus the confidence level."""
    return 1.0 - _validate.in_open_unit(confidence_level=confidence_level)


def rate_limits(true_positives: int, n_members: int, false_positives: int, n_nonmembers: int, *, error: float) -> Rates:
    """Clopper-Pearson limits, half of the error each, from counts that are checked here."""
    n_members = _validate.positive_int(n_members=n_members)
    n_nonmembers = _validate.positive_int(n_nonmembers=n_nonmembers)
    hits = checked_part(total_name="n_members", total=n_members, true_positives=true_positives)
    alarms = checked_part(total_name="n_nonmembers", total=n_nonmembers, false_positives=false_positives)
    return Rates(
        float(clopper_pearson_lower(hits, n_members, error / 2.0)),
        float(clopper_pearson_upper(alarms, n_nonmembers, error / 2.0)),
    )
