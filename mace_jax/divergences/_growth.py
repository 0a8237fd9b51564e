"""Signs that P has mass where Q lacks it: records out of reach, and growth with the number of records."""

from __future__ import annotations

import math

import numpy as np

from mace_jax._random import generator
from mace_jax._types import FloatArray
from mace_jax.divergences._kl import two_sample_terms
from mace_jax.divergences._pair import Pair
from mace_jax.neighbors import knn

__all__ = ["beyond_reach", "growth", "out_of_reach"]

_QUERIES = 2000
_LEAST = 100
_SLOPE = 0.15
_LARGEST_K = 5
_REACH, _OUTSIDE = 0.995, 0.1


def out_of_reach(pair: Pair, k: int) -> bool:
    """Whether over a tenth of P lies ``beyond_reach``."""
    return beyond_reach(pair, k) > _OUTSIDE


def beyond_reach(pair: Pair, k: int) -> float:
    """Share of P that is farther from its k-th neighbor in Q than 199 in 200 Q records are from theirs.

    There the density of Q is read off records that lie elsewhere. Of unit normals 1 apart 1 to 6 % of P are that far,
    of normals 2 apart 5 (ten features) to 20 % (one feature). Where lists of the Q rows are missing, at most 2000 of
    these rows are looked up.
    """
    if min(pair.n, pair.m) < _LEAST:
        return 0.0
    k = min(k, pair.to_q.shape[1])
    squared = pair.to_q[:, k - 1]
    of_q = squared[pair.n :] if pair.at_q else _at_some_q(pair, k)
    return float((squared[: pair.n] > np.quantile(of_q, _REACH)).mean())


def _at_some_q(pair: Pair, k: int) -> FloatArray:
    """Squared distances from at most 2000 Q rows to their k-th neighbor in Q, for records without copies."""
    rows = generator(0, "support", "q").permutation(pair.m)[:_QUERIES]
    return np.asarray(knn(pair.q[rows], pair.q, k + 1).squared_distances)[:, k]


def growth(pair: Pair, k: int) -> tuple[float, bool] | None:
    """Growth of the two-sample KL form per e-fold of records over n/4, n/2 and n, and whether it is more than noise.

    A mass u of P outside the support of Q makes the form grow by ``u ln`` of the factor by which samples grow. The same
    P rows (at most 2000) are judged at all three sizes, so most noise cancels, with at most 5 neighbors, so that
    smoothing is not taken for growth. The subsets are fixed by the sizes.
    None below 100 rows.
    """
    k = min(k, _LARGEST_K)
    if min(pair.n, pair.m) < _LEAST:
        return None
    order_p = generator(0, "support", "p").permutation(pair.n)
    order_q = generator(0, "support", "q").permutation(pair.m)
    rows = order_p[: min(pair.n // 4, _QUERIES)]
    full = two_sample_terms(pair, k)[rows]
    half, quarter = (_terms(pair, order_p[: pair.n // s], order_q[: pair.m // s], len(rows), k) for s in (2, 4))
    rise = full - quarter
    slope, error = rise.mean() / math.log(4.0), rise.std() / math.sqrt(len(rise)) / math.log(4.0)
    keeps_on = min((full - half).mean(), (half - quarter).mean()) > 0.5 * slope * math.log(2.0)
    return float(slope), bool(slope > _SLOPE and slope > 3.0 * error and keeps_on)


def _terms(pair: Pair, in_p: np.ndarray, in_q: np.ndarray, n_rows: int, k: int) -> FloatArray:
    """The two-sample terms of the first rows of a subset, within the subset."""
    x, y = pair.p[in_p], pair.q[in_q]
    own = knn(x[:n_rows], x, k + 1)
    squared = np.where(own.indices == np.arange(n_rows)[:, None], np.inf, own.squared_distances)
    rho = np.sort(squared, axis=1)[:, k - 1]
    nu = knn(x[:n_rows], y, k).squared_distances[:, k - 1]
    return 0.5 * pair.d * (np.log(nu) - np.log(rho)) + math.log(len(y) / (len(x) - 1))
