"""Multilayer perceptrons of the reference models, in Flax Linen."""

from __future__ import annotations

from typing import Any, final

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

__all__ = ["MLP", "outputs"]

_GLOROT = nn.initializers.glorot_uniform()


@final
class MLP(nn.Module):
    """Dense layers with leaky rectifiers (slope 0.2) between them and none after the last one.

    ``first_sd`` draws the first layer's weights from N(0, first_sd^2) instead of Glorot's uniform law.
    """

    widths: tuple[int, ...]
    first_sd: float | None = None

    @nn.compact
    def __call__(self, inputs: Float[Array, "n d"]) -> Float[Array, "n out"]:
        hidden = inputs
        for layer, width in enumerate(self.widths):
            normal = layer == 0 and self.first_sd is not None
            hidden = nn.Dense(width, kernel_init=nn.initializers.normal(self.first_sd) if normal else _GLOROT)(hidden)
            if layer < len(self.widths) - 1:
                hidden = nn.leaky_relu(hidden, 0.2)
        return hidden


def outputs(network: nn.Module, weights: Any, *inputs: Float[Array, "n _"]) -> Any:
    """The network's outputs for inputs placed side by side."""
    return network.apply(weights, jnp.concatenate(inputs, axis=1))
