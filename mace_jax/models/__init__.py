"""Reference generative models in Flax: trained on records, they sample and score them.

``GAN`` and ``VAE`` hold settings; ``fit`` returns a fitted model that ``mace_jax.audit`` takes as ``model``.
"""

from __future__ import annotations

from mace_jax.models._load import load
from mace_jax.models.gan import GAN, FittedGAN
from mace_jax.models.vae import VAE, FittedVAE

__all__ = ["GAN", "VAE", "FittedGAN", "FittedVAE", "load"]
