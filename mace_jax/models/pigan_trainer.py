"""The training step of PIGAN."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, final

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int

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
    """Discriminator, then Q, then generator, on one batch of random parts; records come sorted by part."""

    settings: PIGAN
    n_features: int
    n_labels: int

    @property
    def losses(self) -> tuple[str, ...]:
        return ("discriminator", "generator", "classifier")

    @property
    def pair(self) -> adversarial.Pair:
        """Generator and discriminator, whose condition is the part's code beside the label's."""
        return adversarial.pair_of(self.settings, self.n_features, self.settings.n_parts + self.n_labels)

    @property
    def classifier(self) -> PartClassifier:
        """Q, which sees the label but not the code."""
        unaware = adversarial.pair_of(self.settings, self.n_features, self.n_labels)
        return PartClassifier(unaware, self.settings.n_parts)

    def optimizers(self) -> dict[str, optax.GradientTransformation]:
        return adversarial.optimizers(self.settings, "generator", "discriminator", "classifier")

    def initial(self, key: Array) -> dict[str, Any]:
        pair_key, classifier_key = jax.random.split(key)
        parameters = {**self.pair.initial(pair_key), "classifier": self.classifier.initial(classifier_key)}
        moments = {name: adam.init(parameters[name]) for name, adam in self.optimizers().items()}
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
        parts = over_devices(jax.random.randint(part_key, (size,), 0, settings.n_parts, jnp.int32))
        rows = over_devices(rows_of_parts(row_key, parts, len(records), settings.n_parts))
        real, label = 2.0 * records[rows] - 1.0, one_hot[rows]
        condition = jnp.concatenate([jax.nn.one_hot(parts, settings.n_parts, dtype=jnp.float32), label], axis=1)
        noise = pair.noise(noise_key, size)
        fake, pull_back = jax.vjp(lambda generator: pair.generate(generator, noise, condition), weights["generator"])

        def discriminator_loss(discriminator: Any) -> tuple[Array, Any]:
            return pair.discriminator_loss(discriminator, real, fake, condition, settings.real_target)

        weights["discriminator"], moments["discriminator"], loss = adversarial.descend(
            adam["discriminator"], weights["discriminator"], moments["discriminator"], discriminator_loss
        )
        weights["classifier"], moments["classifier"] = self.classifier.learn(
            adam["classifier"], weights["classifier"], moments["classifier"], fake, label, parts
        )
        others = other_parts(other_key, parts, settings.n_parts)
        (_, told), slope = jax.value_and_grad(self.generator_loss, has_aux=True)(
            fake, weights["discriminator"], weights["classifier"], condition, label, parts, others
        )
        (gradient,) = pull_back(slope)
        weights["generator"], moments["generator"] = adversarial.moved(
            adam["generator"], weights["generator"], moments["generator"], gradient
        )
        after = {"parameters": weights, "optimizers": moments, "step": state["step"] + 1}
        return after, jnp.stack([loss, *told])

    def generator_loss(
        self,
        fake: Array,
        discriminator: Any,
        classifier: Any,
        condition: Array,
        label: Array,
        parts: Int[Array, " n"],
        others: Int[Array, " n"],
    ) -> tuple[Array, tuple[Array, Array]]:
        """What the generator minimizes through its records; then its part without penalty, and Q's loss."""
        return hiding_loss(
            self.pair.logit(discriminator, fake, condition),
            self.classifier.logits(classifier, fake, label),
            parts,
            others,
            penalty=self.settings.penalty,
            weight=self.settings.privacy_ratio,
        )
