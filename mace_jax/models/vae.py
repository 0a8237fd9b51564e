"""A variational autoencoder, dense or convolutional: encodes, decodes and samples."""

from __future__ import annotations

import dataclasses
import functools
import math
import os
from typing import Any, Literal, final

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from mace_jax import _random, _validate
from mace_jax._types import FloatArray, Seed
from mace_jax.models import _settings
from mace_jax.models._base import AbstractDecoder, AbstractSettings
from mace_jax.models._training_data import training_data
from mace_jax.models.encoding import Labels, Scaling, ScalingKind
from mace_jax.models.train import in_blocks
from mace_jax.models.vae_apply import decode_rows, encode_rows, evaluate_rows, generate_rows
from mace_jax.models.vae_layers import Activation, Initializer
from mace_jax.models.vae_shapes import check_image, check_width
from mace_jax.models.vae_trainer import VAETrainer

__all__ = ["VAE", "FittedVAE"]


@final
@dataclasses.dataclass(frozen=True)
class VAE(AbstractSettings):
    """Settings of a variational autoencoder of two multilayer perceptrons, or of two small convolutional networks.

    The encoder gives a Gaussian over latent codes, the decoder the mean m of a law over records x scaled to [0, 1]:
    Gaussian, log p = -|x - m|^2 / (2 sd^2) + const, or Bernoulli, log p = sum x log m + (1 - x) log(1 - m). Training
    raises E log p(x | z) - beta KL(q(z | x) || N(0, I)). Records it was trained on are decoded more faithfully: minus
    the reconstruction error is the membership score of Hilprecht et al. (2019).

    Args:
        latent_dim: Length of the latent code.
        encoder_hidden: Widths of the encoder's hidden layers; with ``image_shape`` channels of its convolutions.
        decoder_hidden: Widths of the decoder's hidden layers; with ``image_shape`` channels of its convolutions.
        likelihood: ``"gaussian"``, or ``"bernoulli"`` for gray pixels (use ``scaling="common"`` with it).
        activation: ``"leaky_relu"``, ``"elu"``, ``"tanh"``, or ``"elu_tanh"``: ELU in the hidden layer next to the
            record, tanh in the others.
        initializer: ``"glorot_uniform"`` or ``"variance_scaling"`` (truncated normal of variance 2 / inputs).
        dropout: Share of hidden units switched off at random while training.
        image_shape: Height, width and channels of each record, to use convolutions of stride 2; both sides must be
            multiples of 2 to the number of hidden layers.
        noise_sd: Standard deviation of the decoder's Gaussian, in scaled units (1 = a column's whole range); unused by
            ``"bernoulli"``.
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
    likelihood: Literal["gaussian", "bernoulli"] = "gaussian"
    activation: Activation = "leaky_relu"
    initializer: Initializer = "glorot_uniform"
    dropout: float = 0.0
    image_shape: tuple[int, int, int] | None = None
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
        _settings.choice("likelihood", self.likelihood, ("gaussian", "bernoulli"))
        _settings.choice("activation", self.activation, ("leaky_relu", "elu", "tanh", "elu_tanh"))
        _settings.choice("initializer", self.initializer, ("glorot_uniform", "variance_scaling"))
        _validate.probability(dropout=self.dropout)
        if self.image_shape is not None:
            check_image(self)

    def fit(
        self,
        records: Any,
        labels: Any = None,
        *,
        steps: int,
        seed: Seed,
        progress: bool = False,
        checkpoint_dir: str | os.PathLike[str] | None = None,
        devices: int = 1,
    ) -> FittedVAE:
        """Train on ``records``; the same seed gives the same weights on the same machine.

        Args:
            records: Training records, one per row, in any range; images are flattened.
            labels: One integer or string per record; makes both networks conditional on it.
            steps: Updates of encoder and decoder.
            seed: Seeds the initial weights, every batch and every latent draw.
            progress: Show a bar, if standard error is a terminal.
            checkpoint_dir: Keep the training state and ``history.jsonl`` here. A run with the same arguments continues
                from it and ends with the weights of an uninterrupted run; a larger ``steps`` continues a finished one.
            devices: Devices that share each batch; ``batch_size`` must be a multiple. The weights then differ by
                rounding.

        Returns:
            The fitted model.

        Raises:
            TypeError: records or labels are not usable.
            ValueError: fewer than 2 records, NaN, records that are not images of ``image_shape``, more devices than
                there are, or a checkpoint of another run.
            FloatingPointError: the loss became infinite or NaN.
        """
        width = functools.partial(check_width, self)
        data = training_data(records, labels, scaling=self.scaling, check_width=width, steps=steps, seed=seed)
        trainer = VAETrainer(self, data.unit.shape[1], len(data.labels))
        trained = self._train(trainer, data, progress=progress, checkpoint_dir=checkpoint_dir, devices=devices)
        fitted = data.scaling, data.labels, data.steps, data.seed, trained.history
        return FittedVAE(self, trained.parameters, *fitted)


@final
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class FittedVAE(AbstractDecoder):
    """A trained VAE: draws records, decodes given ones and bounds their log-likelihood.

    ``history`` has one row per chunk of training steps: last step, mean reconstruction term, mean divergence term.
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
        one_hot = self.labels.given_or_drawn(labels, n, seed)
        generate = functools.partial(generate_rows, self._trainer, self.parameters, _random.key(seed, "sample"))
        return self.scaling.from_unit(in_blocks(generate, np.arange(n, dtype=np.int32), one_hot))

    def encode(self, records: Any, labels: Any = None) -> FloatArray:
        """Mean latent code of each record.

        Args:
            records: Records with the columns of the training records.
            labels: Their labels, needed by a conditional model.

        Returns:
            Array ``(n, latent_dim)``.

        Raises:
            ValueError: NaN, another number of columns, or missing or unknown labels.
        """
        unit = self._unit(records)
        encode = functools.partial(encode_rows, self._trainer, self.parameters)
        return in_blocks(encode, unit, self.labels.required(labels, len(unit))).astype(np.float64)

    def decode(self, codes: Any, labels: Any = None) -> FloatArray:
        """Decode latent codes, without decoder noise, in the units of the training records.

        Args:
            codes: One row of ``latent_dim`` numbers per record.
            labels: One label per code, needed by a conditional model.

        Returns:
            Array ``(n, d)``.

        Raises:
            ValueError: NaN, another number of columns, or missing or unknown labels.
        """
        values = _validate.finite(codes=_validate.min_rows(1, codes=_validate.as_records(codes=codes)))
        if values.shape[1] != self.settings.latent_dim:
            raise ValueError(
                f"codes has {values.shape[1]} columns but latent_dim is {self.settings.latent_dim}; pass that many."
            )
        decode = functools.partial(decode_rows, self._trainer, self.parameters)
        return self.scaling.from_unit(
            in_blocks(decode, values.astype(np.float32), self.labels.required(labels, len(values)))
        )

    def reconstruction_error(self, records: Any, *, seed: Seed, labels: Any = None, n_draws: int = 64) -> FloatArray:
        """Mean squared distance between each record and its decodings, lower = better known.

        The score is (1/r) sum_j |x - dec(z_j)|^2 with r draws z_j from q(z | x), and no dropout.

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

        E log p(x | z) - KL(q(z | x) || N(0, I)), with the Gaussian's constant. For gray pixels the Bernoulli law is
        not a density (its integral over [0, 1] is not 1): bounds are then comparable with each other only.

        Args:
            records: Records with the columns of the training records.
            seed: Seeds the latent noise, which all records share.
            labels: Their labels, for a conditional model; without them densities are averaged over all labels,
                weighted by training shares.
            n_draws: Latent codes per record.

        Returns:
            Array ``(n,)`` in nats, of the density in scaled units (every column divided by its training range).

        Raises:
            ValueError: NaN, another number of columns, unknown labels, or with a Bernoulli law records outside the
                range of the training records.
        """
        per_label = self._evaluate(records, labels, seed, n_draws)
        constant = 0.0
        if self.settings.likelihood == "gaussian":
            constant = -0.5 * len(self.scaling.low) * math.log(2.0 * math.pi * self.settings.noise_sd**2)
        else:
            self._check_gray(records)
        return self.labels.log_mean(constant - per_label[..., 1] - per_label[..., 2])

    def _decode_unit(self, noise: Array, one_hot: Array) -> Array:
        return self._trainer.decode(self.parameters, noise, one_hot)

    @classmethod
    def _origin(cls) -> tuple[Any, Any, tuple[str, ...]]:
        return VAE, VAETrainer, ()

    def _evaluate(self, records: Any, labels: Any, seed: Seed, n_draws: int) -> FloatArray:
        """Squared error, cost and divergence of every record under each label considered: ``(labels, n, 3)``."""
        unit = self._unit(records)
        size = (_validate.positive_int(n_draws=n_draws), self.settings.latent_dim)
        noise = jax.random.normal(_random.key(seed, "latent noise"), size, jnp.float32)
        evaluate = functools.partial(evaluate_rows, self._trainer, self.parameters, noise)
        conditions = self.labels.candidates(labels, len(unit))
        return np.stack([in_blocks(evaluate, unit, one_hot) for one_hot in conditions]).astype(np.float64)

    def _check_gray(self, records: Any) -> None:
        """A Bernoulli law knows values between 0 and 1 only."""
        unit = self._unit(records)
        outside = ((unit < 0.0) | (unit > 1.0)).any(axis=1)
        if outside.any():
            raise ValueError(
                f"records has {int(outside.sum())} of {len(unit)} rows outside the range of the training records, "
                "where a Bernoulli law has no likelihood; clip them to it, or use reconstruction_error."
            )

    @property
    def _trainer(self) -> VAETrainer:
        return VAETrainer(self.settings, len(self.scaling.low), len(self.labels))

    def __repr__(self) -> str:
        return f"FittedVAE(features={len(self.scaling.low)}, labels={len(self.labels)}, steps={self.steps})"
