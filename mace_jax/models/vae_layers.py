"""Encoders and decoders of the variational autoencoders, dense or convolutional, in Flax Linen."""

from __future__ import annotations

from typing import Literal, final

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

__all__ = ["Activation", "Initializer", "VAEDecoder", "VAEEncoder"]

Activation = Literal["leaky_relu", "elu", "tanh", "elu_tanh"]
Initializer = Literal["glorot_uniform", "variance_scaling"]

_ACTIVATIONS = {"leaky_relu": lambda value: nn.leaky_relu(value, 0.2), "elu": nn.elu, "tanh": jnp.tanh}
_INITIALIZERS = {
    "glorot_uniform": nn.initializers.glorot_uniform(),
    "variance_scaling": nn.initializers.variance_scaling(2.0, "fan_in", "truncated_normal"),
}


def _activations(name: str, layers: int) -> list[str]:
    """One activation per hidden layer, counted from the record: "elu_tanh" is ELU first and tanh after it."""
    return ["elu", *["tanh"] * (layers - 1)][:layers] if name == "elu_tanh" else [name] * layers


@final
class VAEEncoder(nn.Module):
    """Mean and standard deviation of a Gaussian latent code given record and condition.

    With an image shape the hidden layers are 3x3 convolutions of stride 2, and the condition enters after them.
    """

    hidden: tuple[int, ...]
    latent_dim: int
    activation: str
    initializer: str
    dropout: float
    image_shape: tuple[int, ...] | None

    @nn.compact
    def __call__(
        self, records: Float[Array, "n d"], condition: Float[Array, "n c"], train: bool = False
    ) -> tuple[Float[Array, "n z"], Float[Array, "n z"]]:
        kernel = _INITIALIZERS[self.initializer]
        images = self.image_shape is not None
        value = jnp.concatenate([records, condition], axis=1)
        if self.image_shape is not None:
            value = records.reshape(-1, *self.image_shape)
        for width, name in zip(self.hidden, _activations(self.activation, len(self.hidden)), strict=True):
            layer = (
                nn.Conv(width, (3, 3), (2, 2), kernel_init=kernel) if images else nn.Dense(width, kernel_init=kernel)
            )
            value = nn.Dropout(self.dropout, deterministic=not train)(_ACTIVATIONS[name](layer(value)))
        if images:
            value = jnp.concatenate([value.reshape(len(records), -1), condition], axis=1)
        mean, raw = jnp.split(nn.Dense(2 * self.latent_dim, kernel_init=kernel)(value), 2, axis=-1)
        return mean, jax.nn.softplus(raw) + 1e-6


@final
class VAEDecoder(nn.Module):
    """Logits of a record in the unit cube from a latent code and condition.

    With an image shape a dense layer gives a small image of ``hidden[0]`` channels, and one transposed 3x3
    convolution per hidden layer doubles its sides.
    """

    hidden: tuple[int, ...]
    n_features: int
    activation: str
    initializer: str
    dropout: float
    image_shape: tuple[int, ...] | None

    @nn.compact
    def __call__(
        self, codes: Float[Array, "n z"], condition: Float[Array, "n c"], train: bool = False
    ) -> Float[Array, "n d"]:
        kernel, layers = _INITIALIZERS[self.initializer], len(self.hidden)
        names = _activations(self.activation, layers)[::-1]
        value = jnp.concatenate([codes, condition], axis=1)
        for place, (width, name) in enumerate(zip(self.hidden, names, strict=True)):
            if self.image_shape is None:
                value = nn.Dense(width, kernel_init=kernel)(value)
            elif place == 0:
                rows, columns = (side >> layers for side in self.image_shape[:2])
                value = nn.Dense(rows * columns * width, kernel_init=kernel)(value)
                value = value.reshape(-1, rows, columns, width)
            else:
                value = nn.ConvTranspose(width, (3, 3), (2, 2), kernel_init=kernel)(value)
            value = nn.Dropout(self.dropout, deterministic=not train)(_ACTIVATIONS[name](value))
        if self.image_shape is None:
            return nn.Dense(self.n_features, kernel_init=kernel)(value)
        image = nn.ConvTranspose(self.image_shape[2], (3, 3), (2, 2), kernel_init=kernel)(value)
        return image.reshape(len(codes), self.n_features)
