"""Samples of known laws, and their divergences in closed form."""

from __future__ import annotations

import math

import numpy as np
from scipy.stats import norm


def gaussians(delta: float, d: int, n: int, m: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Unit normals whose means are ``delta`` apart along the first axis."""
    rng = np.random.default_rng(seed)
    p, q = rng.normal(size=(n, d)), rng.normal(size=(m, d))
    p[:, 0] += delta
    return p, q


def randomized_response(epsilon: float, n: int, m: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A true bit kept with odds ``exp(epsilon)``."""
    rng, kept = np.random.default_rng(seed), math.exp(epsilon) / (1.0 + math.exp(epsilon))
    return (rng.random(n) < kept).astype(float), (rng.random(m) < 1.0 - kept).astype(float)


def total_variation(delta: float) -> float:
    return float(2.0 * norm.cdf(delta / 2.0) - 1.0)


def squared_hellinger(delta: float) -> float:
    return -math.expm1(-(delta**2) / 8.0)


def hockey_stick(delta: float, epsilon: float) -> float:
    if delta == 0.0:
        return 0.0
    return float(norm.cdf(delta / 2 - epsilon / delta) - math.exp(epsilon) * norm.cdf(-delta / 2 - epsilon / delta))


def squared_mmd(delta: float, d: int, s: float) -> float:
    """Gaussian kernel of bandwidth s: integrate three Gaussians of variance 2 against it."""
    return 2.0 * (s**2 / (s**2 + 2.0)) ** (d / 2) * -math.expm1(-(delta**2) / (2.0 * (s**2 + 2.0)))


def squared_l2(delta: float, d: int) -> float:
    return 2.0 * (4.0 * math.pi) ** (-d / 2) * -math.expm1(-(delta**2) / 4.0)


def jensen_shannon(delta: float) -> float:
    x = np.linspace(-12.0, 12.0 + delta, 200_001)
    p, q = norm.pdf(x - delta), norm.pdf(x)
    s = 0.5 * (p + q)
    inside = 0.5 * (p * (norm.logpdf(x - delta) - np.log(s)) + q * (norm.logpdf(x) - np.log(s)))
    return float(np.trapezoid(inside, x))


def henze_penrose(delta: float) -> float:
    x = np.linspace(-12.0, 12.0 + delta, 200_001)
    p, q = norm.pdf(x - delta), norm.pdf(x)
    return float(1.0 - np.trapezoid(p * q / (0.5 * (p + q)), x))
