"""The network that tells from which part of the training records a record, or its generator, stems."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, Literal, final

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from mace_jax.models import adversarial
from mace_jax.models._devices import drawn_rows
from mace_jax.models.adversarial import Pair
from mace_jax.models.layers import outputs
from mace_jax.models.losses import mean_part_loss
from mace_jax.models.parts import parts_of_rows
from mace_jax.models.train import in_blocks

__all__ = ["PartClassifier", "Updates", "part_logits"]

Updates = Literal["in_turn", "together"]
"""Whether the classifier learns from synthetic records before a generator moves, or at the same time."""


@final
@dataclasses.dataclass(frozen=True)
class PartClassifier:
    """A network like the pair's discriminator with one output per part."""

    pair: Pair
    n_parts: int

    def initial(self, key: Array) -> dict[str, Any]:
        """Initial weights."""
        return self.pair.initial_discriminator(key, self.n_parts)

    def logits(self, weights: Any, records: Array, condition: Array) -> Float[Array, "n parts"]:
        """Logits of the parts, for records in [-1, 1]."""
        network = self.pair.networks.discriminator(self.pair.n_features, self.n_parts)
        return outputs(network, weights, records, condition)

    def learn(
        self,
        adam: optax.GradientTransformation,
        weights: Any,
        moments: Any,
        records: Float[Array, "n d"],
        condition: Float[Array, "n c"],
        parts: Int[Array, " n"],
    ) -> tuple[Any, Any]:
        """One update on records whose parts are known."""
        return self.moved(adam, weights, moments, *self.answers(weights, records, condition), parts)

    def answers(
        self, weights: Any, records: Float[Array, "n d"], condition: Float[Array, "n c"]
    ) -> tuple[Float[Array, "n parts"], Callable[[Array], tuple[Any, Array]]]:
        """Logits, and the function that takes a slope along them back to one along weights and one along records."""
        return jax.vjp(lambda own, made: self.logits(own, made, condition), weights, records)

    def moved(
        self,
        adam: optax.GradientTransformation,
        weights: Any,
        moments: Any,
        logits: Float[Array, "n parts"],
        taken_back: Callable[[Array], tuple[Any, Array]],
        parts: Int[Array, " n"],
    ) -> tuple[Any, Any]:
        """One update from the two results of ``answers`` at the same weights."""
        return adversarial.moved(adam, weights, moments, taken_back(jax.grad(mean_part_loss)(logits, parts))[0])

    def pretrained(
        self,
        adam: optax.GradientTransformation,
        weights: Any,
        moments: Any,
        unit: Float[Array, "n d"],
        one_hot: Float[Array, "n c"],
        key: Array,
        *,
        first: Bool[Array, ""],
        steps: int,
        batch_size: int,
    ) -> tuple[Any, Any]:
        """If ``first``, updates on real records, drawn with replacement from dealt ones sorted by part."""
        if steps == 0:
            return weights, moments

        def body(step: Array, carry: tuple[Any, Any]) -> tuple[Any, Any]:
            rows = drawn_rows(jax.random.fold_in(key, step), batch_size, len(unit))
            parts = parts_of_rows(rows, len(unit), self.n_parts)
            return self.learn(adam, *carry, 2.0 * unit[rows] - 1.0, one_hot[rows], parts)

        return lax.fori_loop(0, jnp.where(first, steps, 0), body, (weights, moments))


def part_logits(classifier: PartClassifier, weights: Any, unit: np.ndarray, condition: np.ndarray) -> np.ndarray:
    """Logits of records in the unit cube, each by itself."""
    return in_blocks(functools.partial(_logits, classifier, weights), unit, condition).astype(np.float64)


@functools.partial(jax.jit, static_argnames=("classifier",))
def _logits(classifier: PartClassifier, weights: Any, unit: Array, condition: Array) -> Float[Array, "n parts"]:
    return classifier.logits(weights, 2.0 * unit - 1.0, condition)
