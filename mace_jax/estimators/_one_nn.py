"""One nearest neighbor: its error brackets the total variation distance."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import stats

from mace_jax._types import FloatArray
from mace_jax.data import MembershipSample
from mace_jax.estimators._space import standardized
from mace_jax.neighbors import knn

__all__ = ["OneNNBracket", "one_nn_bracket"]

_LIST_BYTES = 1 << 26
_NEGLIGIBLE = 1e-9
_LONGEST = 4096
_FOR_TIES = 32


class OneNNBracket(NamedTuple):
    """Leave-one-out 1-NN error at equal class sizes, and the total variation distances it is compatible with."""

    error: float
    lower: float
    upper: float


def one_nn_bracket(sample: MembershipSample, *, scale: bool = True) -> OneNNBracket:
    """Bracket TV by the error of the nearest-neighbor rule: 1 - 2 R1 <= TV <= sqrt(1 - 2 R1).

    R1 is the leave-one-out error, averaged over both classes, when classes are equally large: with unequal classes it
    is the mean over all ways of drawing the larger class down to the size of the smaller (each of its records kept
    independently), worked out exactly instead of drawn. Equally near neighbors count by their expected share, so
    neither row order nor label order matters. As n grows R1 tends to E[2 eta (1 - eta)] over the balanced mixture.

    Args:
        sample: Query outputs of members and non-members.
        scale: Divide each coordinate of vector outputs by its standard deviation over all records.

    Returns:
        ``error`` R1, ``lower`` = max(0, 1 - 2 R1), ``upper`` = sqrt(max(0, 1 - 2 R1)).

    Raises:
        ValueError: one class is more than about 190 times as large as the other.

    Both limits hold for infinitely many records only, and carry no confidence: in high dimension R1 is too near one
    half and the upper limit too small. No certificate. Memory: at most 64 MiB of neighbor lists at a time.

    References: Cover and Hart (1967).

    Example:
        >>> one_nn_bracket(MembershipSample([0.0, 0.1, 0.2], [5.0, 5.1, 5.2]))
        OneNNBracket(error=0.0, lower=1.0, upper=1.0)
    """
    rows = np.concatenate([sample.members, sample.nonmembers]) + 0.0
    is_rare = np.repeat([True, False], [len(sample.members), len(sample.nonmembers)])
    if len(sample.members) > len(sample.nonmembers):
        is_rare = ~is_rare
    if scale and rows.shape[1] > 1:
        rows = standardized(rows, rows)[0]
    kept = is_rare.sum() / (~is_rare).sum()  # probability that a record of the larger class is kept
    atoms, atom = np.unique(rows, axis=0, return_inverse=True)
    atom = atom.reshape(-1)
    rare = np.bincount(atom[is_rare], minlength=len(atoms))
    common = np.bincount(atom[~is_rare], minlength=len(atoms))
    reach = 1 if kept == 1.0 else int(np.ceil(np.log(_NEGLIGIBLE) / np.log1p(-kept)))
    if reach > _LONGEST:
        raise ValueError(
            f"{len(sample.members)} members and {len(sample.nonmembers)} nonmembers are too unequal for "
            "one_nn_bracket; draw a subset of the larger class."
        )
    length = min(len(atoms), reach + 1 + _FOR_TIES)
    sums = np.zeros(2)
    step = max(1, _LIST_BYTES // (32 * length))
    for start in range(0, len(atoms), step):
        mine = slice(start, start + step)
        found = knn(atoms[mine], atoms, length)
        lists, squared = np.asarray(found.indices), np.asarray(found.squared_distances)
        squared[lists == np.arange(len(atoms))[mine, None]] = -1.0  # itself first, whatever underflows
        order = np.argsort(squared, axis=1, kind="stable")
        lists, squared = np.take_along_axis(lists, order, axis=1), np.take_along_axis(squared, order, axis=1)
        squared[:, 0] = 0.0
        for of_rare, count in enumerate((common[mine], rare[mine])):
            near_rare, near_common = rare[lists].astype(np.float64), common[lists].astype(np.float64)
            (near_rare if of_rare else near_common)[:, 0] -= 1  # the record itself
            use = count > 0
            nearest_is_rare = _first_is_rare(squared[use], near_rare[use], near_common[use], float(kept))
            sums[of_rare] += (count[use] * (1.0 - nearest_is_rare if of_rare else nearest_is_rare)).sum()
    error = float(0.5 * (sums[1] / is_rare.sum() + sums[0] / (~is_rare).sum()))
    gap = max(0.0, 1.0 - 2.0 * error)
    return OneNNBracket(error, gap, float(np.sqrt(gap)))


def _first_is_rare(squared: FloatArray, rare: FloatArray, common: FloatArray, kept: float) -> FloatArray:
    """Probability that the nearest kept record is of the rare class, walking outwards shell by shell."""
    n, length = squared.shape
    answer, alive = np.zeros(n), np.ones(n)
    shell_rare, shell_common = np.zeros(n), np.zeros(n)
    for place in range(length):
        shell_rare += rare[:, place]
        shell_common += common[:, place]
        ends = squared[:, place + 1] > squared[:, place] if place + 1 < length else np.ones(n, bool)
        decided = ends & (shell_rare > 0) & (alive > 0)
        if decided.any():
            answer[decided] += alive[decided] * _share(shell_rare[decided], shell_common[decided], kept)
        alive = np.where(ends, np.where(shell_rare > 0, 0.0, alive * (1.0 - kept) ** shell_common), alive)
        shell_rare[ends], shell_common[ends] = 0.0, 0.0
        if not (alive > _NEGLIGIBLE).any():
            break
    return answer


def _share(rare: FloatArray, common: FloatArray, kept: float) -> FloatArray:
    """E[a / (a + B)], B ~ Binomial(b, kept), for whole a > 0 and b."""
    pairs, which = np.unique(np.stack([rare, common], axis=1), axis=0, return_inverse=True)
    values = np.empty(len(pairs))
    for row, (a, b) in enumerate(pairs):
        drawn = np.arange(int(b) + 1)
        values[row] = (stats.binom.pmf(drawn, int(b), kept) * (a / (a + drawn))).sum()
    return values[which.reshape(-1)]
