"""Isotonic recalibration of posteriors: blocks of pooled adjacent violators, never fitted on the record they judge."""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy import optimize

from mace_jax._random import generator
from mace_jax._types import FloatArray, Seed

__all__ = ["Blocks", "crossfitted_blocks", "fit_blocks"]

_PARTS = 5


@dataclasses.dataclass(frozen=True, eq=False)
class Blocks:
    """An increasing step function of the posterior: members and non-members counted in each step."""

    upper: FloatArray  # (b,) largest posterior of each block
    members: FloatArray  # (b,) counts
    nonmembers: FloatArray

    def of(self, posterior: FloatArray) -> np.ndarray:
        """The block of each posterior; between two blocks, the upper one."""
        return np.minimum(np.searchsorted(self.upper, posterior, side="left"), len(self.upper) - 1)


def fit_blocks(posterior: FloatArray, labels: np.ndarray) -> Blocks:
    """Pool adjacent violators: the increasing function of the posterior that fits the labels best in squared error.

    The blocks are the same whatever the class weights, because weighting the classes moves every share by the same
    increasing map. References: Ayer et al. (1955); Zadrozny and Elkan (2002).
    """
    values, place = np.unique(posterior, return_inverse=True)
    total = np.bincount(place.reshape(-1)).astype(np.float64)
    members = np.bincount(place.reshape(-1), weights=labels)
    starts = optimize.isotonic_regression(members / total, weights=total).blocks[:-1]
    ends = np.append(starts[1:], len(values)) - 1
    in_block = np.add.reduceat(members, starts)
    return Blocks(values[ends], in_block, np.add.reduceat(total, starts) - in_block)


def crossfitted_blocks(
    posterior: FloatArray, labels: np.ndarray, fold_of: np.ndarray, *, seed: Seed
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Members and non-members ``(n,)`` in the block of every record, and the share of members behind the blocks.

    Inside each fold, whose posteriors come from one rule, records are dealt at random into five parts, each class
    evenly; the blocks that judge a part are fitted on the other four.
    """
    members, others, share = np.empty((3, len(posterior)))
    for fold in np.unique(fold_of):
        rows = np.flatnonzero(fold_of == fold)
        part = np.empty(len(rows), int)
        for label in (0, 1):
            mine = np.flatnonzero(labels[rows] == label)
            part[mine] = generator(seed, "calibration", int(fold), label).permutation(np.arange(len(mine)) % _PARTS)
        for judged in np.unique(part):
            fit, use = rows[part != judged], rows[part == judged]
            if not 0 < labels[fit].sum() < len(fit):
                raise ValueError("Recalibration needs at least 4 members and 4 non-members.")
            blocks = fit_blocks(posterior[fit], labels[fit])
            block = blocks.of(posterior[use])
            members[use], others[use] = blocks.members[block], blocks.nonmembers[block]
            share[use] = labels[fit].mean()
    return members, others, share
