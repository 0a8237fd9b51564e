"""A small network that tells two sets of records apart, with batches that hold as many of either."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, final

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from mace_jax import _random, _validate
from mace_jax._row_blocks import in_blocks
from mace_jax._types import FloatArray, Seed
from mace_jax.attacks._inputs import finite_records

__all__ = ["LocalClassifier", "fit_classifier"]


@final
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class LocalClassifier:
    """A trained network on standardized records."""

    network: Any
    weights: Any
    mean: FloatArray
    sd: FloatArray

    def discriminator_score(self, records: Any) -> FloatArray:
        """Logit of each record, higher = more like the first set; each record is scored alone."""
        values = finite_records("records", records)
        if values.shape[1] != len(self.mean):
            raise ValueError(
                f"records has {values.shape[1]} columns but the classifier was fitted on {len(self.mean)}."
            )
        scaled = ((values - self.mean) / self.sd).astype(np.float32)
        logits = functools.partial(_logits, self.network, self.weights)
        with jax.enable_x64(False):
            return in_blocks(logits, scaled).astype(np.float64)

    def __repr__(self) -> str:
        return f"LocalClassifier(features={len(self.mean)})"


def fit_classifier(
    positives: FloatArray,
    negatives: FloatArray,
    *,
    hidden: tuple[int, ...],
    steps: int,
    batch_size: int,
    learning_rate: float,
    seed: Seed,
) -> LocalClassifier:
    """Binary cross-entropy by Adam; half of each batch is drawn from each set, with replacement."""
    from mace_jax.estimators._network import multilayer_perceptron

    network = multilayer_perceptron(tuple(_validate.positive_int(hidden=width) for width in hidden))
    both = np.concatenate([positives, negatives])
    mean, sd = both.mean(axis=0), both.std(axis=0)
    sd = np.where(sd > 0.0, sd, 1.0)
    with jax.enable_x64(False):
        first, second = (jnp.asarray((part - mean) / sd, jnp.float32) for part in (positives, negatives))
        key, rate = _random.key(seed, "local classifier"), jnp.float32(learning_rate)
        weights = _train(network, first, second, key, rate, steps, max(1, batch_size // 2))
    return LocalClassifier(network, jax.tree.map(np.asarray, weights), mean, sd)


@functools.partial(jax.jit, static_argnames=("network", "steps", "size"))
def _train(
    network: Any,
    positives: Float[Array, "n d"],
    negatives: Float[Array, "m d"],
    key: Array,
    learning_rate: Array,
    steps: int,
    size: int,
) -> Any:
    from mace_jax.estimators._network import optax

    adam = optax.adam(learning_rate)
    start, draws = jax.random.split(key)
    weights = network.init(start, positives[:1])

    def loss(weights: Any, first: Array, second: Array) -> Array:
        high, low = (network.apply(weights, part)[:, 0] for part in (first, second))
        return jnp.mean(jax.nn.softplus(-high)) + jnp.mean(jax.nn.softplus(low))

    def step(state: tuple[Any, Any], count: Array) -> tuple[tuple[Any, Any], None]:
        weights, moments = state
        one, two = jax.random.split(jax.random.fold_in(draws, count))
        batches = (
            part[jax.random.randint(key, (size,), 0, len(part))] for key, part in ((one, positives), (two, negatives))
        )
        change, moments = adam.update(jax.grad(loss)(weights, *batches), moments, weights)
        return (optax.apply_updates(weights, change), moments), None

    (weights, _), _ = lax.scan(step, (weights, adam.init(weights)), jnp.arange(steps))
    return weights


@functools.partial(jax.jit, static_argnames=("network",))
def _logits(network: Any, weights: Any, records: Float[Array, "n d"]) -> Float[Array, " n"]:
    return network.apply(weights, records)[:, 0]
