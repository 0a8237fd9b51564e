"""Population attack: how unusual is a record's score among records that were not trained on?"""

from __future__ import annotations

import dataclasses
from typing import Any, final

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray

from mace_jax import _validate
from mace_jax._types import FloatArray
from mace_jax.attacks._groups import Groups, as_groups, look_up, plain, same_kind

__all__ = ["PopulationAttack", "population_attack"]


@final
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class PopulationAttack:
    """Conformal p-values against "this record is another one of the population".

    Attributes:
        p_values: ``(n,)``.
        population_counts: Population records that each was compared with, ``(n,)``; no p-value is below
            ``1 / (count + 1)``.
        pooled: Classes with too few population records, which were compared with each other's; empty without labels.
        min_count: Fewest population records of a class that stands on its own.
    """

    p_values: Float[FloatArray, " n"]
    population_counts: Int[NDArray[np.int64], " n"]
    pooled: tuple[int | str, ...]
    min_count: int

    def predict(self, alpha: float) -> Bool[NDArray[np.bool_], " n"]:
        """Whether each record is guessed to be a member, at a false positive rate of at most ``alpha``."""
        alpha = _validate.in_open_unit(alpha=alpha)
        return np.floor(alpha * (self.population_counts + 1.0) + 1e-9) >= np.round(
            self.p_values * (self.population_counts + 1.0)
        )

    def undecidable(self, alpha: float) -> int:
        """Records compared with fewer than ``1 / alpha - 1`` others, which no score could make members."""
        alpha = _validate.in_open_unit(alpha=alpha)
        return int((np.floor(alpha * (self.population_counts + 1.0) + 1e-9) < 1).sum())

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {
            "p_values": self.p_values.tolist(),
            "population_counts": self.population_counts.tolist(),
            "pooled": list(self.pooled),
            "min_count": self.min_count,
        }

    def __repr__(self) -> str:
        smallest = f"{self.p_values.min():.4g}"
        pooled = f", {len(self.pooled)} classes pooled" if self.pooled else ""
        return f"PopulationAttack({len(self.p_values)} records, smallest p={smallest}{pooled})"


def population_attack(
    scores: Any, population_scores: Any, *, labels: Any = None, population_labels: Any = None, min_count: int = 99
) -> PopulationAttack:
    """Compare every score with those of population records: ``p(x) = (1 + #{population >= s(x)}) / (1 + n)``.

    For a record that is exchangeable with the population, ``P(p <= alpha) <= floor(alpha (n + 1)) / (n + 1) <= alpha``,
    exactly and for any score, so ``p <= alpha`` is an attack with a known false positive rate; no shadow model is
    needed. With labels, records are compared within their class and this holds for every class; classes with fewer than
    ``min_count`` population records are compared with each other's, and it holds for them together. A class without any
    such company gets p = 1.

    Args:
        scores: Of the records under audit, ``(n,)``, higher = more member-like.
        population_scores: Of records of the population that the model was not trained on, disjoint from those under
            audit, ``(r,)``.
        labels: Classes of the records, ``(n,)``, whole numbers or strings.
        population_labels: Classes of the population.
        min_count: Fewest population records of a class on its own; 99 for p-values down to 1 %.

    Returns:
        p-values, small = member-like: ``-p_values`` are scores with the same order within a class.

    Raises:
        TypeError: scores that are not numeric, labels of different kinds.
        ValueError: no scores, NaN, labels on one side only, not one label per score, or ``min_count`` below 1.

    References: Vovk et al. (2005) for conformal p-values; Ye et al. (2022), Enhanced membership inference attacks
    against machine learning models, for the attack with population quantiles.

    Example:
        >>> population_attack([3.0, 0.5], [0.0, 1.0, 2.0]).p_values.tolist()
        [0.25, 0.75]
    """
    values = _validate.scores(scores=scores)
    others = _validate.scores(population_scores=population_scores)
    min_count = _validate.positive_int(min_count=min_count)
    if (labels is None) != (population_labels is None):
        raise ValueError("pass labels and population_labels together, or neither.")
    if labels is None:
        own, theirs, pooled = np.zeros(len(values), np.int64), np.zeros(len(others), np.int64), ()
    else:
        groups, population = (
            as_groups("labels", labels, len(values)),
            as_groups("population_labels", population_labels, len(others)),
        )
        same_kind(labels=groups, population_labels=population)
        own, theirs, pooled = _numbered(groups, population, min_count)
    at_least, counts = _counts(values, own, others, theirs)
    return PopulationAttack((1.0 + at_least) / (1.0 + counts), counts, pooled, min_count)


def _numbered(
    groups: Groups, population: Groups, min_count: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], tuple[int | str, ...]]:
    """Numbers of the groups to compare within, 0 for all that are pooled; and these."""
    classes, counts = np.unique(population, return_counts=True)
    numbers = np.where(counts >= min_count, np.arange(1, len(classes) + 1), 0)
    place, known = look_up(groups, classes)
    own = np.where(known, numbers[place], 0)
    theirs = numbers[look_up(population, classes)[0]]
    few = np.union1d(classes[numbers == 0], groups[own == 0])
    return own, theirs, tuple(plain(few))


def _counts(
    values: FloatArray, own: NDArray[np.int64], others: FloatArray, theirs: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Population records of the same number with at least the same score, and all of the same number."""
    order = np.lexsort((others, theirs))
    others, theirs = others[order], theirs[order]
    at_least, counts = np.zeros(len(values), np.int64), np.zeros(len(values), np.int64)
    by_number = np.argsort(own, kind="stable")
    numbers, starts = np.unique(own[by_number], return_index=True)
    for number, rows in zip(numbers, np.split(by_number, starts[1:]), strict=True):
        first, last = np.searchsorted(theirs, [number, number + 1])
        at_least[rows] = (last - first) - np.searchsorted(others[first:last], values[rows], side="left")
        counts[rows] = last - first
    return at_least, counts
