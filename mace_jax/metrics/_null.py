"""The permutation null: the whole cross-fit repeated with membership labels permuted within each fold."""

from __future__ import annotations

import concurrent.futures
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from mace_jax._random import generator
from mace_jax._types import Seed
from mace_jax.estimators import AbstractEstimator, Objective
from mace_jax.metrics._crossfit import CrossFit

__all__ = ["permutation_null"]

_BATCH_BYTES = 2**24  # of permuted labels per batch
_BATCHES = 8  # at least: progress, and work for two threads


def permutation_null(
    fitted: CrossFit,
    objective: Objective,
    n_permutations: int,
    *,
    seed: Seed,
    on_progress: Callable[[float], None] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Pooled held-out TPR and FPR, ``(n_permutations,)`` each, when membership means nothing.

    Labels are permuted within each fold, which keeps the class sizes of both halves: under exchangeable records the
    observed value is then one draw among these, exactly. Nothing is sorted or searched again; the choice of k and of
    the threshold is repeated. Each permutation has its own random stream, so batches do not matter.

    Memory: at most about 64 MB of labels, and one fold's counts per worker.
    """
    labels, folds = fitted.labels, fitted.folds
    n1 = int(labels.sum())
    n0 = len(labels) - n1
    members_of = [labels[fold.test] for fold in folds]
    n_batches = max(_BATCHES, -(-n_permutations * len(labels) // _BATCH_BYTES))
    batch = -(-n_permutations // n_batches)
    starts = range(0, n_permutations, batch)

    def draw(start: int) -> list[np.ndarray]:
        # the last batch is filled up, so that every batch has one shape and one compilation
        drawn = [np.empty((batch, len(rows)), np.int8) for rows in members_of]
        for row, replicate in enumerate(range(start, start + batch)):
            stream = generator(seed, "null", replicate)
            for fold, rows in enumerate(members_of):
                drawn[fold][row] = random_labels(stream, len(rows), int(rows.sum()))
        return drawn

    def run(start: int) -> tuple[np.ndarray, np.ndarray]:
        drawn = draw(start)
        # with two folds the training part of one is the other, in pooled row order
        hits, alarms = np.zeros(len(drawn[0]), np.int64), np.zeros(len(drawn[0]), np.int64)
        for fold, data in enumerate(folds):
            train = drawn[1 - fold]
            h, a = _count(fitted.estimator, data.plan, jnp.asarray(train), jnp.asarray(drawn[fold]), objective)
            hits += np.asarray(h)
            alarms += np.asarray(a)
        return hits / n1, alarms / n0

    pairs = [run(0)]  # compiles
    pool = concurrent.futures.ThreadPoolExecutor(max_workers=2)
    try:
        for pair in pool.map(run, starts[1:]):
            pairs.append(pair)
            if on_progress is not None:
                on_progress(len(pairs) / len(starts))
    finally:
        pool.shutdown(cancel_futures=True)  # an interruption waits for two batches, not for all
    hits, alarms = (np.concatenate(rows)[:n_permutations] for rows in zip(*pairs, strict=True))
    return hits, alarms


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


@functools.partial(jax.jit, static_argnums=0)
def _count(estimator: AbstractEstimator, plan, train: jax.Array, test: jax.Array, objective: Objective):
    """True and false positives on the fold for every row of permuted labels."""

    def one(rows: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        judged = estimator.decide_fold(plan, rows[0].astype(jnp.int32), objective)
        hits = jnp.sum(jnp.where(judged, rows[1].astype(jnp.int32), 0))
        return hits, jnp.sum(judged) - hits

    return jax.lax.map(one, (train, test))
