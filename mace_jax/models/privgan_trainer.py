"""The training step of privGAN."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, final

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Array, Float, Int

from mace_jax.models import adversarial
from mace_jax.models._devices import over_devices
from mace_jax.models.classifier import PartClassifier
from mace_jax.models.losses import hiding_loss, other_parts
from mace_jax.models.parts import rows_of_parts
from mace_jax.models.train import AbstractTrainer

if TYPE_CHECKING:
    from mace_jax.models.privgan import PrivGAN

__all__ = ["PrivGANTrainer"]


@final
@dataclasses.dataclass(frozen=True)
class PrivGANTrainer(AbstractTrainer):
    """Discriminators, then D_p, then generators; records come sorted by part, weights of pairs are stacked."""

    settings: PrivGAN
    n_features: int
    n_labels: int

    @property
    def losses(self) -> tuple[str, ...]:
        return ("discriminator", "generator", "privacy")

    @property
    def pair(self) -> adversarial.Pair:
        return adversarial.pair_of(self.settings, self.n_features, self.n_labels)

    @property
    def classifier(self) -> PartClassifier:
        return PartClassifier(self.pair, self.settings.n_pairs)

    def optimizers(self) -> dict[str, optax.GradientTransformation]:
        return adversarial.optimizers(self.settings, "generator", "discriminator", "privacy")

    def initial(self, key: Array) -> dict[str, Any]:
        pair_key, privacy_key = jax.random.split(key)
        parameters = jax.vmap(self.pair.initial)(jax.random.split(pair_key, self.settings.n_pairs))
        adam = self.optimizers()
        moments = {name: jax.vmap(adam[name].init)(weights) for name, weights in parameters.items()}
        parameters["privacy"] = self.classifier.initial(privacy_key)
        moments["privacy"] = adam["privacy"].init(parameters["privacy"])
        return {"parameters": parameters, "optimizers": moments, "step": jnp.int32(0)}

    def step(self, state: dict[str, Any], records: Array, one_hot: Array, key: Array) -> tuple[dict[str, Any], Array]:
        settings, pair, adam = self.settings, self.pair, self.optimizers()
        row_key, noise_key, other_key, pretraining_key = jax.random.split(key, 4)
        weights, moments = dict(state["parameters"]), dict(state["optimizers"])
        weights["privacy"], moments["privacy"] = self.classifier.pretrained(
            adam["privacy"],
            weights["privacy"],
            moments["privacy"],
            records,
            one_hot,
            pretraining_key,
            first=state["step"] == 0,
            steps=settings.privacy_pretraining,
            batch_size=settings.batch_size,
        )
        parts = jnp.broadcast_to(jnp.arange(settings.n_pairs, dtype=jnp.int32)[:, None], self._batch)
        rows = over_devices(rows_of_parts(row_key, parts, len(records), settings.n_pairs), axis=1)
        real, condition = 2.0 * records[rows] - 1.0, one_hot[rows]
        noise = pair.noise(noise_key, settings.batch_size)

        def generate(generators: Any) -> Array:
            return jax.vmap(pair.generate, in_axes=(0, None, 0))(generators, noise, condition)

        fake, pull_back = jax.vjp(generate, weights["generator"])
        weights["discriminator"], moments["discriminator"], discriminator_losses = jax.vmap(self.train_discriminator)(
            weights["discriminator"], moments["discriminator"], real, fake, condition
        )
        records, given, whose = _flat(fake), _flat(condition), parts.ravel()
        learns = state["step"] >= settings.privacy_delay
        if settings.updates == "in_turn":
            weights["privacy"], moments["privacy"] = lax.cond(
                learns,
                lambda before, memory: self.classifier.learn(adam["privacy"], before, memory, records, given, whose),
                lambda before, memory: (before, memory),
                weights["privacy"],
                moments["privacy"],
            )
        part_logits, taken_back = self.classifier.answers(weights["privacy"], records, given)
        if settings.updates == "together":
            weights["privacy"], moments["privacy"] = lax.cond(
                learns,
                lambda before, memory: self.classifier.moved(
                    adam["privacy"], before, memory, part_logits, taken_back, whose
                ),
                lambda before, memory: (before, memory),
                weights["privacy"],
                moments["privacy"],
            )
        others = other_parts(other_key, parts, settings.n_pairs)
        objective = jax.vmap(jax.value_and_grad(self.generator_loss, argnums=(0, 1), has_aux=True))
        (_, told), (slope, part_slope) = objective(
            fake,
            part_logits.reshape(*self._batch, settings.n_pairs),
            weights["discriminator"],
            condition,
            parts,
            others,
        )
        if settings.privacy_ratio:
            slope = slope + taken_back(part_slope.reshape(part_logits.shape))[1].reshape(fake.shape)
        (gradient,) = pull_back(slope)
        weights["generator"], moments["generator"] = jax.vmap(
            lambda *arguments: adversarial.moved(adam["generator"], *arguments)
        )(weights["generator"], moments["generator"], gradient)
        losses = jnp.stack([discriminator_losses, *told])
        return {"parameters": weights, "optimizers": moments, "step": state["step"] + 1}, jnp.mean(losses, axis=1)

    def train_discriminator(
        self, weights: Any, moments: Any, real: Array, fake: Array, condition: Array
    ) -> tuple[Any, Any, Array]:
        """One update of one pair's discriminator."""

        def loss(discriminator: Any) -> tuple[Array, Any]:
            return self.pair.discriminator_loss(discriminator, real, fake, condition, self.settings.real_target)

        return adversarial.descend(self.optimizers()["discriminator"], weights, moments, loss)

    def generator_loss(
        self,
        fake: Array,
        part_logits: Float[Array, "n parts"],
        discriminator: Any,
        condition: Array,
        parts: Int[Array, " n"],
        others: Int[Array, " n"],
    ) -> tuple[Array, tuple[Array, Array]]:
        """What a generator minimizes through its records and D_p's logits; then it without penalty, and D_p's loss."""
        return hiding_loss(
            self.pair.logit(discriminator, fake, condition),
            part_logits,
            parts,
            others,
            penalty="other",
            weight=self.settings.privacy_ratio,
        )

    @property
    def _batch(self) -> tuple[int, int]:
        return self.settings.n_pairs, self.settings.batch_size


def _flat(stacked: Array) -> Array:
    """Rows of all pairs under each other, divided anew among the devices of the run."""
    return over_devices(stacked.reshape(stacked.shape[0] * stacked.shape[1], stacked.shape[2]))
