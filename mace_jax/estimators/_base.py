"""What every estimator of P(member | query output) shares: folds, the objective it serves, and its outcome.

Estimators are cross-fitted. All work that needs no labels (sorting, neighbor search) happens once, in ``plan``;
``fit_fold`` is a pure JAX function of the labels, so permutation nulls repeat only the counting.
"""

from __future__ import annotations

import abc
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from mace_jax._types import FloatArray, Seed, pytree

__all__ = [
    "AbstractEstimator",
    "FoldOutcome",
    "Objective",
    "balanced_log_loss",
    "from_shares",
    "rates",
    "running_total",
]

_BLOCK = 64


@pytree
class Objective:
    """A normalized linear-fractional metric at a prior, in the form the fitting step needs.

    L = (c0 + c1 TP + c2 G) / (d0 + d1 TP + d2 G), with TP = prior * TPR and G = P(guess member); the best constant
    guess reaches 0.
    """

    coefficients: Float[Array, " 6"]
    prior: Float[Array, ""]

    def value(self, true_positive_rate: Array, false_positive_rate: Array) -> Array:
        """The metric at given error rates (any shape)."""
        c0, c1, c2, d0, d1, d2 = self.coefficients
        positives = self.prior * true_positive_rate
        guesses = positives + (1.0 - self.prior) * false_positive_rate
        return (c0 + c1 * positives + c2 * guesses) / (d0 + d1 * positives + d2 * guesses)

    def decide(self, posterior: Float[Array, " n"], reached: Float[Array, ""]) -> Bool[Array, " n"]:
        """The guesses that are optimal if ``reached`` is the optimum; ``posterior`` is at prior one half."""
        _, c1, c2, _, d1, d2 = self.coefficients
        at_prior = self.prior * posterior / (self.prior * posterior + (1.0 - self.prior) * (1.0 - posterior))
        return (c1 - reached * d1) * at_prior + (c2 - reached * d2) > 0.0

    def optimum(self, posterior: Float[Array, " n"], labels: Int[Array, " n"]) -> Float[Array, ""]:
        """Largest metric any threshold on the posterior reaches on these records (Dinkelbach's iteration)."""

        def improve(_, reached: Array) -> Array:
            return jnp.maximum(reached, self.value(*rates(self.decide(posterior, reached), labels)))

        return jax.lax.fori_loop(0, 8, improve, jnp.zeros_like(self.prior))


class FoldOutcome(NamedTuple):
    """One fold: a rule fitted on the training part and applied to both parts.

    ``posterior`` (at prior one half, or a score where the estimator has no posterior) and ``decisions`` are of the
    fold's own records, which the rule never saw; ``own_posterior`` is of each training record without that record's
    label (left out, or cross-fitted inside the training part), ``own_decisions`` are what the rule does to the records
    it was fitted on.
    """

    posterior: Float[Array, " t"]
    decisions: Bool[Array, " t"]
    own_posterior: Float[Array, " s"]
    own_decisions: Bool[Array, " s"]
    chosen: Int[Array, ""]


def rates(decisions: Bool[Array, " n"], labels: Int[Array, " n"]) -> tuple[Array, Array]:
    """True and false positive rate; 0 for an absent class."""
    members = jnp.sum(labels)
    hits = jnp.sum(jnp.where(decisions, labels, 0))
    alarms = jnp.sum(decisions) - hits
    return hits / jnp.maximum(members, 1), alarms / jnp.maximum(labels.shape[0] - members, 1)


def from_shares(members: Array, others: Array, n_members: Array, n_others: Array) -> Array:
    """Posterior at prior one half from counts out of each class; one half where nothing was counted."""
    first, second = members / jnp.maximum(n_members, 1), others / jnp.maximum(n_others, 1)
    both = first + second
    return jnp.where(both > 0, first / jnp.where(both > 0, both, 1.0), 0.5)


def balanced_log_loss(posterior: Float[Array, "*batch n"], labels: Int[Array, " n"]) -> Float[Array, "*batch"]:
    """Mean of -log P(label), averaged over both classes, of posteriors strictly between 0 and 1."""
    members = jnp.sum(labels)
    per_record = jnp.where(labels == 1, jnp.log(posterior), 0.0), jnp.where(labels == 0, jnp.log1p(-posterior), 0.0)
    return -(
        jnp.sum(per_record[0], axis=-1) / jnp.maximum(members, 1)
        + jnp.sum(per_record[1], axis=-1) / jnp.maximum(labels.shape[0] - members, 1)
    )


def running_total(labels: Int[Array, " n"]) -> Int[Array, " n"]:
    """Cumulative sum of 0/1 labels, exact at any length; several times as fast as ``cumsum`` on a CPU.

    Blocks of 64 are summed by a triangular matrix product (counts below 2^24 are exact in float32), and block totals
    are added as integers.
    """
    n = labels.shape[0]
    blocks = jnp.pad(labels, (0, -n % _BLOCK)).astype(jnp.float32).reshape(-1, _BLOCK)
    inside = (blocks @ jnp.triu(jnp.ones((_BLOCK, _BLOCK), jnp.float32))).astype(jnp.int32)
    before = jnp.cumsum(inside[:, -1]) - inside[:, -1]
    return (inside + before[:, None]).reshape(-1)[:n]


class AbstractEstimator(abc.ABC):
    """A strategy that estimates membership from query outputs; settings only, no data.

    ``on_host`` says that ``fit_fold`` and ``decide_fold`` are ordinary functions of NumPy labels, which JAX cannot
    trace: a permutation null then refits in a plain loop. ``gives_posterior`` is False where ``posterior`` is only an
    order.
    """

    on_host: ClassVar[bool] = False
    gives_posterior: ClassVar[bool] = True

    @abc.abstractmethod
    def plan(self, train: FloatArray, test: FloatArray, *, seed: Seed) -> Any:
        """Label-free preparation for one fold: a pytree of arrays. ``train`` ``(s, q)``, ``test`` ``(t, q)``."""

    @abc.abstractmethod
    def fit_fold(self, plan: Any, labels: Int[Array, " s"], objective: Objective) -> FoldOutcome:
        """Fit on the training labels (1 = member) and apply; jit- and vmap-able over ``labels`` unless ``on_host``."""

    @abc.abstractmethod
    def decide_fold(self, plan: Any, labels: Int[Array, " s"], objective: Objective) -> Bool[Array, " t"]:
        """Only the decisions of ``fit_fold``: what a permutation null repeats."""

    @abc.abstractmethod
    def supports(self, n_outputs: int) -> bool:
        """Whether query outputs of this width can be used."""

    @abc.abstractmethod
    def neighbors(self, plan: Any, chosen: int) -> int | None:
        """Number of neighbors behind each posterior, if there is such a number."""
