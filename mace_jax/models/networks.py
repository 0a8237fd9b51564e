"""Which networks an adversarial model trains: settings that make a generator and a discriminator in Flax."""

from __future__ import annotations

import abc
import dataclasses
from typing import Any, final

import flax.linen as nn

from mace_jax import _validate
from mace_jax.models import _settings
from mace_jax.models.convolutions import ConvDiscriminator, ConvGenerator, DCGANDiscriminator, DCGANGenerator
from mace_jax.models.layers import MLP

__all__ = ["AbstractNetworks", "ConvNetworks", "DCGANNetworks", "MLPNetworks"]


class AbstractNetworks(abc.ABC):
    """Settings of a generator and a discriminator; hashable, so that they can be part of a trainer."""

    @property
    @abc.abstractmethod
    def normalizes_batches(self) -> bool:
        """Whether a row's output in training depends on the other rows of its batch."""

    @abc.abstractmethod
    def features(self, n_features: int) -> None:
        """Refuse records of a length the networks cannot make."""

    @abc.abstractmethod
    def generator(self, n_features: int) -> nn.Module:
        """From noise and condition to records, before tanh."""

    @abc.abstractmethod
    def discriminator(self, n_features: int, n_outputs: int) -> nn.Module:
        """From records and condition to logits."""


@final
@dataclasses.dataclass(frozen=True)
class MLPNetworks(AbstractNetworks):
    """Multilayer perceptrons with leaky rectifiers (slope 0.2) and zero initial biases.

    Args:
        generator_hidden: Widths of the generator's hidden layers.
        discriminator_hidden: Widths of the discriminator's hidden layers.
        first_sd: Standard deviation of the first layers' normal initial weights; None draws them from Glorot's
            uniform law like all others.

    Raises:
        TypeError: widths are not a tuple of integers.
        ValueError: a width or ``first_sd`` is not positive.

    Example:
        >>> MLPNetworks((512,), (256, 128), first_sd=0.02).generator(64).widths
        (512, 64)
    """

    generator_hidden: tuple[int, ...] = (256, 256)
    discriminator_hidden: tuple[int, ...] = (256, 128)
    first_sd: float | None = None

    def __post_init__(self) -> None:
        """Check every setting."""
        _settings.widths(self, "generator_hidden")
        _settings.widths(self, "discriminator_hidden")
        if self.first_sd is not None:
            _settings.positive(first_sd=self.first_sd)

    @property
    def normalizes_batches(self) -> bool:
        return False

    def features(self, n_features: int) -> None:
        """Any number will do."""

    def generator(self, n_features: int) -> MLP:
        return MLP((*self.generator_hidden, n_features), self.first_sd)

    def discriminator(self, n_features: int, n_outputs: int) -> MLP:
        return MLP((*self.discriminator_hidden, n_outputs), self.first_sd)


@final
@dataclasses.dataclass(frozen=True)
class ConvNetworks(AbstractNetworks):
    """Strided convolutions without batch normalization; the defaults are privGAN's networks for CIFAR-10.

    The generator's dense layer makes maps of ``record_shape / 2**len(generator_channels)``, which as many transposed
    convolutions double to the record. Every convolution of the discriminator halves the sides. Leaky rectifiers
    (slope 0.2), zero biases, Glorot uniform weights but for the first layers.

    Args:
        record_shape: Height, width and colors of a record, which enters as a flat row in that order.
        generator_channels: Channels of the dense layer's maps and of all transposed convolutions but the last.
        discriminator_channels: Channels of the discriminator's convolutions.
        kernel: Side of every kernel, in pixels.
        first_sd: Standard deviation of the first layers' normal initial weights.

    Raises:
        TypeError: a setting is of the wrong type.
        ValueError: a setting is out of range, or the sides cannot be halved often enough.

    References:
        Mukherjee et al. (2021), privGAN: Protecting GANs from membership inference attacks at low cost to utility.

    Example:
        >>> ConvNetworks(record_shape=(8, 8, 1), generator_channels=(16, 8)).generator(64).channels
        (16, 8)
    """

    record_shape: tuple[int, int, int] = (32, 32, 3)
    generator_channels: tuple[int, ...] = (512, 256, 128, 64)
    discriminator_channels: tuple[int, ...] = (64, 128, 128, 256)
    kernel: int = 5
    first_sd: float = 0.02

    def __post_init__(self) -> None:
        """Check every setting."""
        _shape(self)
        for name in ("generator_channels", "discriminator_channels"):
            _settings.widths(self, name)
            if not getattr(self, name):
                raise ValueError(f"{name}=() is empty; pass at least one number of channels.")
        _validate.positive_int(kernel=self.kernel)
        _settings.positive(first_sd=self.first_sd)
        factor = 2 ** len(self.generator_channels)
        if any(side % factor for side in self.record_shape[:2]):
            raise ValueError(
                f"record_shape={self.record_shape} has a side that {len(self.generator_channels)} doublings cannot "
                f"make; pad the records to a multiple of {factor} or pass fewer generator_channels."
            )

    @property
    def normalizes_batches(self) -> bool:
        return False

    def features(self, n_features: int) -> None:
        _same_length(self.record_shape, n_features)

    def generator(self, n_features: int) -> ConvGenerator:
        return ConvGenerator(self.record_shape, self.generator_channels, self.kernel, self.first_sd)

    def discriminator(self, n_features: int, n_outputs: int) -> ConvDiscriminator:
        return ConvDiscriminator(self.record_shape, self.discriminator_channels, self.kernel, self.first_sd, n_outputs)


@final
@dataclasses.dataclass(frozen=True)
class DCGANNetworks(AbstractNetworks):
    """Deep convolutional networks with batch normalization; the defaults are LOGAN's, for 64x64 color images.

    While training, batches are normalized by their own statistics (the discriminator's real and synthetic batches
    apart); scores and samples use the running averages, so that each record is treated alone. Initial weights are
    N(0, 0.02^2), scales N(1, 0.02^2); convolutions have no bias.

    Args:
        record_shape: Height, width and colors of a record, which enters as a flat row in that order; both sides are
            8, 16, 32, 64, ...
        width: Channels next to the image; they double at every halving of the sides.

    Raises:
        TypeError: a setting is of the wrong type.
        ValueError: the sides are not equal powers of 2 from 8 on.

    References:
        Radford et al. (2016), Unsupervised representation learning with deep convolutional generative adversarial
        networks. Hayes et al. (2019), LOGAN: Membership inference attacks against generative models.

    Example:
        >>> DCGANNetworks(record_shape=(16, 16, 1), width=4).normalizes_batches
        True
    """

    record_shape: tuple[int, int, int] = (64, 64, 3)
    width: int = 64

    def __post_init__(self) -> None:
        """Check every setting."""
        _shape(self)
        _validate.positive_int(width=self.width)
        height, width, _ = self.record_shape
        if height != width or height < 8 or height & (height - 1):
            raise ValueError(
                f"record_shape={self.record_shape} must have equal sides of 8, 16, 32, 64, ...; resize the records."
            )

    @property
    def normalizes_batches(self) -> bool:
        return True

    def features(self, n_features: int) -> None:
        _same_length(self.record_shape, n_features)

    def generator(self, n_features: int) -> DCGANGenerator:
        return DCGANGenerator(self.record_shape, self.width)

    def discriminator(self, n_features: int, n_outputs: int) -> DCGANDiscriminator:
        return DCGANDiscriminator(self.record_shape, self.width, n_outputs)


KINDS: dict[str, type] = {kind.__name__: kind for kind in (MLPNetworks, ConvNetworks, DCGANNetworks)}


def _shape(settings: Any) -> None:
    """Check a tuple of height, width and colors; a list becomes a tuple."""
    _settings.widths(settings, "record_shape")
    if len(settings.record_shape) != 3:
        raise ValueError(f"record_shape={settings.record_shape} must be (height, width, colors).")


def _same_length(shape: tuple[int, int, int], n_features: int) -> None:
    """Records must be flat images of the shape."""
    length = shape[0] * shape[1] * shape[2]
    if n_features != length:
        raise ValueError(
            f"records has {n_features} columns but record_shape={shape} needs {length}; "
            "pass records of that shape or change record_shape."
        )
