"""A generative adversarial network on flat records: the plain target that membership attacks start from."""

from __future__ import annotations

import dataclasses
import functools
import os
from pathlib import Path
from typing import Any, final

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from mace_jax import _random, _validate
from mace_jax._types import FloatArray, Seed
from mace_jax.models import _files, _settings
from mace_jax.models.encoding import Labels, Scaling, ScalingKind
from mace_jax.models.layers import MLP, outputs
from mace_jax.models.train import AbstractTrainer, in_blocks, train

__all__ = ["GAN", "FittedGAN"]


@final
@dataclasses.dataclass(frozen=True)
class GAN:
    """Settings of a generative adversarial network of two multilayer perceptrons.

    The generator maps Gaussian noise to records; the discriminator learns to tell them from the training records
    (non-saturating loss, alternating Adam updates). A discriminator trained long on few records knows them: its logit
    is the membership score of Hayes et al. (2019).

    Args:
        latent_dim: Length of the noise vector.
        generator_hidden: Widths of the generator's hidden layers.
        discriminator_hidden: Widths of the discriminator's hidden layers.
        generator_learning_rate: Adam step size of the generator.
        discriminator_learning_rate: Adam step size of the discriminator.
        beta1: Adam's decay of the first moment, in [0, 1).
        batch_size: Records per update, drawn with replacement.
        real_target: Probability the discriminator should give to training records; below 1 keeps its logits finite.
        scaling: ``"per_column"`` scales each column by its own range (tables), ``"common"`` all by one (images).

    Raises:
        TypeError: a setting is of the wrong type.
        ValueError: a setting is out of range.

    References:
        Goodfellow et al. (2014), Generative adversarial nets. Salimans et al. (2016) for the one-sided target.

    Example:
        >>> fitted = GAN(latent_dim=2).fit([[0.0, 5.0], [1.0, 7.0], [0.5, 6.0]], steps=2, seed=0)
        >>> fitted.sample(4, seed=1).shape
        (4, 2)
    """

    latent_dim: int = 32
    generator_hidden: tuple[int, ...] = (256, 256)
    discriminator_hidden: tuple[int, ...] = (256, 128)
    generator_learning_rate: float = 1e-3
    discriminator_learning_rate: float = 5e-4
    beta1: float = 0.5
    batch_size: int = 64
    real_target: float = 0.9
    scaling: ScalingKind = "per_column"

    def __post_init__(self) -> None:
        """Check every setting; lists become tuples."""
        _validate.positive_int(latent_dim=self.latent_dim)
        _validate.positive_int(batch_size=self.batch_size)
        _settings.widths(self, "generator_hidden")
        _settings.widths(self, "discriminator_hidden")
        _settings.positive(generator_learning_rate=self.generator_learning_rate)
        _settings.positive(discriminator_learning_rate=self.discriminator_learning_rate)
        _validate.probability(beta1=self.beta1)
        if not 0.5 < self.real_target <= 1.0:
            raise ValueError(
                f"real_target={self.real_target!r} must lie in (0.5, 1]; pass for example real_target=0.9."
            )
        _settings.choice("scaling", self.scaling, ("per_column", "common"))

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON; ``GAN.from_dict`` reads them back."""
        return _settings.to_dict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> GAN:
        """Settings from ``to_dict``.

        Raises:
            ValueError: the dictionary is of another model or holds an unknown setting.
        """
        return cls(**_settings.from_dict(cls, values))

    def fit(
        self,
        records: Any,
        labels: Any = None,
        *,
        steps: int,
        seed: Seed,
        progress: bool = False,
        checkpoint_dir: str | os.PathLike[str] | None = None,
    ) -> FittedGAN:
        """Train on ``records``; the same seed gives the same weights on the same machine.

        Args:
            records: Training records, one per row, in any range; images are flattened.
            labels: One integer or string per record; makes both networks conditional on it.
            steps: Updates of the discriminator, each followed by one of the generator.
            seed: Seeds the initial weights and every batch.
            progress: Show a bar, if standard error is a terminal.
            checkpoint_dir: Keep the training state here. A run with the same arguments continues from it and ends
                with the weights of an uninterrupted run; a larger ``steps`` continues a finished one.

        Returns:
            The fitted model.

        Raises:
            TypeError: records or labels are not usable.
            ValueError: fewer than 2 records, NaN, or a checkpoint of another run.
            FloatingPointError: a loss became infinite or NaN.
        """
        values = _validate.finite(records=_validate.min_rows(2, records=_validate.as_records(records=records)))
        steps, seed = _validate.positive_int(steps=steps), _random.as_seed(seed)
        coding, one_hot = Labels.fit(labels, len(values))
        scaling = Scaling.fit(values, self.scaling)
        trained = train(
            _Trainer(self, values.shape[1], len(coding)),
            scaling.to_unit(values),
            one_hot,
            steps=steps,
            seed=seed,
            name="GAN",
            settings=self.to_dict(),
            progress=progress,
            checkpoint_dir=checkpoint_dir,
        )
        return FittedGAN(self, trained.parameters, scaling, coding, steps, seed, trained.history)


@final
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class FittedGAN:
    """A trained GAN: draws records and scores them.

    ``history`` has one row per chunk of training steps: last step, mean discriminator loss, mean generator loss.
    """

    settings: GAN
    parameters: dict[str, Any]
    scaling: Scaling
    labels: Labels
    steps: int
    seed: int
    history: tuple[tuple[float, ...], ...]

    def sample(self, n: int, *, seed: Seed, labels: Any = None) -> FloatArray:
        """Draw ``n`` synthetic records in the units of the training records.

        Args:
            n: Number of records; the first rows of a larger draw are the rows of a smaller one.
            seed: Seeds the noise; row i depends on the seed and on i alone.
            labels: One label per record for a conditional model; by default drawn in their training shares.

        Returns:
            Array ``(n, d)``.

        Raises:
            ValueError: ``n`` is below 1, or labels the model does not know.
        """
        n = _validate.positive_int(n=n)
        one_hot = self.labels.draw(n, seed) if labels is None else self.labels.one_hot(labels, n)
        generate = functools.partial(_generate, self._trainer, self.parameters, _random.key(seed, "sample"))
        return self.scaling.from_unit(in_blocks(generate, np.arange(n, dtype=np.int32), one_hot))

    def discriminator_score(self, records: Any, *, labels: Any = None) -> FloatArray:
        """Discriminator logit of each record, higher = judged more real; each record is scored alone.

        Args:
            records: Records with the columns of the training records.
            labels: Their labels, for a conditional model; without them the odds are averaged over all labels,
                weighted by training shares.

        Returns:
            Array ``(n,)``, unbounded.

        Raises:
            ValueError: NaN, another number of columns, or unknown labels.

        References:
            Hayes et al. (2019), LOGAN: Membership inference attacks against generative models.
        """
        values = _settings.model_records(records, len(self.scaling.low))
        unit = self.scaling.to_unit(values)
        score = functools.partial(_score, self._trainer, self.parameters)
        logits = np.stack([in_blocks(score, unit, one_hot) for one_hot in self.labels.candidates(labels, len(unit))])
        shares = np.ones(1) if len(logits) == 1 else np.asarray(self.labels.shares)
        return np.logaddexp.reduce(logits.astype(np.float64) + np.log(shares)[:, None], axis=0)

    def save(self, directory: str | os.PathLike[str]) -> Path:
        """Write the model into ``directory`` (one file, replaced atomically) and return the file's path."""
        return _files.save(self, directory)

    @classmethod
    def load(cls, directory: str | os.PathLike[str]) -> FittedGAN:
        """Read a model written by ``save``.

        Raises:
            FileNotFoundError: nothing was saved there.
            ValueError: the file is damaged or holds another kind of model.
        """
        return cls(**_files.load(directory, GAN, _Trainer))

    @property
    def _trainer(self) -> _Trainer:
        return _Trainer(self.settings, len(self.scaling.low), len(self.labels))

    def __repr__(self) -> str:
        return f"FittedGAN(features={len(self.scaling.low)}, labels={len(self.labels)}, steps={self.steps})"


@final
@dataclasses.dataclass(frozen=True)
class _Trainer(AbstractTrainer):
    """Alternating updates of discriminator and generator."""

    settings: GAN
    n_features: int
    n_labels: int

    @property
    def losses(self) -> tuple[str, ...]:
        return ("discriminator", "generator")

    def generate(self, parameters: Any, noise: Float[Array, "n z"], one_hot: Float[Array, "n c"]) -> Array:
        network = MLP((*self.settings.generator_hidden, self.n_features))
        return jnp.tanh(outputs(network, parameters["generator"], noise, one_hot))

    def logit(self, parameters: Any, records: Float[Array, "n d"], one_hot: Float[Array, "n c"]) -> Array:
        network = MLP((*self.settings.discriminator_hidden, 1))
        return outputs(network, parameters["discriminator"], records, one_hot)[:, 0]

    def optimizers(self) -> dict[str, optax.GradientTransformation]:
        rates = {
            "generator": self.settings.generator_learning_rate,
            "discriminator": self.settings.discriminator_learning_rate,
        }
        return {name: optax.adam(rate, b1=self.settings.beta1) for name, rate in rates.items()}

    def initial(self, key: Array) -> dict[str, Any]:
        settings = self.settings
        first, second = jax.random.split(key)
        noise = jnp.zeros((1, settings.latent_dim + self.n_labels), jnp.float32)
        record = jnp.zeros((1, self.n_features + self.n_labels), jnp.float32)
        parameters = {
            "generator": MLP((*settings.generator_hidden, self.n_features)).init(first, noise),
            "discriminator": MLP((*settings.discriminator_hidden, 1)).init(second, record),
        }
        moments = {name: adam.init(parameters[name]) for name, adam in self.optimizers().items()}
        return {"parameters": parameters, "optimizers": moments}

    def step(self, state: dict[str, Any], records: Array, one_hot: Array, key: Array) -> tuple[dict[str, Any], Array]:
        size, adam = self.settings.batch_size, self.optimizers()
        row_key, first_key, second_key = jax.random.split(key, 3)
        rows = jax.random.randint(row_key, (size,), 0, len(records), jnp.int32)
        real, condition = 2.0 * records[rows] - 1.0, one_hot[rows]
        parameters, moments = dict(state["parameters"]), dict(state["optimizers"])

        def update(name: str, loss: Any) -> Array:
            value, gradient = jax.value_and_grad(loss)(parameters[name])
            change, moments[name] = adam[name].update(gradient, moments[name], parameters[name])
            parameters[name] = optax.apply_updates(parameters[name], change)
            return value

        def fake(weights: Any, noise_key: Array) -> Array:
            noise = jax.random.normal(noise_key, (size, self.settings.latent_dim), jnp.float32)
            return self.generate({"generator": weights}, noise, condition)

        synthetic = fake(parameters["generator"], first_key)

        def discriminator_loss(weights: Any) -> Array:
            both = jnp.concatenate([real, synthetic]), jnp.concatenate([condition, condition])
            logits = self.logit({"discriminator": weights}, *both)
            target = jnp.where(jnp.arange(2 * size) < size, jnp.float32(self.settings.real_target), jnp.float32(0))
            return 2.0 * jnp.mean(optax.sigmoid_binary_cross_entropy(logits, target))

        losses = [update("discriminator", discriminator_loss)]

        def generator_loss(weights: Any) -> Array:
            return jnp.mean(jax.nn.softplus(-self.logit(parameters, fake(weights, second_key), condition)))

        losses.append(update("generator", generator_loss))
        return {"parameters": parameters, "optimizers": moments}, jnp.stack(losses)


@functools.partial(jax.jit, static_argnames=("trainer",))
def _generate(
    trainer: _Trainer, parameters: Any, key: Array, rows: Int[Array, " n"], one_hot: Float[Array, "n c"]
) -> Float[Array, "n d"]:
    """Records in the unit cube; the noise of a row depends on the key and the row's number."""
    size = (trainer.settings.latent_dim,)
    noise = jax.vmap(lambda row: jax.random.normal(jax.random.fold_in(key, row), size, jnp.float32))(rows)
    return 0.5 * (trainer.generate(parameters, noise, one_hot) + 1.0)


@functools.partial(jax.jit, static_argnames=("trainer",))
def _score(
    trainer: _Trainer, parameters: Any, unit: Float[Array, "n d"], one_hot: Float[Array, "n c"]
) -> Float[Array, " n"]:
    """Discriminator logits of records in the unit cube."""
    return trainer.logit(parameters, 2.0 * unit - 1.0, one_hot)
