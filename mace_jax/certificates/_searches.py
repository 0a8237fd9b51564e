"""The searches for a threshold, each with what it pays for its choice."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from mace_jax import _validate
from mace_jax._binomial import clopper_pearson_lower, clopper_pearson_upper
from mace_jax._random import generator
from mace_jax._types import FloatArray, Seed
from mace_jax.certificates._cuts import counts_above, cuts_between, rank_grid
from mace_jax.certificates._epsilon import epsilon_from_rates

__all__ = ["ScoreData", "Step", "after_split", "over_all", "over_grid", "over_ranks", "walk"]

_CAUTION = (1e-3, 0.04, 1.0)  # shares of the error at which the fit half proposes steps, the most certain first


@dataclasses.dataclass(frozen=True, eq=False)
class ScoreData:
    """Scores of both groups, ``(n, q)`` and ``(m, q)``, and what a bound on them needs."""

    members: FloatArray
    nonmembers: FloatArray
    delta: float

    def counts(self, query: int, cuts: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        """True and false positives."""
        return counts_above(self.members[:, query], cuts), counts_above(self.nonmembers[:, query], cuts)

    def bounds(self, query: int, cuts: ArrayLike, error: float) -> FloatArray:
        """Clopper-Pearson bounds of several cuts, each at the whole ``error``."""
        hits, alarms = self.counts(query, cuts)
        return self.from_counts(hits, alarms, error)

    def from_counts(self, hits: ArrayLike, alarms: ArrayLike, error: float) -> FloatArray:
        """The same from true and false positives."""
        low = clopper_pearson_lower(hits, len(self.members), error / 2.0)
        high = clopper_pearson_upper(alarms, len(self.nonmembers), error / 2.0)
        return np.asarray(epsilon_from_rates(low, high, delta=self.delta))

    def advantages(self, query: int, cuts: ArrayLike) -> FloatArray:
        """TPR minus FPR."""
        hits, alarms = self.counts(query, cuts)
        return hits / len(self.members) - alarms / len(self.nonmembers)


@dataclasses.dataclass(frozen=True)
class Step:
    """One rule and the epsilon up to which it is asked."""

    query: int
    threshold: float
    target: float = math.inf


Found = tuple[float, Step, ScoreData, str]


def walk(data: ScoreData, steps: Sequence[Step], error: float) -> tuple[float, Step]:
    """Steps in turn, each at the whole error, up to the first that does not reach its target."""
    reached, last = 0.0, steps[0]
    for step in steps:
        bound = float(data.bounds(step.query, [step.threshold], error)[0])
        if bound > reached:
            reached, last = min(bound, step.target), step
        if bound < step.target:
            break
    return reached, last


def over_grid(data: ScoreData, steps: Sequence[Step], error: float) -> Found:
    """The best of thresholds fixed beforehand."""
    cuts = np.asarray([step.threshold for step in steps])
    bounds = data.bounds(0, cuts, error / len(cuts))
    best = int(np.argmax(bounds))
    return float(bounds[best]), steps[best], data, f"Bonferroni over {len(cuts)} thresholds fixed beforehand"


def over_ranks(data: ScoreData, error: float) -> Found:
    """The best of thresholds at ranks of the non-members that were fixed beforehand."""
    ranks = rank_grid(len(data.nonmembers))
    n_queries = data.members.shape[1]
    best, found = -1.0, Step(0, math.inf)
    for query in range(n_queries):
        cuts = -np.sort(-data.nonmembers[:, query])[ranks - 1]
        hits = counts_above(data.members[:, query], cuts)
        # with ties fewer scores lie above a cut than its rank says; the limit is of the rank, which was fixed
        bounds = data.from_counts(hits, ranks - 1, error / (len(ranks) * n_queries))
        place = int(np.argmax(bounds))
        if bounds[place] > best:
            best, found = float(bounds[place]), Step(query, float(cuts[place]))
    return best, found, data, f"Bonferroni over {len(ranks) * n_queries} ranks of the non-members"


def over_all(data: ScoreData, error: float) -> Found:
    """The best of all thresholds, by bands that hold at all of them at once."""
    n_queries = data.members.shape[1]
    width, width_non = (
        math.sqrt(math.log(2.0 * n_queries / error) / (2.0 * len(x))) for x in (data.members, data.nonmembers)
    )
    best, found = -1.0, Step(0, math.inf)
    for query in range(n_queries):
        cuts = np.unique(np.concatenate([data.members[:, query], data.nonmembers[:, query]]))
        hits, alarms = data.counts(query, cuts)
        low = np.maximum(0.0, hits / len(data.members) - width)
        high = np.minimum(1.0, alarms / len(data.nonmembers) + width_non)
        bounds = np.asarray(epsilon_from_rates(low, high, delta=data.delta))
        place = int(np.argmax(bounds))
        if bounds[place] > best:
            best, found = float(bounds[place]), Step(query, float(cuts[place]))
    return best, found, data, "Dvoretzky-Kiefer-Wolfowitz bands over all thresholds"


def after_split(data: ScoreData, error: float, seed: Seed, *, sequence: bool) -> Found:
    """Rules from a random half of either group, certified on the other half."""
    _validate.min_rows(2, member_scores=data.members)
    _validate.min_rows(2, nonmember_scores=data.nonmembers)
    order = generator(seed, "certificates", "halves")
    halves = []
    for rows in (data.members, data.nonmembers):
        mixed = rows[order.permutation(len(rows))]
        halves.append((mixed[: len(mixed) // 2], mixed[len(mixed) // 2 :]))
    fit, certifying = (ScoreData(*part, delta=data.delta) for part in zip(*halves, strict=True))
    steps: list[Step] = []
    for share in _CAUTION if sequence else _CAUTION[-1:]:
        bound, step = _best(fit, error * share)
        if steps and (step.query, step.threshold) == (steps[-1].query, steps[-1].threshold):
            steps.pop()
        steps.append(dataclasses.replace(step, target=bound))
    steps[-1] = dataclasses.replace(steps[-1], target=math.inf)
    method = f"fixed sequence of {len(steps)} thresholds from one half" if sequence else "threshold from one half"
    return (*walk(certifying, steps, error), certifying, f"{method}, counted on the other half")


def _best(data: ScoreData, error: float) -> tuple[float, Step]:
    """The cut with the largest bound; where all are 0, the one with the largest TPR - FPR."""
    best, found = (-1.0, -np.inf), Step(0, math.inf)
    for query in range(data.members.shape[1]):
        cuts = cuts_between(np.concatenate([data.members[:, query], data.nonmembers[:, query]]))
        if not len(cuts):
            continue
        bounds, advantages = data.bounds(query, cuts, error), data.advantages(query, cuts)
        place = int(np.lexsort((advantages, bounds))[-1])
        if (value := (float(bounds[place]), float(advantages[place]))) > best:
            best, found = value, Step(query, float(cuts[place]))
    return max(0.0, best[0]), found
