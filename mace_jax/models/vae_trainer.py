"""How a variational autoencoder is trained: ascent of the evidence lower bound with one latent draw per record."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, final

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from mace_jax.models._devices import drawn_rows
from mace_jax.models.train import AbstractTrainer
from mace_jax.models.vae_layers import VAEDecoder, VAEEncoder

if TYPE_CHECKING:
    from mace_jax.models.vae import VAE

__all__ = ["VAETrainer", "gaussian_divergence", "squared_error"]


@final
@dataclasses.dataclass(frozen=True)
class VAETrainer(AbstractTrainer):
    """The networks of a VAE and their updates; a key switches dropout on."""

    settings: VAE
    n_features: int
    n_labels: int

    @property
    def losses(self) -> tuple[str, ...]:
        return ("reconstruction", "divergence")

    @property
    def encoder(self) -> VAEEncoder:
        return VAEEncoder(self.settings.encoder_hidden, self.settings.latent_dim, **self._style)

    @property
    def decoder(self) -> VAEDecoder:
        return VAEDecoder(self.settings.decoder_hidden, self.n_features, **self._style)

    @property
    def _style(self) -> dict[str, Any]:
        settings = self.settings
        return {
            "activation": settings.activation,
            "initializer": settings.initializer,
            "dropout": settings.dropout,
            "image_shape": settings.image_shape,
        }

    def encode(self, parameters: Any, records: Array, one_hot: Array, key: Array | None = None) -> tuple[Array, Array]:
        """Mean and standard deviation of the code; gray values enter as they are, other records centered."""
        inputs = records if self.settings.likelihood == "bernoulli" else 2.0 * records - 1.0
        return _apply(self.encoder, parameters["encoder"], inputs, one_hot, key)

    def logits(self, parameters: Any, codes: Array, one_hot: Array, key: Array | None = None) -> Array:
        """What the decoder's sigmoid is taken of."""
        return _apply(self.decoder, parameters["decoder"], codes, one_hot, key)

    def decode(self, parameters: Any, codes: Float[Array, "n z"], one_hot: Float[Array, "n c"]) -> Array:
        """Record in the unit cube."""
        return jax.nn.sigmoid(self.logits(parameters, codes, one_hot))

    def cost(self, records: Float[Array, "n d"], logits: Float[Array, "n d"]) -> Float[Array, " n"]:
        """Minus the log-likelihood of each record given its decoding, without the Gaussian's constant."""
        if self.settings.likelihood == "bernoulli":
            return jnp.sum(jax.nn.softplus(logits) - records * logits, axis=1)
        return squared_error(records, jax.nn.sigmoid(logits)) / (2.0 * self.settings.noise_sd**2)

    def loss(self, parameters: Any, records: Array, one_hot: Array, key: Array) -> tuple[Array, Array]:
        """Mean loss of a batch and its two terms."""
        noise_key, first, second = jax.random.split(key, 3)
        noise = jax.random.normal(noise_key, (len(records), self.settings.latent_dim), jnp.float32)
        mean, sd = self.encode(parameters, records, one_hot, first)
        logits = self.logits(parameters, mean + sd * noise, one_hot, second)
        reconstruction = jnp.mean(self.cost(records, logits))
        divergence = jnp.mean(gaussian_divergence(mean, sd))
        return reconstruction + self.settings.beta * divergence, jnp.stack([reconstruction, divergence])

    def initial(self, key: Array) -> dict[str, Any]:
        first, second = jax.random.split(key)
        record, code, condition = (
            jnp.zeros((1, width), jnp.float32) for width in (self.n_features, self.settings.latent_dim, self.n_labels)
        )
        parameters = {
            "encoder": self.encoder.init(first, record, condition),
            "decoder": self.decoder.init(second, code, condition),
        }
        return {"parameters": parameters, "optimizer": optax.adam(self.settings.learning_rate).init(parameters)}

    def update(self, state: dict[str, Any], gradient: Any) -> dict[str, Any]:
        """One Adam step."""
        adam = optax.adam(self.settings.learning_rate)
        change, moments = adam.update(gradient, state["optimizer"], state["parameters"])
        return {"parameters": optax.apply_updates(state["parameters"], change), "optimizer": moments}

    def step(self, state: dict[str, Any], records: Array, one_hot: Array, key: Array) -> tuple[dict[str, Any], Array]:
        row_key, loss_key = jax.random.split(key)
        rows = drawn_rows(row_key, self.settings.batch_size, len(records))
        gradient, losses = jax.grad(self.loss, has_aux=True)(
            state["parameters"], records[rows], one_hot[rows], loss_key
        )
        return self.update(state, gradient), losses


def squared_error(records: Float[Array, "n d"], decoded: Float[Array, "n d"]) -> Float[Array, " n"]:
    """Squared Euclidean distance per record."""
    return jnp.sum(jnp.square(records - decoded), axis=1)


def gaussian_divergence(mean: Float[Array, "n z"], sd: Float[Array, "n z"]) -> Float[Array, " n"]:
    """Kullback-Leibler divergence of N(mean, sd^2) from N(0, 1), summed over dimensions, in nats."""
    return 0.5 * jnp.sum(jnp.square(mean) + jnp.square(sd) - 2.0 * jnp.log(sd) - 1.0, axis=1)


def _apply(network: VAEEncoder | VAEDecoder, weights: Any, inputs: Array, one_hot: Array, key: Array | None) -> Any:
    """The network's outputs; dropout acts only if a key is given."""
    if key is None or network.dropout == 0.0:
        return network.apply(weights, inputs, one_hot)
    return network.apply(weights, inputs, one_hot, train=True, rngs={"dropout": key})
