"""Maps from noise to records of every model that has some: one of a plain generator, one per part of a divided one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from mace_jax._types import DecodesNoise

__all__ = ["decoders"]


def decoders(model: Any) -> tuple[tuple[Callable[[Any], Any], int], ...]:
    """Functions of standard normal noise ``(n, z)``, with z, that JAX can trace; none for a model without noise."""
    from mace_jax.models import FittedPIGAN, FittedPrivGAN

    if isinstance(model, DecodesNoise):
        return ((model.decode_noise, model.latent_dim),)
    if isinstance(model, FittedPrivGAN):
        nothing = np.zeros(0, np.float32)
        return tuple(_part(model, model._weights("generator", pair), nothing) for pair in range(model.settings.n_pairs))
    if isinstance(model, FittedPIGAN):
        codes = np.eye(model.settings.n_parts, dtype=np.float32)
        return tuple(_part(model, model.parameters["generator"], code) for code in codes)
    return ()


def _part(model: Any, weights: Any, condition: np.ndarray) -> tuple[Callable[[Any], Any], int]:
    """The generator of one part of an unconditional model, under the condition it was trained with."""
    from mace_jax.models import adversarial

    pair = model._trainer.pair
    low, span = (jnp.asarray(side, jnp.float32) for side in (model.scaling.low, model.scaling.span))

    def decode(noise: Any) -> Any:
        conditions = jnp.broadcast_to(jnp.asarray(condition), (len(noise), len(condition)))
        return low + span * adversarial.generate_unit(pair, weights, noise, conditions)

    return decode, pair.latent_dim
