"""Whether the records are the images a convolutional VAE was set up for."""

from __future__ import annotations

import math
from typing import Any

from mace_jax.models import _settings

__all__ = ["check_image", "check_width"]


def check_width(settings: Any, n_features: int) -> None:
    """Records of a convolutional model must be images of its shape."""
    shape = settings.image_shape
    if shape is not None and math.prod(shape) != n_features:
        raise ValueError(
            f"records has {n_features} columns, but image_shape={shape} has {math.prod(shape)}; make them equal."
        )


def check_image(settings: Any) -> None:
    """Three sizes, of which the sides can be halved by every hidden layer; a list becomes a tuple."""
    _settings.widths(settings, "image_shape")
    shape, layers = settings.image_shape, (len(settings.encoder_hidden), len(settings.decoder_hidden))
    if shape is None or len(shape) != 3:
        raise ValueError(f"image_shape={shape!r} must be (height, width, channels), for example (28, 28, 1).")
    if min(layers) == 0 or any(side % 2 ** max(layers) for side in shape[:2]):
        raise ValueError(
            f"image_shape={shape} cannot be halved {max(layers)} times; pass 1 or more hidden layers, and few enough."
        )
