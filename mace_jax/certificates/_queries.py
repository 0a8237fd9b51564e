"""Several queries of one mechanism: which of them leak, and how much the mechanism leaks."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from mace_jax import _validate
from mace_jax._types import FloatArray
from mace_jax.certificates._counts import error_of, rate_limits
from mace_jax.certificates._epsilon import epsilon_from_rates
from mace_jax.certificates._largest import largest_rejected

__all__ = ["QueryBounds", "epsilon_over_queries", "epsilon_p_value", "holm"]

Counts = tuple[int, int, int, int]
_SMALLEST = 12.0 * math.log(10.0)  # -ln of the smallest p-value: below it 1 - error has too few digits


def holm(p_values: ArrayLike) -> FloatArray:
    """Holm's adjusted p-values, ``(T,)``: reject where at most alpha, and any false rejection has probability alpha.

    In ascending order p_(j) becomes the largest of (T - i + 1) p_(i) over i <= j, at most 1. Nothing is assumed about
    the dependence of the tests.

    Raises:
        ValueError: no p-value, one outside [0, 1], or several dimensions.

    References: Holm (1979).

    Example:
        >>> holm([0.01, 0.04, 0.03]).tolist()
        [0.03, 0.06, 0.06]
    """
    values = np.asarray(p_values, np.float64)
    if values.ndim != 1 or not len(values):
        raise ValueError(f"p_values has shape {values.shape}; pass at least one p-value, in one dimension.")
    if not ((values >= 0.0) & (values <= 1.0)).all():
        raise ValueError(f"p_values={p_values!r} must lie in [0, 1].")
    order = np.argsort(values, kind="stable")
    out = np.empty_like(values)
    out[order] = np.minimum(1.0, np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1)))
    return out


def epsilon_p_value(
    true_positives: int,
    n_members: int,
    false_positives: int,
    n_nonmembers: int,
    epsilon: float,
    *,
    delta: float = 0.0,
) -> float:
    """P-value of the hypothesis that the mechanism is (epsilon, delta)-differentially private.

    The smallest error at which the bound of ``epsilon_from_counts`` exceeds ``epsilon``; never below 1e-12.

    Raises:
        ValueError: counts outside their totals, epsilon negative, delta outside [0, 1).
        TypeError: a count that is no integer.

    Example:
        >>> round(epsilon_p_value(500, 500, 0, 500, 4.905594), 3)
        0.05
    """
    epsilon, delta = _validate.non_negative(epsilon=epsilon), _validate.probability(delta=delta)

    def rejects(log_error: float) -> bool:
        error = math.exp(log_error)
        limits = rate_limits(true_positives, n_members, false_positives, n_nonmembers, error=error)
        return epsilon_from_rates(*limits, delta=delta) > epsilon

    # as a function of -ln(error): rejected up to the p-value and not beyond
    if not rejects(0.0):
        return 1.0
    return math.exp(-largest_rejected(lambda minus: rejects(-minus), 0.0, _SMALLEST, tolerance=1e-10))


@dataclasses.dataclass(frozen=True)
class QueryBounds:
    """Lower bounds over several queries that hold together at ``confidence_level``.

    ``epsilon`` is the largest bound, valid for the mechanism that all queries look at. ``bounds`` are per query, of the
    epsilon that this query's rule shows; ``exceeds`` says which of these are claimed to be above ``above``, and
    ``p_values`` are adjusted for the number of queries.
    """

    epsilon: float
    bounds: tuple[float, ...]
    exceeds: tuple[bool, ...]
    p_values: tuple[float, ...]
    above: float
    delta: float
    confidence_level: float
    method: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return dataclasses.asdict(self)

    def __repr__(self) -> str:
        return (
            f"QueryBounds(epsilon >= {self.epsilon:.4g}, {sum(self.exceeds)} of {len(self.exceeds)} queries above "
            f"{self.above:g}, confidence_level={self.confidence_level}, method={self.method!r})"
        )


def epsilon_over_queries(
    counts: Sequence[Counts],
    *,
    correction: Literal["bonferroni", "holm"] = "bonferroni",
    above: float = 0.0,
    delta: float = 0.0,
    confidence_level: float = 0.95,
) -> QueryBounds:
    """Lower bounds on epsilon from one rule per query, corrected for looking at all of them.

    "bonferroni": each query's Clopper-Pearson bound at error / T; all T hold together, so their maximum bounds the
    epsilon of the mechanism. "holm": shows more queries to leak more than ``above``, with no numbers beyond: a query
    whose claim is rejected has the bound ``above``, another one its bound at error / (number not rejected); only if all
    claims are rejected are bounds at error / T reported. For the mechanism's own epsilon Holm gains nothing over
    Bonferroni, since both need the smallest p-value to be at most error / T.

    Args:
        counts: Per query (true_positives, n_members, false_positives, n_nonmembers). The queries may be of the same
            records; each rule must have been fixed beforehand.
        correction: "bonferroni" or "holm".
        above: The epsilon that "holm" tests, at least 0.
        delta: Of (epsilon, delta)-differential privacy.
        confidence_level: One-sided, of all statements together.

    Raises:
        ValueError: no query, an entry that is not four counts, counts outside their totals, an unknown correction.
        TypeError: a count that is no integer.

    References: Holm (1979); Strassburger and Bretz (2008) and Guilbaud (2008) for bounds that go with Holm's test.

    Example:
        >>> epsilon_over_queries([(90, 100, 10, 100), (55, 100, 50, 100)])
        QueryBounds(epsilon >= 1.465, 1 of 2 queries above 0, confidence_level=0.95, method='bonferroni')
    """
    counts = [tuple(entry) for entry in counts]  # type: ignore[misc]
    if not counts or any(len(entry) != 4 for entry in counts):
        raise ValueError(
            f"counts={counts!r} must hold (true_positives, n_members, false_positives, n_nonmembers) of at least one "
            "query."
        )
    if correction not in ("bonferroni", "holm"):
        raise ValueError(f"correction={correction!r} is not known; pass 'bonferroni' or 'holm'.")
    above, delta = _validate.non_negative(above=above), _validate.probability(delta=delta)
    error, n_queries = error_of(confidence_level), len(counts)

    def bounds_at(share: float) -> list[float]:
        return [epsilon_from_rates(*rate_limits(*entry, error=share), delta=delta) for entry in counts]

    p_values = np.asarray([epsilon_p_value(*entry, above, delta=delta) for entry in counts])
    bounds = bounds_at(error / n_queries)
    if correction == "holm":
        adjusted = holm(p_values)
        exceeds = adjusted <= error
        if not exceeds.all():
            rest = bounds_at(error / (n_queries - int(exceeds.sum())))
            bounds = [above if shown else bound for shown, bound in zip(exceeds, rest, strict=True)]
        else:
            bounds = [max(above, bound) for bound in bounds]
    else:
        adjusted = np.minimum(1.0, n_queries * p_values)
        exceeds = np.asarray(bounds) > above
    return QueryBounds(
        epsilon=max(bounds),
        bounds=tuple(bounds),
        exceeds=tuple(bool(shown) for shown in exceeds),
        p_values=tuple(adjusted.tolist()),
        above=above,
        delta=delta,
        confidence_level=confidence_level,
        method=correction,
    )
