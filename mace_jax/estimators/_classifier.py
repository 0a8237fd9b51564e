"""Classifier: the membership posterior as a classifier's output, cross-fitted."""

from __future__ import annotations

import dataclasses
import functools
import sys
from typing import Any, final

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from mace_jax import _validate
from mace_jax._random import generator
from mace_jax._random import key as random_key
from mace_jax._types import FloatArray, Seed, pytree
from mace_jax.estimators._base import AbstractEstimator, FoldOutcome, Objective
from mace_jax.estimators._logistic import fit_logistic, logits_of
from mace_jax.estimators._scikit import HostPlan, is_scikit, scikit_posteriors
from mace_jax.estimators._space import standardized

__all__ = ["Classifier", "ClassifierPlan"]

_KINDS = ("logistic", "mlp")
_FARTHEST = 1e6  # standard deviations; beyond, float32 products could overflow


@pytree
class ClassifierPlan:
    """One fold of standardized outputs, and a label-free split of the training part."""

    train: Float[Array, "s q"]
    test: Float[Array, "t q"]
    inner: Int[Array, " s"]
    key: Array  # data of a key: where networks start and which records a step sees


@final
@dataclasses.dataclass(frozen=True)
class Classifier(AbstractEstimator):
    """A probabilistic classifier of members against non-members as an estimate of P(member | query output).

    Outputs are standardized by the training part. Classes weigh the same whatever their sizes, by weights
    1/(2 n1) and 1/(2 n0) in the loss, or for scikit-learn by dividing the odds by n1/n0 (class weights taken into
    account): the posterior is at prior one half. What a metric must know to place its threshold, and the posteriors
    reported for training records, come from an inner cross-fit of the training part, because a classifier is too sure
    of the records it was fitted on.

    Args:
        kind: ``"logistic"``: linear logit, Newton's method; ``"mlp"``: a small Flax network; a Flax Linen module that
            maps ``(n, q)`` to logits ``(n,)``, ``(n, 1)`` or ``(n, 2)``; or a scikit-learn classifier, which is cloned,
            never changed. One with decision values only is mapped to a posterior by a logistic curve through
            cross-fitted values.
        ridge: Penalty ridge |slope|^2 / 2 on the mean loss (logistic), or decoupled weight decay (networks).
        hidden: Widths of the hidden layers of ``"mlp"``.
        n_networks: Networks from different starts, whose probabilities are averaged.
        steps: Adam steps per network, the rate decaying to 0 along a cosine.
        batch_size: Records per step; the whole training part if it is not larger.
        learning_rate: At the first step.
        inner_folds: Parts of the inner cross-fit.

    Biased towards: too small an advantage where the classifier cannot express the leak: ``"logistic"`` sees only a
    direction, not a change of spread. The held-out rule of any classifier is a lower bound in expectation; the plug-in
    of an overconfident one is too large. Do not use it when training is not much cheaper than n_permutations fits:
    each permutation fits again (networks ``n_networks`` times), and for a metric that is not linear in the error rates
    ``1 + inner_folds`` times.

    Memory: ``4 (s + t) q`` bytes per fold; networks hold ``n_networks (1 + inner_folds)`` sets of parameters and
    activations of a batch.

    Raises:
        ValueError: an unknown kind or a setting out of range; at the first fit, a module of the wrong shape.
        TypeError: ``kind`` is neither a name, a Flax Linen module nor a scikit-learn classifier, or a module holds
            something that cannot be hashed.

    References: Cox (1958); Lopez-Paz and Oquab (2017) for tests by classifiers; Chernozhukov et al. (2018) for
    cross-fitting; Platt (1999) for the curve through decision values.

    Example:
        >>> Classifier("logistic").on_host
        False
    """

    kind: Any = "logistic"
    ridge: float = 1e-3
    hidden: tuple[int, ...] = (32, 32)
    n_networks: int = 3
    steps: int = 300
    batch_size: int = 1024
    learning_rate: float = 1e-2
    inner_folds: int = 3
    on_host: bool = dataclasses.field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        _validate.non_negative(ridge=self.ridge)
        for name, least in {"n_networks": 1, "steps": 1, "batch_size": 1, "inner_folds": 2}.items():
            _validate.positive_int(minimum=least, **{name: getattr(self, name)})
        object.__setattr__(self, "hidden", tuple(_validate.positive_int(hidden=width) for width in self.hidden))
        object.__setattr__(self, "on_host", _runs_on_host(self.kind))
        if not self.on_host and not isinstance(self.kind, str):
            object.__setattr__(self, "kind", _network().hashable(self.kind))

    def supports(self, n_outputs: int) -> bool:
        """Any width."""
        return n_outputs >= 1

    def plan(self, train: FloatArray, test: FloatArray, *, seed: Seed) -> ClassifierPlan | HostPlan:
        """Standardize and split once; the labels are not needed."""
        random = generator(seed, "classifier")
        inner = random.permutation(np.arange(len(train)) % min(self.inner_folds, len(train)))
        first, second = (np.clip(part, -_FARTHEST, _FARTHEST) for part in standardized(train, test))
        if self.on_host:
            return HostPlan(first, second, inner, int(random.integers(2**31)))
        if self.kind != "logistic":
            _network().checked_module(self._module(), train.shape[1])
        return ClassifierPlan(
            jnp.asarray(first, dtype=jnp.float32),
            jnp.asarray(second, dtype=jnp.float32),
            jnp.asarray(inner, dtype=jnp.int32),
            jax.random.key_data(random_key(seed, "classifier")),
        )

    def fit_fold(
        self, plan: ClassifierPlan | HostPlan, labels: Int[Array | np.ndarray, " s"], objective: Objective
    ) -> FoldOutcome:
        """Fit on the whole training part, and inside it on all but one inner fold at a time."""
        if isinstance(plan, ClassifierPlan):
            return _fit(self, plan, jnp.asarray(labels), objective)
        unseen, seen, own = (
            jnp.asarray(part, dtype=jnp.float32)
            for part in scikit_posteriors(self.kind, plan, np.asarray(labels), inner=True)
        )
        reached = objective.optimum(own, jnp.asarray(labels))
        return FoldOutcome(
            unseen, objective.decide(unseen, reached), own, objective.decide(seen, reached), jnp.zeros((), jnp.int32)
        )

    def decide_fold(
        self, plan: ClassifierPlan | HostPlan, labels: Int[Array | np.ndarray, " s"], objective: Objective
    ) -> Bool[Array, " t"]:
        """The decisions of ``fit_fold`` alone; without inner fits where the metric's threshold is fixed."""
        if isinstance(plan, ClassifierPlan):
            # what the decisions do not need is compiled away inside a larger jit, as in a permutation null
            return _fit(self, plan, jnp.asarray(labels), objective).decisions
        inner = not _is_fixed(objective)
        unseen, _, own = scikit_posteriors(self.kind, plan, np.asarray(labels), inner=inner)
        reached = jnp.zeros(())
        if inner:
            reached = objective.optimum(jnp.asarray(own, dtype=jnp.float32), jnp.asarray(labels))
        return objective.decide(jnp.asarray(unseen, dtype=jnp.float32), reached)

    def neighbors(self, plan: ClassifierPlan | HostPlan, chosen: int) -> None:
        """No neighbors are involved."""

    def _module(self) -> Any:
        return _network().multilayer_perceptron(self.hidden) if self.kind == "mlp" else self.kind


def _runs_on_host(kind: Any) -> bool:
    if isinstance(kind, str):
        if kind not in _KINDS:
            raise ValueError(
                f"kind={kind!r} is not known; pass 'logistic', 'mlp', a Flax Linen module or a scikit-learn classifier."
            )
        return False
    # no module exists before Flax is imported, so there is no need to import it in order to ask
    if "flax.linen" in sys.modules and _network().is_linen(kind):
        return False
    if is_scikit(kind):
        return True
    given = f"the class {kind.__name__}; pass an instance" if isinstance(kind, type) else type(kind).__name__
    raise TypeError(
        "kind must be 'logistic', 'mlp', a Flax Linen module or a scikit-learn classifier with predict_proba or "
        f"decision_function, got {given}."
    )


def _network() -> Any:
    from mace_jax.estimators import _network

    return _network


def _is_fixed(objective: Objective) -> bool:
    """Whether the threshold does not depend on what is reached: the denominator is constant."""
    as_usual = type(objective).decide is Objective.decide
    return as_usual and not np.asarray(objective.coefficients)[4:].any()


def _posteriors(estimator: Classifier, plan: ClassifierPlan, labels: Array, used: Array) -> tuple[Array, Array]:
    """Of training and unseen records, for every row of ``used`` training records; one half without both classes."""
    n1 = jnp.sum(jnp.where(used, labels, 0), axis=1, keepdims=True)
    n0 = jnp.sum(used, axis=1, keepdims=True) - n1
    weights = 0.5 * jnp.where(labels == 1, 1.0 / jnp.maximum(n1, 1), 1.0 / jnp.maximum(n0, 1)) * used
    if estimator.kind == "logistic":
        fit = functools.partial(fit_logistic, plan.train, labels, ridge=estimator.ridge)
        coefficients = jax.vmap(fit)(weights)
        seen, unseen = (
            jax.nn.sigmoid(jax.vmap(logits_of, in_axes=(0, None))(coefficients, part))
            for part in (plan.train, plan.test)
        )
    else:
        seen, unseen = _network().network_posteriors(
            estimator._module(),
            plan.train,
            plan.test,
            labels,
            weights,
            jax.random.wrap_key_data(plan.key),
            n_networks=estimator.n_networks,
            steps=estimator.steps,
            batch_size=estimator.batch_size,
            learning_rate=estimator.learning_rate,
            ridge=estimator.ridge,
        )
    both = (n1 > 0) & (n0 > 0)
    return jnp.where(both, seen, 0.5), jnp.where(both, unseen, 0.5)


def _crossfitted(estimator: Classifier, plan: ClassifierPlan, labels: Array) -> Array:
    """Posterior of every training record from fits on the other inner folds."""
    used = plan.inner != jnp.arange(min(estimator.inner_folds, labels.shape[0]))[:, None]
    return _posteriors(estimator, plan, labels, used)[0][plan.inner, jnp.arange(labels.shape[0])]


@functools.partial(jax.jit, static_argnums=0)
def _fit(estimator: Classifier, plan: ClassifierPlan, labels: Array, objective: Objective) -> FoldOutcome:
    (seen,), (unseen,) = _posteriors(estimator, plan, labels, jnp.ones((1, labels.shape[0]), bool))
    own = _crossfitted(estimator, plan, labels)
    reached = objective.optimum(own, labels)
    return FoldOutcome(
        unseen, objective.decide(unseen, reached), own, objective.decide(seen, reached), jnp.zeros((), jnp.int32)
    )
