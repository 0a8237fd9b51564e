"""privGAN: several GANs on disjoint parts of the records, kept alike by a discriminator of generators."""

from __future__ import annotations

import dataclasses
import os
from typing import Any, final

import jax
import numpy as np

from mace_jax import _validate
from mace_jax._types import FloatArray, Seed
from mace_jax.models import _settings, adversarial
from mace_jax.models import parts as _parts
from mace_jax.models._base import AbstractFitted, AbstractSettings
from mace_jax.models.classifier import Updates, part_logits
from mace_jax.models.encoding import Labels, Scaling, ScalingKind
from mace_jax.models.networks import AbstractNetworks
from mace_jax.models.privgan_trainer import PrivGANTrainer

__all__ = ["FittedPrivGAN", "PrivGAN"]


@final
@dataclasses.dataclass(frozen=True)
class PrivGAN(AbstractSettings):
    """Settings of privGAN: N pairs of generator and discriminator and one discriminator of generators.

    The records are split at random into N parts; pair i sees part i alone. A privacy discriminator D_p learns to tell
    which generator made a record, and every generator also minimizes ``privacy_ratio`` times the cross-entropy of D_p
    to a random other generator. At the best discriminators the generators minimize
    ``sum_i 2 JSD(p_i || g_i) + privacy_ratio N JSD(g_1, ..., g_N)``: what only one part teaches is suppressed.
    ``privacy_ratio=0`` trains N independent GANs.

    In every step all generators get the same noise; first each discriminator, then D_p (from step ``privacy_delay``
    on), then each generator moves; with ``updates="together"`` D_p and generators move against each other as they were,
    which saves a pass through D_p. The penalty acts from the first step, through a D_p that was trained on the real
    parts for ``privacy_pretraining`` steps.

    Args:
        n_pairs: Number N of parts, generators and discriminators, at least 2.
        privacy_ratio: Weight of the penalty; 0 means none.
        privacy_delay: Step from which D_p learns from synthetic records.
        privacy_pretraining: Updates of D_p on the real parts before the first step.
        latent_dim: Length of the noise vector.
        generator_hidden: Widths of each generator's hidden layers.
        discriminator_hidden: Widths of the hidden layers of each discriminator and of D_p.
        generator_learning_rate: Adam step size of the generators.
        discriminator_learning_rate: Adam step size of the discriminators.
        privacy_learning_rate: Adam step size of D_p.
        updates: ``"in_turn"`` is the published order; ``"together"`` is the faster one.
        beta1: Adam's decay of the first moment, in [0, 1).
        batch_size: Records per update of each pair, drawn with replacement from its part.
        real_target: Probability a discriminator should give to training records.
        scaling: ``"per_column"`` scales each column by its own range (tables), ``"common"`` all by one (images).
        networks: ``ConvNetworks`` or ``MLPNetworks``; None for multilayer perceptrons of the widths above.
        adam_eps: Adam's term against division by zero.

    Raises:
        TypeError: a setting is of the wrong type.
        ValueError: a setting is out of range, or the networks normalize batches.

    References:
        Mukherjee et al. (2021), privGAN: Protecting GANs from membership inference attacks at low cost to utility.

    Example:
        >>> fitted = PrivGAN(latent_dim=2, privacy_pretraining=1).fit([[0.0], [1.0], [0.5], [0.2]], steps=2, seed=0)
        >>> fitted.discriminator_score([[0.3]], reduce="none").shape
        (1, 2)
    """

    n_pairs: int = 2
    privacy_ratio: float = 1.0
    privacy_delay: int = 200
    privacy_pretraining: int = 200
    latent_dim: int = 32
    generator_hidden: tuple[int, ...] = (256, 256)
    discriminator_hidden: tuple[int, ...] = (256, 128)
    generator_learning_rate: float = 1e-3
    discriminator_learning_rate: float = 5e-4
    privacy_learning_rate: float = 5e-4
    updates: Updates = "in_turn"
    beta1: float = 0.5
    batch_size: int = 64
    real_target: float = 0.95
    scaling: ScalingKind = "per_column"
    networks: AbstractNetworks | None = None
    adam_eps: float = 1e-8

    def __post_init__(self) -> None:
        """Check every setting; lists become tuples."""
        _validate.positive_int(minimum=2, n_pairs=self.n_pairs)
        _validate.non_negative(privacy_ratio=self.privacy_ratio)
        _validate.positive_int(minimum=0, privacy_delay=self.privacy_delay)
        _validate.positive_int(minimum=0, privacy_pretraining=self.privacy_pretraining)
        _settings.positive(privacy_learning_rate=self.privacy_learning_rate)
        _settings.choice("updates", self.updates, ("in_turn", "together"))
        adversarial.check(self)
        adversarial.real_target(self.real_target)
        adversarial.no_batch_norm(self)

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
    ) -> FittedPrivGAN:
        """Train on ``records``; the same seed gives the same weights on the same machine.

        Args:
            records: Training records, one per row, in any range; images are flattened.
            labels: One integer or string per record; makes all networks conditional on it. Every label is spread
                evenly over the parts.
            steps: Updates of every discriminator, each followed by one of its generator; D_p's pre-training comes on
                top. Compare models at equal numbers of discriminator updates: a GAN of as many epochs has N times as
                many.
            seed: Seeds the split, the initial weights and every batch.
            progress: Show a bar, if standard error is a terminal.
            checkpoint_dir: Keep the training state here. A run with the same arguments continues from it and ends
                with the weights of an uninterrupted run; a larger ``steps`` continues a finished one.
            devices: Devices that share each batch; ``batch_size`` must be a multiple. The weights then differ by
                rounding.

        Returns:
            The fitted model, which records the split.

        Raises:
            TypeError: records or labels are not usable.
            ValueError: fewer than 2 records per part, a label with fewer records than parts, NaN, records the
                networks do not fit, more devices than there are, or a checkpoint of another run.
            FloatingPointError: a loss became infinite or NaN.
        """
        data = adversarial.encoded(self, records, labels, steps=steps, seed=seed, min_records=2 * self.n_pairs)
        parts, data = _parts.dealt(data, self.n_pairs)
        trainer = PrivGANTrainer(self, data.unit.shape[1], len(data.labels))
        trained = self._train(trainer, data, progress=progress, checkpoint_dir=checkpoint_dir, devices=devices)
        fitted = data.scaling, data.labels, data.steps, data.seed, trained.history
        return FittedPrivGAN(self, trained.parameters, *fitted, parts)


@final
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class FittedPrivGAN(AbstractFitted):
    """A trained privGAN: draws records and scores them.

    ``parts`` has the part of every training record, in their order. ``history`` has one row per chunk of training
    steps: last step, mean discriminator loss and mean generator loss without penalty (both averaged over pairs), and
    the cross-entropy of D_p on synthetic records, at most log N when D_p learns nothing.
    """

    settings: PrivGAN
    parameters: dict[str, Any]
    scaling: Scaling
    labels: Labels
    steps: int
    seed: int
    history: tuple[tuple[float, ...], ...]
    parts: np.ndarray

    def sample(self, n: int, *, seed: Seed, labels: Any = None) -> FloatArray:
        """Draw ``n`` synthetic records in the units of the training records, in equal numbers from all generators.

        Args:
            n: Number of records; the first rows of a larger draw are the rows of a smaller one. Every block of N rows
                has one row of each generator, in random order.
            seed: Seeds the noise; row i depends on the seed and on i alone.
            labels: One label per record for a conditional model; by default drawn in their training shares.

        Returns:
            Array ``(n, d)``.

        Raises:
            ValueError: ``n`` is below 1, or labels the model does not know.
        """
        n = _validate.positive_int(n=n)
        one_hot = self.labels.given_or_drawn(labels, n, seed)
        pairs = _parts.assigned(seed, n, self.settings.n_pairs)
        unit = np.empty((n, len(self.scaling.low)), np.float32)
        for pair in np.unique(pairs):
            rows = np.flatnonzero(pairs == pair).astype(np.int32)
            weights = self._weights("generator", pair)
            unit[rows] = adversarial.draw(self._trainer.pair, weights, seed, rows, one_hot[rows])
        return self.scaling.from_unit(unit)

    def discriminator_score(
        self, records: Any, *, labels: Any = None, reduce: _parts.Reduce = "mean", scale: _parts.Scale = "logit"
    ) -> FloatArray:
        """How real the discriminators judge each record, higher = more real; each record is scored alone.

        A training record is known to the discriminator of its own part only, so the maximum can reveal more than the
        mean: report both. Published figures of the mean average probabilities, ``scale="probability"``; by default
        logits are averaged, because probabilities in float32 are rounded to 1 and tie.

        Args:
            records: Records with the columns of the training records.
            labels: Their labels, for a conditional model; without them each discriminator's odds are averaged over
                all labels, weighted by training shares.
            reduce: ``"mean"`` or ``"max"`` over the discriminators, or ``"none"`` for one column each.
            scale: ``"logit"`` (unbounded) or ``"probability"`` (in [0, 1]).

        Returns:
            Array ``(n,)``, or ``(n, N)`` with ``reduce="none"``.

        Raises:
            ValueError: NaN, another number of columns, unknown labels, or an unknown choice.

        References:
            Mukherjee et al. (2021). Hayes et al. (2019), LOGAN.
        """
        unit = self._unit(records)
        candidates = self.labels.candidates(labels, len(unit))
        pairs = (self._weights("discriminator", pair) for pair in range(self.settings.n_pairs))
        logits = [adversarial.odds(self._trainer.pair, weights, unit, candidates, self.labels) for weights in pairs]
        return _parts.reduced(np.stack(logits), reduce, scale)

    def part_logits(self, records: Any, *, labels: Any = None) -> FloatArray:
        """Logits of the privacy discriminator: which generator it thinks made each record.

        Args:
            records: Records with the columns of the training records.
            labels: Their labels, which a conditional model needs.

        Returns:
            Array ``(n, N)``; the softmax of a row is D_p's law over generators.

        Raises:
            ValueError: NaN, another number of columns, or labels that are missing or unknown.
        """
        unit = self._unit(records)
        one_hot = self.labels.required(labels, len(unit))
        return part_logits(self._trainer.classifier, self.parameters["privacy"], unit, one_hot)

    @classmethod
    def _origin(cls) -> tuple[Any, Any, tuple[str, ...]]:
        return PrivGAN, PrivGANTrainer, ("parts",)

    @property
    def _trainer(self) -> PrivGANTrainer:
        return PrivGANTrainer(self.settings, len(self.scaling.low), len(self.labels))

    def _weights(self, network: str, pair: int) -> Any:
        """Weights of one pair's network."""
        return jax.tree.map(lambda leaf: leaf[pair], self.parameters[network])

    def __repr__(self) -> str:
        return (
            f"FittedPrivGAN(pairs={self.settings.n_pairs}, features={len(self.scaling.low)}, "
            f"labels={len(self.labels)}, steps={self.steps})"
        )
