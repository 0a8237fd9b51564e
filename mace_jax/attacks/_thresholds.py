"""The threshold with the highest balanced accuracy, of all records or of every class, from one sort."""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from mace_jax import _validate
from mace_jax._types import FloatArray

__all__ = ["ThresholdKind", "best_threshold", "best_thresholds", "oracle_accuracy_null"]

ThresholdKind = Literal["observed", "midpoint"]


def best_threshold(member_scores: Any, nonmember_scores: Any, *, thresholds: ThresholdKind = "observed") -> float:
    """The threshold t that maximizes ``(P[member >= t] + P[nonmember < t]) / 2``, in O(n log n).

    Thresholds are compared by whole numbers of records, without rounding. Of equally good ones the highest is taken,
    which accuses the fewest; the order of the records plays no part. Its accuracy on these same records is optimistic:
    see ``oracle_accuracy_null``, and choose thresholds on records that are not attacked.

    Args:
        member_scores: ``(n,)``, higher = more member-like.
        nonmember_scores: ``(m,)``.
        thresholds: ``"observed"``: a score that occurs; ``"midpoint"``: half-way down to the next lower score, which
            decides the same for these records. The lowest score stays as it is.

    Returns:
        t; guess "member" at scores of at least t.

    Raises:
        TypeError: scores are not numeric.
        ValueError: empty, NaN or infinite scores, or an unknown kind of threshold.

    References: Song and Mittal (2021), Systematic evaluation of privacy risks of machine learning models.

    Example:
        >>> best_threshold([3.0, 2.0, 0.0], [1.0, -1.0]), best_threshold([3.0, 2.0], [1.0], thresholds="midpoint")
        (2.0, 1.5)
    """
    members, nonmembers = (
        _validate.scores(member_scores=member_scores),
        _validate.scores(nonmember_scores=nonmember_scores),
    )
    kind = _validate.one_of(get_args(ThresholdKind), thresholds=thresholds)
    groups = np.zeros(len(members) + len(nonmembers), np.intp)
    return best_thresholds(members, nonmembers, groups, 1, kind)[0]


def oracle_accuracy_null(n_members: int, n_nonmembers: int) -> float:
    """What the best threshold reaches on the very records it was chosen on, if scores mean nothing.

    ``1/2 + 1/2 sqrt(pi / 8) sqrt(1 / n + 1 / m)``, close to the mean balanced accuracy of the best of all thresholds
    for two samples of one continuous law: an "oracle" accuracy has to exceed this, not one half. Simulated means are
    slightly lower (.596 instead of .611 at 16 and 16 records, .514 at 1000 and 1000). None of the attacks here reports
    an oracle accuracy.

    Args:
        n_members: n, at least 1.
        n_nonmembers: m, at least 1.

    Returns:
        The balanced accuracy, at most 1.

    Raises:
        TypeError: a count is not an integer.
        ValueError: a count is below 1.

    References: Kolmogorov (1933) and Smirnov (1948) for the largest distance of two empirical distributions, whose
    one-sided limit law has the mean ``sqrt(pi / 8)``.

    Example:
        >>> round(oracle_accuracy_null(100, 100), 3)
        0.544
    """
    n = _validate.positive_int(n_members=n_members)
    m = _validate.positive_int(n_nonmembers=n_nonmembers)
    return float(min(1.0, 0.5 + 0.5 * np.sqrt(np.pi / 8.0) * np.sqrt(1.0 / n + 1.0 / m)))


def best_thresholds(
    members: FloatArray, nonmembers: FloatArray, groups: NDArray[np.intp], n_groups: int, kind: ThresholdKind
) -> tuple[float, FloatArray, NDArray[np.int64]]:
    """Best threshold of all, best per group ``(n_groups,)``, and members and non-members per group ``(n_groups, 2)``.

    ``groups`` are 0 to n_groups - 1, of the members and then of the non-members, and each occurs. Where one of the
    counts is 0 the threshold of the group means nothing.
    """
    scores = np.concatenate([members, nonmembers])
    order = np.argsort(scores)  # not stable: equal scores move together below
    narrow = groups.astype(np.uint16) if n_groups <= 1 << 16 else groups  # sorted by digits instead of comparisons
    scores, inside, narrow = scores[order], order < len(members), narrow[order]
    overall, counts = _of_sorted(scores, inside, np.zeros(1, np.intp), kind)
    if n_groups == 1:
        return float(overall[0]), overall, counts
    order = np.argsort(narrow, kind="stable")
    first = np.searchsorted(narrow[order], np.arange(n_groups))
    return float(overall[0]), *_of_sorted(scores[order], inside[order], first, kind)


def _of_sorted(
    scores: FloatArray, inside: NDArray[np.bool_], first: NDArray[np.intp], kind: ThresholdKind
) -> tuple[FloatArray, NDArray[np.int64]]:
    """Thresholds and counts of groups that lie one after the other from the rows ``first``, scores ascending in each.

    The score of a non-member that no member shares is never best: the next higher one would do better, and at the
    highest the lowest does.
    """
    new = np.empty(len(scores), bool)
    np.not_equal(scores[1:], scores[:-1], out=new[1:])
    new[first] = True
    starts = np.flatnonzero(new)  # of runs of equal scores in a group
    first_run = np.searchsorted(starts, first)
    runs = np.diff(first_run, append=len(starts))
    below = np.concatenate([[0], np.cumsum(inside)])  # members before each row
    sizes = np.diff(first, append=len(scores))
    n_in = np.diff(below[first], append=below[-1])
    n_out = sizes - n_in
    hits = np.repeat(n_in + below[first], runs) - below[starts]
    rejected = starts - below[starts] - np.repeat(first - below[first], runs)
    gain = np.repeat(n_out, runs) * hits + np.repeat(n_in, runs) * rejected  # 2 n m times the accuracy, int64
    peak = np.repeat(np.maximum.reduceat(gain, first_run), runs)
    best = np.maximum.reduceat(np.where(gain == peak, np.arange(len(gain)), -1), first_run)
    found = scores[starts[best]]
    if kind == "midpoint":
        lower = scores[starts[np.maximum(best - 1, first_run)]]
        middle = 0.5 * lower + 0.5 * found
        found = np.where((middle > lower) & (middle < found), middle, found)
    return found, np.stack([n_in, n_out], axis=1)
