"""Small Flax networks that tell members from non-members: trained by Adam, several seeds averaged.

Flax and Optax are imported with this module, which is itself imported on first use.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from mace_jax._optional import require

__all__ = ["checked_module", "hashable", "is_linen", "multilayer_perceptron", "network_posteriors"]

linen = require("flax.linen")
optax = require("optax")


class _Perceptron(linen.Module):
    """Dense layers with rectifiers between them and one logit at the end."""

    widths: tuple[int, ...]

    @linen.compact
    def __call__(self, outputs):
        for width in self.widths:
            outputs = linen.gelu(linen.Dense(width)(outputs))
        return linen.Dense(1)(outputs)


def multilayer_perceptron(widths: tuple[int, ...]) -> Any:
    """The network behind ``kind="mlp"``."""
    return _Perceptron(widths)


def is_linen(module: Any) -> bool:
    """Whether this is a Flax Linen module."""
    return isinstance(module, linen.Module)


def hashable(module: Any) -> Any:
    """The same module with its lists as tuples: compiled functions are filed under it."""
    fields = {field.name: getattr(module, field.name) for field in dataclasses.fields(module)}
    lists = {name: tuple(value) for name, value in fields.items() if isinstance(value, list)}
    module = module.clone(**lists) if lists else module
    try:
        hash(module)
    except TypeError as error:
        raise TypeError(f"kind={module!r} holds something that cannot be hashed; use tuples for lists.") from error
    return module


def checked_module(module: Any, width: int) -> None:
    """Check without computing that the module maps ``(n, width)`` to logits and has parameters only."""
    outputs = jax.ShapeDtypeStruct((3, width), jnp.float32)
    variables = jax.eval_shape(module.init, jax.random.key(0), outputs)
    others = sorted(set(variables) - {"params"})
    if others:
        raise ValueError(
            f"kind={module!r} keeps {', '.join(others)} beside its parameters, as batch normalization does; "
            "use layers without state, such as LayerNorm."
        )
    shape = jax.eval_shape(module.apply, variables, outputs).shape
    if shape not in {(3,), (3, 1), (3, 2)}:
        raise ValueError(
            f"kind={module!r} maps {width} query outputs of 3 records to shape {shape}; it must return logits "
            "(n,), (n, 1) or (n, 2), the second column for members."
        )


def network_posteriors(
    module: Any,
    train: Float[Array, "s q"],
    test: Float[Array, "t q"],
    labels: Int[Array, " s"],
    weights: Float[Array, "w s"],
    key: Array,
    *,
    n_networks: int,
    steps: int,
    batch_size: int,
    learning_rate: float,
    ridge: float,
) -> tuple[Float[Array, "w s"], Float[Array, "w t"]]:
    """Mean probability over the networks, for every row of record weights, of training and unseen outputs."""
    n = train.shape[0]
    size = min(n, batch_size)
    rate = optax.cosine_decay_schedule(learning_rate, steps)
    optimizer = optax.adamw(rate, weight_decay=ridge)
    apply = _single_logit(module)

    def learn(key: Array, weights: Array) -> tuple[Array, Array]:
        first, draws = jax.random.split(key)
        variables = module.init(first, train[:1])

        def loss(variables: Any, rows: Array) -> Array:
            logits = apply(variables, train[rows])
            return jnp.sum(weights[rows] * jax.nn.softplus((1.0 - 2.0 * labels[rows]) * logits)) * (n / size)

        def step(state: tuple[Any, Any], key: Array) -> tuple[tuple[Any, Any], None]:
            variables, memory = state
            rows = jnp.arange(n) if size == n else jax.random.randint(key, (size,), 0, n)
            change, memory = optimizer.update(jax.grad(loss)(variables, rows), memory, variables)
            return (optax.apply_updates(variables, change), memory), None

        state = (variables, optimizer.init(variables))
        (variables, _), _ = jax.lax.scan(step, state, jax.random.split(draws, steps))
        return jax.nn.sigmoid(apply(variables, train)), jax.nn.sigmoid(apply(variables, test))

    keys = jax.random.split(key, n_networks)
    seen, unseen = jax.vmap(lambda row: jax.vmap(learn, in_axes=(0, None))(keys, row))(weights)
    return jnp.mean(seen, axis=1), jnp.mean(unseen, axis=1)


def _single_logit(module: Any) -> Callable[[Any, Array], Array]:
    def apply(variables: Any, outputs: Array) -> Array:
        logits = module.apply(variables, outputs)
        if logits.ndim == 1:
            return logits
        return logits[:, 0] if logits.shape[1] == 1 else logits[:, 1] - logits[:, 0]

    return apply
