"""How a normalizing flow is trained: ascent of the exact log-likelihood of slightly blurred records."""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import TYPE_CHECKING, Any, final

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jaxtyping import Array, Float, Int

from mace_jax import _random
from mace_jax.models._devices import drawn_rows
from mace_jax.models._row_noise import row_noise
from mace_jax.models.flow_layers import Conditioner, couple, n_outputs, uncouple
from mace_jax.models.train import AbstractTrainer

if TYPE_CHECKING:
    from mace_jax.models.flow import Flow

__all__ = ["FlowTrainer", "draw_rows", "log_density_rows"]

_CLIP = 5.0  # of the gradient's norm: records far out would otherwise throw the weights off


@final
@dataclasses.dataclass(frozen=True)
class FlowTrainer(AbstractTrainer):
    """A chain of couplings between standardized records and standard normal noise."""

    settings: Flow
    n_features: int
    n_labels: int

    @property
    def losses(self) -> tuple[str, ...]:
        return ("minus_log_likelihood",)

    @property
    def n_fixed(self) -> int:
        """Columns that a layer leaves and conditions on."""
        return self.n_features // 2

    @property
    def conditioner(self) -> Conditioner:
        moved = self.n_features - self.n_fixed
        return Conditioner(self.settings.hidden, n_outputs(moved, self.settings.n_bins))

    @property
    def orders(self) -> np.ndarray:
        """Columns by their place in each layer, ``(layers, d)``: the first are fixed, the others move.

        Two layers in a row have opposite orders, so that together they move all columns.
        """
        rows = []
        for layer in range(self.settings.n_layers):
            columns = _random.generator(layer // 2, "columns of a flow").permutation(self.n_features)
            rows.append(columns if layer % 2 == 0 else columns[::-1])
        return np.stack(rows).astype(np.int32)

    def initial(self, key: Array) -> dict[str, Any]:
        inputs = _inputs(jnp.zeros((1, self.n_fixed), jnp.float32), jnp.zeros((1, self.n_labels), jnp.float32))
        keys = jax.random.split(key, self.settings.n_layers)
        parameters = {"layers": jax.vmap(lambda own: self.conditioner.init(own, inputs))(keys)}
        return {"parameters": parameters, "optimizer": self._optimizer().init(parameters)}

    def to_noise(
        self, parameters: Any, records: Float[Array, "n d"], one_hot: Float[Array, "n c"]
    ) -> tuple[Float[Array, "n d"], Float[Array, " n"]]:
        """Noise of standardized records, and the log of the determinant of the Jacobian."""

        def move(carry: tuple[Array, Array], layer: tuple[Any, Array]) -> tuple[tuple[Array, Array], None]:
            values, total = carry
            weights, order = layer
            fixed, moved = self._halves(values, order)
            moved, logs = couple(self._raw(weights, fixed, one_hot), moved, self.settings.n_bins)
            return (values.at[:, order[self.n_fixed :]].set(moved), total + logs), None

        start = records, jnp.zeros(len(records), records.dtype)
        return lax.scan(move, start, (parameters["layers"], jnp.asarray(self.orders)))[0]

    def from_noise(
        self, parameters: Any, noise: Float[Array, "n d"], one_hot: Float[Array, "n c"]
    ) -> Float[Array, "n d"]:
        """Standardized records of noise: the inverse of ``to_noise``."""

        def move(values: Array, layer: tuple[Any, Array]) -> tuple[Array, None]:
            weights, order = layer
            fixed, moved = self._halves(values, order)
            moved = uncouple(self._raw(weights, fixed, one_hot), moved, self.settings.n_bins)
            return values.at[:, order[self.n_fixed :]].set(moved), None

        return lax.scan(move, noise, (parameters["layers"], jnp.asarray(self.orders)), reverse=True)[0]

    def log_density(
        self, parameters: Any, records: Float[Array, "n d"], one_hot: Float[Array, "n c"]
    ) -> Float[Array, " n"]:
        """In standardized units, in nats."""
        noise, logs = self.to_noise(parameters, records, one_hot)
        normal = -0.5 * jnp.sum(jnp.square(noise), axis=1) - 0.5 * self.n_features * math.log(2.0 * math.pi)
        return normal + logs

    def step(self, state: dict[str, Any], records: Array, one_hot: Array, key: Array) -> tuple[dict[str, Any], Array]:
        row_key, blur_key = jax.random.split(key)
        rows = drawn_rows(row_key, self.settings.batch_size, len(records))
        batch = records[rows]
        blurred = batch + self.settings.noise_sd * jax.random.normal(blur_key, batch.shape, jnp.float32)

        def loss(parameters: Any) -> Array:
            return -jnp.mean(self.log_density(parameters, blurred, one_hot[rows]))

        value, gradient = jax.value_and_grad(loss)(state["parameters"])
        change, moments = self._optimizer().update(gradient, state["optimizer"], state["parameters"])
        after = {"parameters": optax.apply_updates(state["parameters"], change), "optimizer": moments}
        return after, value[None]

    def _halves(self, values: Array, order: Int[Array, " d"]) -> tuple[Array, Array]:
        """Columns a layer leaves, and columns it moves."""
        return values[:, order[: self.n_fixed]], values[:, order[self.n_fixed :]]

    def _raw(self, weights: Any, fixed: Array, one_hot: Array) -> Array:
        """What the layer's network says of the fixed columns and the label."""
        return jnp.asarray(self.conditioner.apply(weights, _inputs(fixed, one_hot)))

    def _optimizer(self) -> optax.GradientTransformation:
        return optax.chain(optax.clip_by_global_norm(_CLIP), optax.adam(self.settings.learning_rate))


def _inputs(fixed: Float[Array, "n f"], one_hot: Float[Array, "n c"]) -> Float[Array, "n i"]:
    """What a conditioner reads; a column of 0 where there is nothing, so that its biases alone decide."""
    inputs = jnp.concatenate([fixed, one_hot], axis=1)
    return inputs if inputs.shape[1] else jnp.zeros((len(fixed), 1), fixed.dtype)


@functools.partial(jax.jit, static_argnames=("trainer",))
def log_density_rows(
    trainer: FlowTrainer, parameters: Any, standard: Float[Array, "n d"], one_hot: Float[Array, "n c"]
) -> Float[Array, " n"]:
    """Log density of standardized records."""
    return trainer.log_density(parameters, standard, one_hot)


@functools.partial(jax.jit, static_argnames=("trainer",))
def draw_rows(
    trainer: FlowTrainer, parameters: Any, key: Array, rows: Int[Array, " n"], one_hot: Float[Array, "n c"]
) -> Float[Array, "n d"]:
    """Standardized records; the noise of a row depends on the key and the row's number."""
    return trainer.from_noise(parameters, row_noise(key, rows, trainer.n_features), one_hot)
