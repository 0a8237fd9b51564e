"""Attacks that are a query and nothing else, as functions of the records."""

from __future__ import annotations

from typing import Any

import numpy as np

from mace_jax._types import DiscriminatorScores, FloatArray, ReconstructionErrors, Seed
from mace_jax.queries import DiscriminatorScore, NearestSynthetic, ReconstructionError

__all__ = ["discriminator_score", "nearest_synthetic", "reconstruction_error"]


def nearest_synthetic(records: Any, synthetic: Any) -> FloatArray:
    """Score every record by minus the Euclidean distance to the nearest of the model's samples.

    Args:
        records: Records under audit, ``(n, d)``.
        synthetic: Samples of the model, ``(s, d)``, in the same units.

    Returns:
        Scores ``(n,)``, higher = more member-like.

    Raises:
        TypeError: an array is not numeric.
        ValueError: NaN, or different numbers of columns.

    References:
        Chen et al. (2020), GAN-Leaks: the full black-box attack, which takes the squared distance.

    Example:
        >>> nearest_synthetic([[1.0], [4.0]], [[0.0], [4.0]]).tolist()
        [-1.0, 0.0]
    """
    return NearestSynthetic(synthetic)(records, seed=0)[:, 0]


def discriminator_score(records: Any, model: DiscriminatorScores) -> FloatArray:
    """Score every record by the logit of the model's own discriminator: the white-box attack of LOGAN.

    A model with several discriminators is asked for the highest of their logits.

    Args:
        records: Records under audit, ``(n, d)``.
        model: Any object with ``discriminator_score(records)``.

    Returns:
        Scores ``(n,)``, higher = more member-like.

    Raises:
        TypeError: the model has no such method.
        ValueError: NaN, or the model does not return one row of finite numbers per record.

    References:
        Hayes et al. (2019), LOGAN: Membership inference attacks against generative models.

    Example:
        >>> class Model:
        ...     def discriminator_score(self, records):
        ...         return records.sum(axis=1)
        >>> discriminator_score([[1.0, 2.0]], Model()).tolist()
        [3.0]
    """
    return np.max(DiscriminatorScore(model)(records, seed=0), axis=1)


def reconstruction_error(records: Any, model: ReconstructionErrors, *, seed: Seed) -> FloatArray:
    """Score every record by minus the model's reconstruction error of it.

    Args:
        records: Records under audit, ``(n, d)``.
        model: Any object with ``reconstruction_error(records, *, seed)`` that returns one number per record.
        seed: Seeds the model's draws.

    Returns:
        Scores ``(n,)``, higher = more member-like.

    Raises:
        TypeError: the model has no such method.
        ValueError: NaN, or the model does not return one finite number per record.

    References:
        Hilprecht et al. (2019), Monte Carlo and reconstruction membership inference attacks against generative models.

    Example:
        >>> class Model:
        ...     def reconstruction_error(self, records, *, seed):
        ...         return records.sum(axis=1)
        >>> reconstruction_error([[1.0, 2.0]], Model(), seed=0).tolist()
        [-3.0]
    """
    scores = ReconstructionError(model)(records, seed=seed)
    if scores.shape[1] != 1:
        raise ValueError(
            f"{type(model).__name__}.reconstruction_error returned {scores.shape[1]} numbers per record; this attack "
            "takes one. The query of the same name takes several."
        )
    return scores[:, 0]
