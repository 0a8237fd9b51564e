"""Where both laws are the same: estimates centered at 0 and uniform p-values, whatever the records look like."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from mace_jax import MembershipSample, optimal_membership_advantage
from mace_jax.estimators import KNN, Threshold

Draw = Callable[[np.random.Generator], MembershipSample]
N_SEEDS = 500


def continuous(rng: np.random.Generator) -> MembershipSample:
    return MembershipSample(rng.normal(size=60), rng.normal(size=60))


def sorted_atoms(rng: np.random.Generator) -> MembershipSample:
    return MembershipSample(np.sort(rng.integers(0, 20, 60)), np.sort(rng.integers(0, 20, 60)))


def duplicated_rows(rng: np.random.Generator) -> MembershipSample:
    """A pool of few distinct vectors."""
    pool = rng.normal(size=(25, 2))
    return MembershipSample(pool[rng.integers(0, 25, 50)], pool[rng.integers(0, 25, 50)])


def any_row_order(rng: np.random.Generator) -> MembershipSample:
    """Members ascending, non-members descending."""
    return MembershipSample(np.sort(rng.normal(size=60)), np.sort(rng.normal(size=60))[::-1])


def unequal(rng: np.random.Generator) -> MembershipSample:
    return MembershipSample(rng.normal(size=200), rng.normal(size=1800))


@pytest.mark.slow
@pytest.mark.parametrize(
    "draw, estimator",
    [
        (continuous, KNN()),
        (continuous, Threshold()),
        (sorted_atoms, KNN(k=15)),
        (duplicated_rows, KNN(k=9)),
        (any_row_order, KNN(k=15)),
        (unequal, KNN(k=45)),
    ],
    ids=lambda value: getattr(value, "__name__", repr(value)),
)
def test_nothing_is_found(draw: Draw, estimator):
    lower, excess, uniform = [], [], []
    for seed in range(N_SEEDS):
        rng = np.random.default_rng([seed, 77])
        estimate = optimal_membership_advantage(draw(rng), estimator=estimator, n_permutations=99, seed=seed)
        lower.append(estimate.lower_rule)
        if estimator.gives_posterior:
            excess.append(estimate.plug_in - estimate.null_plug_in_mean)
        above = np.count_nonzero(estimate.null > estimate.lower_rule + 1e-12)
        tied = np.count_nonzero(np.abs(estimate.null - estimate.lower_rule) <= 1e-12)
        uniform.append((above + rng.random() * (1 + tied)) / 100)  # ties broken at random: exactly uniform
        assert estimate.p_value >= (1 + above) / 100 - 1e-12
    for values in (lower, excess):
        if values:
            assert abs(np.mean(values)) < 4 * np.std(values) / np.sqrt(N_SEEDS)
    assert stats.kstest(uniform, "uniform").pvalue > 0.01
