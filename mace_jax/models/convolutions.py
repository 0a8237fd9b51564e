"""Convolutional generators and discriminators, in Flax Linen; records enter and leave as flat rows.

Generators return values before the final tanh. A discriminator's input row is the record followed by its condition,
which becomes one constant plane per entry beside the image.
"""

from __future__ import annotations

from typing import Any, final

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

__all__ = ["ConvDiscriminator", "ConvGenerator", "DCGANDiscriminator", "DCGANGenerator"]

_GLOROT = nn.initializers.glorot_uniform()
_NARROW = nn.initializers.normal(0.02)

Shape = tuple[int, int, int]


@final
class ConvGenerator(nn.Module):
    """A dense layer to small maps, then strided transposed convolutions, each doubling both sides."""

    record_shape: Shape
    channels: tuple[int, ...]
    kernel: int
    first_sd: float

    @nn.compact
    def __call__(self, inputs: Float[Array, "n z"]) -> Float[Array, "n d"]:
        height, width, colors = self.record_shape
        small = (height >> len(self.channels), width >> len(self.channels), self.channels[0])
        dense = nn.Dense(small[0] * small[1] * small[2], kernel_init=nn.initializers.normal(self.first_sd))
        maps = nn.leaky_relu(dense(inputs), 0.2).reshape(-1, *small)
        sizes = (self.kernel, self.kernel)
        for layer, out in enumerate((*self.channels[1:], colors)):
            maps = nn.ConvTranspose(out, sizes, (2, 2), "SAME", kernel_init=_GLOROT, transpose_kernel=True)(maps)
            if layer < len(self.channels) - 1:
                maps = nn.leaky_relu(maps, 0.2)
        return maps.reshape(len(maps), -1)


@final
class ConvDiscriminator(nn.Module):
    """Strided convolutions, each halving both sides, then a dense layer."""

    record_shape: Shape
    channels: tuple[int, ...]
    kernel: int
    first_sd: float
    n_outputs: int

    @nn.compact
    def __call__(self, inputs: Float[Array, "n _"]) -> Float[Array, "n out"]:
        maps = _as_maps(inputs, self.record_shape)
        for layer, out in enumerate(self.channels):
            initial = nn.initializers.normal(self.first_sd) if layer == 0 else _GLOROT
            maps = nn.Conv(out, (self.kernel, self.kernel), (2, 2), "SAME", kernel_init=initial)(maps)
            maps = nn.leaky_relu(maps, 0.2)
        return nn.Dense(self.n_outputs, kernel_init=_GLOROT)(maps.reshape(len(maps), -1))


@final
class DCGANGenerator(nn.Module):
    """4x4 transposed convolutions without bias from a 1x1 map, batch normalization and rectifiers in between."""

    record_shape: Shape
    width: int

    @nn.compact
    def __call__(self, inputs: Float[Array, "n z"], train: bool = False) -> Float[Array, "n d"]:
        stages = _doublings(self.record_shape)
        maps = inputs.reshape(len(inputs), 1, 1, -1)
        for stage in range(stages):
            out, stride, padding = self.width << (stages - 1 - stage), *_geometry(first=stage == 0)
            maps = nn.ConvTranspose(
                out, (4, 4), stride, padding, use_bias=False, kernel_init=_NARROW, transpose_kernel=True
            )(maps)
            maps = nn.relu(_normalized(maps, train))
        last = nn.ConvTranspose(
            self.record_shape[2], (4, 4), (2, 2), "SAME", use_bias=False, kernel_init=_NARROW, transpose_kernel=True
        )
        return last(maps).reshape(len(maps), -1)


@final
class DCGANDiscriminator(nn.Module):
    """4x4 convolutions without bias, batch normalization on all but the first and the last, slope 0.2."""

    record_shape: Shape
    width: int
    n_outputs: int

    @nn.compact
    def __call__(self, inputs: Float[Array, "n _"], train: bool = False) -> Float[Array, "n out"]:
        maps = _as_maps(inputs, self.record_shape)
        for stage in range(_doublings(self.record_shape)):
            out = self.width << stage
            maps = nn.Conv(out, (4, 4), (2, 2), "SAME", use_bias=False, kernel_init=_NARROW)(maps)
            maps = nn.leaky_relu(maps if stage == 0 else _normalized(maps, train), 0.2)
        maps = nn.Conv(self.n_outputs, (4, 4), (1, 1), "VALID", use_bias=False, kernel_init=_NARROW)(maps)
        return maps.reshape(len(maps), -1)


def _as_maps(inputs: Float[Array, "n _"], shape: Shape) -> Float[Array, "n h w c"]:
    """The image with one constant plane per entry of the condition."""
    height, width, colors = shape
    image = inputs[:, : height * width * colors].reshape(-1, *shape)
    condition = inputs[:, height * width * colors :]
    planes = jnp.broadcast_to(condition[:, None, None, :], (len(inputs), height, width, condition.shape[1]))
    return jnp.concatenate([image, planes], axis=-1)


def _doublings(shape: Shape) -> int:
    """How often 4 must be doubled to give the sides."""
    return (shape[0] // 4).bit_length() - 1


def _geometry(first: bool) -> tuple[tuple[int, int], str]:
    """Stride and padding: the first layer opens a 1x1 map to 4x4, the others double."""
    return ((1, 1), "VALID") if first else ((2, 2), "SAME")


def _normalized(maps: Float[Array, "n h w c"], train: bool) -> Any:
    """Batch normalization; with ``train`` off it uses running averages, so that a row is treated alone."""
    scale = lambda key, shape, dtype: 1.0 + 0.02 * jax.random.normal(key, shape, dtype)  # noqa: E731
    return nn.BatchNorm(use_running_average=not train, momentum=0.9, epsilon=1e-5, scale_init=scale)(maps)
