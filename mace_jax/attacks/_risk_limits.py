"""Limits of a risk score: two Beta posteriors, and the quantiles of their ratio by quadrature."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike
from scipy import special

from mace_jax import _validate
from mace_jax._types import FloatArray

__all__ = ["end_rule", "log_ratio_quantile", "risk_interval"]

_T = np.linspace(-3.0, 3.0, 193)
_BEFORE_END = special.expit(-np.pi * np.sinh(_T))  # nodes on (0, 1), from the end backwards
_WEIGHTS = (_T[1] - _T[0]) * np.pi * np.cosh(_T) * _BEFORE_END * special.expit(np.pi * np.sinh(_T))
_TAIL = 1e-10  # mass left out at each end
_STEPS = 60
_TOLERANCE = 1e-9  # nats


def risk_interval(
    members: ArrayLike,
    n_members: ArrayLike,
    nonmembers: ArrayLike,
    n_nonmembers: ArrayLike,
    *,
    prior: float = 0.5,
    confidence_level: float = 0.95,
) -> tuple[FloatArray, FloatArray]:
    """Equal-tailed interval of P(member | bin) from counts in one bin.

    p ~ Beta(k_in + 1/2, n_in - k_in + 1/2) and q, the same of non-members, independent (Jeffreys);
    r = prior p / (prior p + (1 - prior) q). The upper limit is 1 where no non-member was seen in the bin, the lower
    limit 0 where no member was.

    Args:
        members: Members in the bin, any shape that broadcasts with the others.
        n_members: Members in all bins.
        nonmembers: Non-members in the bin.
        n_nonmembers: Non-members in all bins.
        prior: P(member) before the bin is seen.
        confidence_level: Mass between the limits.

    Returns:
        Lower and upper limits. Exact coverage is near the nominal one, not above it everywhere: 0.946 to 0.968 at
        95 % where 16 to 200 records and shares of 0.02 to 0.4 were tried.

    Raises:
        ValueError: counts below 0, or more records in the bin than in all.

    References: Jeffreys (1946); Brown, Cai and DasGupta (2001).

    Example:
        >>> low, high = risk_interval(8, 16, 2, 16)
        >>> round(float(low), 5), round(float(high), 5)
        (0.54781, 0.95038)
    """
    prior = _validate.in_open_unit(prior=prior)
    tail = (1.0 - _validate.in_open_unit(confidence_level=confidence_level)) / 2.0
    inputs = np.broadcast_arrays(*(np.asarray(value, np.float64) for value in (members, n_members)))
    k_in, n_in = (side.astype(np.float64) for side in inputs)
    k_out, n_out = np.asarray(nonmembers, np.float64), np.asarray(n_nonmembers, np.float64)
    for name, count, total in (("members", k_in, n_in), ("nonmembers", k_out, n_out)):
        if not ((count >= 0) & (count <= total)).all():
            raise ValueError(f"{name} must lie between 0 and n_{name} everywhere; pass counts of one bin and of all.")
    k_in, n_in, k_out, n_out = np.broadcast_arrays(k_in, n_in, k_out, n_out)
    parameters = (k_in + 0.5, n_in - k_in + 0.5, k_out + 0.5, n_out - k_out + 0.5)
    low, high = (log_ratio_quantile(*parameters, level) for level in (tail, 1.0 - tail))
    low, high = end_rule(low, high, k_in, k_out)
    shift = special.logit(prior)
    return special.expit(low + shift), special.expit(high + shift)


def end_rule(low: FloatArray, high: FloatArray, k_in: FloatArray, k_out: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Limits of ln p/q that are infinite where one side was not seen at all."""
    return np.where(k_in == 0, -np.inf, low), np.where(k_out == 0, np.inf, high)


def log_ratio_quantile(
    a_in: Float[np.ndarray, "*shape"],
    b_in: Float[np.ndarray, "*shape"],
    a_out: Float[np.ndarray, "*shape"],
    b_out: Float[np.ndarray, "*shape"],
    level: float,
) -> Float[np.ndarray, "*shape"]:
    """Quantile of ln p - ln q with p ~ Beta(a_in, b_in) and q ~ Beta(a_out, b_out), independent."""
    shape = np.shape(a_in)
    a_in, b_in, a_out, b_out = (np.asarray(value, np.float64).reshape(-1) for value in (a_in, b_in, a_out, b_out))
    # integrate over the narrower of the two: the distribution function of the other is then smooth on the grid
    inner_is_out = _logit_variance(a_out, b_out) <= _logit_variance(a_in, b_in)
    a, b = np.where(inner_is_out, a_in, a_out), np.where(inner_is_out, b_in, b_out)
    c, d = np.where(inner_is_out, a_out, a_in), np.where(inner_is_out, b_out, b_in)
    target = np.where(inner_is_out, level, 1.0 - level)
    found = _quantile_of_ratio(a, b, c, d, target)  # of ln(outer / inner)
    return np.where(inner_is_out, found, -found).reshape(shape)


def _logit_variance(a: FloatArray, b: FloatArray) -> FloatArray:
    return special.polygamma(1, a) + special.polygamma(1, b)


def _quantile_of_ratio(a: FloatArray, b: FloatArray, c: FloatArray, d: FloatArray, target: FloatArray) -> FloatArray:
    """Quantile of ln(x/y), x ~ Beta(a, b), y ~ Beta(c, d): false position on the probit of the distribution function.

    P(x <= y e^l) = P(y >= e^-l) + E[F_x(y e^l); y < e^-l]; the second part by the double exponential rule over logit y,
    which does not mind that F_x may end in a corner.
    """
    goal = special.ndtri(target)
    first = special.logit(np.clip(special.betaincinv(c, d, _TAIL), 1e-300, None))
    last = -special.logit(np.clip(special.betaincinv(d, c, _TAIL), 1e-300, None))
    scale = special.betaln(c, d)

    def distance(log_ratio: FloatArray, rows: np.ndarray) -> FloatArray:
        up = np.maximum(log_ratio, 1e-300)
        corner = np.where(log_ratio > 0, -up - np.log(-np.expm1(-up)), np.inf)  # logit e^-l
        end = np.clip(corner, first[rows], last[rows])
        reach = (end - first[rows])[:, None]
        logit = end[:, None] - reach * _BEFORE_END
        log_y, log_rest = special.log_expit(logit), special.log_expit(-logit)
        density = np.exp(c[rows, None] * log_y + d[rows, None] * log_rest - scale[rows, None])
        x = np.exp(np.minimum(log_y + log_ratio[:, None], 0.0))
        part = (reach * _WEIGHTS * density * special.betainc(a[rows, None], b[rows, None], x)).sum(axis=1)
        beyond = np.where(corner < last[rows], special.betainc(d[rows], c[rows], special.expit(-end)), 0.0)
        return special.ndtri(np.clip(part + beyond, 1e-300, 1.0 - 1e-16)) - goal[rows]

    everything = np.arange(len(a))
    center = special.digamma(a) - special.digamma(a + b) - special.digamma(c) + special.digamma(c + d)
    width = np.sqrt(_logit_variance(a, b) + _logit_variance(c, d))
    low, high = center + (goal - 2.0) * width, center + (goal + 2.0) * width
    for limit, sign in ((low, 1.0), (high, -1.0)):  # widen until the two enclose the quantile
        rows = everything[sign * distance(limit, everything) > 0]
        while len(rows):
            limit[rows] -= sign * 4.0 * width[rows]
            rows = rows[sign * distance(limit[rows], rows) > 0]
    return _false_position(distance, low, high, everything)


def _false_position(distance, low: FloatArray, high: FloatArray, rows: np.ndarray) -> FloatArray:
    """The Illinois form, elementwise: the end that stays twice in a row counts half."""
    at_low, at_high = distance(low, rows), distance(high, rows)
    side = np.zeros(len(rows), int)
    result = (low + high) / 2.0
    for _ in range(_STEPS):
        if not len(rows):
            break
        slope = at_high[rows] - at_low[rows]
        even = (low[rows] + high[rows]) / 2.0
        step = np.divide(
            low[rows] * at_high[rows] - high[rows] * at_low[rows], slope, out=even.copy(), where=slope > 1e-12
        )
        new = np.clip(step, low[rows], high[rows])
        value = distance(new, rows)
        moved, kept = rows[value > 0], rows[value <= 0]
        change = np.abs(new - result[rows])
        result[rows] = new
        high[moved], at_high[moved] = new[value > 0], value[value > 0]
        low[kept], at_low[kept] = new[value <= 0], value[value <= 0]
        at_low[moved[side[moved] == 1]] /= 2.0
        at_high[kept[side[kept] == -1]] /= 2.0
        side[moved], side[kept] = 1, -1
        rows = rows[(change > _TOLERANCE) & (value != 0.0)]
    return result
