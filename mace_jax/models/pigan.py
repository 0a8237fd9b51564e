"""PIGAN: one generator for several parts of the records, penalized for what its output tells about the part."""

from __future__ import annotations

import dataclasses
import os
from typing import Any, Literal, final

import jax
import numpy as np

from mace_jax import _validate
from mace_jax._types import FloatArray, Seed
from mace_jax.models import _settings, adversarial
from mace_jax.models import parts as _parts
from mace_jax.models._base import AbstractFitted, AbstractSettings
from mace_jax.models.classifier import Updates, part_logits
from mace_jax.models.encoding import Labels, Scaling, ScalingKind
from mace_jax.models.losses import Penalty
from mace_jax.models.networks import AbstractNetworks
from mace_jax.models.pigan_trainer import PIGANTrainer

__all__ = ["PIGAN", "Discriminators", "FittedPIGAN"]

Discriminators = Literal["per_part", "shared"]
"""Whether every part of the records has a discriminator of its own."""


@final
@dataclasses.dataclass(frozen=True)
class PIGAN(AbstractSettings):
    """Settings of a GAN regularized by the information its records hold about a part of the training records.

    The records are split at random into N parts. One generator gets the part's code c as an input, the discriminator
    judges by the code, and a membership classifier Q learns from synthetic records alone to tell their part. The game
    is ``min_G max_{D, Q} E log D(x, c) + E log(1 - D(G(z, c), c)) + privacy_ratio E log Q(c | G(z, c))``: at the best
    D and Q the generator minimizes ``2 mean_c JSD(p_c || g_c) + privacy_ratio JSD(g_1, ..., g_N)``, the second term
    being the mutual information of a synthetic record and its part. ``privacy_ratio=0`` trains N generators that
    share weights; a large one makes their laws equal. Its scale is privGAN's; what it saves are N - 1 generators and
    N - 1 discriminator batches: each step takes one batch, of which every part has an Nth. After the
    discriminators Q moves, then the generator against the new Q. With ``updates="together"`` both move against each
    other as they were, as in InfoGAN: one pass through Q serves both, a step takes about a twelfth less time, and the
    same weight hides less (Fashion-MNIST, one seed: see ``mace-jax reproduce white-box-fashion-mnist``).

    Where D(x, c) is one network with the code as an input, it knows the members of all parts whatever the code, and
    its scores tell them nearly as well as those of a plain GAN. One network per part knows the members of its part
    only; the penalty, which makes the generator imitate all parts under every code, teaches it to refuse the others.

    Args:
        n_parts: Number N of parts, at least 2.
        privacy_ratio: Weight of the penalty; 0 means none, and no gradient passes from Q to the generator.
        penalty: ``"info"`` is the game above, whose gradient fades when Q is sure; ``"uniform"`` (cross-entropy of Q
            to the uniform law) and ``"other"`` (to one random other part) have the same optimum without fading.
        discriminators: ``"per_part"`` gives every part a network of its own, ``"shared"`` one network the code.
        classifier_pretraining: Updates of Q on the real parts before the first step.
        latent_dim: Length of the noise vector.
        generator_hidden: Widths of the generator's hidden layers.
        discriminator_hidden: Widths of the hidden layers of the discriminator and of Q.
        generator_learning_rate: Adam step size of the generator.
        discriminator_learning_rate: Adam step size of the discriminator.
        classifier_learning_rate: Adam step size of Q.
        updates: ``"in_turn"`` or, faster, ``"together"``; see above.
        beta1: Adam's decay of the first moment, in [0, 1).
        batch_size: Records per update, drawn with replacement; equally many of each part, so a multiple of their
            number, or of random parts for a shared discriminator.
        real_target: Probability the discriminator should give to training records.
        scaling: ``"per_column"`` scales each column by its own range (tables), ``"common"`` all by one (images).
        networks: ``ConvNetworks`` or ``MLPNetworks``; None for multilayer perceptrons of the widths above.
        adam_eps: Adam's term against division by zero.

    Raises:
        TypeError: a setting is of the wrong type.
        ValueError: a setting is out of range, the batch cannot be shared by the parts, or the networks normalize
            batches.

    References:
        Hassanzadeh and Tillman (2022), Generative models with information-theoretic protection against membership
        inference attacks; the losses here follow from its regularizer, not from its code. Chen et al. (2016),
        InfoGAN, for the information term.

    Example:
        >>> fitted = PIGAN(latent_dim=2).fit([[0.0], [1.0], [0.5], [0.2]], steps=2, seed=0)
        >>> fitted.sample(3, seed=1).shape
        (3, 1)
    """

    n_parts: int = 2
    privacy_ratio: float = 1.0
    penalty: Penalty = "other"
    discriminators: Discriminators = "per_part"
    classifier_pretraining: int = 0
    latent_dim: int = 32
    generator_hidden: tuple[int, ...] = (256, 256)
    discriminator_hidden: tuple[int, ...] = (256, 128)
    generator_learning_rate: float = 1e-3
    discriminator_learning_rate: float = 5e-4
    classifier_learning_rate: float = 5e-4
    updates: Updates = "in_turn"
    beta1: float = 0.5
    batch_size: int = 64
    real_target: float = 0.9
    scaling: ScalingKind = "per_column"
    networks: AbstractNetworks | None = None
    adam_eps: float = 1e-8

    def __post_init__(self) -> None:
        """Check every setting; lists become tuples."""
        _validate.positive_int(minimum=2, n_parts=self.n_parts)
        _validate.non_negative(privacy_ratio=self.privacy_ratio)
        _settings.choice("penalty", self.penalty, ("info", "uniform", "other"))
        _settings.choice("discriminators", self.discriminators, ("per_part", "shared"))
        _validate.positive_int(minimum=0, classifier_pretraining=self.classifier_pretraining)
        _settings.positive(classifier_learning_rate=self.classifier_learning_rate)
        _settings.choice("updates", self.updates, ("in_turn", "together"))
        adversarial.check(self)
        if self.discriminators == "per_part" and self.batch_size % self.n_parts:
            raise ValueError(
                f"batch_size={self.batch_size} cannot be shared equally by n_parts={self.n_parts}; pass a multiple of "
                "it, or discriminators='shared'."
            )
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
    ) -> FittedPIGAN:
        """Train on ``records``; the same seed gives the same weights on the same machine.

        Args:
            records: Training records, one per row, in any range; images are flattened.
            labels: One integer or string per record; makes all networks conditional on it. Every label is spread
                evenly over the parts.
            steps: Updates of the discriminator, each followed by one of Q and one of the generator.
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
        data = adversarial.encoded(self, records, labels, steps=steps, seed=seed, min_records=2 * self.n_parts)
        parts, data = _parts.dealt(data, self.n_parts)
        trainer = PIGANTrainer(self, data.unit.shape[1], len(data.labels))
        trained = self._train(trainer, data, progress=progress, checkpoint_dir=checkpoint_dir, devices=devices)
        fitted = data.scaling, data.labels, data.steps, data.seed, trained.history
        return FittedPIGAN(self, trained.parameters, *fitted, parts)


@final
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class FittedPIGAN(AbstractFitted):
    """A trained PIGAN: draws records from the mixture over parts and scores given ones.

    ``parts`` has the part of every training record, in their order. ``history`` has one row per chunk of training
    steps: last step, mean discriminator loss, mean generator loss without penalty, and the cross-entropy of Q on
    synthetic records, at most log N when they tell nothing about their part.
    """

    settings: PIGAN
    parameters: dict[str, Any]
    scaling: Scaling
    labels: Labels
    steps: int
    seed: int
    history: tuple[tuple[float, ...], ...]
    parts: np.ndarray

    def sample(self, n: int, *, seed: Seed, labels: Any = None) -> FloatArray:
        """Draw ``n`` synthetic records in the units of the training records, in equal numbers from all parts.

        Args:
            n: Number of records; the first rows of a larger draw are the rows of a smaller one. Every block of N rows
                has one row of each part, in random order; the codes themselves are not released.
            seed: Seeds noise and codes; row i depends on the seed and on i alone.
            labels: One label per record for a conditional model; by default drawn in their training shares.

        Returns:
            Array ``(n, d)``.

        Raises:
            ValueError: ``n`` is below 1, or labels the model does not know.
        """
        n = _validate.positive_int(n=n)
        one_hot = self.labels.given_or_drawn(labels, n, seed)
        condition = self._with_code(_parts.assigned(seed, n, self.settings.n_parts), one_hot)
        rows = np.arange(n, dtype=np.int32)
        return self.scaling.from_unit(
            adversarial.draw(self._trainer.pair, self.parameters["generator"], seed, rows, condition)
        )

    def discriminator_score(
        self, records: Any, *, labels: Any = None, reduce: _parts.Reduce = "mean", scale: _parts.Scale = "logit"
    ) -> FloatArray:
        """How real the discriminator judges each record as one of each part, higher = more real.

        A training record was seen as one of its own part only, so the maximum can reveal more than the mean: report
        both. By default logits are averaged, because probabilities in float32 are rounded to 1 and tie. Each
        record is scored alone.

        Args:
            records: Records with the columns of the training records.
            labels: Their labels, for a conditional model; without them the odds under each code are averaged over
                all labels, weighted by training shares.
            reduce: ``"mean"`` or ``"max"`` over the codes, or ``"none"`` for one column each.
            scale: ``"logit"`` (unbounded) or ``"probability"`` (in [0, 1]).

        Returns:
            Array ``(n,)``, or ``(n, N)`` with ``reduce="none"``.

        Raises:
            ValueError: NaN, another number of columns, unknown labels, or an unknown choice.

        References:
            Hayes et al. (2019), LOGAN. Mukherjee et al. (2021) for mean and maximum.
        """
        unit = self._unit(records)
        candidates = self.labels.candidates(labels, len(unit))
        trainer, weights = self._trainer, self.parameters["discriminator"]
        logits = []
        for part in range(self.settings.n_parts):
            pair, own, conditions = trainer.unaware, weights, candidates
            if trainer.apart:
                own = jax.tree.map(lambda leaf, place=part: leaf[place], weights)
            else:
                codes, pair = np.full(len(unit), part), trainer.pair
                conditions = [self._with_code(codes, one_hot) for one_hot in candidates]
            logits.append(adversarial.odds(pair, own, unit, conditions, self.labels))
        return _parts.reduced(np.stack(logits), reduce, scale)

    def part_logits(self, records: Any, *, labels: Any = None) -> FloatArray:
        """Logits of the membership classifier Q: with which part's code it thinks each record was made.

        Args:
            records: Records with the columns of the training records.
            labels: Their labels, which a conditional model needs.

        Returns:
            Array ``(n, N)``; the softmax of a row is Q's law over parts.

        Raises:
            ValueError: NaN, another number of columns, or labels that are missing or unknown.
        """
        unit = self._unit(records)
        one_hot = self.labels.required(labels, len(unit))
        return part_logits(self._trainer.classifier, self.parameters["classifier"], unit, one_hot)

    @classmethod
    def _origin(cls) -> tuple[Any, Any, tuple[str, ...]]:
        return PIGAN, PIGANTrainer, ("parts",)

    @property
    def _trainer(self) -> PIGANTrainer:
        return PIGANTrainer(self.settings, len(self.scaling.low), len(self.labels))

    def _with_code(self, codes: np.ndarray, one_hot: np.ndarray) -> np.ndarray:
        """Condition of generator and discriminator: the part's one-hot code, then the label's."""
        return np.concatenate([np.eye(self.settings.n_parts, dtype=np.float32)[codes], one_hot], axis=1)

    def __repr__(self) -> str:
        return (
            f"FittedPIGAN(parts={self.settings.n_parts}, features={len(self.scaling.low)}, "
            f"labels={len(self.labels)}, steps={self.steps})"
        )
