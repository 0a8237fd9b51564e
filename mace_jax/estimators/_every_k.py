"""Posteriors for every number of neighbors up to K, from one neighbor pass."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mace_jax import _validate
from mace_jax.data import MembershipSample
from mace_jax.estimators._pooled import PooledLists, pool_lists

__all__ = ["KNNPosteriors", "knn_posteriors"]

Reducer = Callable[[NDArray[np.int64], NDArray[np.float32]], Any]


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class KNNPosteriors:
    """kNN posteriors at prior one half for k = 1 .. K; records are members first, then non-members.

    Nothing of size K times the number of records is kept: each call works through blocks of records. With ``reduce``
    a call returns the list of ``reduce(records, posterior)`` over the blocks, ``records`` ``(b,)`` being row numbers
    and ``posterior`` ``(K, b)``; without, the whole array ``(K, n + m)`` of float32.
    """

    k: NDArray[np.int64]  # (K,)
    labels: NDArray[np.int8]  # (n + m,), 1 = member
    fold_of: NDArray[np.int64]  # (n + m,); all -1 without folds
    _lists: PooledLists

    def held_out(self, reduce: Reducer | None = None) -> Any:
        """Each record by its neighbors outside its own fold; without folds, by all other records (leave-one-out)."""
        if self.fold_of[0] < 0:
            return self._work([(np.arange(len(self.labels)), -1, True)], reduce)
        folds = range(int(self.fold_of.max()) + 1)
        return self._work([(np.flatnonzero(self.fold_of == fold), fold, False) for fold in folds], reduce)

    def trained_without(self, fold: int, reduce: Reducer | None = None) -> Any:
        """Each record outside ``fold`` by the other records outside ``fold``: where thresholds can be chosen.

        Records of the fold are left out; in the array without ``reduce`` they are NaN.
        """
        return self._work([(np.flatnonzero(self.fold_of != fold), fold, True)], reduce)

    def _work(self, parts: list[tuple[np.ndarray, int, bool]], reduce: Reducer | None) -> Any:
        out = None if reduce else np.full((len(self.k), len(self.labels)), np.nan, np.float32)
        reduced, step = [], self._lists.step
        for records, fold, inside in parts:
            members = np.bincount(
                self._lists.atom, self.labels * ((self.fold_of != fold) | (fold < 0)), self._lists.size.shape[1]
            ).astype(np.int32)
            n1 = int(members.sum())
            n0 = int(self._lists.size[fold].sum()) - n1
            for start in range(0, len(records), step):
                rows = records[start : start + step]
                posterior = self._block(rows, fold, inside, members, n1, n0)
                if reduce:
                    reduced.append(reduce(rows, posterior))
                elif out is not None:
                    out[:, rows] = posterior
        return reduced if reduce else out

    def _block(self, rows: np.ndarray, fold: int, inside: bool, members: np.ndarray, n1: int, n0: int) -> np.ndarray:
        block = self._lists.block(rows, fold, self.k, inside=inside)
        mine = self.labels[rows].astype(np.int32)[:, None] * inside
        up_to = np.zeros((len(rows), block.lists.shape[1] + 1), np.int32)
        np.cumsum(members[block.lists], axis=1, out=up_to[:, 1:])
        up_to[:, 1:] -= mine  # a record's own row is the first entry
        low = np.take_along_axis(up_to, block.near.astype(np.int32), axis=1)
        k1 = low + block.share * (np.take_along_axis(up_to, block.tied.astype(np.int32), axis=1) - low)
        first = k1 / np.maximum(n1 - mine, 1)
        second = (self.k - k1) / np.maximum(n0 - (inside - mine), 1)
        return (first / (first + second)).T.astype(np.float32)

    def __repr__(self) -> str:
        return f"KNNPosteriors(k=1..{len(self.k)}, records={len(self.labels)}, folds={int(self.fold_of.max()) + 1})"


def knn_posteriors(
    sample: MembershipSample, largest_k: int, *, fold_of: Any = None, scale: bool = True
) -> KNNPosteriors:
    """Search the neighbors of all records once; posteriors for every k up to ``largest_k`` follow by counting.

    With k1 members among the k nearest (a tied shell by its expected share), the posterior at prior one half is
    (k1/n1) / (k1/n1 + (k - k1)/n0), n1 and n0 being the records that could have been neighbors: the record itself, and
    its fold if there are folds, never is one.

    Args:
        sample: Query outputs of members and non-members.
        largest_k: K.
        fold_of: Fold of every record, members first, ``(n + m,)`` integers from 0; None leaves one out.
        scale: Divide each coordinate by its standard deviation over all records (``KNN`` uses the training part).

    Returns:
        An object that gives posteriors per block of records.

    Raises:
        ValueError: ``fold_of`` has the wrong length or fewer than 2 folds, or a class or ``largest_k`` does not fit
            outside a fold.

    Choosing the k with the best held-out metric and reporting that metric is optimistic; choose k on
    ``trained_without``, or let ``KNN(k=range(1, K + 1))`` do it. Memory: about ``8 (n + m) (1.2 K + 60)`` bytes for
    neighbor lists, blocks of 32 MiB, and ``4 K (n + m)`` bytes for a result without ``reduce``.

    References: Fix and Hodges (1951).

    Example:
        >>> posteriors = knn_posteriors(MembershipSample([0.0, 0.1, 0.2], [1.0, 1.1, 1.2]), 3)
        >>> posteriors.held_out().shape, round(float(posteriors.held_out()[2, 0]), 3)
        ((3, 6), 0.75)
    """
    largest_k = _validate.positive_int(largest_k=largest_k)
    n, m = len(sample.members), len(sample.nonmembers)
    labels = np.repeat(np.asarray([1, 0], np.int8), [n, m])
    folds = np.full(n + m, -1) if fold_of is None else np.asarray(fold_of, dtype=np.int64)
    if folds.shape != (n + m,):
        raise ValueError(f"fold_of has shape {folds.shape}; pass one fold per record, ({n + m},), members first.")
    n_folds = int(folds.max()) + 1
    if fold_of is not None and (folds.min() < 0 or n_folds < 2):
        raise ValueError(f"fold_of goes from {folds.min()} to {folds.max()}; number at least 2 folds from 0.")
    for fold in range(-1, n_folds):
        outside = labels[folds != fold] if fold >= 0 else labels
        available = len(outside) - 1
        if len(np.unique(outside)) < 2:
            raise ValueError(f"fold {fold} of fold_of holds all records of one class; deal both classes into folds.")
        if largest_k > available:
            raise ValueError(f"largest_k={largest_k} does not fit: only {available} neighbors; pass a smaller one.")
    rows = np.concatenate([sample.members, sample.nonmembers])
    lists = pool_lists(rows, folds, n_folds, largest_k, scale=scale)
    return KNNPosteriors(np.arange(1, largest_k + 1), labels, folds, lists)
