"""Differentially private training: clipped gradients of Poisson-sampled records, Gaussian noise, exact accounting."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any, Generic, NamedTuple, Protocol, TypeVar, final

import numpy as np

from mace_jax import _random, _validate
from mace_jax._optional import require
from mace_jax._types import Seed
from mace_jax.models import _files, _settings
from mace_jax.models._load import load
from mace_jax.models.dp_guarantee import DPSGDGuarantee
from mace_jax.models.dp_learner import learner_class
from mace_jax.models.dp_trainer import PrivateTrainer, sampling_probability
from mace_jax.models.encoding import Labels, Scaling
from mace_jax.models.gan import FittedGAN
from mace_jax.models.train import train
from mace_jax.models.vae import FittedVAE

__all__ = ["DPSGD", "PrivateFit"]

Fitted = TypeVar("Fitted", bound=FittedGAN | FittedVAE)
FittedCo = TypeVar("FittedCo", covariant=True)


class Settings(Protocol[FittedCo]):
    """Settings of a model, known by what their own ``fit`` returns."""

    def fit(self, *args: Any, **options: Any) -> FittedCo:
        """Train without privacy."""
        ...


class PrivateFit(NamedTuple, Generic[Fitted]):
    """A fitted model, and what it guarantees about its training records."""

    model: Fitted
    guarantee: DPSGDGuarantee

    def save(self, directory: str | os.PathLike[str]) -> Path:
        """Write model and guarantee into ``directory`` (one file, replaced atomically) and return the file's path.

        ``mace_jax.models.load`` reads the model alone.
        """
        return _files.save(self.model, directory, guarantee=np.array(dataclasses.astuple(self.guarantee), np.float64))

    @classmethod
    def load(cls, directory: str | os.PathLike[str]) -> PrivateFit[Any]:
        """Read model and guarantee written by ``save``.

        Raises:
            FileNotFoundError: nothing was saved there.
            ValueError: the file is damaged, or holds a model without a guarantee.
        """
        numbers = _files.saved_array(directory, "guarantee")
        if numbers is None:
            raise ValueError(
                f"{directory} holds a model without a guarantee; save what DPSGD.fit returned, not its model, or read "
                "the model alone by mace_jax.models.load."
            )
        noise_multiplier, probability, steps = numbers.tolist()
        return PrivateFit(load(directory), DPSGDGuarantee(noise_multiplier, probability, int(steps)))


@final
@dataclasses.dataclass(frozen=True)
class DPSGD:
    """Settings of differentially private stochastic gradient descent.

    Every step takes each record with probability q = batch_size / n on its own (Poisson sampling, as the accounting
    assumes; batches vary in size and none is cut short), clips each record's gradient g to norm C, and hands
    (sum of clipped g + N(0, (noise_multiplier C)^2)) / batch_size to Adam. Gradients are clipped and noise is drawn
    by jax-privacy; the accounting is dp-accounting's.

    Of a ``VAE`` all weights are trained so. Of a ``GAN`` the discriminator is: g is the gradient of its loss on the
    record plus its loss on one synthetic record with the same label, so that the synthetic half is clipped along with
    the real one. After every such step the generator is trained on noise and labels that are drawn uniformly from
    ``label_values``, against that discriminator: no record enters, so that it has the discriminator's guarantee by
    post-processing.

    Args:
        noise_multiplier: Standard deviation of the noise divided by C; 0 gives no privacy.
        l2_clip: Largest norm C of one record's gradient.

    Raises:
        ValueError: an argument is out of range.

    References:
        Abadi et al. (2016), Deep learning with differential privacy. Xie et al. (2018), Differentially private
        generative adversarial network, for private discriminators. Koskela, Jalko and Honkela (2020) and
        Doroshenko et al. (2022) for accounting by privacy loss distributions.

    Example:
        >>> from mace_jax.models import VAE
        >>> private = DPSGD(noise_multiplier=1.0).fit(VAE(latent_dim=1, batch_size=2), [[0.1], [0.4], [0.9]],
        ...                                           bounds=(0.0, 1.0), steps=2, seed=0)
        >>> round(private.guarantee.epsilon(delta=1e-3), 1)
        3.8
    """

    noise_multiplier: float
    l2_clip: float = 1.0

    def __post_init__(self) -> None:
        """Check both numbers."""
        _validate.non_negative(noise_multiplier=self.noise_multiplier)
        _settings.positive(l2_clip=self.l2_clip)

    def fit(
        self,
        model: Settings[Fitted],
        records: Any,
        labels: Any = None,
        *,
        bounds: Any,
        label_values: Any = None,
        steps: int,
        seed: Seed,
        progress: bool = False,
        checkpoint_dir: str | os.PathLike[str] | None = None,
    ) -> PrivateFit[Fitted]:
        """Train so that the weights say little about any one record.

        All that the fitted model holds is covered: the scaling comes from ``bounds``, labels have equal shares, the
        history holds norms of noisy gradients instead of losses on records (and of a ``GAN`` the generator's loss),
        and the seed is not kept (its ``seed`` is 0).

        Args:
            model: Settings of a ``VAE``, or of a ``GAN`` without batch normalization, which would mix records;
                ``batch_size`` is the expected size of a batch. Their ``scaling`` is not used: see ``bounds``.
            records: Training records. Their number is treated as known to everyone.
            labels: One integer or string per record; makes both networks conditional on it.
            bounds: Range of the records from public knowledge: ``(low, high)``, or two rows of one number per column.
            label_values: All possible labels, from public knowledge; needed with ``labels``.
            steps: Updates; of a ``GAN`` those of the discriminator, each followed by one of the generator.
            seed: Seeds everything. Keep it secret: whoever knows it can subtract the noise.
            progress: Show a bar, if standard error is a terminal.
            checkpoint_dir: Keep the training state here, as the model's own ``fit`` does. The state is not part of the
                guarantee: it holds a hash of the records, so delete it before publishing the model.

        Returns:
            The model and its guarantee.

        Raises:
            ImportError: jax-privacy or dp-accounting is not installed.
            TypeError: ``model`` is neither a ``VAE`` nor a ``GAN``, or records or labels are not usable.
            ValueError: records outside the bounds, NaN, fewer records than ``batch_size``, unknown labels, or
                networks that normalize batches or do not fit the records.
            FloatingPointError: a norm or loss became infinite or NaN.
        """
        make = learner_class(model)
        for module in ("jax_privacy", "dp_accounting"):
            require(module, extra="dp")
        values = _validate.finite(records=_validate.min_rows(2, records=_validate.as_records(records=records)))
        steps, seed = _validate.positive_int(steps=steps), _random.as_seed(seed)
        scaling = Scaling.known(bounds, values.shape[1])
        _check_inside(values, scaling)
        if (labels is None) != (label_values is None):
            raise ValueError("labels and label_values go together; pass both or neither.")
        coding = Labels.known(label_values)
        one_hot = coding.candidates(labels, len(values))[0]
        learner: Any = make(model, values.shape[1], len(coding))  # type: ignore[arg-type]
        probability = sampling_probability(learner.batch_size, len(values))
        trained = train(
            PrivateTrainer(learner, self.noise_multiplier, self.l2_clip, probability),
            scaling.to_unit(values),
            one_hot,
            steps=steps,
            seed=seed,
            name=f"{type(model).__name__} privately",
            settings={**learner.settings.to_dict(), "dp_sgd": dataclasses.asdict(self)},
            progress=progress,
            checkpoint_dir=checkpoint_dir,
        )
        fitted = learner.fitted(trained.parameters, scaling, coding, steps, 0, trained.history)
        return PrivateFit(fitted, DPSGDGuarantee(float(self.noise_multiplier), probability, steps))


def _check_inside(records: np.ndarray, scaling: Scaling) -> None:
    """Public bounds must hold for every record."""
    outside = ((records < scaling.low) | (records > scaling.low + scaling.span)).any(axis=1)
    if outside.any():
        raise ValueError(
            f"records has {int(outside.sum())} of {len(records)} rows outside bounds; widen the bounds from public "
            "knowledge, or clip the records to them."
        )
