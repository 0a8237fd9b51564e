"""P(row is from P) from the labels of the k nearest pooled rows, and the divergences that are functions of it."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from mace_jax._types import FloatArray
from mace_jax.divergences._pair import Pair
from mace_jax.neighbors import radius_count

__all__ = [
    "Posterior",
    "edge_noise",
    "jensen_shannon_terms",
    "knn_posterior",
    "null_mean_of_plug_in",
    "rule_noise",
]

_BLOCK_ENTRIES = 1 << 22


@dataclasses.dataclass(frozen=True, eq=False)
class Posterior:
    """Neighbors from P among the k nearest of each pooled row, itself left out, ties by expected share."""

    from_p: FloatArray  # (n + m,) between 0 and k
    k: int
    n: int
    m: int
    tied: float  # share of rows whose k-th shell holds several rows
    n_labels: (
        FloatArray  # (n + m,) labels drawn at random that ``from_p / k`` is worth: k, or more where shells count whole
    )

    @property
    def _available(self) -> tuple[FloatArray, FloatArray]:
        """How many rows of each sample could have been neighbors."""
        own = np.arange(self.n + self.m) < self.n
        return self.n - own.astype(np.float64), self.m - (~own).astype(np.float64)

    def at_half(self, *, smoothed: bool = False) -> FloatArray:
        """Posterior at prior one half; ``smoothed`` adds half a row to each side and is never 0 or 1."""
        extra = 0.5 if smoothed else 0.0
        from_p, from_q = self._available
        a, b = (self.from_p + extra) / from_p, (self.k - self.from_p + extra) / from_q
        return a / (a + b)

    def split(self, values: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Values of the P rows and of the Q rows."""
        return values[..., : self.n], values[..., self.n :]


def knn_posterior(pair: Pair, k: int) -> Posterior:
    """Read from the lists; only shells that run past the end of a list are counted anew."""
    total = pair.n + pair.m
    from_p, tied, n_labels = np.empty(total), np.empty(total, dtype=bool), np.empty(total)
    step = max(1, _BLOCK_ENTRIES // (2 * pair.width))
    for start in range(0, total, step):
        rows = slice(start, min(start + step, total))
        from_p[rows], tied[rows], n_labels[rows] = _block(pair, k, rows)
    return Posterior(from_p, k, pair.n, pair.m, float(tied.mean()), n_labels)


def _block(pair: Pair, k: int, rows: slice) -> tuple[FloatArray, FloatArray, FloatArray]:
    near_p, near_q = pair.to_p[rows], pair.to_q[rows]
    # The k-th pooled distance is among the first k of each list.
    last = np.partition(np.concatenate([near_p[:, :k], near_q[:, :k]], axis=1), k - 1, axis=1)[:, k - 1]
    own = np.arange(rows.start, rows.stop) < pair.n
    inside, shell = [], []
    for near, reference, itself in ((near_p, pair.p, own), (near_q, pair.q, ~own)):
        within = (near < last[:, None]).sum(axis=1)
        on = (near <= last[:, None]).sum(axis=1) - within
        open_ = np.flatnonzero((near[:, -1] <= last) & (near.shape[1] < len(reference) - itself))
        if len(open_):
            counted = radius_count(_rows(pair, rows, open_), reference, np.sqrt(last[open_])) - itself[open_]
            on[open_] = np.maximum(on[open_], counted - within[open_])
        inside.append(within)
        shell.append(on)
    nearer, tied = inside[0] + inside[1], shell[0] + shell[1]
    share = shell[0] / np.maximum(tied, 1)
    n_labels = k**2 / (
        nearer + (k - nearer) ** 2 / np.maximum(tied, 1)
    )  # the shell's share varies less than its labels
    return inside[0] + (k - nearer) * share, tied > 1, n_labels


def _rows(pair: Pair, rows: slice, chosen: np.ndarray) -> FloatArray:
    """Records of some pooled rows, without pooling everything."""
    index = chosen + rows.start
    from_p = index < pair.n
    out = np.empty((len(index), pair.d))
    out[from_p], out[~from_p] = pair.p[index[from_p]], pair.q[index[~from_p] - pair.n]
    return out


def null_mean_of_plug_in(k: int, n: int, m: int) -> float:
    """Mean of ``|2 posterior - 1|`` if labels were drawn without regard to the records."""
    share = n / (n + m)
    counts = np.arange(k + 1)
    log_law = np.array([math.lgamma(k + 1) - math.lgamma(c + 1) - math.lgamma(k - c + 1) for c in counts])
    law = np.exp(log_law + counts * math.log(share) + (k - counts) * math.log1p(-share))
    a, b = counts / n, (k - counts) / m
    distance = np.abs(2.0 * a / (a + b) - 1.0)
    # at prior one half a row of each sample weighs by its own share of the pool; both shares are those of the law
    return float((law * distance).sum())


def jensen_shannon_terms(posterior: Posterior) -> tuple[FloatArray, FloatArray]:
    """Per pooled row: entropy of the posterior, and how far sampling k labels is expected to lower it."""
    eta = posterior.at_half()
    entropy = -(_x_log_x(eta) + _x_log_x(1.0 - eta))
    share, ratio = posterior.from_p / posterior.k, posterior.n / posterior.m
    # eta = w / (w + ratio (1 - w)); delta method in w, of variance w (1 - w) / k
    mixed = (0.0 < share) & (share < 1.0)
    w = np.where(mixed, share, 0.5)
    bottom = w + ratio * (1.0 - w)
    at, slope = w / bottom, ratio / bottom**2
    bend = -2.0 * ratio * (1.0 - ratio) / bottom**3
    second = -(slope**2) / (at * (1.0 - at)) + (np.log1p(-at) - np.log(at)) * bend
    shortfall = -0.5 * second * w * (1.0 - w) / posterior.n_labels
    return entropy, np.where(mixed, shortfall, 0.0)


def _x_log_x(x: FloatArray) -> FloatArray:
    return x * np.log(np.where(x > 0.0, x, 1.0))


def rule_noise(posterior: Posterior, epsilon: FloatArray) -> FloatArray:
    """Variance of the decision form beyond its linear part: records near the threshold decide about each other.

    Two records that are neighbors of each other at the threshold have correlated gains, ``(w q / n)^2`` with w the
    pooled share at the threshold and q the chance that one label decides; summed over k of them that is
    ``exp(epsilon) / (2 pi n m)`` for each record at the threshold. A record counts by ``sqrt(3) exp(-z^2)``, with z the
    distance of its own count from the threshold in standard deviations; the factor makes a record at it count once.
    """
    n, m, k = posterior.n, posterior.m, posterior.k
    out = np.empty(len(epsilon))
    for place, each in enumerate(epsilon):
        odds = math.exp(each) * n / m
        share = odds / (1.0 + odds)
        z = (posterior.from_p - k * share) / math.sqrt(k * share * (1.0 - share))
        out[place] = math.exp(each) / (2.0 * math.pi * n * m) * math.sqrt(3.0) * float(np.exp(-(z**2)).sum())
    return out


def edge_noise(smooth: Posterior, k: int) -> float:
    """Variance of the share of crossing neighbor pairs beyond its linear part.

    Given the records, a pair adds ``-2 (y_i - w_i) (y_j - w_j)`` to the number of crossing pairs; a mutual pair counts
    twice, and about two thirds of the pairs are mutual for k = 1, more (taken as all) for larger k.
    """
    n, m = smooth.n, smooth.m
    share = smooth.from_p / smooth.k
    spread = float(np.mean((share * (1.0 - share)) ** 2))
    mutual = 2.0 / 3.0 if k == 1 else 1.0
    return ((n + m - 1) / (2.0 * n * m)) ** 2 * 4.0 * (n + m) / k * spread * (1.0 + mutual)
