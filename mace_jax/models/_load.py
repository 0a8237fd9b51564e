"""One door to every kind of saved model."""

from __future__ import annotations

import os

from mace_jax.models import _files
from mace_jax.models.flow import FittedFlow
from mace_jax.models.gan import FittedGAN
from mace_jax.models.metric_vae import FittedMetricPrivateVAE
from mace_jax.models.pigan import FittedPIGAN
from mace_jax.models.privgan import FittedPrivGAN
from mace_jax.models.shadow import FittedShadowModels
from mace_jax.models.vae import FittedVAE
from mace_jax.models.wgan_gp import FittedWGANGP

__all__ = ["load"]

Fitted = (
    FittedFlow
    | FittedGAN
    | FittedMetricPrivateVAE
    | FittedPIGAN
    | FittedPrivGAN
    | FittedShadowModels
    | FittedVAE
    | FittedWGANGP
)

_KINDS: dict[str, type[Fitted]] = {
    "Flow": FittedFlow,
    "GAN": FittedGAN,
    "MetricPrivateVAE": FittedMetricPrivateVAE,
    "PIGAN": FittedPIGAN,
    "PrivGAN": FittedPrivGAN,
    "ShadowModels": FittedShadowModels,
    "VAE": FittedVAE,
    "WGANGP": FittedWGANGP,
}


def load(directory: str | os.PathLike[str]) -> Fitted:
    """Read a fitted model of any kind.

    Args:
        directory: Where ``save`` wrote it.

    Returns:
        The fitted model.

    Raises:
        FileNotFoundError: nothing was saved there.
        ValueError: the file is damaged or of an unknown kind.

    Example:
        >>> import tempfile
        >>> from mace_jax.models import VAE
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = VAE(latent_dim=1).fit([[0.0], [1.0]], steps=1, seed=0).save(folder)
        ...     assert load(folder).steps == 1
    """
    kind = _files.saved_kind(directory)
    if kind not in _KINDS:
        raise ValueError(f"{directory} holds a model of unknown kind {kind!r}; known kinds: {sorted(_KINDS)}.")
    return _KINDS[kind].load(directory)
