"""Total variation, Jensen-Shannon, hockey-stick and Henze-Penrose divergences as functions of one posterior."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from mace_jax._status import Status
from mace_jax._types import FloatArray
from mace_jax.divergences._estimate import DivergenceEstimate, finish
from mace_jax.divergences._pair import Pair
from mace_jax.divergences._posterior import (
    Posterior,
    edge_noise,
    jensen_shannon_terms,
    knn_posterior,
    null_mean_of_plug_in,
    rule_noise,
)

__all__ = ["SMOOTH_K", "checked_epsilon", "default_k", "like", "posterior_divergence"]

_LARGEST_K = 101
_SMALLEST_K = 15
_TIED = 0.01
SMOOTH_K = 25


def posterior_divergence(
    pair: Pair, k: int, name: str, *, method: str, epsilon: Any = 0.0, posterior: Posterior | None = None
) -> DivergenceEstimate:
    """One of the four on existing lists."""
    found = knn_posterior(pair, k) if posterior is None else posterior
    status = pair.status() & ~Status.ZERO_DISTANCE
    if found.tied > _TIED:
        status |= Status.TIES
    if name == "henze_penrose":
        return _henze_penrose(pair, found, status)
    if name == "jensen_shannon":
        return _jensen_shannon(found, method, status)
    grid = checked_epsilon(0.0 if name == "total_variation" else epsilon)
    return _hockey_stick(found, name, method, grid, status)


def _hockey_stick(found: Posterior, name: str, method: str, epsilon: FloatArray, status: Status) -> DivergenceEstimate:
    grid = np.atleast_1d(epsilon)
    factor = np.exp(grid)[:, None]
    eta = found.at_half()
    gain = eta - factor * (1.0 - eta)  # up to a positive factor the gain from saying "P" here
    guess_p, guess_q = found.split((gain > 0.0) + 0.5 * (gain == 0.0))
    decision = guess_p.mean(axis=1) - factor[:, 0] * guess_q.mean(axis=1)
    of_p, of_q = found.split(np.maximum(gain, 0.0))
    plug_in = of_p.mean(axis=1) + of_q.mean(axis=1)
    if name == "total_variation":
        of_p, of_q = found.split(np.abs(2.0 * eta - 1.0))
        plug_in = np.atleast_1d(0.5 * (of_p.mean() + of_q.mean()))
    value, influence = like(epsilon, decision if method == "decision" else plug_in, (guess_p, -factor * guess_q))
    details: dict[str, Any] = {"k": float(found.k), "decision": _flat(epsilon, decision)}
    details["plug_in"] = _flat(epsilon, plug_in)
    if name == "total_variation":
        details["null_mean"] = null_mean_of_plug_in(found.k, found.n, found.m)
    else:
        details["epsilon"] = epsilon
        if grid.max() > math.log(found.k):
            status |= Status.COARSE_POSTERIOR
    errs = "biased towards 0" if method == "decision" else "biased upwards at small k"
    what = "total variation" if name == "total_variation" else "hockey-stick divergence"
    target = f"{what} reached by the {found.k}-neighbor rule, {errs}"
    return finish(
        name,
        value,
        influence,
        method=method,
        target=target,
        status=status,
        details=details,
        degenerate=name == "total_variation",
        extra_variance=_flat(epsilon, rule_noise(found, grid)) if method == "decision" else 0.0,
    )


def _jensen_shannon(found: Posterior, method: str, status: Status) -> DivergenceEstimate:
    entropy, shortfall = (found.split(part) for part in jensen_shannon_terms(found))
    raw = math.log(2.0) - 0.5 * (entropy[0].mean() + entropy[1].mean())
    corrected = raw - 0.5 * (shortfall[0].mean() + shortfall[1].mean())
    eta_p, eta_q = found.split(found.at_half(smoothed=True))
    influence = 0.5 * np.log(2.0 * eta_p), 0.5 * np.log(2.0 * (1.0 - eta_q))
    decision = float(influence[0].mean() + influence[1].mean())
    details = {"k": float(found.k), "uncorrected": raw, "plug_in": corrected, "decision": decision}
    value = decision if method == "decision" else corrected
    target = (
        "ln 2 minus the log loss of the left-out posterior: below the Jensen-Shannon divergence in expectation"
        if method == "decision"
        else "Jensen-Shannon divergence, biased towards 0 where k smooths over the difference"
    )
    noise = (found.n + found.m) / (4.0 * found.n * found.m * found.k)
    return finish(
        "jensen_shannon",
        value,
        influence,
        method=method,
        target=target,
        status=status,
        details=details,
        extra_variance=noise if method == "decision" else 0.0,
    )


def _henze_penrose(pair: Pair, found: Posterior, status: Status) -> DivergenceEstimate:
    n, m, k = found.n, found.m, found.k
    from_p, from_q = found.split(found.from_p)
    crossing = float((k - from_p).sum() + from_q.sum())
    value = 1.0 - crossing * (n + m - 1) / (2.0 * n * m * k)
    smooth = found if found.k >= SMOOTH_K or pair.width <= k else knn_posterior(pair, min(SMOOTH_K, pair.width))
    share_p, share_q = smooth.split(smooth.from_p / smooth.k)
    influence = -((1.0 - share_p) ** 2) * (n + m) / m, -(share_q**2) * (n + m) / n
    error = crossing / ((n + m) * k)
    details = {
        "k": float(k),
        "nearest_neighbor_error": error,
        "bayes_error_low": 0.5 * (1.0 - math.sqrt(max(0.0, 1.0 - 2.0 * error))),
        "bayes_error_high": min(error, n / (n + m), m / (n + m)),
    }
    target = f"Henze-Penrose divergence at prior {n / (n + m):.3g}, biased towards 0 by the distance of neighbors"
    return finish(
        "henze_penrose",
        value,
        influence,
        method="knn",
        target=target,
        status=status,
        details=details,
        extra_variance=edge_noise(smooth, k),
    )


def default_k(n: int, m: int, name: str = "total_variation") -> int:
    """About ``2 sqrt(n + m)``, odd, at most 101 and at most what the smaller sample allows.

    A quarter of that, but at least 15, for Jensen-Shannon, whose correction removes most of what few labels cost.
    """
    k = round(2.0 * math.sqrt(n + m)) | 1
    if name == "jensen_shannon":
        k = max(_SMALLEST_K, round(0.5 * math.sqrt(n + m)) | 1)
    return max(1, min(_LARGEST_K, k, min(n, m) - 1))


def checked_epsilon(epsilon: Any) -> FloatArray:
    """A finite number or a one-dimensional array of them."""
    grid = np.asarray(epsilon, dtype=np.float64)
    if grid.ndim > 1 or grid.size == 0 or not np.isfinite(grid).all():
        raise ValueError(f"epsilon={epsilon!r} must be a finite number or a one-dimensional array of them.")
    return grid


def _flat(epsilon: FloatArray, values: FloatArray) -> Any:
    return float(values[0]) if epsilon.ndim == 0 else values


def like(
    epsilon: FloatArray, value: FloatArray, influence: tuple[FloatArray, FloatArray]
) -> tuple[Any, tuple[FloatArray, FloatArray]]:
    """Without the axis of epsilons if one number was asked for."""
    if epsilon.ndim == 0:
        return value[0], (influence[0][0], influence[1][0])
    return value, influence
