"""The queries an audit runs when none are named."""

from __future__ import annotations

from typing import Any

from mace_jax import _validate
from mace_jax._types import DiscriminatorScores, ReconstructionErrors
from mace_jax.queries._base import AbstractQuery
from mace_jax.queries._distance import CalibratedDistance, NearestSynthetic
from mace_jax.queries._monte_carlo import MonteCarlo, default_radius
from mace_jax.queries._reconstruction import ReconstructionError
from mace_jax.queries._score import DiscriminatorScore

__all__ = ["default_queries"]


def default_queries(*, synthetic: Any, reference: Any, model: Any, k: int = 5) -> tuple[AbstractQuery, ...]:
    """The queries that what is at hand allows.

    Synthetic records allow the distance to the nearest one, the vector of the k nearest distances and the Monte Carlo
    ball count; reference records add the calibrated distance; a model adds its discriminator score and its
    reconstruction error if it has the method. What the synthetic set is too small for (the vector: fewer than 2 rows;
    the ball count: fewer than 6 rows, or all equal) is left out.

    Args:
        synthetic: Records drawn from the model, ``(s, d)``, or None.
        reference: Other records of the same population, or None.
        model: Any object; its methods decide what it is asked for. None for no model.
        k: Number of nearest synthetic records in the vector query; fewer if there are not so many.

    Returns:
        The queries, black-box ones first.

    Raises:
        ValueError: nothing can be asked: no synthetic records and no model with a usable method.

    Example:
        >>> queries = default_queries(synthetic=[[0.0], [1.0], [3.0]], reference=None, model=None)
        >>> [query.name for query in queries]
        ['nearest synthetic distance', '3 nearest synthetic']
    """
    k = _validate.positive_int(k=k)
    queries: list[AbstractQuery] = []
    if synthetic is not None:
        nearest = NearestSynthetic(synthetic)
        queries.append(nearest)
        rows = nearest.synthetic
        if min(k, len(rows)) > 1:
            queries.append(NearestSynthetic(rows, k=min(k, len(rows))))
        calibrated = [] if reference is None else [CalibratedDistance(rows, reference)]
        radius = default_radius(rows, calibrated[0].reference if calibrated else None)
        if radius > 0.0:
            queries.append(MonteCarlo(rows, radius=radius))
        queries.extend(calibrated)
    if isinstance(model, DiscriminatorScores):
        queries.append(DiscriminatorScore(model))
    if isinstance(model, ReconstructionErrors):
        queries.append(ReconstructionError(model))
    if not queries:
        raise ValueError(
            "nothing to ask: pass synthetic records, or a model with discriminator_score or reconstruction_error."
        )
    return tuple(queries)
