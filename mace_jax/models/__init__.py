"""Reference generative models in Flax: trained on records, they sample and score them.

``GAN``, ``WGANGP``, ``PrivGAN``, ``PIGAN``, ``VAE`` and the like hold settings; ``fit`` returns a fitted model that
``mace_jax.audit`` takes as ``model``. ``published`` has the configurations of published adversarial models.
"""

from __future__ import annotations

from mace_jax.models import published
from mace_jax.models._load import load
from mace_jax.models.dp_sgd import DPSGD, PrivateFit
from mace_jax.models.flow import FittedFlow, Flow
from mace_jax.models.gan import GAN, FittedGAN
from mace_jax.models.metric_vae import FittedMetricPrivateVAE, MetricPrivateVAE
from mace_jax.models.networks import ConvNetworks, DCGANNetworks, MLPNetworks
from mace_jax.models.pigan import PIGAN, FittedPIGAN
from mace_jax.models.privgan import FittedPrivGAN, PrivGAN
from mace_jax.models.published_vae import published_cvae
from mace_jax.models.shadow import FittedShadowModels, ShadowModels
from mace_jax.models.vae import VAE, FittedVAE
from mace_jax.models.wgan_gp import WGANGP, FittedWGANGP

__all__ = [
    "DPSGD",
    "GAN",
    "PIGAN",
    "VAE",
    "WGANGP",
    "ConvNetworks",
    "DCGANNetworks",
    "FittedFlow",
    "FittedGAN",
    "FittedMetricPrivateVAE",
    "FittedPIGAN",
    "FittedPrivGAN",
    "FittedShadowModels",
    "FittedVAE",
    "FittedWGANGP",
    "Flow",
    "MLPNetworks",
    "MetricPrivateVAE",
    "PrivGAN",
    "PrivateFit",
    "ShadowModels",
    "load",
    "published",
    "published_cvae",
]
