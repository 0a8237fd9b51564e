"""KDE: membership posterior from Gaussian kernel densities of both classes."""

from __future__ import annotations

import dataclasses
import functools
from typing import final

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int

from mace_jax import _validate
from mace_jax._random import generator
from mace_jax._types import FloatArray, Seed
from mace_jax.estimators._base import AbstractEstimator, FoldOutcome, Objective, balanced_log_loss, from_shares
from mace_jax.estimators._kde_line import GridPlan, plan_grid
from mace_jax.estimators._kde_space import TilePlan, plan_tiles
from mace_jax.estimators._space import standardized
from mace_jax.estimators._transform import transformed

__all__ = ["KDE"]

_MULTIPLES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0)
_WIDEST = 10
_LINE_PROBE = 4096  # training records on which the bandwidth is chosen, per fold
_SPACE_PROBE = 512


@final
@dataclasses.dataclass(frozen=True)
class KDE(AbstractEstimator):
    """Ratio of two Gaussian kernel density estimates as a membership posterior.

    With c1(x) = sum over members i of exp(-|x - x_i|^2 / (2 h^2)), c0 likewise and a floor f (at least 1/1000 of a
    record, shared out by class size), the posterior at prior one half is ((c1 + f n1/s)/n1) over the sum of that and
    ((c0 + f n0/s)/n0); where no record is near it is one half. Training records are left out of their own sums. Both
    classes share one bandwidth, which cancels bias where they do not differ.

    Scalar outputs are binned linearly on a grid of 2048 to 65536 points and convolved by a fast Fourier transform:
    O(s + G log G) per set of labels, kernel sums within 1 % of the exact ones at the smallest bandwidth (4 grid steps
    or more, error (step/h)^2/4 of the curvature) and 0.5 % from twice that on; an unseen output beyond the training
    outputs is judged like the nearest of them. Vectors, up to 10 wide, are
    summed in tiles, O(s (s + t) q) per set of labels: with permutations only for a few thousand records.

    Args:
        bandwidth: Standard deviation of the kernel, in standard deviations of each output over the training part; None
            chooses in each fold, by leave-one-out log-loss on the training part, among 1/8, 1/4, 1/2, 1, 2 and 4 times
            Silverman's rule for half the records.
        transform: ``"log"`` for positive outputs, ``"logit"`` for outputs in (0, 1), ``"auto"`` to choose per column
            by the training outputs' range, None to leave them.

    Biased towards: too small an advantage where the kernel is wider than the leak, and near a boundary that no
    transform removes. No guarantee comes with it. Do not use it for outputs with atoms (``Discrete``, ``KNN``), nor
    in more than a few dimensions.

    Raises:
        ValueError: ``bandwidth`` not positive, an unknown ``transform`` or outputs outside its domain.

    References: Rosenblatt (1956); Silverman (1986), section 3.4; Wand (1994) for linear binning.

    Example:
        >>> KDE(bandwidth=0.2), KDE().supports(3), KDE().supports(64)
        (KDE(bandwidth=0.2, transform=None), True, False)
    """

    bandwidth: float | None = None
    transform: str | None = None

    def __post_init__(self) -> None:
        if self.bandwidth is not None and _validate.non_negative(bandwidth=self.bandwidth) == 0.0:
            raise ValueError(
                f"bandwidth={self.bandwidth!r} must be positive; pass for example bandwidth=0.2, or None to choose it."
            )
        if self.transform not in (None, "log", "logit", "auto"):
            raise ValueError(f"transform={self.transform!r} is not known; pass 'log', 'logit', 'auto' or None.")

    def supports(self, n_outputs: int) -> bool:
        """Up to 10 outputs."""
        return 1 <= n_outputs <= _WIDEST

    def plan(self, train: FloatArray, test: FloatArray, *, seed: Seed) -> GridPlan | TilePlan:
        """Bin or standardize once; the labels are not needed."""
        n, width = train.shape
        train, test = standardized(*transformed(train, test, self.transform))
        if self.bandwidth is not None:
            bandwidths = np.asarray([self.bandwidth], dtype=np.float64)
        else:
            bandwidths = np.asarray(_MULTIPLES) * _silverman(train)
        if width == 1:
            probe = np.sort(generator(seed, "probe").permutation(n)[:_LINE_PROBE])
            return plan_grid(train[:, 0], test[:, 0], bandwidths, probe)
        probe = np.sort(generator(seed, "probe").permutation(n)[:_SPACE_PROBE])
        return plan_tiles(train, np.clip(test, -1e6, 1e6), bandwidths, probe)

    @functools.partial(jax.jit, static_argnums=0)
    def fit_fold(self, plan: GridPlan | TilePlan, labels: Int[Array, " s"], objective: Objective) -> FoldOutcome:
        """Choose the bandwidth on the training part, apply to the fold, and to the training part itself."""
        choice, reached, posterior, members = _fit(plan, labels, objective)
        one = choice[None]
        itself = plan.itself(slice(None), one)
        c1, c0 = plan.train_sums(members, labels, slice(None), one)
        own = _posterior(plan, c1 - labels * itself, c0 - (1 - labels) * itself, labels, one, labels)[0]
        with_itself = _posterior(plan, c1, c0, labels, one)[0]
        return FoldOutcome(
            posterior, objective.decide(posterior, reached), own, objective.decide(with_itself, reached), choice
        )

    @functools.partial(jax.jit, static_argnums=0)
    def decide_fold(
        self, plan: GridPlan | TilePlan, labels: Int[Array, " s"], objective: Objective
    ) -> Bool[Array, " t"]:
        """The decisions of ``fit_fold`` alone."""
        _, reached, posterior, _ = _fit(plan, labels, objective)
        return objective.decide(posterior, reached)

    def neighbors(self, plan: GridPlan | TilePlan, chosen: int) -> None:
        """No neighbors are counted."""


def _silverman(train: FloatArray) -> float:
    """Silverman's bandwidth for half the records, of columns with standard deviation 1."""
    n, width = train.shape
    if width == 1:
        quartiles = np.quantile(train[:, 0], (0.25, 0.75))
        spread = (quartiles[1] - quartiles[0]) / 1.34
        return 0.9 * (min(1.0, spread) if spread > 0 else 1.0) * (n / 2) ** -0.2
    return (4.0 / ((width + 2) * n / 2)) ** (1.0 / (width + 4))


def _posterior(
    plan: GridPlan | TilePlan,
    c1: Array,
    c0: Array,
    labels: Array,
    candidates: Array | slice,
    left_out: Array | int = 0,
    extra: float = 0.0,
) -> Array:
    """From kernel sums; with ``left_out`` labels each record is missing from its own class."""
    n = labels.shape[0]
    n1 = jnp.sum(labels)
    floor = plan.floor[candidates][:, None]
    first = jnp.maximum(c1, 0.0) + floor * (n1 / n) + extra
    second = jnp.maximum(c0, 0.0) + floor * (1.0 - n1 / n) + extra
    if isinstance(left_out, int):
        return from_shares(first, second, n1, n - n1)
    return from_shares(first, second, n1 - left_out, n - n1 - (1 - left_out))


def _fit(plan: GridPlan | TilePlan, labels: Array, objective: Objective) -> tuple[Array, Array, Array, Array]:
    """Chosen candidate, metric reached on the probe, posterior of the fold's own records, smoothed members."""
    mine = labels[plan.probe]
    every = slice(None)
    smoothed = plan.smooth(labels)
    itself = plan.itself(plan.probe, every)
    c1, c0 = plan.train_sums(smoothed, labels, plan.probe, every)
    c1, c0 = c1 - mine * itself, c0 - (1 - mine) * itself
    choice = jnp.argmin(balanced_log_loss(_posterior(plan, c1, c0, labels, every, mine, 0.5), mine))
    one = choice[None]
    reached = objective.optimum(_posterior(plan, c1[one], c0[one], labels, one, mine)[0], mine)
    members = smoothed[one] if isinstance(plan, GridPlan) else smoothed
    posterior = _posterior(plan, *plan.test_sums(members, one), labels, one)[0]
    return choice, reached, posterior, members
