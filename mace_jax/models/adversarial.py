"""What all adversarial models share: their settings' checks, and a pair of networks as pure functions of weights."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, final

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from mace_jax import _random, _validate
from mace_jax._types import FloatArray, Seed
from mace_jax.models import _settings
from mace_jax.models._devices import over_devices
from mace_jax.models._row_noise import row_noise
from mace_jax.models._training_data import TrainingData, training_data
from mace_jax.models.encoding import Labels
from mace_jax.models.layers import outputs
from mace_jax.models.losses import real_or_fake_loss
from mace_jax.models.networks import KINDS, AbstractNetworks, MLPNetworks
from mace_jax.models.train import in_blocks

__all__ = [
    "Pair",
    "check",
    "descend",
    "draw",
    "encoded",
    "generate_unit",
    "moved",
    "networks_of",
    "no_batch_norm",
    "odds",
    "optimizers",
    "pair_of",
    "real_target",
    "scores",
    "trainable",
]

Weights = dict[str, Any]


@final
@dataclasses.dataclass(frozen=True)
class Pair:
    """A generator and a discriminator; records lie in [-1, 1] and conditions stand beside records and noise."""

    networks: AbstractNetworks
    latent_dim: int
    n_features: int
    n_conditions: int

    def initial(self, key: Array) -> dict[str, Weights]:
        """Weights of both networks."""
        first, second = jax.random.split(key)
        noise = jnp.zeros((1, self.latent_dim + self.n_conditions), jnp.float32)
        return {
            "generator": dict(self.networks.generator(self.n_features).init(first, noise)),
            "discriminator": self.initial_discriminator(second, 1),
        }

    def initial_discriminator(self, key: Array, n_outputs: int) -> Weights:
        """Weights of a network of the discriminator's kind with ``n_outputs`` outputs."""
        record = jnp.zeros((1, self.n_features + self.n_conditions), jnp.float32)
        return dict(self.networks.discriminator(self.n_features, n_outputs).init(key, record))

    def noise(self, key: Array, n: int) -> Float[Array, "n z"]:
        """Standard normal inputs of the generator, divided among the devices of the run."""
        return over_devices(jax.random.normal(key, (n, self.latent_dim), jnp.float32))

    def generate(self, weights: Weights, noise: Float[Array, "n z"], condition: Float[Array, "n c"]) -> Array:
        """Records; batch normalization, if any, by running averages."""
        return jnp.tanh(outputs(self.networks.generator(self.n_features), weights, noise, condition))

    def generate_in_training(self, weights: Weights, noise: Array, condition: Array) -> tuple[Array, Weights]:
        """Records, and the weights with updated running averages."""
        raw, after = _training_outputs(self.networks.generator(self.n_features), weights, noise, condition)
        return jnp.tanh(raw), after

    def logit(self, weights: Weights, records: Float[Array, "n d"], condition: Float[Array, "n c"]) -> Array:
        """Discriminator's logits; batch normalization, if any, by running averages."""
        return outputs(self.networks.discriminator(self.n_features, 1), weights, records, condition)[:, 0]

    def logit_in_training(self, weights: Weights, records: Array, condition: Array) -> tuple[Array, Weights]:
        """Discriminator's logits, and the weights with updated running averages."""
        network = self.networks.discriminator(self.n_features, 1)
        raw, after = _training_outputs(network, weights, records, condition)
        return raw[:, 0], after

    def logits_of_both(
        self, weights: Weights, real: Array, synthetic: Array, condition: Array
    ) -> tuple[Float[Array, " 2n"], Weights]:
        """Logits of real records, then of synthetic ones; batches are normalized apart, if at all."""
        if self.networks.normalizes_batches:
            first, weights = self.logit_in_training(weights, real, condition)
            second, weights = self.logit_in_training(weights, synthetic, condition)
            return jnp.concatenate([first, second]), weights
        both = jnp.concatenate([real, synthetic]), jnp.concatenate([condition, condition])
        return self.logit(weights, *both), weights

    def discriminator_loss(
        self, weights: Weights, real: Array, synthetic: Array, condition: Array, real_target: float
    ) -> tuple[Array, Weights]:
        """Mean loss on real records plus mean loss on as many synthetic ones; then the weights after it."""
        logits, after = self.logits_of_both(weights, real, synthetic, condition)
        is_real = jnp.arange(2 * len(real)) < len(real)
        target = jnp.where(is_real, jnp.float32(real_target), jnp.float32(0))
        return 2.0 * jnp.mean(real_or_fake_loss(logits, target)), after


def _training_outputs(network: nn.Module, weights: Weights, *inputs: Array) -> tuple[Array, Weights]:
    """Outputs in training, and the weights with running averages moved."""
    if "batch_stats" not in weights:
        return outputs(network, weights, *inputs), weights
    raw, changed = network.apply(weights, jnp.concatenate(inputs, axis=1), train=True, mutable=["batch_stats"])
    return raw, {**weights, **changed}


def trainable(weights: Weights) -> Weights:
    """What an optimizer changes: all but running averages."""
    return {"params": weights["params"]}


def moved(adam: optax.GradientTransformation, weights: Weights, moments: Any, gradient: Any) -> tuple[Weights, Any]:
    """Weights and moments after one optimizer step along ``gradient``, which has the shape of ``trainable``."""
    change, moments = adam.update(gradient, moments, trainable(weights))
    return {**weights, **optax.apply_updates(trainable(weights), change)}, moments  # type: ignore[dict-item]


def descend(
    adam: optax.GradientTransformation,
    weights: Weights,
    moments: Any,
    loss: Callable[[Weights], tuple[Array, Weights]],
) -> tuple[Weights, Any, Array]:
    """One optimizer step on a loss, which also gives the weights with their running averages; then the loss."""
    fixed = {name: value for name, value in weights.items() if name != "params"}
    (value, after), gradient = jax.value_and_grad(lambda part: loss({**fixed, **part}), has_aux=True)(
        trainable(weights)
    )
    return *moved(adam, after, moments, gradient), value


def check(settings: Any) -> None:
    """Check the settings all adversarial models have; lists become tuples, a dictionary of networks an object."""
    _validate.positive_int(latent_dim=settings.latent_dim)
    _validate.positive_int(batch_size=settings.batch_size)
    _settings.widths(settings, "generator_hidden")
    _settings.widths(settings, "discriminator_hidden")
    _settings.positive(generator_learning_rate=settings.generator_learning_rate)
    _settings.positive(discriminator_learning_rate=settings.discriminator_learning_rate)
    _validate.probability(beta1=settings.beta1)
    _settings.positive(adam_eps=settings.adam_eps)
    _settings.choice("scaling", settings.scaling, ("per_column", "common"))
    if isinstance(settings.networks, dict):
        kind = str(settings.networks.get("kind"))
        _settings.choice("networks kind", kind, tuple(KINDS))
        object.__setattr__(settings, "networks", KINDS[kind](**_settings.from_dict(KINDS[kind], settings.networks)))
    if settings.networks is None:
        return
    if not isinstance(settings.networks, AbstractNetworks):
        raise TypeError(f"networks must be None or one of {', '.join(KINDS)}, got {settings.networks!r}.")
    usual = {field.name: field.default for field in dataclasses.fields(settings)}
    for name in ("generator_hidden", "discriminator_hidden"):
        if getattr(settings, name) != usual[name]:
            raise ValueError(
                f"{name}={getattr(settings, name)} has no effect beside networks; "
                "leave it out, or set widths in MLPNetworks."
            )


def real_target(value: Any) -> None:
    """Check the probability a discriminator should give to training records."""
    if not 0.5 < value <= 1.0:
        raise ValueError(f"real_target={value!r} must lie in (0.5, 1]; pass for example real_target=0.9.")


def no_batch_norm(settings: Any, method: str | None = None) -> None:
    """Refuse networks whose output for a row depends, in training, on the other rows; ``method`` is what refuses."""
    if settings.networks is not None and settings.networks.normalizes_batches:
        raise ValueError(
            f"networks={settings.networks!r} normalizes batches, which {method or type(settings).__name__} cannot "
            "train: its losses are defined record by record; pass ConvNetworks or MLPNetworks."
        )


def networks_of(settings: Any) -> AbstractNetworks:
    """The networks named, or multilayer perceptrons of the widths given."""
    return settings.networks or MLPNetworks(settings.generator_hidden, settings.discriminator_hidden)


def pair_of(settings: Any, n_features: int, n_conditions: int) -> Pair:
    """The pair of networks that settings and sizes describe."""
    return Pair(networks_of(settings), settings.latent_dim, n_features, n_conditions)


def optimizers(settings: Any, *names: str, beta2: float = 0.999) -> dict[str, optax.GradientTransformation]:
    """Adam for each network, with the learning rate that the settings name after it."""
    rates = {name: getattr(settings, f"{name}_learning_rate") for name in names}
    return {name: optax.adam(rate, b1=settings.beta1, b2=beta2, eps=settings.adam_eps) for name, rate in rates.items()}


def encoded(settings: Any, records: Any, labels: Any, *, steps: int, seed: Seed, min_records: int = 2) -> TrainingData:
    """Checked and encoded arguments of ``fit``."""
    width = networks_of(settings).features
    return training_data(
        records,
        labels,
        scaling=settings.scaling,
        check_width=width,
        steps=steps,
        seed=seed,
        min_records=min_records,
    )


def draw(pair: Pair, weights: Weights, seed: Seed, rows: np.ndarray, condition: np.ndarray) -> np.ndarray:
    """Synthetic records in the unit cube for the given row numbers; a row depends on seed, number and condition."""
    return in_blocks(functools.partial(_generate, pair, weights, _random.key(seed, "sample")), rows, condition)


def scores(pair: Pair, weights: Weights, unit: np.ndarray, condition: np.ndarray) -> FloatArray:
    """Discriminator outputs of records in the unit cube, each by itself."""
    return in_blocks(functools.partial(_score, pair, weights), unit, condition).astype(np.float64)


def odds(pair: Pair, weights: Weights, unit: np.ndarray, conditions: list[np.ndarray], labels: Labels) -> FloatArray:
    """Log of the discriminator's odds, averaged over the labels that the conditions stand for."""
    return labels.log_mean(np.stack([scores(pair, weights, unit, condition) for condition in conditions]))


def generate_unit(pair: Pair, weights: Weights, noise: Float[Array, "n z"], condition: Float[Array, "n c"]) -> Array:
    """Records in the unit cube from noise."""
    return 0.5 * (pair.generate(weights, noise, condition) + 1.0)


@functools.partial(jax.jit, static_argnames=("pair",))
def _generate(
    pair: Pair, weights: Weights, key: Array, rows: Int[Array, " n"], condition: Float[Array, "n c"]
) -> Float[Array, "n d"]:
    """Records in the unit cube; the noise of a row depends on the key and the row's number."""
    return generate_unit(pair, weights, row_noise(key, rows, pair.latent_dim), condition)


@functools.partial(jax.jit, static_argnames=("pair",))
def _score(
    pair: Pair, weights: Weights, unit: Float[Array, "n d"], condition: Float[Array, "n c"]
) -> Float[Array, " n"]:
    """Discriminator logits of records in the unit cube."""
    return pair.logit(weights, 2.0 * unit - 1.0, condition)
