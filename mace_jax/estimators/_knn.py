"""KNN: membership posterior from the labels of the k nearest query outputs."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import final

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from mace_jax import _validate
from mace_jax._random import generator
from mace_jax._types import FloatArray, Seed
from mace_jax.estimators._base import AbstractEstimator, FoldOutcome, Objective, balanced_log_loss
from mace_jax.estimators._candidates import candidate_neighbors
from mace_jax.estimators._line import LinePlan, plan_line
from mace_jax.estimators._space import SPACE_PROBE, SpacePlan, plan_space

__all__ = ["KNN"]

_LINE_PROBE = 4096  # training records on which k is chosen, per fold
_LARGEST_K = 224  # for vector outputs, where neighbor lists are kept


@final
@dataclasses.dataclass(frozen=True)
class KNN(AbstractEstimator):
    """k-nearest-neighbor estimate of P(member | query output), corrected for class sizes.

    With k1 members and k0 non-members among the k nearest training outputs, and n1, n0 in the training part, the
    posterior at prior one half is (k1/n1) / (k1/n1 + k0/n0). Records tied with the k-th neighbor count by their
    expected share, so neither row order nor label order matters. Scalar outputs are handled by one sort for every k;
    vector outputs by neighbor lists, with k at most 224 unless given.

    Args:
        k: Number of neighbors. Several of them (a tuple, range or integer array) are candidates, among which each fold
            chooses by leave-one-out log-loss on the training part, from one neighbor pass; None offers sqrt(n),
            2 sqrt(n), n^(4/(q+4)), 45, 101 and 201.
        scale: Divide each coordinate of vector outputs by its standard deviation over the training part.

    Biased towards: too small an advantage where k smooths over the leak, as in high dimension.

    Memory per fold of s training and t other records with K candidates: ``24 K (s + t)`` bytes for scalars,
    ``(4 max(k) + 12 K) (s + t)`` for vectors. For curves over every k see ``knn_posteriors``.

    Raises:
        ValueError: ``k`` below 1, or no candidate.

    References: Fix and Hodges (1951); Stone (1977).

    Example:
        >>> KNN(k=45)
        KNN(k=45, scale=True)
    """

    k: int | np.integer | Sequence[int] | np.ndarray | None = None
    scale: bool = True

    def __post_init__(self) -> None:
        if self.k is None or np.ndim(self.k) == 0:
            if self.k is not None:
                object.__setattr__(self, "k", _validate.positive_int(k=self.k))
            return
        candidates = tuple(sorted({_validate.positive_int(k=k) for k in np.asarray(self.k).tolist()}))
        if not candidates:
            raise ValueError("k holds no candidate; pass a number of neighbors, several, or None.")
        object.__setattr__(self, "k", candidates)

    def supports(self, n_outputs: int) -> bool:
        """Any width."""
        return n_outputs >= 1

    def plan(self, train: FloatArray, test: FloatArray, *, seed: Seed) -> LinePlan | SpacePlan:
        """Sort or search once; the labels are not needed."""
        n, width = train.shape
        k = self.candidates(n, width)
        n_probe = _LINE_PROBE if width == 1 else SPACE_PROBE
        probe = np.sort(generator(seed, "probe").permutation(n)[:n_probe])
        if width == 1:
            return plan_line(train, test, k, probe)
        return plan_space(train, test, k, probe, scale=self.scale)

    def candidates(self, n_train: int, width: int) -> np.ndarray:
        """The numbers of neighbors to choose from, ascending, for a training part of this size."""
        if self.k is None:
            return candidate_neighbors(n_train, width, largest=None if width == 1 else _LARGEST_K)
        k = np.atleast_1d(np.asarray(self.k, dtype=np.int32))
        if k[-1] > n_train - 1:
            raise ValueError(
                f"k={k[-1]} neighbors were asked for but a training part has only {n_train} records; "
                f"use k <= {n_train - 1}."
            )
        return k

    def fit_fold(self, plan: LinePlan | SpacePlan, labels: Int[Array, " s"], objective: Objective) -> FoldOutcome:
        """Choose k on the training part, apply to the fold, and to the training part itself."""
        return _fit_fold(plan, labels, objective)

    def decide_fold(
        self, plan: LinePlan | SpacePlan, labels: Int[Array, " s"], objective: Objective
    ) -> Bool[Array, " t"]:
        """The decisions of ``fit_fold`` alone."""
        return _decide_fold(plan, labels, objective)

    def neighbors(self, plan: LinePlan | SpacePlan, chosen: int) -> int:
        """The k behind each posterior."""
        return int(plan.outer.k[chosen])


@jax.jit  # of the plan alone: estimators with plans of one shape share what is compiled
def _fit_fold(plan: LinePlan | SpacePlan, labels: Int[Array, " s"], objective: Objective) -> FoldOutcome:
    choice, reached, posterior = _fit(plan, labels, objective)
    n1, n0 = jnp.sum(labels), jnp.sum(1 - labels)
    inner = plan.inner.at(choice)
    k, k1 = inner.k[0], _members(plan, inner, labels)[0]
    own = _posterior(k1, k - k1, n1 - labels, n0 - (1 - labels))
    with_itself = _posterior(k1 + labels, k - k1 + 1 - labels, n1, n0)
    return FoldOutcome(
        posterior, objective.decide(posterior, reached), own, objective.decide(with_itself, reached), choice
    )


@jax.jit
def _decide_fold(plan: LinePlan | SpacePlan, labels: Int[Array, " s"], objective: Objective) -> Bool[Array, " t"]:
    _, reached, posterior = _fit(plan, labels, objective)
    return objective.decide(posterior, reached)


def _members(plan: LinePlan | SpacePlan, counts, labels: Int[Array, " s"]) -> Float[Array, "K m"]:
    if isinstance(plan, LinePlan):
        return counts.members(plan.arrange(labels))
    return counts.members(plan.count_atoms(labels), labels)


def _posterior(k1: Array, k0: Array, n1: Array, n0: Array) -> Array:
    """At prior one half; ``n1`` and ``n0`` are the records that could have been neighbors."""
    member, other = k1 / jnp.maximum(n1, 1), k0 / jnp.maximum(n0, 1)
    return member / jnp.maximum(member + other, jnp.finfo(member.dtype).tiny)


def _fit(plan: LinePlan | SpacePlan, labels: Int[Array, " s"], objective: Objective) -> tuple[Array, Array, Array]:
    """Chosen candidate, metric reached on the probe, posterior of the fold's own records."""
    n1, n0 = jnp.sum(labels), jnp.sum(1 - labels)
    sorted_labels = plan.arrange(labels) if isinstance(plan, LinePlan) else labels
    mine = sorted_labels.at[plan.probe.own].get(mode="promise_in_bounds")
    k1 = _members(plan, plan.probe, labels)
    k = plan.probe.k[:, None]
    smoothed = _posterior(k1 + 0.5, k - k1 + 0.5, n1, n0)
    choice = jnp.argmin(balanced_log_loss(smoothed, mine))
    own = _posterior(k1[choice], k[choice] - k1[choice], n1 - mine, n0 - (1 - mine))
    reached = objective.optimum(own, mine)
    outer = plan.outer.at(choice)
    found = _members(plan, outer, labels)[0]
    return choice, reached, _posterior(found, outer.k[0] - found, n1, n0)
