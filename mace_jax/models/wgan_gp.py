"""A Wasserstein GAN with gradient penalty: a target whose critic is held to slope 1."""

from __future__ import annotations

import dataclasses
import os
from typing import Any, final

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jaxtyping import Array

from mace_jax import _validate
from mace_jax._types import FloatArray, Seed
from mace_jax.models import _settings, adversarial
from mace_jax.models._base import AbstractDecoder, AbstractSettings
from mace_jax.models._devices import drawn_rows
from mace_jax.models.encoding import Labels, Scaling, ScalingKind
from mace_jax.models.losses import gradient_penalty
from mace_jax.models.networks import AbstractNetworks
from mace_jax.models.train import AbstractTrainer

__all__ = ["WGANGP", "FittedWGANGP"]


@final
@dataclasses.dataclass(frozen=True)
class WGANGP(AbstractSettings):
    """Settings of a Wasserstein generative adversarial network with gradient penalty.

    The critic f maximizes ``E f(real) - E f(synthetic) - penalty_weight E (||grad f(x)|| - 1)^2``, x uniform on lines
    between real and synthetic records; the generator maximizes ``E f(synthetic)``. Its slope held near 1, a critic
    singles out training records less than a discriminator of the same size does: compare both.

    Args:
        latent_dim: Length of the noise vector.
        generator_hidden: Widths of the generator's hidden layers.
        discriminator_hidden: Widths of the critic's hidden layers.
        generator_learning_rate: Adam step size of the generator.
        discriminator_learning_rate: Adam step size of the critic.
        beta1: Adam's decay of the first moment, in [0, 1).
        beta2: Adam's decay of the second moment, in [0, 1).
        batch_size: Records per update, drawn with replacement.
        critic_steps: Updates of the critic before each one of the generator.
        penalty_weight: Weight of the gradient penalty.
        scaling: ``"per_column"`` scales each column by its own range (tables), ``"common"`` all by one (images).
        networks: ``ConvNetworks`` or ``MLPNetworks``; None for multilayer perceptrons of the widths above. Batch
            normalization is refused: the penalty is on the slope at each record by itself.
        adam_eps: Adam's term against division by zero.

    Raises:
        TypeError: a setting is of the wrong type.
        ValueError: a setting is out of range, or the networks normalize batches.

    References:
        Gulrajani et al. (2017), Improved training of Wasserstein GANs.

    Example:
        >>> fitted = WGANGP(latent_dim=2).fit([[0.0, 5.0], [1.0, 7.0], [0.5, 6.0]], steps=2, seed=0)
        >>> fitted.discriminator_score([[0.5, 6.0]]).shape
        (1,)
    """

    latent_dim: int = 32
    generator_hidden: tuple[int, ...] = (256, 256)
    discriminator_hidden: tuple[int, ...] = (256, 128)
    generator_learning_rate: float = 1e-4
    discriminator_learning_rate: float = 1e-4
    beta1: float = 0.0
    beta2: float = 0.9
    batch_size: int = 64
    critic_steps: int = 5
    penalty_weight: float = 10.0
    scaling: ScalingKind = "per_column"
    networks: AbstractNetworks | None = None
    adam_eps: float = 1e-8

    def __post_init__(self) -> None:
        """Check every setting; lists become tuples."""
        adversarial.check(self)
        _validate.probability(beta2=self.beta2)
        _validate.positive_int(critic_steps=self.critic_steps)
        _settings.positive(penalty_weight=self.penalty_weight)
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
    ) -> FittedWGANGP:
        """Train on ``records``; the same seed gives the same weights on the same machine.

        Args:
            records: Training records, one per row, in any range; images are flattened.
            labels: One integer or string per record; makes both networks conditional on it.
            steps: Updates of the generator, each after ``critic_steps`` of the critic.
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
        trainer = _Trainer(self, data.unit.shape[1], len(data.labels))
        trained = self._train(trainer, data, progress=progress, checkpoint_dir=checkpoint_dir, devices=devices)
        fitted = data.scaling, data.labels, data.steps, data.seed, trained.history
        return FittedWGANGP(self, trained.parameters, *fitted)


@final
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class FittedWGANGP(AbstractDecoder):
    """A trained Wasserstein GAN: draws records and scores them.

    ``history`` has one row per chunk of training steps: last step, mean over batches of the critic's difference
    ``E f(real) - E f(synthetic)`` (an estimate of the Wasserstein-1 distance in records scaled to [-1, 1], as far as
    the slope is 1), mean gradient penalty without its weight, mean generator loss.
    """

    settings: WGANGP
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
        """Critic's value of each record, higher = judged more real; each record is scored alone.

        Values are defined up to a constant, so only differences and ranks mean something.

        Args:
            records: Records with the columns of the training records.
            labels: Their labels, for a conditional model; without them values are averaged over all labels, weighted
                by training shares.

        Returns:
            Array ``(n,)``, unbounded.

        Raises:
            ValueError: NaN, another number of columns, or unknown labels.

        References:
            Hayes et al. (2019), LOGAN: Membership inference attacks against generative models.
        """
        unit = self._unit(records)
        pair, weights = self._trainer.pair, self.parameters["discriminator"]
        candidates = self.labels.candidates(labels, len(unit))
        values = np.stack([adversarial.scores(pair, weights, unit, one_hot) for one_hot in candidates])
        return np.average(values, axis=0, weights=None if len(values) == 1 else self.labels.shares)

    def _decode_unit(self, noise: Array, one_hot: Array) -> Array:
        return adversarial.generate_unit(self._trainer.pair, self.parameters["generator"], noise, one_hot)

    @classmethod
    def _origin(cls) -> tuple[Any, Any, tuple[str, ...]]:
        return WGANGP, _Trainer, ()

    @property
    def _trainer(self) -> _Trainer:
        return _Trainer(self.settings, len(self.scaling.low), len(self.labels))

    def __repr__(self) -> str:
        return f"FittedWGANGP(features={len(self.scaling.low)}, labels={len(self.labels)}, steps={self.steps})"


@final
@dataclasses.dataclass(frozen=True)
class _Trainer(AbstractTrainer):
    """Several updates of the critic on fresh batches, then one of the generator."""

    settings: WGANGP
    n_features: int
    n_labels: int

    @property
    def losses(self) -> tuple[str, ...]:
        return ("critic difference", "gradient penalty", "generator")

    @property
    def pair(self) -> adversarial.Pair:
        return adversarial.pair_of(self.settings, self.n_features, self.n_labels)

    def optimizers(self) -> dict[str, optax.GradientTransformation]:
        return adversarial.optimizers(self.settings, "generator", "discriminator", beta2=self.settings.beta2)

    def initial(self, key: Array) -> dict[str, Any]:
        parameters = self.pair.initial(key)
        moments = {name: adam.init(parameters[name]) for name, adam in self.optimizers().items()}
        return {"parameters": parameters, "optimizers": moments}

    def critic_loss(
        self, critic: Any, real: Array, synthetic: Array, condition: Array, places: Array
    ) -> tuple[Array, tuple[Array, Array]]:
        """What the critic minimizes; then its difference of means and the penalty without weight.

        ``places`` in [0, 1] say where between the synthetic record (0) and the real one (1) the slope is taken.
        """
        logits, _ = self.pair.logits_of_both(critic, real, synthetic, condition)
        difference = jnp.mean(logits[: len(real)]) - jnp.mean(logits[len(real) :])
        between = synthetic + places[:, None] * (real - synthetic)
        slopes = jax.grad(lambda records: jnp.sum(self.pair.logit(critic, records, condition)))(between)
        penalty = jnp.mean(gradient_penalty(slopes))
        return self.settings.penalty_weight * penalty - difference, (difference, penalty)

    def step(self, state: dict[str, Any], records: Array, one_hot: Array, key: Array) -> tuple[dict[str, Any], Array]:
        settings, pair, adam, size = self.settings, self.pair, self.optimizers(), self.settings.batch_size
        critic_key, row_key, noise_key = jax.random.split(key, 3)
        generator = state["parameters"]["generator"]

        def improve(turn: Array, carry: tuple[Any, Any, Array]) -> tuple[Any, Any, Array]:
            critic, moments, totals = carry
            keys = jax.random.split(jax.random.fold_in(critic_key, turn), 3)
            rows = drawn_rows(keys[0], size, len(records))
            synthetic = pair.generate(generator, pair.noise(keys[1], size), one_hot[rows])
            places = jax.random.uniform(keys[2], (size,), jnp.float32)
            loss = jax.grad(self.critic_loss, has_aux=True)
            gradient, told = loss(critic, 2.0 * records[rows] - 1.0, synthetic, one_hot[rows], places)
            return *adversarial.moved(adam["discriminator"], critic, moments, gradient), totals + jnp.stack(told)

        first = (state["parameters"]["discriminator"], state["optimizers"]["discriminator"], jnp.zeros(2, jnp.float32))
        critic, critic_moments, totals = lax.fori_loop(0, settings.critic_steps, improve, first)
        condition = one_hot[drawn_rows(row_key, size, len(records))]

        def generator_loss(weights: Any) -> tuple[Array, Any]:
            fake = pair.generate(weights, pair.noise(noise_key, size), condition)
            return -jnp.mean(pair.logit(critic, fake, condition)), weights

        generator, moments, loss = adversarial.descend(
            adam["generator"], generator, state["optimizers"]["generator"], generator_loss
        )
        after = {
            "parameters": {"generator": generator, "discriminator": critic},
            "optimizers": {"generator": moments, "discriminator": critic_moments},
        }
        return after, jnp.stack([*totals / settings.critic_steps, loss])
