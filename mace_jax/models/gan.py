"""A generative adversarial network: the plain target that membership attacks start from."""

from __future__ import annotations

import dataclasses
import os
from typing import Any, final

import numpy as np
from jaxtyping import Array

from mace_jax import _validate
from mace_jax._types import FloatArray, Seed
from mace_jax.models import adversarial
from mace_jax.models._base import AbstractDecoder, AbstractSettings
from mace_jax.models.encoding import Labels, Scaling, ScalingKind
from mace_jax.models.gan_trainer import GANTrainer
from mace_jax.models.networks import AbstractNetworks

__all__ = ["GAN", "FittedGAN"]


@final
@dataclasses.dataclass(frozen=True)
class GAN(AbstractSettings):
    """Settings of a generative adversarial network, by default of two multilayer perceptrons.

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
        networks: ``ConvNetworks``, ``DCGANNetworks`` or ``MLPNetworks``; None for multilayer perceptrons of the
            widths above.
        adam_eps: Adam's term against division by zero.

    Raises:
        TypeError: a setting is of the wrong type.
        ValueError: a setting is out of range, or widths are given beside ``networks``.

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
    networks: AbstractNetworks | None = None
    adam_eps: float = 1e-8

    def __post_init__(self) -> None:
        """Check every setting; lists become tuples."""
        adversarial.check(self)
        adversarial.real_target(self.real_target)

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
            devices: Devices that share each batch; ``batch_size`` must be a multiple. The weights then differ by
                rounding.

        Returns:
            The fitted model.

        Raises:
            TypeError: records or labels are not usable.
            ValueError: fewer than 2 records, NaN, records the networks do not fit, more devices than there are, or a
                checkpoint of another run.
            FloatingPointError: a loss became infinite or NaN.
        """
        data = adversarial.encoded(self, records, labels, steps=steps, seed=seed)
        trainer = GANTrainer(self, data.unit.shape[1], len(data.labels))
        trained = self._train(trainer, data, progress=progress, checkpoint_dir=checkpoint_dir, devices=devices)
        fitted = data.scaling, data.labels, data.steps, data.seed, trained.history
        return FittedGAN(self, trained.parameters, *fitted)


@final
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class FittedGAN(AbstractDecoder):
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
        one_hot = self.labels.given_or_drawn(labels, n, seed)
        rows = np.arange(n, dtype=np.int32)
        return self.scaling.from_unit(
            adversarial.draw(self._trainer.pair, self.parameters["generator"], seed, rows, one_hot)
        )

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
        unit = self._unit(records)
        pair, weights = self._trainer.pair, self.parameters["discriminator"]
        return adversarial.odds(pair, weights, unit, self.labels.candidates(labels, len(unit)), self.labels)

    def _decode_unit(self, noise: Array, one_hot: Array) -> Array:
        return adversarial.generate_unit(self._trainer.pair, self.parameters["generator"], noise, one_hot)

    @classmethod
    def _origin(cls) -> tuple[Any, Any, tuple[str, ...]]:
        return GAN, GANTrainer, ()

    @property
    def _trainer(self) -> GANTrainer:
        return GANTrainer(self.settings, len(self.scaling.low), len(self.labels))

    def __repr__(self) -> str:
        return f"FittedGAN(features={len(self.scaling.low)}, labels={len(self.labels)}, steps={self.steps})"
