"""A normalizing flow: samples records and knows their density exactly."""

from __future__ import annotations

import dataclasses
import functools
import os
from typing import Any, final

import numpy as np
from jaxtyping import Array

from mace_jax import _random, _validate
from mace_jax._types import FloatArray, Seed
from mace_jax.models import _settings
from mace_jax.models._base import AbstractNoiseMap, AbstractSettings
from mace_jax.models._training_data import training_data
from mace_jax.models.encoding import Labels, Scaling
from mace_jax.models.flow_trainer import FlowTrainer, draw_rows, log_density_rows
from mace_jax.models.train import in_blocks

__all__ = ["FittedFlow", "Flow"]

_CONSTANT = 1e-12


@final
@dataclasses.dataclass(frozen=True)
class Flow(AbstractSettings):
    """Settings of a normalizing flow of coupling layers, for records of up to about a hundred continuous columns.

    Columns are standardized, and an invertible map f turns them into standard normal noise. Each layer moves one half
    of the columns by an affine map followed by a monotone rational-quadratic spline, whose numbers a small network
    reads off the other half; every two layers the halves are dealt anew. The density is exact:
    ``log p(x) = log N(f(x); 0, I) + log |det df/dx|``. Training raises the mean log-likelihood of records to which
    noise of ``noise_sd`` is added, so what is learned is their law blurred by so much; without it, a flow piles up
    mass on single records. Splines act within four standard deviations; beyond, tails are those of a normal law.

    Args:
        n_layers: Number of layers.
        hidden: Widths of the hidden layers of each layer's network.
        n_bins: Bins of each spline.
        noise_sd: Standard deviation of the noise added while training, in standard deviations of each column.
        learning_rate: Adam step size.
        batch_size: Records per update, drawn with replacement.

    Raises:
        TypeError: a setting is of the wrong type.
        ValueError: a setting is out of range.

    References:
        Dinh, Sohl-Dickstein and Bengio (2017), Density estimation using Real NVP. Durkan et al. (2019), Neural spline
        flows.

    Example:
        >>> fitted = Flow(n_layers=2, hidden=(8,)).fit([[0.0, 5.0], [1.0, 7.0], [0.5, 6.5]], steps=2, seed=0)
        >>> fitted.log_density([[0.5, 6.0]]).shape, fitted.sample(3, seed=1).shape
        ((1,), (3, 2))
    """

    n_layers: int = 6
    hidden: tuple[int, ...] = (64, 64)
    n_bins: int = 8
    noise_sd: float = 0.05
    learning_rate: float = 1e-3
    batch_size: int = 128

    def __post_init__(self) -> None:
        """Check every setting; lists become tuples."""
        _validate.positive_int(minimum=2, n_layers=self.n_layers)
        _settings.widths(self, "hidden")
        if _validate.positive_int(minimum=2, n_bins=self.n_bins) > 256:
            raise ValueError(f"n_bins={self.n_bins} must be at most 256.")
        _validate.non_negative(noise_sd=self.noise_sd)
        _settings.positive(learning_rate=self.learning_rate)
        _validate.positive_int(batch_size=self.batch_size)

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
    ) -> FittedFlow:
        """Train on ``records``; the same seed gives the same weights on the same machine.

        Args:
            records: Training records, one per row, in any range; no column may be constant.
            labels: One integer or string per record; makes the density conditional on it.
            steps: Updates.
            seed: Seeds the initial weights, every batch and the noise.
            progress: Show a bar, if standard error is a terminal.
            checkpoint_dir: Keep the training state and ``history.jsonl`` here. A run with the same arguments continues
                from it and ends with the weights of an uninterrupted run; a larger ``steps`` continues a finished one.
            devices: Devices that share each batch; ``batch_size`` must be a multiple. The weights then differ by
                rounding.

        Returns:
            The fitted model.

        Raises:
            TypeError: records or labels are not usable.
            ValueError: fewer than 2 records, NaN, a constant column, more devices than there are, or a checkpoint of
                another run.
            FloatingPointError: the loss became infinite or NaN.
        """
        data = training_data(records, labels, scaling=_standardization, check_width=_any, steps=steps, seed=seed)
        trainer = FlowTrainer(self, data.unit.shape[1], len(data.labels))
        trained = self._train(trainer, data, progress=progress, checkpoint_dir=checkpoint_dir, devices=devices)
        fitted = data.scaling, data.labels, data.steps, data.seed, trained.history
        return FittedFlow(self, trained.parameters, *fitted)


@final
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class FittedFlow(AbstractNoiseMap):
    """A trained flow: density, noise and samples.

    ``scaling`` holds mean and standard deviation of every column. ``history`` has one row per chunk of training steps:
    last step, mean of minus the log-likelihood, in standardized units.
    """

    settings: Flow
    parameters: dict[str, Any]
    scaling: Scaling
    labels: Labels
    steps: int
    seed: int
    history: tuple[tuple[float, ...], ...]

    def log_density(self, records: Any, labels: Any = None) -> FloatArray:
        """Log density of each record in the units of the training records, by the change of variables.

        Args:
            records: Records with the columns of the training records.
            labels: Their labels, for a conditional model; without them densities are averaged over all labels,
                weighted by training shares.

        Returns:
            Array ``(n,)`` in nats. Network and splines are evaluated in float32.

        Raises:
            ValueError: NaN, another number of columns, or unknown labels.
        """
        standard = self._unit(records)
        evaluate = functools.partial(log_density_rows, self._trainer, self.parameters)
        conditions = self.labels.candidates(labels, len(standard))
        logs = np.stack([in_blocks(evaluate, standard, one_hot) for one_hot in conditions]).astype(np.float64)
        return self.labels.log_mean(logs) - np.log(self.scaling.span).sum()

    def sample(self, n: int, *, seed: Seed, labels: Any = None) -> FloatArray:
        """Draw ``n`` records in the units of the training records.

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
        draw = functools.partial(draw_rows, self._trainer, self.parameters, _random.key(seed, "sample"))
        return self.scaling.from_unit(in_blocks(draw, np.arange(n, dtype=np.int32), one_hot))

    @property
    def latent_dim(self) -> int:
        """Length of the noise: the number of columns."""
        return len(self.scaling.low)

    def _decode_unit(self, noise: Array, one_hot: Array) -> Array:
        return self._trainer.from_noise(self.parameters, noise, one_hot)

    @classmethod
    def _origin(cls) -> tuple[Any, Any, tuple[str, ...]]:
        return Flow, FlowTrainer, ()

    @property
    def _trainer(self) -> FlowTrainer:
        return FlowTrainer(self.settings, len(self.scaling.low), len(self.labels))

    def __repr__(self) -> str:
        return f"FittedFlow(features={len(self.scaling.low)}, labels={len(self.labels)}, steps={self.steps})"


def _any(_width: int) -> None:
    """Every number of columns will do."""


def _standardization(values: FloatArray) -> Scaling:
    """Mean and standard deviation of every column; an error where one is constant."""
    mean, sd = values.mean(axis=0), values.std(axis=0)
    constant = np.flatnonzero(sd <= _CONSTANT * np.abs(values).max(axis=0))
    if len(constant):
        raise ValueError(
            f"records is constant in {len(constant)} columns, first in column {constant[0]}, where a density has no "
            "meaning; leave such columns out."
        )
    return Scaling(mean, sd)
