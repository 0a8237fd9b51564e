"""A GAN whose discriminator also refuses given records: what an attacker trains who knows some non-members."""

from __future__ import annotations

import dataclasses
from typing import Any, final

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from mace_jax import _validate
from mace_jax._types import Seed
from mace_jax.models import adversarial
from mace_jax.models._devices import drawn_rows
from mace_jax.models.gan import GAN, FittedGAN
from mace_jax.models.gan_trainer import GANTrainer
from mace_jax.models.losses import real_or_fake_loss
from mace_jax.models.train import AbstractTrainer, train

__all__ = ["fit_against_known"]


def fit_against_known(settings: GAN, records: Any, refused: Any, *, steps: int, seed: Seed) -> FittedGAN:
    """Train a GAN on ``records`` with a third term in the discriminator's loss.

    The discriminator D minimizes ``BCE(D(record), real_target) + BCE(D(G(z)), 0) + BCE(D(refused), 0)``, each the mean
    over a batch; the generator learns as in ``GAN``. So D tells the records from the refused ones, too.

    Args:
        settings: The GAN.
        records: Its training records, ``(n, d)``.
        refused: Records of the same columns that are none of them, ``(m, d)``.
        steps: Updates of the discriminator, each followed by one of the generator.
        seed: Seeds the initial weights and every batch.

    Returns:
        The fitted model; its scaling is that of ``records``.

    Raises:
        TypeError: an array is not numeric.
        ValueError: NaN, fewer than 2 records, different numbers of columns, or records the networks do not fit.

    References:
        Hayes et al. (2019), LOGAN: Membership inference attacks against generative models.

    Example:
        >>> settings = GAN(latent_dim=1, generator_hidden=(4,), discriminator_hidden=(4,))
        >>> fit_against_known(settings, [[0.0], [1.0]], [[5.0]], steps=1, seed=0)
        FittedGAN(features=1, labels=0, steps=1)
    """
    data = adversarial.encoded(settings, records, None, steps=steps, seed=seed)
    others = _validate.finite(refused=_validate.min_rows(1, refused=_validate.as_records(refused=refused)))
    _validate.same_features(records=data.unit, refused=others)
    both = np.concatenate([data.unit, data.scaling.to_unit(others)])
    trainer = _Trainer(GANTrainer(settings, both.shape[1], 0), len(data.unit))
    trained = train(
        trainer,
        both,
        np.zeros((len(both), 0), np.float32),
        steps=data.steps,
        seed=data.seed,
        name="GAN",
        settings=settings.to_dict(),
        progress=False,
        checkpoint_dir=None,
    )
    return FittedGAN(settings, trained.parameters, data.scaling, data.labels, data.steps, data.seed, trained.history)


@final
@dataclasses.dataclass(frozen=True)
class _Trainer(AbstractTrainer):
    """The plain updates, with batches of refused records; these follow the ``n_records`` training records."""

    plain: GANTrainer
    n_records: int

    @property
    def losses(self) -> tuple[str, ...]:
        return self.plain.losses

    def initial(self, key: Array) -> dict[str, Any]:
        return self.plain.initial(key)

    def step(self, state: dict[str, Any], records: Array, one_hot: Array, key: Array) -> tuple[dict[str, Any], Array]:
        size, pair, target = self.plain.settings.batch_size, self.plain.pair, self.plain.settings.real_target
        row_key, other_key, first_key, second_key = jax.random.split(key, 4)
        rows = drawn_rows(row_key, size, self.n_records)
        others = self.n_records + drawn_rows(other_key, size, len(records) - self.n_records)
        real, refused, condition = 2.0 * records[rows] - 1.0, 2.0 * records[others] - 1.0, one_hot[rows]
        weights, moments = dict(state["parameters"]), dict(state["optimizers"])
        synthetic, _ = pair.generate_in_training(weights["generator"], pair.noise(first_key, size), condition)

        def discriminator_loss(discriminator: Any) -> tuple[Array, Any]:
            loss, after = pair.discriminator_loss(discriminator, real, synthetic, condition, target)
            logits, after = pair.logit_in_training(after, refused, condition)
            return loss + jnp.mean(real_or_fake_loss(logits, jnp.zeros_like(logits))), after

        weights["discriminator"], moments["discriminator"], loss = adversarial.descend(
            self.plain.optimizers()["discriminator"],
            weights["discriminator"],
            moments["discriminator"],
            discriminator_loss,
        )
        updated = {"parameters": weights, "optimizers": moments}
        after, fooling = self.plain.improve_generator(updated, condition, second_key)
        return after, jnp.stack([loss, fooling])
