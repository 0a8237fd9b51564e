"""Configurations of published adversarial models, as settings; training lengths as functions of the record count.

Pixels enter as 0 to 255, flat, and are scaled by one common range; Adam's settings, targets and initial weights are
those of the authors' programs.
"""

from __future__ import annotations

from typing import Any

from mace_jax import _validate
from mace_jax.models.gan import GAN
from mace_jax.models.networks import AbstractNetworks, ConvNetworks, DCGANNetworks, MLPNetworks
from mace_jax.models.privgan import PrivGAN

__all__ = [
    "logan_dcgan",
    "privgan_cifar10",
    "privgan_cifar10_gan",
    "privgan_gan_steps",
    "privgan_mnist",
    "privgan_mnist_gan",
    "privgan_steps",
]

_BATCH, _EPOCHS, _PRETRAINING_EPOCHS, _DELAY_EPOCHS = 256, 500, 50, 100


def privgan_mnist_gan() -> GAN:
    """The GAN that privGAN is compared with on MNIST, Fashion-MNIST and LFW: multilayer perceptrons.

    On 784 columns the generator has 1,643,280 parameters and the discriminator 2,788,353; on the 2,914 of LFW
    3,826,530 and 7,150,593. Train it for ``privgan_gan_steps`` steps.

    Returns:
        The settings.

    References:
        Mukherjee et al. (2021), privGAN: Protecting GANs from membership inference attacks at low cost to utility.

    Example:
        >>> privgan_mnist_gan().batch_size
        256
    """
    return GAN(**_privgan_common(_mlps()), real_target=0.9)


def privgan_cifar10_gan() -> GAN:
    """The GAN that privGAN is compared with on CIFAR-10: convolutions without batch normalization.

    The generator has 4,512,899 parameters, the discriminator 1,440,001. Train it for ``privgan_gan_steps`` steps.

    Returns:
        The settings, for flat records of 32x32x3 pixels.

    References:
        Mukherjee et al. (2021).

    Example:
        >>> privgan_cifar10_gan().networks.record_shape
        (32, 32, 3)
    """
    return GAN(**_privgan_common(ConvNetworks()), real_target=0.9)


def privgan_mnist(n_records: int = 7_000, *, n_pairs: int = 2, privacy_ratio: float = 1.0) -> PrivGAN:
    """PrivGAN on MNIST, Fashion-MNIST (7,000 records) or LFW (1,323): multilayer perceptrons.

    On 784 columns each pair has the networks of ``privgan_mnist_gan`` and the privacy discriminator of two pairs
    2,788,610 parameters. Train it for ``privgan_steps`` steps.

    Args:
        n_records: Number of training records, which turns the published epochs into steps.
        n_pairs: Number of pairs.
        privacy_ratio: Weight of the penalty; published are 0.1, 1 and 10.

    Returns:
        The settings.

    Raises:
        ValueError: a part has fewer records than a batch.

    References:
        Mukherjee et al. (2021).

    Example:
        >>> privgan_mnist().privacy_delay
        1300
    """
    return _privgan(_mlps(), n_records, n_pairs, privacy_ratio)


def privgan_cifar10(n_records: int = 6_000, *, n_pairs: int = 2, privacy_ratio: float = 1.0) -> PrivGAN:
    """PrivGAN on CIFAR-10: convolutions without batch normalization.

    Each pair has the networks of ``privgan_cifar10_gan``, the privacy discriminator of two pairs 1,441,026
    parameters. Train it for ``privgan_steps`` steps.

    Args:
        n_records: Number of training records, which turns the published epochs into steps.
        n_pairs: Number of pairs.
        privacy_ratio: Weight of the penalty; published are 0.1, 1 and 10.

    Returns:
        The settings, for flat records of 32x32x3 pixels.

    Raises:
        ValueError: a part has fewer records than a batch.

    References:
        Mukherjee et al. (2021).

    Example:
        >>> privgan_cifar10().privacy_delay
        1100
    """
    return _privgan(ConvNetworks(), n_records, n_pairs, privacy_ratio)


def logan_dcgan() -> GAN:
    """LOGAN's DCGAN for 64x64 color images: 3,576,704 and 2,765,568 parameters.

    Returns:
        The settings, for flat records of 64x64x3 pixels.

    References:
        Hayes et al. (2019), LOGAN: Membership inference attacks against generative models.

    Example:
        >>> logan_dcgan().networks.record_shape
        (64, 64, 3)
    """
    return GAN(
        latent_dim=100,
        generator_learning_rate=2e-4,
        discriminator_learning_rate=2e-4,
        beta1=0.5,
        batch_size=64,
        real_target=1.0,
        scaling="common",
        networks=DCGANNetworks(),
    )


def privgan_gan_steps(n_records: int, *, epochs: int = _EPOCHS) -> int:
    """Steps of the published GAN baseline: whole batches of 256 in ``n_records``, times epochs.

    Args:
        n_records: Number of training records.
        epochs: Number of epochs; figures are published for 500.

    Returns:
        Number of steps to pass to ``fit``.

    Raises:
        ValueError: fewer records than a batch.

    References:
        Mukherjee et al. (2021).

    Example:
        >>> privgan_gan_steps(7_000)
        13500
    """
    return privgan_steps(n_records, n_pairs=1, epochs=epochs)


def privgan_steps(n_records: int, *, n_pairs: int = 2, epochs: int = _EPOCHS) -> int:
    """Steps of the published privGAN: whole batches of 256 in one part, times epochs.

    A discriminator of privGAN gets ``n_pairs`` times fewer updates than the baseline's in as many epochs; to compare
    at equal numbers of updates, pass both the same number of steps.

    Args:
        n_records: Number of training records.
        n_pairs: Number of pairs.
        epochs: Number of epochs; figures are published for 500.

    Returns:
        Number of steps to pass to ``fit``.

    Raises:
        ValueError: a part has fewer records than a batch.

    References:
        Mukherjee et al. (2021).

    Example:
        >>> privgan_steps(7_000)
        6500
    """
    n_records, n_pairs = _validate.positive_int(n_records=n_records), _validate.positive_int(n_pairs=n_pairs)
    per_epoch = n_records // n_pairs // _BATCH
    if per_epoch == 0:
        raise ValueError(f"n_records={n_records} in {n_pairs} parts is less than a batch of {_BATCH} each; pass more.")
    return per_epoch * _validate.positive_int(epochs=epochs)


def _mlps() -> MLPNetworks:
    """PrivGAN's multilayer perceptrons."""
    return MLPNetworks((512, 512, 1024), (2048, 512, 256), first_sd=0.02)


def _privgan_common(networks: AbstractNetworks) -> dict[str, Any]:
    """Settings that privGAN and its baseline share."""
    return {
        "latent_dim": 100,
        "generator_learning_rate": 2e-4,
        "discriminator_learning_rate": 2e-4,
        "beta1": 0.5,
        "batch_size": _BATCH,
        "scaling": "common",
        "networks": networks,
        "adam_eps": 1e-7,
    }


def _privgan(networks: AbstractNetworks, n_records: int, n_pairs: int, privacy_ratio: float) -> PrivGAN:
    """PrivGAN with its schedule in steps."""
    delay = privgan_steps(n_records, n_pairs=n_pairs, epochs=_DELAY_EPOCHS)
    return PrivGAN(
        n_pairs=n_pairs,
        privacy_ratio=privacy_ratio,
        privacy_delay=delay,
        privacy_pretraining=-(-n_records // _BATCH) * _PRETRAINING_EPOCHS,
        privacy_learning_rate=2e-4,
        real_target=0.95,
        **_privgan_common(networks),
    )
