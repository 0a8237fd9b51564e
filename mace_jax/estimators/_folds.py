"""Plans for all folds of a cross-fit at once: vector kNN searches neighbors once for all of them."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from mace_jax._random import generator
from mace_jax._types import FloatArray, Seed
from mace_jax.estimators._base import AbstractEstimator
from mace_jax.estimators._knn import KNN
from mace_jax.estimators._lists import edges
from mace_jax.estimators._pooled import PooledLists, pool_lists
from mace_jax.estimators._space import SPACE_PROBE, SpaceCounts, SpacePlan

__all__ = ["plan_folds"]


def plan_folds(
    estimator: AbstractEstimator, outputs: FloatArray, fold_of: np.ndarray, *, seed: Seed
) -> tuple[Any, ...]:
    """The plan of every fold, as ``estimator.plan`` makes it from the records outside and inside the fold.

    ``KNN`` on vectors searches neighbors among all records once, and leaves a fold's records out by giving them weight
    zero; coordinates are then scaled by their standard deviation over all records, not over each training part. The
    search of ten folds so costs little more than that of two.

    Args:
        estimator: Any.
        outputs: Query outputs of all records, ``(N, q)``.
        fold_of: Fold of every record, ``(N,)``, from 0.
        seed: Handed to every plan.

    Memory for ``KNN`` on vectors: lists of ``4 L N`` bytes, L about ``1.2 max(k) + 60``, held twice, and
    ``12 K N`` bytes per fold for K candidates.

    Example:
        >>> import numpy as np
        >>> plans = plan_folds(KNN(k=3), np.random.default_rng(0).normal(size=(40, 2)), np.arange(40) % 4, seed=0)
        >>> len(plans), plans[0].outer.row.shape, plans[0].inner.row.shape
        (4, (10,), (30,))
    """
    fold_of = np.asarray(fold_of)
    n_folds = int(fold_of.max()) + 1
    if isinstance(estimator, KNN) and outputs.shape[1] > 1:
        return _share_search(estimator, outputs, fold_of, n_folds, seed)
    return tuple(
        estimator.plan(outputs[fold_of != fold], outputs[fold_of == fold], seed=seed) for fold in range(n_folds)
    )


def _share_search(
    estimator: KNN, outputs: FloatArray, fold_of: np.ndarray, n_folds: int, seed: Seed
) -> tuple[SpacePlan, ...]:
    n_train = len(outputs) - np.bincount(fold_of, minlength=n_folds)
    candidates = [estimator.candidates(int(n), outputs.shape[1]) for n in n_train]
    pooled = pool_lists(outputs, fold_of, n_folds, max(int(k[-1]) for k in candidates), scale=estimator.scale)
    lists = jnp.asarray(pooled.lists.T)  # one copy on the device, whatever the number of folds
    distinct = jnp.zeros(len(pooled.lists), jnp.int32)
    plans = []
    for fold, k in enumerate(candidates):
        train, test = np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)
        atom = pooled.atom[train]
        inner = _inner(pooled, lists, fold, k, atom)
        probe = np.sort(generator(seed, "probe").permutation(len(train))[:SPACE_PROBE])
        outer = _outer(pooled, fold, k, pooled.atom[test])
        plans.append(SpacePlan(jnp.asarray(atom), distinct, inner.where(probe), inner, outer))
    return tuple(plans)


def _inner(pooled: PooledLists, lists: Any, fold: int, k: np.ndarray, atom: np.ndarray) -> SpaceCounts:
    """Training records; rows that none of them has keep edges of zero."""
    used = np.flatnonzero(pooled.size[fold] > 0)
    near, tied = (np.zeros((len(k), len(pooled.lists)), np.int32) for _ in range(2))
    share = np.zeros((len(k), len(pooled.lists)), np.float32)
    for start in range(0, len(used), pooled.step):
        rows = used[start : start + pooled.step]
        weight = pooled.size[fold][pooled.lists[rows]]
        weight[:, 0] -= 1
        found = edges(weight, pooled.first[rows], pooled.end[rows], k)
        for target, part in zip((near, tied, share), found, strict=True):
            target[:, rows] = part.T
    own = jnp.arange(len(atom), dtype=jnp.int32)
    return SpaceCounts(
        lists, jnp.asarray(near), jnp.asarray(tied), jnp.asarray(share), jnp.asarray(atom), own, jnp.asarray(k)
    )


def _outer(pooled: PooledLists, fold: int, k: np.ndarray, atom: np.ndarray) -> SpaceCounts:
    """The fold's own records, one column each, so that all folds of a size share their shapes."""
    parts = []
    for start in range(0, len(atom), pooled.step):
        rows = atom[start : start + pooled.step]
        weight = pooled.size[fold][pooled.lists[rows]]
        parts.append(edges(weight, pooled.first[rows], pooled.end[rows], k))
    near, tied, share = (np.concatenate(part) for part in zip(*parts, strict=True))
    return SpaceCounts(
        jnp.asarray(pooled.lists[atom].T),
        jnp.asarray(near.T, dtype=jnp.int32),
        jnp.asarray(tied.T, dtype=jnp.int32),
        jnp.asarray(share.T, dtype=jnp.float32),
        jnp.arange(len(atom), dtype=jnp.int32),
        jnp.full(len(atom), -1, jnp.int32),
        jnp.asarray(k),
    )
