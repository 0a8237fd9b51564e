"""A variational autoencoder on flat records: encodes, decodes and samples."""

from __future__ import annotations

import dataclasses
import functools
import math
import os
from pathlib import Path
from typing import Any, final

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jaxtyping import Array, Float, Int

from mace_jax import _random, _validate
from mace_jax._types import FloatArray, Seed
from mace_jax.models import _files, _settings
from mace_jax.models.encoding import Labels, Scaling, ScalingKind
from mace_jax.models.layers import Decoder, Encoder, outputs
from mace_jax.models.train import AbstractTrainer, in_blocks, train

__all__ = ["VAE", "FittedVAE"]


@final
@dataclasses.dataclass(frozen=True)
class VAE:
    """Settings of a variational autoencoder of two multilayer perceptrons.

    The encoder gives a Gaussian over latent codes, the decoder the mean of a Gaussian over records scaled to [0, 1].
    Records it was trained on are decoded more faithfully: minus the reconstruction error is the membership score of
    Hilprecht et al. (2019).

    Args:
        latent_dim: Length of the latent code.
        encoder_hidden: Widths of the encoder's hidden layers.
        decoder_hidden: Widths of the decoder's hidden layers.
        noise_sd: Standard deviation of the decoder's Gaussian, in scaled units (1 = a column's whole range).
        beta: Weight of the divergence term while training; 1 is the evidence lower bound, less overfits more.
        learning_rate: Adam step size.
        batch_size: Records per update, drawn with replacement.
        scaling: ``"per_column"`` scales each column by its own range (tables), ``"common"`` all by one (images).

    Raises:
        TypeError: a setting is of the wrong type.
        ValueError: a setting is out of range.

    References:
        Kingma and Welling (2014), Auto-encoding variational Bayes. Higgins et al. (2017) for ``beta``.

    Example:
        >>> fitted = VAE(latent_dim=2).fit([[0.0, 5.0], [1.0, 7.0], [0.5, 6.0]], steps=2, seed=0)
        >>> fitted.reconstruction_error([[0.0, 5.0]], seed=1).shape
        (1,)
    """

    latent_dim: int = 16
    encoder_hidden: tuple[int, ...] = (256, 128)
    decoder_hidden: tuple[int, ...] = (128, 256)
    noise_sd: float = 0.1
    beta: float = 1.0
    learning_rate: float = 1e-3
    batch_size: int = 64
    scaling: ScalingKind = "per_column"

    def __post_init__(self) -> None:
        """Check every setting; lists become tuples."""
        _validate.positive_int(latent_dim=self.latent_dim)
        _validate.positive_int(batch_size=self.batch_size)
        _settings.widths(self, "encoder_hidden")
        _settings.widths(self, "decoder_hidden")
        _settings.positive(noise_sd=self.noise_sd)
        _validate.non_negative(beta=self.beta)
        _settings.positive(learning_rate=self.learning_rate)
        _settings.choice("scaling", self.scaling, ("per_column", "common"))

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON; ``VAE.from_dict`` reads them back."""
        return _settings.to_dict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> VAE:
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
    ) -> FittedVAE:
        """Train on ``records``; the same seed gives the same weights on the same machine.

        Args:
            records: Training records, one per row, in any range; images are flattened.
            labels: One integer or string per record; makes both networks conditional on it.
            steps: Updates of encoder and decoder.
            seed: Seeds the initial weights, every batch and every latent draw.
            progress: Show a bar, if standard error is a terminal.
            checkpoint_dir: Keep the training state here. A run with the same arguments continues from it and ends
                with the weights of an uninterrupted run; a larger ``steps`` continues a finished one.

        Returns:
            The fitted model.

        Raises:
            TypeError: records or labels are not usable.
            ValueError: fewer than 2 records, NaN, or a checkpoint of another run.
            FloatingPointError: the loss became infinite or NaN.
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
            name="VAE",
            settings=self.to_dict(),
            progress=progress,
            checkpoint_dir=checkpoint_dir,
        )
        return FittedVAE(self, trained.parameters, scaling, coding, steps, seed, trained.history)


@final
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class FittedVAE:
    """A trained VAE: draws records, decodes given ones and bounds their log-likelihood.

    ``history`` has one row per chunk of training steps: last step, mean squared-error term, mean divergence term.
    """

    settings: VAE
    parameters: dict[str, Any]
    scaling: Scaling
    labels: Labels
    steps: int
    seed: int
    history: tuple[tuple[float, ...], ...]

    def sample(self, n: int, *, seed: Seed, labels: Any = None) -> FloatArray:
        """Decode ``n`` codes from the prior, without decoder noise, in the units of the training records.

        Args:
            n: Number of records; the first rows of a larger draw are the rows of a smaller one.
            seed: Seeds the codes; row i depends on the seed and on i alone.
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

    def reconstruction_error(self, records: Any, *, seed: Seed, labels: Any = None, n_draws: int = 64) -> FloatArray:
        """Mean squared distance between each record and its decodings, lower = better known.

        All records share the same latent noise, so that a record's error does not depend on the others.

        Args:
            records: Records with the columns of the training records.
            seed: Seeds the latent noise.
            labels: Their labels, for a conditional model; without them the label that fits best is taken.
            n_draws: Latent codes per record; a few hundred remove what noise is left.

        Returns:
            Array ``(n,)``: squared Euclidean distance with every column divided by its training range.

        Raises:
            ValueError: NaN, another number of columns, or unknown labels.

        References:
            Hilprecht et al. (2019), Monte Carlo and reconstruction membership inference attacks.
        """
        per_label = self._evaluate(records, labels, seed, n_draws)
        return np.min(per_label[..., 0], axis=0)

    def elbo(self, records: Any, *, seed: Seed, labels: Any = None, n_draws: int = 64) -> FloatArray:
        """Evidence lower bound of the log-density of each record, higher = more likely under the model.

        Args:
            records: Records with the columns of the training records.
            seed: Seeds the latent noise, which all records share.
            labels: Their labels, for a conditional model; without them densities are averaged over all labels,
                weighted by training shares.
            n_draws: Latent codes per record.

        Returns:
            Array ``(n,)`` in nats, of the density in scaled units (every column divided by its training range).

        Raises:
            ValueError: NaN, another number of columns, or unknown labels.
        """
        per_label = self._evaluate(records, labels, seed, n_draws)
        shares = np.ones(1) if len(per_label) == 1 else np.asarray(self.labels.shares)
        sd, n_features = self.settings.noise_sd, len(self.scaling.low)
        constant = -0.5 * n_features * math.log(2.0 * math.pi * sd * sd)
        bound = constant - per_label[..., 0] / (2.0 * sd * sd) - per_label[..., 1]
        return np.logaddexp.reduce(bound + np.log(shares)[:, None], axis=0)

    def save(self, directory: str | os.PathLike[str]) -> Path:
        """Write the model into ``directory`` (one file, replaced atomically) and return the file's path."""
        return _files.save(self, directory)

    @classmethod
    def load(cls, directory: str | os.PathLike[str]) -> FittedVAE:
        """Read a model written by ``save``.

        Raises:
            FileNotFoundError: nothing was saved there.
            ValueError: the file is damaged or holds another kind of model.
        """
        return cls(**_files.load(directory, VAE, _Trainer))

    def _evaluate(self, records: Any, labels: Any, seed: Seed, n_draws: int) -> FloatArray:
        """Squared error and divergence of every record under each label considered: ``(labels, n, 2)``."""
        values = _settings.model_records(records, len(self.scaling.low))
        unit = self.scaling.to_unit(values)
        size = (_validate.positive_int(n_draws=n_draws), self.settings.latent_dim)
        noise = jax.random.normal(_random.key(seed, "latent noise"), size, jnp.float32)
        evaluate = functools.partial(_evaluate, self._trainer, self.parameters, noise)
        conditions = self.labels.candidates(labels, len(unit))
        return np.stack([in_blocks(evaluate, unit, one_hot) for one_hot in conditions]).astype(np.float64)

    @property
    def _trainer(self) -> _Trainer:
        return _Trainer(self.settings, len(self.scaling.low), len(self.labels))

    def __repr__(self) -> str:
        return f"FittedVAE(features={len(self.scaling.low)}, labels={len(self.labels)}, steps={self.steps})"


@final
@dataclasses.dataclass(frozen=True)
class _Trainer(AbstractTrainer):
    """Ascent of the evidence lower bound with one latent draw per record."""

    settings: VAE
    n_features: int
    n_labels: int

    @property
    def losses(self) -> tuple[str, ...]:
        return ("reconstruction", "divergence")

    def encode(self, parameters: Any, records: Array, one_hot: Array) -> tuple[Array, Array]:
        network = Encoder(self.settings.encoder_hidden, self.settings.latent_dim)
        return outputs(network, parameters["encoder"], 2.0 * records - 1.0, one_hot)

    def decode(self, parameters: Any, codes: Float[Array, "n z"], one_hot: Float[Array, "n c"]) -> Array:
        network = Decoder(self.settings.decoder_hidden, self.n_features)
        return outputs(network, parameters["decoder"], codes, one_hot)

    def initial(self, key: Array) -> dict[str, Any]:
        settings = self.settings
        first, second = jax.random.split(key)
        record = jnp.zeros((1, self.n_features + self.n_labels), jnp.float32)
        code = jnp.zeros((1, settings.latent_dim + self.n_labels), jnp.float32)
        parameters = {
            "encoder": Encoder(settings.encoder_hidden, settings.latent_dim).init(first, record),
            "decoder": Decoder(settings.decoder_hidden, self.n_features).init(second, code),
        }
        return {"parameters": parameters, "optimizer": optax.adam(settings.learning_rate).init(parameters)}

    def step(self, state: dict[str, Any], records: Array, one_hot: Array, key: Array) -> tuple[dict[str, Any], Array]:
        settings = self.settings
        row_key, noise_key = jax.random.split(key)
        rows = jax.random.randint(row_key, (settings.batch_size,), 0, len(records), jnp.int32)
        batch, condition = records[rows], one_hot[rows]
        noise = jax.random.normal(noise_key, (settings.batch_size, settings.latent_dim), jnp.float32)

        def loss(parameters: Any) -> tuple[Array, Array]:
            mean, sd = self.encode(parameters, batch, condition)
            decoded = self.decode(parameters, mean + sd * noise, condition)
            reconstruction = jnp.mean(squared_error(batch, decoded)) / (2.0 * settings.noise_sd**2)
            divergence = jnp.mean(gaussian_divergence(mean, sd))
            return reconstruction + settings.beta * divergence, jnp.stack([reconstruction, divergence])

        (_, losses), gradient = jax.value_and_grad(loss, has_aux=True)(state["parameters"])
        change, moments = optax.adam(settings.learning_rate).update(gradient, state["optimizer"], state["parameters"])
        return {"parameters": optax.apply_updates(state["parameters"], change), "optimizer": moments}, losses


def squared_error(records: Float[Array, "n d"], decoded: Float[Array, "n d"]) -> Float[Array, " n"]:
    """Squared Euclidean distance per record."""
    return jnp.sum(jnp.square(records - decoded), axis=1)


def gaussian_divergence(mean: Float[Array, "n z"], sd: Float[Array, "n z"]) -> Float[Array, " n"]:
    """Kullback-Leibler divergence of N(mean, sd^2) from N(0, 1), summed over dimensions, in nats."""
    return 0.5 * jnp.sum(jnp.square(mean) + jnp.square(sd) - 2.0 * jnp.log(sd) - 1.0, axis=1)


@functools.partial(jax.jit, static_argnames=("trainer",))
def _generate(
    trainer: _Trainer, parameters: Any, key: Array, rows: Int[Array, " n"], one_hot: Float[Array, "n c"]
) -> Float[Array, "n d"]:
    """Records in the unit cube; the code of a row depends on the key and the row's number."""
    size = (trainer.settings.latent_dim,)
    codes = jax.vmap(lambda row: jax.random.normal(jax.random.fold_in(key, row), size, jnp.float32))(rows)
    return trainer.decode(parameters, codes, one_hot)


@functools.partial(jax.jit, static_argnames=("trainer",))
def _evaluate(
    trainer: _Trainer,
    parameters: Any,
    noise: Float[Array, "draws z"],
    unit: Float[Array, "n d"],
    one_hot: Float[Array, "n c"],
) -> Float[Array, "n 2"]:
    """Mean squared error over the latent draws, and the divergence of the code from the prior."""
    mean, sd = trainer.encode(parameters, unit, one_hot)

    def add(total: Array, draw: Array) -> tuple[Array, None]:
        codes = mean + sd * draw.reshape(1, -1)
        return total + squared_error(unit, trainer.decode(parameters, codes, one_hot)), None

    total, _ = lax.scan(add, jnp.zeros(len(unit), jnp.float32), noise)
    return jnp.stack([total / len(noise), gaussian_divergence(mean, sd)], axis=1)
