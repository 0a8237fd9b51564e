"""The training step of PIGAN."""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING, Any, final

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from mace_jax.models import adversarial
from mace_jax.models._devices import over_devices
from mace_jax.models.classifier import PartClassifier
from mace_jax.models.losses import hiding_loss, other_parts
from mace_jax.models.parts import rows_of_parts
from mace_jax.models.train import AbstractTrainer

if TYPE_CHECKING:
    from mace_jax.models.pigan import PIGAN

__all__ = ["PIGANTrainer"]


@final
@dataclasses.dataclass(frozen=True)
class PIGANTrainer(AbstractTrainer):
    """Discriminators, then Q and generator, on one batch of all parts; records come sorted by part."""

    settings: PIGAN
    n_features: int
    n_labels: int

    @property
    def losses(self) -> tuple[str, ...]:
        return ("discriminator", "generator", "classifier")

    @property
    def pair(self) -> adversarial.Pair:
        """Generator and shared discriminator, whose condition is the part's code beside the label's."""
        return adversarial.pair_of(self.settings, self.n_features, self.settings.n_parts + self.n_labels)

    @property
    def unaware(self) -> adversarial.Pair:
        """The discriminator of one part, which sees the label but no code."""
        return adversarial.pair_of(self.settings, self.n_features, self.n_labels)

    @property
    def classifier(self) -> PartClassifier:
        """Q, which sees the label but not the code."""
        return PartClassifier(self.unaware, self.settings.n_parts)

    @property
    def apart(self) -> bool:
        """Whether every part has a discriminator of its own; their weights are stacked."""
        return self.settings.discriminators == "per_part"

    def optimizers(self) -> dict[str, optax.GradientTransformation]:
        return adversarial.optimizers(self.settings, "generator", "discriminator", "classifier")

    def initial(self, key: Array) -> dict[str, Any]:
        pair_key, classifier_key = jax.random.split(key)
        parameters = {**self.pair.initial(pair_key), "classifier": self.classifier.initial(classifier_key)}
        adam = self.optimizers()
        start = {name: adam[name].init for name in adam}
        if self.apart:
            keys = jax.random.split(jax.random.fold_in(pair_key, 1), self.settings.n_parts)
            parameters["discriminator"] = jax.vmap(lambda own: self.unaware.initial_discriminator(own, 1))(keys)
            start["discriminator"] = jax.vmap(adam["discriminator"].init)
        moments = {name: start[name](parameters[name]) for name in adam}
        return {"parameters": parameters, "optimizers": moments, "step": jnp.int32(0)}

    def step(self, state: dict[str, Any], records: Array, one_hot: Array, key: Array) -> tuple[dict[str, Any], Array]:
        settings, pair, adam, size = self.settings, self.pair, self.optimizers(), self.settings.batch_size
        row_key, noise_key, part_key, other_key, pretraining_key = jax.random.split(key, 5)
        weights, moments = dict(state["parameters"]), dict(state["optimizers"])
        weights["classifier"], moments["classifier"] = self.classifier.pretrained(
            adam["classifier"],
            weights["classifier"],
            moments["classifier"],
            records,
            one_hot,
            pretraining_key,
            first=state["step"] == 0,
            steps=settings.classifier_pretraining,
            batch_size=size,
        )
        parts = over_devices(self.parts(part_key))
        rows = over_devices(rows_of_parts(row_key, parts, len(records), settings.n_parts))
        real, label = 2.0 * records[rows] - 1.0, one_hot[rows]
        condition = jnp.concatenate([jax.nn.one_hot(parts, settings.n_parts, dtype=jnp.float32), label], axis=1)
        noise = pair.noise(noise_key, size)
        fake, pull_back = jax.vjp(lambda generator: pair.generate(generator, noise, condition), weights["generator"])

        weights["discriminator"], moments["discriminator"], loss = self.train_discriminators(
            weights["discriminator"], moments["discriminator"], real, fake, condition, label
        )
        if settings.updates == "in_turn":
            weights["classifier"], moments["classifier"] = self.classifier.learn(
                adam["classifier"], weights["classifier"], moments["classifier"], fake, label, parts
            )
        part_logits, taken_back = self.classifier.answers(weights["classifier"], fake, label)
        if settings.updates == "together":
            weights["classifier"], moments["classifier"] = self.classifier.moved(
                adam["classifier"], weights["classifier"], moments["classifier"], part_logits, taken_back, parts
            )
        others = other_parts(other_key, parts, settings.n_parts)
        (_, told), (slope, part_slope) = jax.value_and_grad(self.generator_loss, argnums=(0, 1), has_aux=True)(
            fake, part_logits, weights["discriminator"], condition, label, parts, others
        )
        if settings.privacy_ratio:
            slope = slope + taken_back(part_slope)[1]
        (gradient,) = pull_back(slope)
        weights["generator"], moments["generator"] = adversarial.moved(
            adam["generator"], weights["generator"], moments["generator"], gradient
        )
        after = {"parameters": weights, "optimizers": moments, "step": state["step"] + 1}
        return after, jnp.stack([loss, *told])

    def parts(self, key: Array) -> Int[Array, " n"]:
        """The part of every row of a batch: random, or in blocks of equal size for discriminators of their own."""
        size, n_parts = self.settings.batch_size, self.settings.n_parts
        if self.apart:
            return jnp.repeat(jnp.arange(n_parts, dtype=jnp.int32), size // n_parts)
        return jax.random.randint(key, (size,), 0, n_parts, jnp.int32)

    def train_discriminators(
        self, weights: Any, moments: Any, real: Array, fake: Array, condition: Array, label: Array
    ) -> tuple[Any, Any, Array]:
        """One update of the shared discriminator on all rows, or of each part's own on the rows of its part."""

        def update(
            pair: adversarial.Pair, before: Any, memory: Any, first: Array, second: Array, given: Array
        ) -> tuple[Any, Any, Array]:
            def loss(discriminator: Any) -> tuple[Array, Any]:
                return pair.discriminator_loss(discriminator, first, second, given, self.settings.real_target)

            return adversarial.descend(self.optimizers()["discriminator"], before, memory, loss)

        if not self.apart:
            return update(self.pair, weights, moments, real, fake, condition)
        own = [self._by_part(rows) for rows in (real, fake, label)]
        weights, moments, losses = jax.vmap(functools.partial(update, self.unaware))(weights, moments, *own)
        return weights, moments, jnp.mean(losses)

    def logits(self, discriminator: Any, fake: Array, condition: Array, label: Array) -> Float[Array, " n"]:
        """What the discriminator of each row's part makes of it."""
        if not self.apart:
            return self.pair.logit(discriminator, fake, condition)
        return jax.vmap(self.unaware.logit)(discriminator, self._by_part(fake), self._by_part(label)).ravel()

    def _by_part(self, rows: Array) -> Array:
        """Rows of a batch in blocks ``(parts, rows per part, ...)``."""
        return over_devices(
            rows.reshape(self.settings.n_parts, len(rows) // self.settings.n_parts, rows.shape[1]), axis=1
        )

    def generator_loss(
        self,
        fake: Array,
        part_logits: Float[Array, "n parts"],
        discriminator: Any,
        condition: Array,
        label: Array,
        parts: Int[Array, " n"],
        others: Int[Array, " n"],
    ) -> tuple[Array, tuple[Array, Array]]:
        """What the generator minimizes through its records and Q's logits; then it without penalty, and Q's loss."""
        return hiding_loss(
            self.logits(discriminator, fake, condition, label),
            part_logits,
            parts,
            others,
            penalty=self.settings.penalty,
            weight=self.settings.privacy_ratio,
        )
