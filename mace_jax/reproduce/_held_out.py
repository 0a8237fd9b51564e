"""The best single query and the best stack of several, chosen on one half of the records and judged on the other."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple, final

import jax.numpy as jnp
import numpy as np
from scipy.special import ndtri

from mace_jax._random import generator
from mace_jax._types import FloatArray
from mace_jax.data import MembershipSample, stratified_folds
from mace_jax.estimators import KNN, AbstractEstimator, Classifier, Threshold
from mace_jax.metrics import balanced_accuracy, optimal_membership_advantage

__all__ = ["Bounds", "Decided", "bounds", "chosen", "fixed"]

_N_RESAMPLES = 10_000


class _Candidate(NamedTuple):
    """Some columns and what makes a rule of them."""

    columns: tuple[int, ...]
    estimator: AbstractEstimator


@final
@dataclasses.dataclass(frozen=True, eq=False)
class Decided:
    """What cross-fitted rules called each record: none was fitted, nor chosen, with the half it judges.

    Args:
        members: Decisions on members, True = called a member, ``(n,)``.
        nonmembers: Decisions on non-members, ``(m,)``.
        names: What was chosen on each half, in words.
    """

    members: np.ndarray
    nonmembers: np.ndarray
    names: tuple[str, ...]

    @property
    def advantage(self) -> float:
        """TPR - FPR."""
        return float(self.members.mean() - self.nonmembers.mean())


class Bounds(NamedTuple):
    """Advantages of a stack and of one query with limits, and their difference, by resamples of the same records."""

    stacked: tuple[float, float, float]
    single: tuple[float, float, float]
    difference: tuple[float, float, float]


def chosen(sample: MembershipSample, names: tuple[str, ...], *, seed: int) -> tuple[Decided, Decided]:
    """The best stack and the best single query; each half chooses for the other by its own cross-fitted advantage.

    Single queries are tried with a cut and with a kNN. Stacks are the two, three and five best single queries and all
    of them, each with a logistic and a kNN posterior.
    """
    folds = _folds(sample, seed)
    stacked, single = _Builder(sample, folds), _Builder(sample, folds)
    for fold in range(2):
        own = _part(sample, folds, fold, same=False)
        ranked: list[tuple[float, _Candidate]] = []
        for column in range(sample.n_outputs):
            tried = [_Candidate((column,), estimator) for estimator in (Threshold(), KNN())]
            ranked.append(max(((_value(own, one, seed), one) for one in tried), key=lambda pair: pair[0]))
        ranked.sort(key=lambda pair: -pair[0])
        single.judge(fold, ranked[0][1], names, seed)
        order = tuple(candidate.columns[0] for _, candidate in ranked)
        sizes = sorted({min(size, len(order)) for size in (2, 3, 5, len(order))})
        stacks = [_Candidate(order[:size], kind) for size in sizes for kind in (Classifier("logistic"), KNN())]
        stacked.judge(fold, max(stacks, key=lambda one: _value(own, one, seed)), names, seed)
    return stacked.decided(), single.decided()


def fixed(sample: MembershipSample, column: int, names: tuple[str, ...], *, seed: int) -> Decided:
    """One query named beforehand, cut where the other half is told apart best."""
    builder = _Builder(sample, _folds(sample, seed))
    for fold in range(2):
        builder.judge(fold, _Candidate((column,), Threshold()), names, seed)
    return builder.decided()


def bounds(stacked: Decided, single: Decided, *, confidence_level: float = 0.95, seed: int) -> Bounds:
    """Percentile limits from resamples of members and of non-members; the same ones for both, given the rules."""
    draws = generator(seed, "stack against single")
    tail = (1.0 - confidence_level) / 2.0
    rates = []
    for first, second in ((stacked.members, single.members), (stacked.nonmembers, single.nonmembers)):
        kinds = np.bincount(2 * first.astype(int) + second, minlength=4)
        counts = draws.multinomial(len(first), kinds / len(first), size=_N_RESAMPLES) / len(first)
        rates.append((counts[:, 2] + counts[:, 3], counts[:, 1] + counts[:, 3]))
    (own, other), (false, others) = rates
    replicates = own - false, other - others, (own - false) - (other - others)
    values = stacked.advantage, single.advantage, stacked.advantage - single.advantage
    limits = [np.quantile(part, [tail, 1.0 - tail]).tolist() for part in replicates]
    return Bounds(*((value, *sides) for value, sides in zip(values, limits, strict=True)))


class _Builder:
    """Decisions of both halves, as they come in."""

    def __init__(self, sample: MembershipSample, folds: tuple[np.ndarray, np.ndarray]) -> None:
        self._sample, self._folds = sample, folds
        self._decisions = np.zeros(len(folds[0]), bool), np.zeros(len(folds[1]), bool)
        self._names: list[str] = []

    def judge(self, fold: int, candidate: _Candidate, names: tuple[str, ...], seed: int) -> None:
        """Fit on the records outside the fold, decide those in it."""
        own, judged = (_part(self._sample, self._folds, fold, same=same) for same in (False, True))
        train, test = _columns(own, own, candidate), _columns(own, judged, candidate)
        labels = np.repeat(np.array([1, 0], np.int32), [len(own.members), len(own.nonmembers)])
        plan = candidate.estimator.plan(train, test, seed=seed)
        decided = np.asarray(
            candidate.estimator.decide_fold(plan, jnp.asarray(labels), balanced_accuracy.objective()), bool
        )
        size = len(judged.members)
        for place, part in enumerate((decided[:size], decided[size:])):
            self._decisions[place][self._folds[place] == fold] = part
        kind = candidate.estimator.kind if isinstance(candidate.estimator, Classifier) else candidate.estimator
        self._names.append(f"{' + '.join(names[column] for column in candidate.columns)} ({_short(kind)})")

    def decided(self) -> Decided:
        members, nonmembers = self._decisions
        return Decided(members, nonmembers, tuple(self._names))


def _short(kind: Any) -> str:
    return kind if isinstance(kind, str) else {"KNN": "nearest neighbors", "Threshold": "cut"}[type(kind).__name__]


def _folds(sample: MembershipSample, seed: int) -> tuple[np.ndarray, np.ndarray]:
    return stratified_folds(len(sample.members), len(sample.nonmembers), 2, seed=seed)


def _part(sample: MembershipSample, folds: tuple[np.ndarray, np.ndarray], fold: int, *, same: bool) -> MembershipSample:
    """The records in the fold, or those outside."""
    members, nonmembers = ((place == fold) == same for place in folds)
    return MembershipSample(sample.members[members], sample.nonmembers[nonmembers])


def _columns(own: MembershipSample, judged: MembershipSample, candidate: _Candidate) -> FloatArray:
    """Normal scores of the columns by their ranks among the records that rules are fitted on."""
    columns = []
    for column in candidate.columns:
        known = np.sort(np.concatenate([own.members[:, column], own.nonmembers[:, column]]))
        values = np.concatenate([judged.members[:, column], judged.nonmembers[:, column]])
        rank = (np.searchsorted(known, values) + np.searchsorted(known, values, side="right")) / 2
        columns.append(ndtri((rank + 0.5) / (len(known) + 1)))
    return np.stack(columns, axis=1)


def _value(own: MembershipSample, candidate: _Candidate, seed: int) -> float:
    """Cross-fitted advantage within one half."""
    pooled, size = _columns(own, own, candidate), len(own.members)
    inner = MembershipSample(pooled[:size], pooled[size:])
    found = optimal_membership_advantage(inner, estimator=candidate.estimator, n_permutations=0, seed=seed)
    return found.lower_rule
