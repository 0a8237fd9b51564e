"""The permutation null: the whole cross-fit repeated with membership labels permuted within each fold."""

from __future__ import annotations

import concurrent.futures
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mace_jax._random import generator
from mace_jax._types import FloatArray, Seed
from mace_jax.estimators import AbstractEstimator, Objective
from mace_jax.metrics._crossfit import CrossFit, FoldData
from mace_jax.metrics._decide import decide_all, decide_all_on_host, stack_objectives

__all__ = ["permutation_null", "permutation_nulls", "permuted_posteriors"]

_BATCH_BYTES = 2**24  # of permuted labels per batch
_SMALL = 4096  # records: below, calls of what is compiled already cost less than another compilation
_BATCHES = 16  # at least: progress, and work for two threads
_Progress = Callable[[float], None]


def permutation_null(
    fitted: CrossFit, objective: Objective, n_permutations: int, *, seed: Seed, on_progress: _Progress | None = None
) -> tuple[FloatArray, FloatArray]:
    """Pooled held-out TPR and FPR, ``(n_permutations,)`` each, when membership means nothing."""
    tpr, fpr = permutation_nulls(fitted, (objective,), n_permutations, seed=seed, on_progress=on_progress)
    return tpr[0], fpr[0]


def permutation_nulls(
    fitted: CrossFit,
    objectives: Sequence[Objective],
    n_permutations: int,
    *,
    seed: Seed,
    on_progress: _Progress | None = None,
) -> tuple[FloatArray, FloatArray]:
    """Pooled held-out TPR and FPR, ``(J, n_permutations)`` each, for several objectives from the same label draws.

    Labels are permuted within each fold, which keeps the class sizes of every fold: under exchangeable records the
    observed value is then one draw among these, exactly. Nothing is sorted or searched again; the choice of k and of
    the threshold is repeated, and an estimator that JAX cannot trace is fitted again. Each permutation has its own
    random stream, so batches do not matter.

    Memory: at most about 64 MB of labels, and one fold's counts per worker.
    """
    labels = fitted.labels
    n1 = int(labels.sum())
    n0 = len(labels) - n1
    if fitted.estimator.on_host:
        hits, alarms = _on_host(fitted, objectives, n_permutations, seed, on_progress)
        return hits / n1, alarms / n0
    n_batches = max(_BATCHES, -(-n_permutations * len(labels) // _BATCH_BYTES))
    batch = -(-n_permutations // n_batches)
    starts = range(0, n_permutations, batch)
    places, stacked = stack_objectives(objectives)

    def run(start: int) -> tuple[np.ndarray, np.ndarray]:
        # the last batch is filled up, so that every batch has one shape and one compilation
        drawn = draw_labels(labels, fitted.folds, range(start, start + batch), seed)
        hits, alarms = np.zeros((2, len(objectives), batch), np.int64)
        for fold in fitted.folds:
            train, test = (jnp.asarray(np.take(drawn, rows, axis=1)) for rows in (fold.train, fold.test))
            for place, (h, a) in zip(places, _count(fitted.estimator, fold.plan, train, test, stacked), strict=True):
                hits[place] += np.asarray(h).T
                alarms[place] += np.asarray(a).T
        return hits, alarms

    pairs = [run(0)]  # compiles
    pool = concurrent.futures.ThreadPoolExecutor(max_workers=2)
    try:
        for pair in pool.map(run, starts[1:]):
            pairs.append(pair)
            if on_progress is not None:
                on_progress(len(pairs) / len(starts))
    finally:
        pool.shutdown(cancel_futures=True)  # an interruption waits for two batches, not for all
    hits, alarms = (np.concatenate(rows, axis=1)[:, :n_permutations] for rows in zip(*pairs, strict=True))
    return hits / n1, alarms / n0


def permuted_posteriors(
    fitted: CrossFit, objective: Objective, n_permutations: int, *, seed: Seed
) -> list[tuple[FloatArray, np.ndarray]]:
    """Out-of-fold posteriors ``(n + m,)`` and labels of the first permutations of the same null."""
    estimator, drawn = fitted.estimator, draw_labels(fitted.labels, fitted.folds, range(n_permutations), seed)
    posteriors = np.empty(drawn.shape, np.float64)
    for fold in fitted.folds:
        train = np.take(drawn, fold.train, axis=1)
        if estimator.on_host or len(fitted.labels) <= _SMALL:
            for row, labels in enumerate(train.astype(np.int32)):
                known = labels if estimator.on_host else jnp.asarray(labels)
                posteriors[row, fold.test] = estimator.fit_fold(fold.plan, known, objective).posterior  # type: ignore[arg-type]
        else:
            posteriors[:, fold.test] = _posteriors(estimator, fold.plan, jnp.asarray(train), objective)
    return list(zip(posteriors, drawn, strict=True))


def draw_labels(labels: np.ndarray, folds: Sequence[FoldData], replicates: range, seed: Seed) -> np.ndarray:
    """``(replicates, n + m)`` int8 labels, permuted within folds; row r depends on the seed and r alone."""
    drawn = np.empty((len(replicates), len(labels)), np.int8)
    for row, replicate in enumerate(replicates):
        stream = generator(seed, "null", replicate)
        for fold in folds:
            drawn[row, fold.test] = random_labels(stream, len(fold.test), int(labels[fold.test].sum()))
    return drawn


def random_labels(rng: np.random.Generator, n: int, n_members: int) -> np.ndarray:
    """A uniformly random 0/1 vector ``(n,)`` with exactly ``n_members`` ones; ten times as fast as a shuffle.

    Independent coins are uniform given their number of ones; adding or removing ones at random keeps that.
    """
    labels = (rng.integers(0, 2**16, n, dtype=np.uint16) < round(2**16 * n_members / n)).view(np.int8)
    excess = int(labels.sum()) - n_members
    if excess:
        candidates = np.flatnonzero(labels == (1 if excess > 0 else 0))
        labels[rng.choice(candidates, abs(excess), replace=False, shuffle=False)] ^= 1
    return labels


def _on_host(
    fitted: CrossFit, objectives: Sequence[Objective], n_permutations: int, seed: Seed, on_progress: _Progress | None
) -> tuple[np.ndarray, np.ndarray]:
    """The same counts from a plain loop of complete fits."""
    hits, alarms = np.zeros((2, len(objectives), n_permutations), np.int64)
    for replicate in range(n_permutations):
        (drawn,) = draw_labels(fitted.labels, fitted.folds, range(replicate, replicate + 1), seed).astype(np.int32)
        for fold in fitted.folds:
            judged = decide_all_on_host(fitted.estimator, fold.plan, drawn[fold.train], objectives)
            caught = judged @ drawn[fold.test]
            hits[:, replicate] += caught
            alarms[:, replicate] += judged.sum(axis=1) - caught
        if on_progress is not None:
            on_progress((replicate + 1) / n_permutations)
    return hits, alarms


@functools.partial(jax.jit, static_argnums=0)
def _count(estimator: AbstractEstimator, plan: Any, train: jax.Array, test: jax.Array, stacked: tuple[Objective, ...]):
    """True and false positives on the fold, ``(batch, J)`` per group, for every row of permuted labels."""

    def one(rows: tuple[jax.Array, jax.Array]) -> list[tuple[jax.Array, jax.Array]]:
        member = rows[1].astype(jnp.int32)
        counts = []
        for judged in decide_all(estimator, plan, rows[0].astype(jnp.int32), stacked):
            hits = jnp.sum(jnp.where(judged, member, 0), axis=1)
            counts.append((hits, jnp.sum(judged, axis=1) - hits))
        return counts

    return jax.lax.map(one, (train, test))


@functools.partial(jax.jit, static_argnums=0)
def _posteriors(estimator: AbstractEstimator, plan: Any, train: jax.Array, objective: Objective) -> jax.Array:
    return jax.lax.map(lambda row: estimator.fit_fold(plan, row.astype(jnp.int32), objective).posterior, train)
