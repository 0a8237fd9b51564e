"""A variational autoencoder that releases records through noisy latent codes."""

from __future__ import annotations

import dataclasses
import math
import os
from pathlib import Path
from typing import Any, final

import numpy as np

from mace_jax import _validate
from mace_jax._types import FloatArray, Seed
from mace_jax.models import _files, _settings
from mace_jax.models._base import AbstractSettings
from mace_jax.models.encoding import Labels, Scaling
from mace_jax.models.latent_noise import RandomizedResponse, clip_norm
from mace_jax.models.metric_privacy import MetricPrivacy, TrainingData
from mace_jax.models.metric_publisher import Publisher, Release
from mace_jax.models.vae import VAE, FittedVAE
from mace_jax.models.vae_trainer import VAETrainer

__all__ = ["FittedMetricPrivateVAE", "MetricPrivateVAE"]


@final
@dataclasses.dataclass(frozen=True)
class MetricPrivateVAE(AbstractSettings):
    """Settings of a variational autoencoder whose synthetic records are private in its latent metric.

    A record's mean code v = mu(x) is clipped to norm R, gets noise of density C exp(-epsilon |eta|), and is decoded.
    Records with codes v and v' then give synthetic records whose laws differ by a factor of at most
    exp(epsilon |v - v'|), hence by at most exp(2 R epsilon). This holds for given weights: see ``training_data``.

    Args:
        vae: Settings of the autoencoder.
        radius: Norm R that codes are clipped to before the noise; by default sqrt(latent_dim), the typical norm of a
            standard normal code.
        training_data: What ``fit`` gets. ``"public"``: records disjoint from those released, which the guarantee
            need not cover. ``"private"``: records to be protected; their guarantee does not cover the weights.
            ``"dp_sgd"``: the autoencoder comes from ``DPSGD.fit`` and ``around``, with its own guarantee.

    Raises:
        TypeError: ``vae`` is not a ``VAE``.
        ValueError: a setting is out of range.

    References:
        Yang et al. (2022), Differentially private synthesis by a variational autoencoder with metric privacy.
        Chatzikokolakis, Andres, Bordenabe and Palamidessi (2013), metric privacy.

    Example:
        >>> settings = MetricPrivateVAE(VAE(latent_dim=2), training_data="public")
        >>> fitted = settings.fit([[0.0, 5.0], [1.0, 7.0], [0.5, 6.0]], steps=2, seed=0)
        >>> fitted.release([[0.2, 5.5]], epsilon=1.0, seed=1).records.shape
        (1, 2)
    """

    vae: VAE = VAE()
    radius: float | None = None
    training_data: TrainingData = "private"

    def __post_init__(self) -> None:
        """Check every setting; a dictionary becomes a ``VAE``."""
        if isinstance(self.vae, dict):
            object.__setattr__(self, "vae", VAE.from_dict(self.vae))
        if not isinstance(self.vae, VAE):
            raise TypeError(f"vae={self.vae!r} must be the settings of a VAE; pass for example vae=VAE().")
        if self.radius is not None:
            _settings.positive(radius=self.radius)
        _settings.choice("training_data", self.training_data, ("public", "private", "dp_sgd"))

    @property
    def clip(self) -> float:
        """The norm that codes are clipped to."""
        return math.sqrt(self.vae.latent_dim) if self.radius is None else float(self.radius)

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
    ) -> FittedMetricPrivateVAE:
        """Train the autoencoder on ``records``, without noise; all arguments are those of ``VAE.fit``.

        Returns:
            The fitted model; ``release`` needs the records it is to synthesize from.

        Raises:
            ValueError: ``training_data`` is ``"dp_sgd"``, or what ``VAE.fit`` refuses.
        """
        if self.training_data == "dp_sgd":
            raise ValueError("training_data='dp_sgd', but fit adds no noise; use DPSGD(...).fit(vae, ...) and around.")
        options = {"progress": progress, "checkpoint_dir": checkpoint_dir, "devices": devices}
        return self.around(self.vae.fit(records, labels, steps=steps, seed=seed, **options))

    def around(self, autoencoder: FittedVAE) -> FittedMetricPrivateVAE:
        """The model around an autoencoder that is trained already.

        Raises:
            ValueError: it was trained with other settings than ``vae``.
        """
        if autoencoder.settings != self.vae:
            raise ValueError("autoencoder was trained with other settings than vae; pass vae=autoencoder.settings.")
        return FittedMetricPrivateVAE(self, autoencoder)


@final
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class FittedMetricPrivateVAE:
    """A trained autoencoder that synthesizes one private record from each given one."""

    settings: MetricPrivateVAE
    autoencoder: FittedVAE

    def release(
        self,
        records: Any,
        labels: Any = None,
        *,
        epsilon: float,
        seed: Seed,
        epsilon_label: float | None = None,
        label_values: Any = None,
        copies: int = 1,
    ) -> Release:
        """Synthesize ``copies`` records from each given record, every one with noise of its own.

        Args:
            records: Records to synthesize from, with the columns of the training records.
            labels: Their labels. A conditional model needs them; another one passes them on.
            epsilon: Privacy loss of one copy per unit of latent distance.
            seed: Seeds the noise. Keep it secret, and never use it for two releases of the same records.
            epsilon_label: Privacy loss of the label by randomized response; None releases labels as they are.
            label_values: All possible labels, known beforehand; needed by ``epsilon_label`` if the model is not
                conditional (a conditional one takes the labels it knows).
            copies: Synthetic records per record; their privacy losses add up.

        Returns:
            Synthetic records in the units of the training records (copy j of record i in row j n + i), their labels,
            and the guarantee.

        Raises:
            ValueError: NaN, another number of columns, unknown or missing labels, or an argument out of range.
        """
        publisher = self.publisher(
            records, labels, epsilon=epsilon, epsilon_label=epsilon_label, label_values=label_values
        )
        copies = _validate.positive_int(copies=copies)
        rows = np.tile(np.arange(len(publisher.codes)), copies)
        made, answers = publisher.publish(rows, seed)
        return Release(made, None if answers is None else answers[rows], publisher.privacy(len(rows)))

    def publisher(
        self,
        records: Any,
        labels: Any = None,
        *,
        epsilon: float,
        epsilon_label: float | None = None,
        label_values: Any = None,
    ) -> Publisher:
        """These records as a source of any number of private synthetic ones, for audits that draw from a model.

        Arguments are those of ``release``. Audit what is released of the members by
        ``audit(members, nonmembers, model=fitted.publisher(members, epsilon=1.0))``.
        """
        conditional = len(self.labels) > 0
        means = self.autoencoder.encode(records, labels if conditional else None)
        coding = self.labels if conditional else Labels.known(label_values)
        if epsilon_label is not None and (labels is None or not len(coding)):
            raise ValueError(
                f"epsilon_label={epsilon_label!r} needs labels, and label_values=(every possible label) unless the "
                "model is conditional; pass them or leave epsilon_label out."
            )
        privacy = self.privacy(
            epsilon,
            epsilon_label=epsilon_label,
            n_labels=len(coding) if epsilon_label is not None else None,
            labels_released=labels is not None,
        )
        places = None
        if labels is not None:
            coding = coding if len(coding) else Labels.fit(labels, len(means))[0]
            places = coding.one_hot(labels, len(means)).argmax(axis=1)
        return Publisher(self.autoencoder, clip_norm(means, self.settings.clip), coding, places, privacy)

    def privacy(
        self,
        epsilon: float,
        *,
        copies: int = 1,
        epsilon_label: float | None = None,
        n_labels: int | None = None,
        labels_released: bool | None = None,
    ) -> MetricPrivacy:
        """What a release guarantees, without making one.

        Args:
            epsilon: Privacy loss of one copy per unit of latent distance.
            copies: Synthetic records per record.
            epsilon_label: Privacy loss of the label by randomized response; None for labels as they are.
            n_labels: Number of possible labels; by default those the model knows.
            labels_released: Whether labels are part of the release; by default if the model is conditional or
                ``epsilon_label`` is given.

        Returns:
            Numbers, and the guarantee in words by ``str``.

        Raises:
            ValueError: an argument is out of range.
        """
        _settings.positive(epsilon=epsilon)
        response = None
        if epsilon_label is not None:
            n_labels = len(self.labels) if n_labels is None else n_labels
            response = RandomizedResponse(n_labels, _validate.non_negative(epsilon_label=epsilon_label))
        if labels_released is None:
            labels_released = len(self.labels) > 0 or response is not None
        return MetricPrivacy(
            epsilon=float(epsilon),
            radius=self.settings.clip,
            latent_dim=self.settings.vae.latent_dim,
            training_data=self.settings.training_data,
            copies=_validate.positive_int(copies=copies),
            labels=response,
            labels_released=labels_released,
        )

    def sample(self, n: int, *, seed: Seed, labels: Any = None) -> FloatArray:
        """Decode codes from the prior, as ``FittedVAE.sample`` does.

        No record enters here, so that no noise is added: these samples reveal of the training records what the
        weights reveal. Use ``publisher`` to draw private synthetic versions of given records.
        """
        return self.autoencoder.sample(n, seed=seed, labels=labels)

    def reconstruction_error(self, records: Any, *, seed: Seed, labels: Any = None, n_draws: int = 64) -> FloatArray:
        """Error of the autoencoder without the privacy noise, as ``FittedVAE.reconstruction_error``."""
        return self.autoencoder.reconstruction_error(records, seed=seed, labels=labels, n_draws=n_draws)

    def elbo(self, records: Any, *, seed: Seed, labels: Any = None, n_draws: int = 64) -> FloatArray:
        """Bound of the autoencoder without the privacy noise, as ``FittedVAE.elbo``."""
        return self.autoencoder.elbo(records, seed=seed, labels=labels, n_draws=n_draws)

    def save(self, directory: str | os.PathLike[str]) -> Path:
        """Write the model into ``directory`` (one file, replaced atomically) and return the file's path."""
        return _files.save(self, directory)

    @classmethod
    def load(cls, directory: str | os.PathLike[str]) -> FittedMetricPrivateVAE:
        """Read a model written by ``save``.

        Raises:
            FileNotFoundError: nothing was saved there.
            ValueError: the file is damaged or holds another kind of model.
        """
        parts = _files.load(directory, MetricPrivateVAE, lambda settings, *sizes: VAETrainer(settings.vae, *sizes))
        settings = parts.pop("settings")
        return cls(settings, FittedVAE(settings.vae, **parts))

    @property
    def parameters(self) -> dict[str, Any]:
        """Weights of encoder and decoder."""
        return self.autoencoder.parameters

    @property
    def scaling(self) -> Scaling:
        """Scaling of the records."""
        return self.autoencoder.scaling

    @property
    def labels(self) -> Labels:
        """Labels of a conditional model."""
        return self.autoencoder.labels

    @property
    def steps(self) -> int:
        """Updates the autoencoder was trained for."""
        return self.autoencoder.steps

    @property
    def seed(self) -> int:
        """Seed of its training."""
        return self.autoencoder.seed

    @property
    def history(self) -> tuple[tuple[float, ...], ...]:
        """Losses of its training."""
        return self.autoencoder.history

    def __repr__(self) -> str:
        size = f"features={len(self.scaling.low)}, labels={len(self.labels)}, steps={self.steps}"
        return f"FittedMetricPrivateVAE({size}, training_data={self.settings.training_data!r})"
