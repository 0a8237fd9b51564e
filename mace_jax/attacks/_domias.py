"""DOMIAS: how much denser the model's records are around a record than the population is."""

from __future__ import annotations

from typing import Any

from mace_jax import _validate
from mace_jax._types import FloatArray
from mace_jax.attacks._densities import (
    AbstractDensity,
    KernelDensity,
    LogDensity,
    NeighborDensity,
    log_density_of,
)
from mace_jax.attacks._flow_density import FlowDensity
from mace_jax.attacks._inputs import disjoint, finite_records

__all__ = ["domias"]

_NAMED = {"kde": KernelDensity(), "knn": NeighborDensity(), "flow": FlowDensity()}


def domias(records: Any, synthetic: Any, reference: Any, *, density: str | AbstractDensity | Any = "kde") -> FloatArray:
    """Score every record by ``log p_G(x) - log p_R(x)``, the log ratio of the model's density to the population's.

    A model that overfits puts mass on its training records that the population does not have there. A change of
    variables multiplies both densities by the same Jacobian, so with exact densities the score is the same in any
    coordinates, which neither ``log p_G`` alone nor a distance is. Estimated densities keep this as far as their
    estimate does: kernels with a full covariance under linear maps. Both densities stay in the logarithm, so records
    far from everything keep their order.

    Args:
        records: Records under audit, ``(n, d)``.
        synthetic: Records drawn from the model, ``(s, d)``, or an object with ``log_density(records)``.
        reference: Other records of the population, ``(r, d)``, neither members nor non-members under audit; or an
            object with ``log_density(records)``; or None to score by ``log p_G`` alone, the ablation of the source.
        density: ``"kde"`` (``KernelDensity()``), ``"knn"`` (``NeighborDensity()``), ``"flow"`` (``FlowDensity()``) or
            any object whose ``fit(records)`` gives an object with ``log_density(records)``. It is fitted to both sets
            apart.

    Returns:
        Scores ``(n,)`` in nats, higher = more member-like; each depends on its record and both sets alone.

    Raises:
        TypeError: an array is not numeric, or ``density`` cannot be fitted.
        ValueError: NaN, different numbers of columns, records under audit among the reference, an unknown density, or
            one that cannot be fitted to a set (see there) or has no finite logarithm.

    References:
        van Breugel et al. (2023), Membership inference attacks against synthetic data through overfitting detection.

    Example:
        >>> domias([[0.0], [2.0]], synthetic=[[0.1], [1.0], [0.3]], reference=[[0.5], [3.0], [4.0]]).round(1).tolist()
        [1.8, -2.7]
    """
    values = finite_records("records", records)
    if isinstance(density, str):
        density = _NAMED[_validate.one_of(tuple(_NAMED), density=density)]
    if not callable(getattr(density, "fit", None)):
        raise TypeError(f"density={density!r} has no fit(records); pass 'kde', 'knn', 'flow' or an object that has it.")
    scores = _logs("synthetic", values, synthetic, density)
    if reference is None:
        return scores
    if not isinstance(reference, LogDensity):
        disjoint(values, reference=finite_records("reference", reference))
    return scores - _logs("reference", values, reference, density)


def _logs(name: str, values: FloatArray, known: Any, density: Any) -> FloatArray:
    """Log density of the records under a known law or the one fitted to a set."""
    if isinstance(known, LogDensity):
        return log_density_of(known, values, name)
    others = finite_records(name, known)
    _validate.same_features(**{"records": values, name: others})
    try:
        fitted = density.fit(others)
    except ValueError as error:
        raise ValueError(f"no density could be fitted to {name}: {error}") from error
    return log_density_of(fitted, values, name)
