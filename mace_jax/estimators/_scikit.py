"""scikit-learn classifiers as estimators of the membership posterior; host only."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mace_jax._optional import require
from mace_jax._types import FloatArray
from mace_jax.estimators._logistic import fit_logistic, logits_of

__all__ = ["HostPlan", "is_scikit", "scikit_posteriors"]

_RIDGE = 1e-4  # of the logistic curve through decision values


@dataclasses.dataclass(frozen=True, eq=False)
class HostPlan:
    """One fold for a classifier that runs on the host."""

    train: FloatArray  # (s, q), standardized
    test: FloatArray  # (t, q)
    inner: np.ndarray  # (s,) inner fold of every training record
    seed: int


def is_scikit(kind: Any) -> bool:
    """Whether this has the methods of a scikit-learn classifier."""
    return (
        not isinstance(kind, type)
        and all(hasattr(kind, name) for name in ("fit", "get_params", "set_params"))
        and (hasattr(kind, "predict_proba") or hasattr(kind, "decision_function"))
    )


def scikit_posteriors(kind: Any, plan: HostPlan, labels: np.ndarray, *, inner: bool) -> tuple[FloatArray, ...]:
    """Posterior at prior one half of unseen and of training records, and cross-fitted inside the training part.

    Without ``inner`` the last array is empty, unless the classifier has decision values only.
    """
    n1 = int(labels.sum())
    if n1 in (0, len(labels)):
        return np.full(len(plan.test), 0.5), np.full(len(labels), 0.5), np.full(len(labels), 0.5)
    graded = hasattr(kind, "predict_proba")
    full = _fitted(kind, plan, plan.train, labels)
    unseen, seen = _output(full, plan.test, labels), _output(full, plan.train, labels)
    own = np.empty(0)
    if inner or not graded:
        own = np.full(len(labels), 0.5 if graded else 0.0)
        for fold in np.unique(plan.inner):
            rest, mine = plan.inner != fold, plan.inner == fold
            if len(np.unique(labels[rest])) == 2:
                model = _fitted(kind, plan, plan.train[rest], labels[rest])
                own[mine] = _output(model, plan.train[mine], labels[rest])
    if not graded:  # a logistic curve through decision values of records the model did not see
        center, spread = own.mean(), own.std() or 1.0
        values = tuple(np.clip((part - center) / spread, -1e6, 1e6) for part in (unseen, seen, own))
        coefficients = _curve(jnp.asarray(values[2], jnp.float32)[:, None], jnp.asarray(labels, jnp.int32))
        unseen, seen, own = (_apply(coefficients, part) for part in values)
    return unseen, seen, own


def _fitted(kind: Any, plan: HostPlan, outputs: FloatArray, labels: np.ndarray) -> Any:
    """A fresh copy, fitted; wherever it may draw at random without a seed, it gets the plan's."""
    model = require("sklearn.base").clone(kind)
    loose = [name for name, value in model.get_params().items() if name.endswith("random_state") and value is None]
    if loose:
        model.set_params(**dict.fromkeys(loose, plan.seed))
    return model.fit(outputs, labels)


def _output(model: Any, outputs: FloatArray, labels: np.ndarray) -> FloatArray:
    """Posterior at prior one half, or decision values if that is all there is."""
    member = int(np.flatnonzero(np.asarray(model.classes_) == 1)[0])
    if not hasattr(model, "predict_proba"):
        values = np.asarray(model.decision_function(outputs), dtype=np.float64)
        return values if member == 1 else -values
    share = np.asarray(model.predict_proba(outputs), dtype=np.float64)[:, member]
    w1, w0 = _class_sizes(model, labels)
    return share / w1 / np.maximum(share / w1 + (1.0 - share) / w0, np.finfo(np.float64).tiny)


def _class_sizes(model: Any, labels: np.ndarray) -> tuple[float, float]:
    """Class sizes as the model sees them: its class weights, if any, count."""
    n1 = float(labels.sum())
    n0 = len(labels) - n1
    for name, value in model.get_params().items():
        if name.split("__")[-1] != "class_weight" or value is None:
            continue
        if isinstance(value, str):  # "balanced" or "balanced_subsample"
            return 1.0, 1.0
        n1, n0 = n1 * float(value.get(1, 1.0)), n0 * float(value.get(0, 1.0))
    return n1, n0


@jax.jit
def _curve(values: jax.Array, labels: jax.Array) -> jax.Array:
    n1 = jnp.sum(labels)
    weights = 0.5 * jnp.where(labels == 1, 1.0 / n1, 1.0 / (labels.shape[0] - n1))
    return fit_logistic(values, labels, weights, _RIDGE)


def _apply(coefficients: jax.Array, values: FloatArray) -> FloatArray:
    return np.asarray(
        jax.nn.sigmoid(logits_of(coefficients, jnp.asarray(values, jnp.float32)[:, None])), dtype=np.float64
    )
