"""What DP-SGD trains: weights that learn of records by private gradients alone, and all that follows from them."""

from __future__ import annotations

import abc
import dataclasses
from typing import Any, final

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mace_jax.models import adversarial
from mace_jax.models.gan import GAN, FittedGAN
from mace_jax.models.gan_trainer import GANTrainer
from mace_jax.models.vae import VAE, FittedVAE
from mace_jax.models.vae_shapes import check_width
from mace_jax.models.vae_trainer import VAETrainer

__all__ = ["AbstractLearner", "DiscriminatorLearner", "VAELearner", "learner_class"]


class AbstractLearner(abc.ABC):
    """A model split in two: a loss per record, which DP-SGD makes private, and a rest that sees no record."""

    @property
    @abc.abstractmethod
    def batch_size(self) -> int:
        """Expected number of records per step."""

    @property
    @abc.abstractmethod
    def told(self) -> tuple[str, ...]:
        """Names of the losses that ``update`` returns."""

    @abc.abstractmethod
    def initial(self, key: Array) -> dict[str, Any]:
        """State before the first step; the networks' weights are under ``"parameters"``."""

    @abc.abstractmethod
    def weights(self, state: dict[str, Any]) -> Any:
        """The weights that learn of records."""

    @abc.abstractmethod
    def loss(
        self,
        weights: Any,
        state: dict[str, Any],
        record: Float[Array, "1 d"],
        condition: Float[Array, "1 c"],
        key: Array,
    ) -> Float[Array, ""]:
        """Loss of one record in the unit cube, with randomness of its own; ``state`` is fixed during a step."""

    @abc.abstractmethod
    def update(self, state: dict[str, Any], gradient: Any, key: Array) -> tuple[dict[str, Any], Float[Array, " told"]]:
        """The state after a step along a private gradient; it may use nothing else that depends on records."""

    @abc.abstractmethod
    def fitted(self, *fields: Any) -> Any:
        """The trained model, given its weights and the fields that follow them."""


@final
@dataclasses.dataclass(frozen=True)
class VAELearner(AbstractLearner):
    """Encoder and decoder: all weights learn of records."""

    settings: VAE
    n_features: int
    n_labels: int

    def __post_init__(self) -> None:
        """Refuse records the networks do not fit."""
        check_width(self.settings, self.n_features)

    @property
    def trainer(self) -> VAETrainer:
        """The networks."""
        return VAETrainer(self.settings, self.n_features, self.n_labels)

    @property
    def batch_size(self) -> int:
        return self.settings.batch_size

    @property
    def told(self) -> tuple[str, ...]:
        return ()

    def initial(self, key: Array) -> dict[str, Any]:
        return self.trainer.initial(key)

    def weights(self, state: dict[str, Any]) -> Any:
        return state["parameters"]

    def loss(self, weights: Any, state: dict[str, Any], record: Array, condition: Array, key: Array) -> Array:
        del state
        return self.trainer.loss(weights, record, condition, key)[0]

    def update(self, state: dict[str, Any], gradient: Any, key: Array) -> tuple[dict[str, Any], Array]:
        del key
        return self.trainer.update(state, gradient), jnp.zeros(0, jnp.float32)

    def fitted(self, *fields: Any) -> FittedVAE:
        return FittedVAE(self.settings, *fields)


@final
@dataclasses.dataclass(frozen=True)
class DiscriminatorLearner(AbstractLearner):
    """A GAN: the discriminator alone learns of records; the generator learns of the discriminator.

    Every record brings a synthetic one of its own, under the record's label, and the gradient of both losses together
    is what is clipped, so that a record's whole influence on a step, its label's included, is bounded. (Clipping them
    apart, or the real half alone, would tilt the discriminator towards one of the two answers.) The generator then
    gets labels drawn uniformly from the public ones, noise, and the discriminator, hence nothing that private
    gradients have not told: by post-processing its weights and samples, and the discriminator's scores, have the
    guarantee of those gradients.
    """

    settings: GAN
    n_features: int
    n_labels: int

    def __post_init__(self) -> None:
        """Refuse records the networks do not fit, and networks that mix records."""
        adversarial.networks_of(self.settings).features(self.n_features)
        adversarial.no_batch_norm(self.settings, "DPSGD")

    @property
    def trainer(self) -> GANTrainer:
        """The networks."""
        return GANTrainer(self.settings, self.n_features, self.n_labels)

    @property
    def batch_size(self) -> int:
        return self.settings.batch_size

    @property
    def told(self) -> tuple[str, ...]:
        return ("generator",)

    def initial(self, key: Array) -> dict[str, Any]:
        return self.trainer.initial(key)

    def weights(self, state: dict[str, Any]) -> Any:
        return state["parameters"]["discriminator"]

    def loss(self, weights: Any, state: dict[str, Any], record: Array, condition: Array, key: Array) -> Array:
        pair = self.trainer.pair
        synthetic = pair.generate(state["parameters"]["generator"], pair.noise(key, 1), condition)
        return pair.discriminator_loss(weights, 2.0 * record - 1.0, synthetic, condition, self.settings.real_target)[0]

    def update(self, state: dict[str, Any], gradient: Any, key: Array) -> tuple[dict[str, Any], Array]:
        label_key, noise_key = jax.random.split(key)
        weights, moments = dict(state["parameters"]), dict(state["optimizers"])
        weights["discriminator"], moments["discriminator"] = adversarial.moved(
            self.trainer.optimizers()["discriminator"], weights["discriminator"], moments["discriminator"], gradient
        )
        after, loss = self.trainer.improve_generator(
            {"parameters": weights, "optimizers": moments}, self._public_condition(label_key), noise_key
        )
        return after, loss.reshape(1)

    def fitted(self, *fields: Any) -> FittedGAN:
        return FittedGAN(self.settings, *fields)

    def _public_condition(self, key: Array) -> Float[Array, "n c"]:
        """One-hot rows of labels of which all are equally likely."""
        if not self.n_labels:
            return jnp.zeros((self.batch_size, 0), jnp.float32)
        places = jax.random.randint(key, (self.batch_size,), 0, self.n_labels, jnp.int32)
        return jax.nn.one_hot(places, self.n_labels, dtype=jnp.float32)


_LEARNERS: dict[type, type[VAELearner] | type[DiscriminatorLearner]] = {VAE: VAELearner, GAN: DiscriminatorLearner}


def learner_class(model: Any) -> type[VAELearner] | type[DiscriminatorLearner]:
    """How DP-SGD trains a model of these settings."""
    if type(model) not in _LEARNERS:
        raise TypeError(f"model={model!r} must be the settings of a VAE or a GAN; pass for example VAE(latent_dim=8).")
    return _LEARNERS[type(model)]
