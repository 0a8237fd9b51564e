"""Power divergences and the squared L2 distance from neighbor radii, with the constants that make them unbiased."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import gammaln

from mace_jax._types import FloatArray
from mace_jax.divergences._pair import Pair
from mace_jax.divergences._radii import log_radius_ratio, log_unit_ball

__all__ = [
    "heavy_tailed",
    "jackknifed_log",
    "log_power_constant",
    "noiseless",
    "power_terms",
    "power_terms_at_q",
    "squared_l2",
]


_TOO_MUCH = 0.2


def log_power_constant(k: int, power: float) -> float:
    """``ln Gamma(k)^2 / (Gamma(k - power) Gamma(k + power))``: what unbiases a ratio of radii to a power."""
    return float(2.0 * gammaln(k) - gammaln(k - power) - gammaln(k + power))


def power_terms(pair: Pair, k: int, order: float) -> FloatArray:
    """Per P row ``(p/q)^(order - 1)``; the mean estimates the integral of ``p^order q^(1 - order)``."""
    log_ratio = log_radius_ratio(pair, k) + math.log(pair.m / (pair.n - 1))
    return np.exp((order - 1.0) * log_ratio + log_power_constant(k, order - 1.0))


def power_terms_at_q(pair: Pair, k: int, order: float) -> FloatArray:
    """Per Q row ``(p/q)^order``, whose mean over Q estimates the same integral."""
    at_q = np.log(pair.to_q[pair.n :, k - 1]) - np.log(pair.to_p[pair.n :, k - 1])
    log_ratio = 0.5 * pair.d * at_q + math.log((pair.m - 1) / pair.n)
    return np.exp(order * log_ratio + log_power_constant(k, order))


def jackknifed_log(of_p: FloatArray, of_q: FloatArray) -> float:
    """``ln(mean of_p + mean of_q)`` freed by the jackknife of the bias of a log of a mean."""
    value = of_p.mean() + of_q.mean()
    log, bias = math.log(value), 0.0
    for part in (of_p, of_q):
        without = value + (part.mean() - part) / (len(part) - 1)
        bias += (len(part) - 1) * float(np.log(np.maximum(without, np.finfo(float).tiny)).mean() - log)
    return log - bias


def noiseless(values: FloatArray, k: int, power: float) -> FloatArray:
    """Ratios of radii to a power, shrunk to their mean until their variance is that without the noise of radii.

    The second moment of ``(G / G')^power``, with independent Gamma(k) variables, is that of the noise in flat
    densities; it is finite for ``k > 2 power``, and nothing is changed below.
    """
    if k <= 2.0 * power:
        return values
    log = gammaln(k + 2.0 * power) + gammaln(k - 2.0 * power) + 2.0 * gammaln(k)
    second_moment = math.exp(log - 2.0 * gammaln(k + power) - 2.0 * gammaln(k - power))
    mean, variance = values.mean(), values.var()
    signal = max(float(np.mean(values**2)) / second_moment - mean**2, 0.0)
    return mean + (values - mean) * math.sqrt(signal / max(variance, np.finfo(float).tiny))


def heavy_tailed(terms: FloatArray, share: float = _TOO_MUCH) -> bool:
    """Whether the largest hundredth of the terms holds more than a share of their sum, by default a fifth."""
    if len(terms) < 100:
        return False
    top = np.sort(terms)[-(len(terms) // 100) :]
    return bool(top.sum() > share * terms.sum())


def squared_l2(pair: Pair, k: int) -> tuple[float, tuple[FloatArray, FloatArray], dict[str, float]]:
    """``int p^2 - 2 int pq + int q^2``, its influence values (not centered), and the three integrals."""
    n, m, volume = pair.n, pair.m, log_unit_ball(pair.d)

    def density(squared: FloatArray, others: int) -> FloatArray:
        return np.exp(math.log((k - 1) / others) - volume - 0.5 * pair.d * np.log(squared[:, k - 1]))

    p_at_p, q_at_p = density(pair.to_p[:n], n - 1), density(pair.to_q[:n], m)
    p_at_q, q_at_q = density(pair.to_p[n:], n), density(pair.to_q[n:], m - 1)
    pp, qq, pq = p_at_p.mean(), q_at_q.mean(), 0.5 * (q_at_p.mean() + p_at_q.mean())
    parts = {"integral_p_squared": float(pp), "integral_pq": float(pq), "integral_q_squared": float(qq)}
    return float(pp - 2.0 * pq + qq), (2.0 * (p_at_p - q_at_p), 2.0 * (q_at_q - p_at_q)), parts
