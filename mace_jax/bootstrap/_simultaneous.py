"""Statements about many statistics at once, from replicates that share their weights."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from mace_jax import _validate
from mace_jax._types import FloatArray

__all__ = ["largest_deviation", "simultaneous_band", "step_down"]


def simultaneous_band(estimates: Any, replicates: Any, confidence_level: float = 0.95) -> tuple[FloatArray, FloatArray]:
    """Limits that hold for all statistics together: ``estimate_q +- c se_q``.

    ``c`` is the ``confidence_level`` quantile over replicates b of ``max_q |replicate_bq - estimate_q| / se_q`` with
    ``se_q`` the standard deviation of replicates: the correlation of the statistics is used, so that many copies of one
    statistic cost nothing. Reach follows each statistic's own spread. For statistics that are about normal and
    centered; transform (logit of a rate) or correct a bias first.

    Args:
        estimates: ``(q,)``.
        replicates: ``(B, q)``, all statistics of replicate b from the same weights.
        confidence_level: Of the band as a whole.

    Returns:
        ``low (q,)`` and ``high (q,)``. A statistic whose replicates are all equal gets its estimate as both limits.

    Memory: ``16 B q`` bytes.

    Raises:
        ValueError: shapes do not fit, fewer than 100 replicates, NaN or infinity, level outside (0, 1).

    References: Romano and Wolf (2005).

    Example:
        >>> draws = np.random.default_rng(0).normal(size=(10_000, 5))
        >>> low, high = simultaneous_band(np.zeros(5), draws)  # one statistic alone: 1.96; Bonferroni for five: 2.58
        >>> bool((high < 2.65).all() and (high > 2.4).all())
        True
    """
    level = _validate.in_open_unit(confidence_level=confidence_level)
    estimates, replicates = _checked(estimates, replicates)
    errors = replicates.std(axis=0, ddof=1)
    reach = largest_deviation(estimates, replicates, level) * errors
    return estimates - reach, estimates + reach


def step_down(
    estimates: Any,
    replicates: Any,
    null: Any = 0.0,
    *,
    alternative: Literal["two-sided", "greater"] = "two-sided",
) -> FloatArray:
    """P-values of ``target_q = null_q``, adjusted for having tested all of them.

    Rejecting where the adjusted p-value is at most ``a`` makes a false rejection anywhere with probability about ``a``,
    whichever hypotheses are true. Statistics are taken in descending order of ``|estimate - null| / se``; each is
    compared with the largest deviation among itself and those after it, since the ones before are already rejected.
    The p-value is ``(1 + replicates at least as large) / (B + 1)``, made monotone.

    Args:
        estimates: ``(q,)``.
        replicates: ``(B, q)``, all statistics of replicate b from the same weights.
        null: Hypothesized values, ``(q,)`` or one number.
        alternative: "two-sided", or "greater" for targets above ``null``.

    Returns:
        ``(q,)`` adjusted p-values, at least ``1 / (B + 1)``. Where replicates are all equal, the estimate is taken as
        known: 1 if it equals the null (or lies below it for "greater"), else the smallest value.

    Memory: ``24 B q`` bytes.

    Raises:
        ValueError: shapes do not fit, fewer than 100 replicates, NaN or infinity, unknown alternative.

    References: Romano and Wolf (2005).

    Example:
        >>> estimates = np.array([0.0, 5.0, 0.1])
        >>> draws = np.random.default_rng(0).normal(size=(1000, 3))
        >>> step_down(estimates, estimates + draws).round(3).tolist()
        [1.0, 0.001, 0.994]
    """
    if alternative not in ("two-sided", "greater"):
        raise ValueError(f"alternative={alternative!r} is not known; pass 'two-sided' or 'greater'.")
    estimates, replicates = _checked(estimates, replicates)
    null = np.asarray(null, np.float64)
    if null.shape not in ((), estimates.shape) or not np.isfinite(null).all():
        raise ValueError(f"null must be one finite number or one per estimate, got shape {null.shape}.")
    sizes, deviations = _standardized(estimates - null, replicates, estimates)
    if alternative == "two-sided":
        sizes, deviations = np.abs(sizes), np.abs(deviations)
    order = np.argsort(-sizes, kind="stable")
    # column i: the largest deviation among the statistics from the i-th on
    rest = np.maximum.accumulate(deviations[:, order[::-1]], axis=1)[:, ::-1]
    reached = (rest >= sizes[order]).sum(axis=0)
    adjusted = np.empty_like(estimates)
    adjusted[order] = np.maximum.accumulate((1.0 + reached) / (len(replicates) + 1.0))
    return adjusted


def largest_deviation(estimates: FloatArray, replicates: FloatArray, level: float) -> float:
    """Quantile over replicates of the largest ``|replicate - estimate| / se``; 0 if nothing varies."""
    deviations = _standardized(np.zeros_like(estimates), replicates, estimates)[1]
    return float(np.quantile(np.abs(deviations).max(axis=1), level))


def _standardized(
    distances: FloatArray, replicates: FloatArray, estimates: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """``distances`` and the replicates' own, in standard errors; without spread: infinite with the sign, or 0."""
    errors = replicates.std(axis=0, ddof=1)
    varies = errors > 1e-12 * np.abs(estimates)
    errors = np.where(varies, errors, 1.0)
    known = np.where(distances == 0.0, 0.0, np.copysign(np.inf, distances))
    return np.where(varies, distances / errors, known), np.where(varies, (replicates - estimates) / errors, 0.0)


def _checked(estimates: Any, replicates: Any) -> tuple[FloatArray, FloatArray]:
    estimates, replicates = np.asarray(estimates, np.float64), np.asarray(replicates, np.float64)
    if estimates.ndim != 1 or len(estimates) == 0 or replicates.shape[1:] != estimates.shape or replicates.ndim != 2:
        raise ValueError(
            f"estimates have shape {estimates.shape} and replicates {replicates.shape}; pass (q,) and (B, q)."
        )
    if len(replicates) < 100:
        raise ValueError(f"replicates has {len(replicates)} rows; at least 100 are needed.")
    if not (np.isfinite(estimates).all() and np.isfinite(replicates).all()):
        raise ValueError("estimates and replicates must be finite; drop the statistics that are not.")
    return estimates, replicates
