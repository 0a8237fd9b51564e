"""What the settings of every model share, and what every fitted model does with its records."""

from __future__ import annotations

import abc
import os
from pathlib import Path
from typing import Any, Self

from jaxtyping import Array

from mace_jax._types import Seed
from mace_jax.models import _files, _settings
from mace_jax.models._decode import decode_noise
from mace_jax.models._training_data import TrainingData
from mace_jax.models.encoding import Labels, Scaling
from mace_jax.models.train import AbstractTrainer, Trained, train

__all__ = ["AbstractDecoder", "AbstractFitted", "AbstractNoiseMap", "AbstractPlain", "AbstractSettings"]


class AbstractPlain(abc.ABC):
    """Settings: plain values, checked, with a JSON round trip."""

    @abc.abstractmethod
    def __post_init__(self) -> None:
        """Check every setting; lists become tuples."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON; ``from_dict`` reads them back."""
        return _settings.to_dict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Settings from ``to_dict``.

        Raises:
            ValueError: the dictionary is of another model or holds an unknown setting.
        """
        return cls(**_settings.from_dict(cls, values))


class AbstractSettings(AbstractPlain):
    """Settings of a generative model, and ``fit``."""

    @abc.abstractmethod
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
    ) -> Any:
        """Train on ``records``."""

    def _train(self, trainer: AbstractTrainer, data: TrainingData, **options: Any) -> Trained:
        """The training loop under this model's name and settings; ``options`` are those of ``fit``."""
        name, settings = type(self).__name__, self.to_dict()
        return train(
            trainer, data.unit, data.one_hot, steps=data.steps, seed=data.seed, name=name, settings=settings, **options
        )


class AbstractFitted(abc.ABC):
    """A trained model: how it is saved, and how records and labels enter it."""

    scaling: Scaling
    labels: Labels

    @classmethod
    @abc.abstractmethod
    def _origin(cls) -> tuple[Any, Any, tuple[str, ...]]:
        """Classes of the settings and of the trainer, and the names of arrays that only this kind has."""

    def save(self, directory: str | os.PathLike[str]) -> Path:
        """Write the model into ``directory`` (one file, replaced atomically) and return the file's path."""
        return _files.save(self, directory, **{name: getattr(self, name) for name in self._origin()[2]})

    @classmethod
    def load(cls, directory: str | os.PathLike[str]) -> Self:
        """Read a model written by ``save``.

        Raises:
            FileNotFoundError: nothing was saved there.
            ValueError: the file is damaged or holds another kind of model.
        """
        settings, trainer, arrays = cls._origin()
        return cls(**_files.load(directory, settings, trainer, *arrays))

    def _unit(self, records: Any) -> Any:
        """Checked records in the unit cube."""
        return self.scaling.to_unit(_settings.model_records(records, len(self.scaling.low)))


class AbstractNoiseMap(AbstractFitted):
    """A trained model with one map from noise to records."""

    @property
    @abc.abstractmethod
    def latent_dim(self) -> int:
        """Length of the noise that ``decode_noise`` takes."""

    @abc.abstractmethod
    def _decode_unit(self, noise: Array, one_hot: Array) -> Array:
        """Records as the model scales them, by the trained weights."""

    def decode_noise(self, noise: Any, *, label: Any = None) -> Array:
        """Records of given noise in the units of the training records, as a function JAX can trace and differentiate.

        Args:
            noise: One row of ``latent_dim`` numbers per record, standard normal in ``sample``.
            label: Label of all rows, needed by a conditional model.

        Returns:
            JAX array ``(n, d)`` in float32; each row depends on its noise alone.

        Raises:
            ValueError: noise of another width, or a missing or unknown label.
        """
        return decode_noise(self._decode_unit, noise, self.latent_dim, self.scaling, self.labels, label)


class AbstractDecoder(AbstractNoiseMap):
    """One whose settings say how long the noise is."""

    settings: Any

    @property
    def latent_dim(self) -> int:
        """Length of the noise that ``decode_noise`` takes."""
        return self.settings.latent_dim
