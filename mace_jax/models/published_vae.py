"""The conditional variational autoencoder of the published reconstruction and Monte Carlo attacks."""

from __future__ import annotations

from mace_jax import _validate
from mace_jax.models.vae import VAE

__all__ = ["published_cvae"]


def published_cvae(*, keep: float = 0.9) -> VAE:
    """Settings of the conditional VAE for 28x28 gray images with 10 labels (MNIST, Fashion-MNIST).

    Encoder: record and label, 510 ELU, 500 tanh, then 10 means and 10 softplus standard deviations (670,970 weights).
    Decoder: code and label, 500 tanh, 500 ELU, then 784 sigmoids (653,784 weights). Bernoulli bound on gray pixels,
    Adam 1e-3, batches of 128. The published runs take 300 epochs over 6,000 records, about 14,000 steps; batches
    here are drawn with replacement instead of by epoch.

    Args:
        keep: Probability that a hidden unit is kept while training, in (0, 1]; lower overfits less.

    Returns:
        Settings; pass labels to ``fit`` to make both networks conditional.

    Raises:
        ValueError: ``keep`` is out of range.

    References:
        Hilprecht et al. (2019), Monte Carlo and reconstruction membership inference attacks against generative models.

    Example:
        >>> published_cvae().decoder_hidden
        (500, 500)
    """
    dropped = 1.0 - _validate.non_negative(keep=keep)
    if not 0.0 <= dropped < 1.0:
        raise ValueError(f"keep={keep!r} must lie in (0, 1]; pass for example keep=0.9.")
    return VAE(
        latent_dim=10,
        encoder_hidden=(510, 500),
        decoder_hidden=(500, 500),
        likelihood="bernoulli",
        activation="elu_tanh",
        initializer="variance_scaling",
        dropout=dropped,
        learning_rate=1e-3,
        batch_size=128,
        scaling="common",
    )
