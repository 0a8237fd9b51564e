"""Differentially private training: clipped gradients of Poisson-sampled records, Gaussian noise, exact accounting."""

from __future__ import annotations

import dataclasses
import math
import os
import warnings
from typing import Any, NamedTuple, final

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float

from mace_jax import _random, _validate
from mace_jax._optional import require
from mace_jax._types import Seed
from mace_jax.models import _settings
from mace_jax.models.dp_guarantee import DPSGDGuarantee
from mace_jax.models.encoding import Labels, Scaling
from mace_jax.models.train import AbstractTrainer, train
from mace_jax.models.vae import VAE, FittedVAE
from mace_jax.models.vae_shapes import check_width
from mace_jax.models.vae_trainer import VAETrainer

__all__ = ["DPSGD", "PrivateFit"]

_GRID = 2**23
"""Uniform float32 draws are multiples of 1 / _GRID; so are sampling probabilities, to be exact."""


class PrivateFit(NamedTuple):
    """A fitted model, and what it guarantees about its training records."""

    model: FittedVAE
    guarantee: DPSGDGuarantee


@final
@dataclasses.dataclass(frozen=True)
class DPSGD:
    """Settings of differentially private stochastic gradient descent.

    Every step takes each record with probability q = batch_size / n on its own (Poisson sampling, as the accounting
    assumes; batches vary in size and none is cut short), clips each record's gradient g to norm C, and hands
    (sum of clipped g + N(0, (noise_multiplier C)^2)) / batch_size to Adam. Gradients are clipped and noise is drawn
    by jax-privacy; the accounting is dp-accounting's.

    Args:
        noise_multiplier: Standard deviation of the noise divided by C; 0 gives no privacy.
        l2_clip: Largest norm C of one record's gradient.

    Raises:
        ValueError: an argument is out of range.

    References:
        Abadi et al. (2016), Deep learning with differential privacy. Koskela, Jalko and Honkela (2020) and
        Doroshenko et al. (2022) for accounting by privacy loss distributions.

    Example:
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
        model: VAE,
        records: Any,
        labels: Any = None,
        *,
        bounds: Any,
        label_values: Any = None,
        steps: int,
        seed: Seed,
        progress: bool = False,
        checkpoint_dir: str | os.PathLike[str] | None = None,
    ) -> PrivateFit:
        """Train so that the weights say little about any one record.

        All that the fitted model holds is covered: the scaling comes from ``bounds``, labels have equal shares, the
        history holds norms of noisy gradients instead of losses, and the seed is not kept (its ``seed`` is 0).

        Args:
            model: Settings; ``batch_size`` is the expected size of a batch.
            records: Training records. Their number is treated as known to everyone.
            labels: One integer or string per record; makes both networks conditional on it.
            bounds: Range of the records from public knowledge: ``(low, high)``, or two rows of one number per column.
            label_values: All possible labels, from public knowledge; needed with ``labels``.
            steps: Updates.
            seed: Seeds everything. Keep it secret: whoever knows it can subtract the noise.
            progress: Show a bar, if standard error is a terminal.
            checkpoint_dir: Keep the training state here, as ``VAE.fit`` does. The state is not part of the
                guarantee: it holds a hash of the records, so delete it before publishing the model.

        Returns:
            The model and its guarantee.

        Raises:
            ImportError: jax-privacy or dp-accounting is not installed.
            TypeError: ``model`` is not a ``VAE``, or records or labels are not usable.
            ValueError: records outside the bounds, NaN, fewer records than ``batch_size``, or unknown labels.
        """
        if not isinstance(model, VAE):
            raise TypeError(f"model={model!r} must be the settings of a VAE; pass for example VAE(latent_dim=8).")
        for module in ("jax_privacy", "dp_accounting"):
            require(module, extra="dp")
        values = _validate.finite(records=_validate.min_rows(2, records=_validate.as_records(records=records)))
        steps, seed = _validate.positive_int(steps=steps), _random.as_seed(seed)
        check_width(model, values.shape[1])
        scaling = Scaling.known(bounds, values.shape[1])
        _check_inside(values, scaling)
        if (labels is None) != (label_values is None):
            raise ValueError("labels and label_values go together; pass both or neither.")
        coding = Labels.known(label_values)
        one_hot = coding.candidates(labels, len(values))[0]
        guarantee = DPSGDGuarantee(
            float(self.noise_multiplier), sampling_probability(model.batch_size, len(values)), steps
        )
        trainer = _PrivateTrainer(VAETrainer(model, values.shape[1], len(coding)), self, guarantee.sampling_probability)
        trained = train(
            trainer,
            scaling.to_unit(values),
            one_hot,
            steps=steps,
            seed=seed,
            name="VAE privately",
            settings={**model.to_dict(), "dp_sgd": dataclasses.asdict(self)},
            progress=progress,
            checkpoint_dir=checkpoint_dir,
        )
        return PrivateFit(FittedVAE(model, trained.parameters, scaling, coding, steps, 0, trained.history), guarantee)


@final
@dataclasses.dataclass(frozen=True)
class _PrivateTrainer(AbstractTrainer):
    """Private gradients for the updates of a VAE."""

    vae: VAETrainer
    dp_sgd: DPSGD
    probability: float

    @property
    def losses(self) -> tuple[str, ...]:
        return ("noisy_gradient_norm",)

    def initial(self, key: Array) -> dict[str, Any]:
        return self.vae.initial(key)

    def step(self, state: dict[str, Any], records: Array, one_hot: Array, key: Array) -> tuple[dict[str, Any], Array]:
        sample_key, loss_key, noise_key = jax.random.split(key, 3)
        total = self.clipped_sum(state["parameters"], records, one_hot, sample_key, loss_key)
        noise = require("jax_privacy.noise_addition", extra="dp").gaussian_privatizer(
            stddev=self.dp_sgd.noise_multiplier * self.dp_sgd.l2_clip, prng_key=noise_key
        )
        noisy, _ = noise.update(total, noise.init(total))
        gradient = jax.tree.map(lambda leaf: leaf / self.vae.settings.batch_size, noisy)
        norm = jnp.sqrt(sum(jnp.sum(jnp.square(leaf)) for leaf in jax.tree.leaves(gradient)))
        return self.vae.update(state, gradient), norm.reshape(1)

    def clipped_sum(
        self,
        parameters: Any,
        records: Float[Array, "n d"],
        one_hot: Float[Array, "n c"],
        sample_key: Array,
        loss_key: Array,
    ) -> Any:
        """Sum of the clipped gradients of a Poisson sample, block by block, as many blocks as it takes."""
        n, block = len(records), self.vae.settings.batch_size
        taken = poisson_sample(sample_key, n, self.probability)
        length = -(-n // block) * block
        order = jnp.nonzero(taken, size=length, fill_value=n)[0].astype(jnp.int32)
        clipped = require("jax_privacy.clipping", extra="dp").clipped_grad(
            self._loss, l2_clip_norm=self.dp_sgd.l2_clip, batch_argnums=(1, 2, 3), keep_batch_dim=True
        )

        def add(place: Array, total: Any) -> Any:
            rows = lax.dynamic_slice(order, (place * block,), (block,))
            padding, rows = rows >= n, jnp.minimum(rows, n - 1)
            with warnings.catch_warnings():  # the library calls a function that optax has renamed
                warnings.filterwarnings("ignore", "optax.global_norm", DeprecationWarning)
                part = clipped(parameters, records[rows], one_hot[rows], rows, loss_key, is_padding_example=padding)
            return jax.tree.map(jnp.add, total, part)

        blocks = -(-jnp.sum(taken, dtype=jnp.int32) // block)
        return lax.fori_loop(0, blocks, add, jax.tree.map(jnp.zeros_like, parameters))

    def _loss(self, parameters: Any, record: Array, condition: Array, row: Array, key: Array) -> Array:
        """Loss of one record, with latent noise of its own."""
        return self.vae.loss(parameters, record, condition, jax.random.fold_in(key, row[0]))[0]


def poisson_sample(key: Array, n_records: int, probability: float) -> Bool[Array, " n"]:
    """Each record on its own with this probability."""
    return jax.random.uniform(key, (n_records,), jnp.float32) < jnp.float32(probability)


def sampling_probability(batch_size: int, n_records: int) -> float:
    """batch_size / n, rounded up to what float32 uniform draws realize exactly."""
    if batch_size > n_records:
        raise ValueError(
            f"batch_size={batch_size} is more than the {n_records} records; pass a VAE with a smaller batch_size."
        )
    return math.ceil(batch_size / n_records * _GRID) / _GRID


def _check_inside(records: np.ndarray, scaling: Scaling) -> None:
    """Public bounds must hold for every record."""
    outside = ((records < scaling.low) | (records > scaling.low + scaling.span)).any(axis=1)
    if outside.any():
        raise ValueError(
            f"records has {int(outside.sum())} of {len(records)} rows outside bounds; widen the bounds from public "
            "knowledge, or clip the records to them."
        )
