"""Asymptotic lower limits of a ratio of two binomial rates."""

from __future__ import annotations

import math
from collections.abc import Callable

from scipy import special

from mace_jax._binomial import clopper_pearson_lower

__all__ = ["RATIO_METHODS", "epsilon_from_ratio"]

_RATE_SHARE = 0.1  # of the error, spent on the rate that delta is compared with


def _variance(x: float, n: float, y: float, m: float) -> float:
    return max(0.0, 1.0 / x - 1.0 / n + 1.0 / y - 1.0 / m)


def _katz(x: float, n: float, y: float, m: float, z: float) -> float:
    """Log ratio minus z standard errors (Katz et al. 1978)."""
    return math.log(x / n) - math.log(y / m) - z * math.sqrt(_variance(x, n, y, m))


def _adjusted_log(x: float, n: float, y: float, m: float, z: float) -> float:
    """The same with one half added to every count and total (Walter 1975; Pettigrew, Gart and Thomas 1986)."""
    return _katz(x + 0.5, n + 0.5, y + 0.5, m + 0.5, z)


def _bailey(x: float, n: float, y: float, m: float, z: float) -> float:
    """Fieller's limit of the ratio of cube roots, which are closer to normal (Bailey 1987)."""
    first, second = z * z * (1.0 - x / n) / (9.0 * x), z * z * (1.0 - y / m) / (9.0 * y)
    if first >= 1.0:
        return -math.inf
    spread = math.sqrt(max(0.0, first + second - first * second))
    return math.log(x / n) - math.log(y / m) + 3.0 * (math.log1p(-first) - math.log1p(spread))


def _inverse_sinh(x: float, n: float, y: float, m: float, z: float) -> float:
    """Log ratio minus 2 asinh(z / 2 standard errors) (Newman 2001)."""
    return math.log(x / n) - math.log(y / m) - 2.0 * math.asinh(0.5 * z * math.sqrt(_variance(x, n, y, m)))


RATIO_METHODS: dict[str, Callable[[float, float, float, float, float], float]] = {
    "katz": _katz,
    "adjusted_log": _adjusted_log,
    "bailey": _bailey,
    "inverse_sinh": _inverse_sinh,
}


def epsilon_from_ratio(method: str, x: int, n: int, y: int, m: int, *, delta: float, error: float) -> float:
    """Larger of the limits of ln((TPR - delta) / FPR) and of its complement, half of the error each; 0 if negative.

    With delta > 0 a tenth of each half goes to an exact limit L of the numerator's rate p:
    p - delta >= p (1 - delta / L) wherever p >= L.
    """
    return max(
        0.0,
        _one_side(method, x, n, y, m, delta, error / 2.0),
        _one_side(method, m - y, m, n - x, n, delta, error / 2.0),
    )


def _one_side(method: str, x: int, n: int, y: int, m: int, delta: float, error: float) -> float:
    if x == 0:
        return -math.inf
    loss = 0.0
    if delta > 0.0:
        rate = float(clopper_pearson_lower(x, n, _RATE_SHARE * error))
        if rate <= delta:
            return -math.inf
        loss, error = math.log1p(-delta / rate), (1.0 - _RATE_SHARE) * error
    z = -float(special.ndtri(error))
    below = 0.5 if y == 0 and method != "adjusted_log" else float(y)
    return RATIO_METHODS[method](float(x), float(n), below, float(m), z) + loss
