"""Layers of a normalizing flow: affine couplings followed by monotone rational-quadratic splines."""

from __future__ import annotations

from typing import NamedTuple, final

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

__all__ = ["Conditioner", "Knots", "couple", "knots_of", "n_outputs", "spline", "uncouple", "unspline"]

BOUND = 4.0
"""Splines act on (-4, 4) standard deviations and are the identity outside."""

_LARGEST_LOG_SCALE = 3.0
_LEAST_WIDTH, _LEAST_SLOPE = 1e-3, 1e-3


@final
class Conditioner(nn.Module):
    """Dense layers with rectifiers; the last one starts at 0, so that a layer starts as the identity."""

    widths: tuple[int, ...]
    outputs: int

    @nn.compact
    def __call__(self, inputs: Float[Array, "n d"]) -> Float[Array, "n out"]:
        hidden = inputs
        for width in self.widths:
            hidden = nn.relu(nn.Dense(width, kernel_init=nn.initializers.glorot_uniform())(hidden))
        return nn.Dense(self.outputs, kernel_init=nn.initializers.zeros)(hidden)


class Knots(NamedTuple):
    """Corners of the bins of one spline per entry, and the slopes there; 1 at both ends."""

    x: Float[Array, "... k1"]
    y: Float[Array, "... k1"]
    slopes: Float[Array, "... k1"]


def n_outputs(n_columns: int, n_bins: int) -> int:
    """What a conditioner returns: shift, log scale, bin widths, bin heights and inner slopes of every column."""
    return n_columns * (2 + 3 * n_bins - 1)


def couple(raw: Float[Array, "n out"], x: Float[Array, "n t"], n_bins: int) -> tuple[Array, Float[Array, " n"]]:
    """Move the columns by what the conditioner says of the others; also the log of the determinant."""
    shift, log_scale, knots = _read(raw, x.shape[1], n_bins)
    y, logs = spline(knots, x * jnp.exp(log_scale) + shift)
    return y, jnp.sum(log_scale + logs, axis=1)


def uncouple(raw: Float[Array, "n out"], y: Float[Array, "n t"], n_bins: int) -> Float[Array, "n t"]:
    """The inverse of ``couple``."""
    shift, log_scale, knots = _read(raw, y.shape[1], n_bins)
    return (unspline(knots, y) - shift) * jnp.exp(-log_scale)


def knots_of(widths: Float[Array, "... k"], heights: Float[Array, "... k"], slopes: Float[Array, "... k_1"]) -> Knots:
    """Knots from free numbers; zeros give the identity."""
    ends = jnp.ones((*slopes.shape[:-1], 1), slopes.dtype)
    inner = _LEAST_SLOPE + jax.nn.softplus(slopes + np.log(np.expm1(1.0 - _LEAST_SLOPE)).astype(np.float32))
    return Knots(_corners(widths), _corners(heights), jnp.concatenate([ends, inner, ends], axis=-1))


def spline(knots: Knots, x: Float[Array, ...]) -> tuple[Array, Array]:
    """Values, and logs of the derivatives."""
    inside = jnp.clip(x, -BOUND, BOUND)
    left, right, low, high, start, end = _bin(knots, knots.x, inside)
    width, height = right - left, high - low
    slope, share = height / width, (inside - left) / width
    mixed = share * (1.0 - share)
    divisor = slope + (start + end - 2.0 * slope) * mixed
    y = low + height * (slope * share**2 + start * mixed) / divisor
    rise = end * share**2 + 2.0 * slope * mixed + start * (1.0 - share) ** 2
    logs = 2.0 * jnp.log(slope) + jnp.log(rise) - 2.0 * jnp.log(divisor)
    outside = jnp.abs(x) >= BOUND
    return jnp.where(outside, x, y), jnp.where(outside, 0.0, logs)


def unspline(knots: Knots, y: Float[Array, ...]) -> Array:
    """The inverse of ``spline``: the root of a quadratic in each bin."""
    inside = jnp.clip(y, -BOUND, BOUND)
    left, right, low, high, start, end = _bin(knots, knots.y, inside)
    width, height = right - left, high - low
    slope, above = height / width, inside - low
    bend = start + end - 2.0 * slope
    a = height * (slope - start) + above * bend
    b = height * start - above * bend
    c = -slope * above
    share = 2.0 * c / (-b - jnp.sqrt(jnp.maximum(b**2 - 4.0 * a * c, 0.0)))
    return jnp.where(jnp.abs(y) >= BOUND, y, left + width * jnp.clip(share, 0.0, 1.0))


def _read(raw: Array, n_columns: int, n_bins: int) -> tuple[Array, Array, Knots]:
    """Shift, log scale and knots, ``(n, t, ...)``, from the conditioner's outputs."""
    parts = raw.reshape(len(raw), n_columns, -1)
    shift, log_scale = parts[..., 0], _LARGEST_LOG_SCALE * jnp.tanh(parts[..., 1] / _LARGEST_LOG_SCALE)
    widths, heights, slopes = jnp.split(parts[..., 2:], (n_bins, 2 * n_bins), axis=-1)
    return shift, log_scale, knots_of(widths, heights, slopes)


def _corners(free: Float[Array, "... k"]) -> Float[Array, "... k1"]:
    """Ascending numbers from -bound to bound, none closer than a share of the whole."""
    n_bins = free.shape[-1]
    shares = _LEAST_WIDTH + (1.0 - _LEAST_WIDTH * n_bins) * jax.nn.softmax(free, axis=-1)
    inner = jnp.cumsum(shares, axis=-1)[..., :-1]
    ends = jnp.ones((*free.shape[:-1], 1), free.dtype)
    return BOUND * (2.0 * jnp.concatenate([0.0 * ends, inner, ends], axis=-1) - 1.0)


def _bin(knots: Knots, corners: Array, values: Array) -> tuple[Array, ...]:
    """Left and right x, y and slope of the bin of each value."""
    place = jnp.sum(values[..., None] >= corners[..., 1:-1], axis=-1, keepdims=True)

    def at(part: Array, offset: int) -> Array:
        return jnp.take_along_axis(part, place + offset, axis=-1)[..., 0]

    return tuple(at(part, offset) for part in knots for offset in (0, 1))
