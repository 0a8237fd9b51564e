"""One step of DP-SGD: a Poisson sample, gradients clipped one by one, Gaussian noise on their sum."""

from __future__ import annotations

import dataclasses
import math
import warnings
from typing import Any, final

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from mace_jax._optional import require
from mace_jax.models.dp_learner import AbstractLearner
from mace_jax.models.train import AbstractTrainer

__all__ = ["PrivateTrainer", "poisson_sample", "sampling_probability"]

_GRID = 2**23
"""Uniform float32 draws are multiples of 1 / _GRID; so are sampling probabilities, to be exact."""


@final
@dataclasses.dataclass(frozen=True)
class PrivateTrainer(AbstractTrainer):
    """Private gradients for the updates of a learner; the noise is in units of the largest norm, ``l2_clip``."""

    learner: AbstractLearner
    noise_multiplier: float
    l2_clip: float
    probability: float

    @property
    def losses(self) -> tuple[str, ...]:
        return ("noisy_gradient_norm", *self.learner.told)

    def initial(self, key: Array) -> dict[str, Any]:
        return self.learner.initial(key)

    def step(self, state: dict[str, Any], records: Array, one_hot: Array, key: Array) -> tuple[dict[str, Any], Array]:
        sample_key, loss_key, noise_key, update_key = jax.random.split(key, 4)
        total = self.clipped_sum(state, records, one_hot, sample_key, loss_key)
        noise = require("jax_privacy.noise_addition", extra="dp").gaussian_privatizer(
            stddev=self.noise_multiplier * self.l2_clip, prng_key=noise_key
        )
        noisy, _ = noise.update(total, noise.init(total))
        gradient = jax.tree.map(lambda leaf: leaf / self.learner.batch_size, noisy)
        norm = jnp.sqrt(sum(jnp.sum(jnp.square(leaf)) for leaf in jax.tree.leaves(gradient)))
        after, told = self.learner.update(state, gradient, update_key)
        return after, jnp.concatenate([norm.reshape(1), told])

    def clipped_sum(
        self,
        state: dict[str, Any],
        records: Float[Array, "n d"],
        one_hot: Float[Array, "n c"],
        sample_key: Array,
        loss_key: Array,
    ) -> Any:
        """Sum of the clipped gradients of a Poisson sample, block by block, as many blocks as it takes."""
        n, block, weights = len(records), self.learner.batch_size, self.learner.weights(state)
        taken = poisson_sample(sample_key, n, self.probability)
        length = -(-n // block) * block
        order = jnp.nonzero(taken, size=length, fill_value=n)[0].astype(jnp.int32)
        clipped = require("jax_privacy.clipping", extra="dp").clipped_grad(
            self._loss, l2_clip_norm=self.l2_clip, batch_argnums=(2, 3, 4), keep_batch_dim=True
        )

        def add(place: Array, total: Any) -> Any:
            rows = lax.dynamic_slice(order, (place * block,), (block,))
            padding, rows = rows >= n, jnp.minimum(rows, n - 1)
            with warnings.catch_warnings():  # the library calls a function that optax has renamed
                warnings.filterwarnings("ignore", "optax.global_norm", DeprecationWarning)
                part = clipped(weights, state, records[rows], one_hot[rows], rows, loss_key, is_padding_example=padding)
            return jax.tree.map(jnp.add, total, part)

        blocks = -(-jnp.sum(taken, dtype=jnp.int32) // block)
        return lax.fori_loop(0, blocks, add, jax.tree.map(jnp.zeros_like, weights))

    def _loss(self, weights: Any, state: Any, record: Array, condition: Array, row: Array, key: Array) -> Array:
        """Loss of one record, with randomness of its own."""
        return self.learner.loss(weights, state, record, condition, jax.random.fold_in(key, row[0]))


def poisson_sample(key: Array, n_records: int, probability: float) -> Bool[Array, " n"]:
    """Each record on its own with this probability."""
    return jax.random.uniform(key, (n_records,), jnp.float32) < jnp.float32(probability)


def sampling_probability(batch_size: int, n_records: int) -> float:
    """batch_size / n, rounded up to what float32 uniform draws realize exactly."""
    if batch_size > n_records:
        raise ValueError(
            f"batch_size={batch_size} is more than the {n_records} records; pass a model with a smaller batch_size."
        )
    return math.ceil(batch_size / n_records * _GRID) / _GRID
