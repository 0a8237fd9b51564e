"""Pairs of laws whose divergences are known: by quadrature of their densities or sums of their probabilities."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

__all__ = ["Draw", "laws", "truths"]

Draw = Callable[[int, int], tuple[Any, Any]]


def truths(p: Any, q: Any, weights: Any) -> dict[str, float]:
    """Every divergence of two laws given by densities (or probabilities) on a grid with weights."""
    import numpy as np

    def integral(values: Any) -> float:
        return float((values * weights).sum())

    s = 0.5 * (p + q)
    ratio = np.where(p > 0, p / np.where(q > 0, q, 1.0), 0.0)
    log = np.log(np.where(ratio > 0, ratio, 1.0))
    kl = integral(p * log)
    out = {f"kl {form}": kl for form in ("knn", "common_radius", "ensemble", "classifier")}
    for order in (0.5, 0.9, 2.0):
        out[f"renyi {order:g}"] = math.log(integral(q * ratio**order)) / (order - 1.0)
    halves = [np.where(x > 0, x * np.log(np.where(x > 0, x / np.where(s > 0, s, 1.0), 1.0)), 0.0) for x in (p, q)]
    return out | {
        "hellinger": 1.0 - integral(np.sqrt(p * q)),
        "total_variation": 0.5 * integral(abs(p - q)),
        "jensen_shannon": 0.5 * integral(halves[0] + halves[1]),
        "hockey_stick 1": integral(np.maximum(p - math.e * q, 0.0)),
        "henze_penrose": 1.0 - integral(np.where(s > 0, p * q / np.where(s > 0, s, 1.0), 0.0)),
    }


def laws(features: int) -> list[tuple[str, int, Draw, dict[str, float]]]:
    """Name, features, a draw of (n, seed), and the truths."""
    import numpy as np
    from scipy.stats import norm

    grid = np.linspace(-30.0, 30.0, 600_001)
    step = np.full_like(grid, grid[1] - grid[0])
    found: list[tuple[str, int, Draw, dict[str, float]]] = []
    for delta in (0.0, 0.1, 0.5, 1.0, 2.0, 3.0):

        def shifted(n: int, seed: int, delta: float = delta) -> tuple[Any, Any]:
            rng = np.random.default_rng(seed)
            p, q = rng.normal(size=(n, features)), rng.normal(size=(n, features))
            p[:, 0] += delta
            return p, q

        truth = truths(norm.pdf(grid - delta), norm.pdf(grid), step)
        truth["mmd"] = 2.0 * 3.0 ** (-features / 2) * -math.expm1(-(delta**2) / 6.0)
        found.append((f"normal shift {delta:g}", features, shifted, truth))

    found.append(_scaled(features))
    return found if features > 1 else [*found, *_on_a_line()]


def _scaled(features: int) -> tuple[str, int, Draw, dict[str, float]]:
    """Standard normals beside normals of twice the scale: a quadrature over the radius."""
    import numpy as np
    from scipy.special import gammaln

    def draw(n: int, seed: int) -> tuple[Any, Any]:
        rng = np.random.default_rng(seed)
        return rng.normal(size=(n, features)), rng.normal(0.0, 2.0, size=(n, features))

    radius = (np.arange(600_000) + 0.5) * 1e-4
    log_surface = math.log(2.0) + 0.5 * features * math.log(math.pi) - float(gammaln(features / 2))
    weights = np.exp(log_surface + (features - 1) * np.log(radius)) * 1e-4
    narrow, wide = (
        np.exp(-0.5 * (radius / scale) ** 2 - features * math.log(scale * math.sqrt(2.0 * math.pi)))
        for scale in (1.0, 2.0)
    )
    return "normal scale 2", features, draw, truths(narrow, wide, weights)


def _on_a_line() -> list[tuple[str, int, Draw, dict[str, float]]]:
    """Laplace shifts, uniform shifts, randomized response, and normals rounded to whole numbers."""
    import numpy as np
    from scipy.stats import laplace, norm

    grid = np.linspace(-30.0, 30.0, 600_001)
    step = np.full_like(grid, grid[1] - grid[0])
    found: list[tuple[str, int, Draw, dict[str, float]]] = []
    for shift in (0.5, 1.0, 2.0):

        def doubled(n: int, seed: int, shift: float = shift) -> tuple[Any, Any]:
            rng = np.random.default_rng(seed)
            return rng.laplace(shift, size=n), rng.laplace(size=n)

        truth = truths(laplace.pdf(grid - shift), laplace.pdf(grid), step)
        found.append((f"laplace shift {shift:g}", 1, doubled, truth))
    for shift in (0.1, 0.5):

        def moved(n: int, seed: int, shift: float = shift) -> tuple[Any, Any]:
            rng = np.random.default_rng(seed)
            return rng.uniform(shift, 1.0 + shift, size=n), rng.uniform(size=n)

        middles = (np.arange(20_000) + 0.5) * 1e-4
        truth = truths(
            ((middles > shift) & (middles < 1.0 + shift)).astype(float),
            (middles < 1.0).astype(float),
            np.full(20_000, 1e-4),
        )
        infinite = [name for name in truth if name.startswith("kl") or name == "renyi 2"]
        found.append((f"uniform shift {shift:g}", 1, moved, {k: v for k, v in truth.items() if k not in infinite}))
    for epsilon in (0.5, 1.0, 2.0):
        kept = math.exp(epsilon) / (1.0 + math.exp(epsilon))

        def answered(n: int, seed: int, kept: float = kept) -> tuple[Any, Any]:
            rng = np.random.default_rng(seed)
            return (rng.random(n) < kept).astype(float), (rng.random(n) < 1.0 - kept).astype(float)

        truth = truths(np.array([kept, 1.0 - kept]), np.array([1.0 - kept, kept]), np.ones(2))
        found.append((f"randomized response {epsilon:g}", 1, answered, truth))

    def rounded(n: int, seed: int) -> tuple[Any, Any]:
        rng = np.random.default_rng(seed)
        return np.round(rng.normal(1.0, size=n)), np.round(rng.normal(size=n))

    whole = np.arange(-12.0, 13.0)
    first, second = (norm.cdf(whole + 0.5, at) - norm.cdf(whole - 0.5, at) for at in (1.0, 0.0))
    found.append(("normal shift 1 rounded", 1, rounded, truths(first, second, np.ones_like(whole))))
    return found
