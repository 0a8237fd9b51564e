"""Weighted logistic regression by Newton's method, in JAX."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

__all__ = ["fit_logistic", "logits_of"]

_MOST_STEPS = 30
_TOLERANCE = 3e-6
_ROUNDING = 1e-6  # a loss that rises by no more has not risen
_HALVINGS = (1.0, 0.5, 0.25, 0.0625)


def logits_of(coefficients: Float[Array, " p"], outputs: Float[Array, "n q"]) -> Float[Array, " n"]:
    """Intercept first."""
    return coefficients[0] + outputs @ coefficients[1:]


def fit_logistic(
    outputs: Float[Array, "s q"], labels: Int[Array, " s"], weights: Float[Array, " s"], ridge: float
) -> Float[Array, " p"]:
    """Minimize sum_i w_i log(1 + exp(-y_i f(x_i))) + ridge |slope|^2 / 2; the intercept is not penalized.

    Newton steps, shortened where a whole one does not help, until no gradient entry exceeds 3e-6 (30 at most); mapped
    over several weights or labels, the steps go on until all have converged.
    """
    design = jnp.concatenate([jnp.ones((outputs.shape[0], 1), outputs.dtype), outputs], axis=1)
    sign = 2.0 * labels - 1.0
    penalty = ridge * (jnp.arange(design.shape[1]) > 0)
    lengths = jnp.asarray((*_HALVINGS, 0.0), dtype=outputs.dtype)

    def gradient(coefficients: Array, probability: Array) -> Array:
        return design.T @ (weights * (probability - labels)) + penalty * coefficients

    def improve(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        steps, coefficients, _ = state
        logits = design @ coefficients
        probability = jax.nn.sigmoid(logits)
        slope = gradient(coefficients, probability)
        curvature = design.T @ ((weights * probability * (1.0 - probability))[:, None] * design)
        curvature += jnp.diag(penalty + 1e-7)
        step = jax.scipy.linalg.solve(curvature, slope, assume_a="pos")
        along = design @ step
        trial = coefficients - lengths[:, None] * step
        fits = jax.nn.softplus(-sign * (logits - lengths[:, None] * along)) @ weights
        losses = fits + 0.5 * jnp.sum(penalty * trial**2, axis=1)
        # near the minimum all lengths give the same rounded loss: only the whole step then gets closer
        best = jnp.where(losses[0] <= losses[-1] + _ROUNDING, 0, jnp.argmin(losses))
        return steps + 1, trial[best], (jnp.max(jnp.abs(slope)) <= _TOLERANCE) | (best == len(_HALVINGS))

    def goes_on(state: tuple[Array, Array, Array]) -> Array:
        return (state[0] < _MOST_STEPS) & ~state[2]

    start = (jnp.zeros((), jnp.int32), jnp.zeros(design.shape[1], outputs.dtype), jnp.zeros((), bool))
    return jax.lax.while_loop(goes_on, improve, start)[1]
