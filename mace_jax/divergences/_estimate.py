"""DivergenceEstimate: a value, the influence of every record on it, and what it is worth."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

import numpy as np

from mace_jax._status import Status
from mace_jax._types import FloatArray, pytree, static_field

__all__ = ["DivergenceEstimate", "Resampling", "finish", "standard_error", "value_only"]

Resampling = Literal["influence", "cells", "split", "subsample", "none"]


@pytree
class DivergenceEstimate:
    """An estimated divergence of P from Q; nats wherever a logarithm is involved.

    Attributes:
        value: The estimate; one number per epsilon where several were asked for. Never clipped: where nothing is to be
            found it may fall a little below 0.
        standard_error: Of ``value`` around its own mean, from both samples' influence values:
            ``sqrt(var(influence_P) / n + var(influence_Q) / m)``. None for a value alone (``influence=False``).
        influence: Pair of per-record arrays (last axis: record), each summing to 0: what each record adds to
            ``n`` (or ``m``) times the estimate. Where labels of neighbors add noise of their own, the arrays are scaled
            to carry it. None for a value alone.
        details: Other numbers of the same data, by name.
        status: ``Status`` flags; ``status.sentences`` spells them out.
        divergence: Name of the divergence.
        method: How it was estimated, which may differ from what was asked if ``status`` says so.
        target: What the value estimates, and which way it errs.
        resampling: How replicates may be drawn: "influence" (weights on the influence values, neighbors fixed), "cells"
            (counts), "split" (scores of rules fitted elsewhere), "subsample" (standard error only) or "none" (a value
            alone).

    The standard error leaves out the bias, which exceeds it for most nearest-neighbor forms beyond one feature.

    Example:
        >>> from mace_jax.divergences import kl
        >>> kl([0.1, 1.2, 2.3, 1.9, 0.7], [0.0, 0.4, 1.1, 2.2, 3.1], k=1).divergence
        'kl'
    """

    value: Any
    standard_error: Any
    influence: Any
    details: dict[str, Any]
    status: Status = static_field()
    divergence: str = static_field()
    method: str = static_field()
    target: str = static_field()
    resampling: Resampling = static_field()

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {
            "divergence": self.divergence,
            "method": self.method,
            "target": self.target,
            "value": np.asarray(self.value).tolist(),
            "standard_error": np.asarray(self.standard_error).tolist(),
            "influence": None if self.influence is None else [np.asarray(part).tolist() for part in self.influence],
            "details": {name: np.asarray(number).tolist() for name, number in self.details.items()},
            "status": list(self.status.sentences),
            "resampling": self.resampling,
        }

    def __repr__(self) -> str:
        if np.ndim(self.value) == 0:
            error = "None" if self.standard_error is None else f"{float(self.standard_error):.2g}"
            shown = f"{float(self.value):.4g}, standard_error={error}"
        else:
            shown = f"{np.size(self.value)} values"
        flags = f", status={self.status.name}" if self.status else ""
        return f"DivergenceEstimate({self.divergence}={shown}, method={self.method!r}{flags})"


def standard_error(influence_p: FloatArray, influence_q: FloatArray) -> Any:
    """``sqrt(var / n + var / m)`` over the last axis."""
    total = sum(part.var(axis=-1, ddof=1) / part.shape[-1] for part in (influence_p, influence_q))
    error = np.sqrt(total)
    return float(error) if np.ndim(error) == 0 else error


def value_only(estimate: DivergenceEstimate) -> DivergenceEstimate:
    """The estimate without influence values, and without what is read from them."""
    status = estimate.status & ~Status.DEGENERATE
    return dataclasses.replace(estimate, standard_error=None, influence=None, status=status, resampling="none")


def finish(
    name: str,
    value: Any,
    influence: tuple[FloatArray, FloatArray] | None,
    *,
    method: str,
    target: str,
    status: Status = Status.OK,
    resampling: Resampling = "influence",
    details: dict[str, Any] | None = None,
    degenerate: bool = True,
    extra_variance: Any = 0.0,
) -> DivergenceEstimate:
    """Center the influence values, work out the standard error, and flag what cannot be told from zero.

    ``extra_variance`` is what the estimate varies beyond its linear form; the influence values are scaled to carry it.
    Without influence values the estimate is a value alone.
    """
    if influence is None:
        return DivergenceEstimate(
            value=float(value),
            standard_error=None,
            influence=None,
            details=dict(details or {}),
            status=status,
            divergence=name,
            method=method,
            target=target,
            resampling="none",
        )
    p, q = (part - part.mean(axis=-1, keepdims=True) for part in influence)
    linear = np.square(standard_error(p, q))
    factor = np.sqrt(1.0 + np.divide(extra_variance, linear, out=np.zeros_like(linear), where=linear > 0.0))
    p, q = p * factor[..., None], q * factor[..., None]
    value = float(value) if np.ndim(value) == 0 else np.asarray(value, dtype=np.float64)
    error = standard_error(p, q)
    if degenerate and np.ndim(value) == 0 and value <= 2.0 * error:
        status |= Status.DEGENERATE
    return DivergenceEstimate(
        value=value,
        standard_error=error,
        influence=(p, q),
        details=dict(details or {}),
        status=status,
        divergence=name,
        method=method,
        target=target,
        resampling=resampling,
    )
