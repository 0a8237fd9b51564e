"""One shadow model: its network, its update, what it says of records; and many of them side by side."""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING, Any, Literal, final

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Array, Float, Int

if TYPE_CHECKING:
    from mace_jax.models.shadow import ShadowModels

__all__ = ["ACTIVATIONS", "CALL", "Output", "ShadowTrainer", "advance", "begin", "evaluate", "rescaled_logit"]

ACTIVATIONS = {"relu": nn.relu, "tanh": jnp.tanh, "gelu": nn.gelu, "silu": nn.silu}

CALL = 250
"""Steps per call into compiled code, and per row of the history."""

Output = Literal["logits", "signal", "log_probability"]
State = tuple[Any, Any]


@final
class Perceptron(nn.Module):
    """Dense layers with one activation between them and logits at the end."""

    hidden: tuple[int, ...]
    n_labels: int
    activation: str

    @nn.compact
    def __call__(self, inputs: Float[Array, "n d"]) -> Float[Array, "n labels"]:
        for width in self.hidden:
            inputs = ACTIVATIONS[self.activation](nn.Dense(width)(inputs))
        return nn.Dense(self.n_labels)(inputs)


@final
@dataclasses.dataclass(frozen=True)
class ShadowTrainer:
    """How one shadow model learns; hashable, so that equal trainers share compiled code."""

    settings: ShadowModels
    n_features: int
    n_labels: int

    @property
    def network(self) -> Perceptron:
        return Perceptron(self.settings.hidden, self.n_labels, self.settings.activation)

    @property
    def optimizer(self) -> optax.GradientTransformation:
        return optax.adamw(self.settings.learning_rate, weight_decay=self.settings.weight_decay)

    def logits(self, weights: Any, records: Float[Array, "n d"]) -> Any:
        """What one model says, ``(n, labels)``."""
        return self.network.apply({"params": weights}, records)

    def initial(self, key: Array) -> State:
        """Weights and Adam's moments before the first step."""
        weights = self.network.init(key, jnp.zeros((1, self.n_features)))["params"]
        return weights, self.optimizer.init(weights)

    def learn(self, state: State, records: Float[Array, "b d"], classes: Int[Array, " b"]) -> tuple[State, Array]:
        """One update; then the mean cross-entropy before it."""
        weights, moments = state

        def loss(weights: Any) -> Array:
            return -jnp.mean(own_log_probability(self.logits(weights, records), classes))

        value, slope = jax.value_and_grad(loss)(weights)
        change, moments = self.optimizer.update(slope, moments, weights)
        return (optax.apply_updates(weights, change), moments), value


def own_log_probability(logits: Float[Array, "n c"], classes: Int[Array, " n"]) -> Float[Array, " n"]:
    """Log of the softmax probability of each record's class."""
    return _of_class(logits, classes) - jax.nn.logsumexp(logits, axis=-1)


def rescaled_logit(logits: Float[Array, "n c"], classes: Int[Array, " n"]) -> Float[Array, " n"]:
    """``z_y - logsumexp of the others``: the log odds of a record's class, exact where the softmax saturates."""
    own = jnp.arange(logits.shape[-1]) == classes[:, None]
    return _of_class(logits, classes) - jax.nn.logsumexp(jnp.where(own, -jnp.inf, logits), axis=-1)


def _of_class(logits: Float[Array, "n c"], classes: Int[Array, " n"]) -> Float[Array, " n"]:
    return jnp.take_along_axis(logits, classes[:, None], axis=-1)[:, 0]


@functools.partial(jax.jit, static_argnames=("trainer",))
def begin(trainer: ShadowTrainer, keys: Array) -> State:
    """States of several models, stacked."""
    return jax.vmap(trainer.initial)(keys)


@functools.partial(jax.jit, static_argnames=("trainer",), donate_argnames=("states",))
def advance(
    trainer: ShadowTrainer,
    states: State,
    unit: Float[Array, "n d"],
    classes: Int[Array, " n"],
    rows: Int[Array, "call models batch"],
    n_steps: Int[Array, ""],
) -> tuple[State, Float[Array, " models"]]:
    """``n_steps <= CALL`` updates of every model on the rows of its batches; then each model's mean loss over them."""

    def body(number: Array, carry: tuple[State, Array]) -> tuple[State, Array]:
        states, sums = carry
        chosen = rows[number]
        states, losses = jax.vmap(trainer.learn)(states, unit[chosen], classes[chosen])
        return states, sums + losses

    states, sums = lax.fori_loop(0, n_steps, body, (states, jnp.zeros(rows.shape[1])))
    return states, sums / n_steps


@functools.partial(jax.jit, static_argnames=("trainer", "output"))
def evaluate(
    trainer: ShadowTrainer, output: Output, weights: Any, unit: Float[Array, "n d"], classes: Int[Array, " n"]
) -> Array:
    """What one model says of each record."""
    logits = trainer.logits(weights, unit)
    if output == "logits":
        return logits
    return (rescaled_logit if output == "signal" else own_log_probability)(logits, classes)
