"""The training step of a plain GAN."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, final

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array

from mace_jax.models import adversarial
from mace_jax.models._devices import drawn_rows
from mace_jax.models.losses import fooling_loss
from mace_jax.models.train import AbstractTrainer

if TYPE_CHECKING:
    from mace_jax.models.gan import GAN

__all__ = ["GANTrainer"]


@final
@dataclasses.dataclass(frozen=True)
class GANTrainer(AbstractTrainer):
    """Alternating updates of discriminator and generator."""

    settings: GAN
    n_features: int
    n_labels: int

    @property
    def losses(self) -> tuple[str, ...]:
        return ("discriminator", "generator")

    @property
    def pair(self) -> adversarial.Pair:
        return adversarial.pair_of(self.settings, self.n_features, self.n_labels)

    def optimizers(self) -> dict[str, optax.GradientTransformation]:
        return adversarial.optimizers(self.settings, "generator", "discriminator")

    def initial(self, key: Array) -> dict[str, Any]:
        parameters = self.pair.initial(key)
        moments = {name: adam.init(adversarial.trainable(parameters[name])) for name, adam in self.optimizers().items()}
        return {"parameters": parameters, "optimizers": moments}

    def step(self, state: dict[str, Any], records: Array, one_hot: Array, key: Array) -> tuple[dict[str, Any], Array]:
        size, pair = self.settings.batch_size, self.pair
        row_key, first_key, second_key = jax.random.split(key, 3)
        rows = drawn_rows(row_key, size, len(records))
        real, condition = 2.0 * records[rows] - 1.0, one_hot[rows]
        weights, moments = dict(state["parameters"]), dict(state["optimizers"])
        synthetic, _ = pair.generate_in_training(weights["generator"], pair.noise(first_key, size), condition)

        def discriminator_loss(discriminator: Any) -> tuple[Array, Any]:
            return pair.discriminator_loss(discriminator, real, synthetic, condition, self.settings.real_target)

        weights["discriminator"], moments["discriminator"], loss = adversarial.descend(
            self.optimizers()["discriminator"], weights["discriminator"], moments["discriminator"], discriminator_loss
        )
        after, fooling = self.improve_generator({"parameters": weights, "optimizers": moments}, condition, second_key)
        return after, jnp.stack([loss, fooling])

    def improve_generator(self, state: dict[str, Any], condition: Array, key: Array) -> tuple[dict[str, Any], Array]:
        """One update of the generator against the discriminator as it is; then the generator's loss before it."""
        weights, moments = dict(state["parameters"]), dict(state["optimizers"])
        noise = self.pair.noise(key, len(condition))

        def loss(generator: Any) -> tuple[Array, Any]:
            fake, after = self.pair.generate_in_training(generator, noise, condition)
            logits, _ = self.pair.logit_in_training(weights["discriminator"], fake, condition)
            return jnp.mean(fooling_loss(logits)), after

        weights["generator"], moments["generator"], value = adversarial.descend(
            self.optimizers()["generator"], weights["generator"], moments["generator"], loss
        )
        return {"parameters": weights, "optimizers": moments}, value
