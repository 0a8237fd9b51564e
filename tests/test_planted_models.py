"""Models whose leak is known: one that repeats a share of its training records, and one that never saw them.

Copies of a member, with noise far below the distances between records, put its nearest synthetic record next to it. A
member that is not copied is exchangeable with the non-members. So the total variation distance between the nearest
distances of members and non-members is the share of members that are copied, up to the chance that a non-member lies
within the noise of a synthetic record, which is below 1e-9 for the normal law here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

import mace_jax as mj
from mace_jax.data import split_records
from mace_jax.datasets import load
from mace_jax.queries import NearestSynthetic

D, N, N_SYNTHETIC = 8, 400, 1_200
NOISE = 1e-3
DRAWS = 1_000_000  # added to a seed, so that no model draws what the members were drawn with
Law = Callable[[np.random.Generator, int], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Memorizer:
    """Repeats ``copied`` in turn, with a little noise, for ``share`` of what it draws; the rest comes from ``law``."""

    copied: np.ndarray
    law: Law
    share: float = 1.0

    def sample(self, n: int, *, seed: int) -> np.ndarray:
        random = np.random.default_rng(DRAWS + seed)
        copies = np.resize(self.copied, (round(self.share * n), self.copied.shape[1]))
        copies = copies + random.normal(scale=NOISE, size=copies.shape)
        return random.permutation(np.concatenate([copies, self.law(random, n - len(copies))]))


@dataclasses.dataclass(frozen=True)
class Fresh:
    """Draws from the population alone."""

    law: Law

    def sample(self, n: int, *, seed: int) -> np.ndarray:
        return self.law(np.random.default_rng(DRAWS + seed), n)


def normal(random: np.random.Generator, n: int) -> np.ndarray:
    return random.normal(size=(n, D))


def advantage(model, members: np.ndarray, nonmembers: np.ndarray, *, seed: int, n_permutations: int = 199):
    """The advantage that the nearest synthetic distance gives, and its 95% interval for the optimum."""
    query = NearestSynthetic(model.sample(N_SYNTHETIC, seed=seed))
    sample = mj.MembershipSample(query(members, seed=seed), query(nonmembers, seed=seed))
    estimate = mj.optimal_membership_advantage(sample, n_permutations=n_permutations, seed=seed)
    return estimate, mj.bootstrap(estimate, n_resamples=2_000, seed=seed)


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Members, nonmembers and the remaining digits."""
    records = load("digits").records
    parts = split_records(len(records), (N, N, len(records) - 2 * N), seed=5)
    members, nonmembers, rest = (records[rows] for rows in parts)
    return members, nonmembers, rest


def resampled(records: np.ndarray) -> Law:
    return lambda random, n: records[random.integers(len(records), size=n)]


def test_copies_of_digits_give_the_members_away(digits) -> None:
    members, nonmembers, rest = digits
    estimate, interval = advantage(Memorizer(members, resampled(rest)), members, nonmembers, seed=0)
    assert estimate.advantage > 0.95 and estimate.p_value == 1 / 200
    assert interval.low > 0.95


def test_fresh_digits_give_nothing_away(digits) -> None:
    members, nonmembers, rest = digits
    estimate, interval = advantage(Fresh(resampled(rest)), members, nonmembers, seed=0)
    assert interval.low == 0.0 <= interval.high < 0.25
    assert abs(estimate.lower_rule) < 0.15 and estimate.p_value > 0.05


@pytest.mark.parametrize("share", [0.25, 0.5])
def test_the_share_of_copied_normal_records_is_found(share: float) -> None:
    random = np.random.default_rng(int(100 * share))
    members, nonmembers = normal(random, N), normal(random, N)
    model = Memorizer(members[: round(share * N)], normal, share=0.5)
    estimate, interval = advantage(model, members, nonmembers, seed=1)
    assert 0.0 < interval.low <= share <= interval.high < share + 0.2
    assert abs(estimate.advantage - share) < 0.1 and estimate.p_value == 1 / 200


def test_copies_of_all_normal_records_give_the_members_away() -> None:
    random = np.random.default_rng(2)
    members, nonmembers = normal(random, N), normal(random, N)
    estimate, interval = advantage(Memorizer(members, normal), members, nonmembers, seed=1)
    assert estimate.advantage > 0.95 and interval.low > 0.95


@pytest.mark.parametrize("seed", [0, 1])
def test_fresh_normal_records_give_nothing_away(seed: int) -> None:
    random = np.random.default_rng(seed)
    members, nonmembers = normal(random, N), normal(random, N)
    estimate, interval = advantage(Fresh(normal), members, nonmembers, seed=seed)
    assert interval.low == 0.0 <= interval.high < 0.25
    assert abs(estimate.lower_rule) < 0.15 and estimate.p_value > 0.05


@pytest.mark.slow
def test_intervals_of_fresh_models_cover_zero_as_often_as_they_say() -> None:
    misses = 0
    for seed in range(120):
        random = np.random.default_rng(seed)
        members, nonmembers = normal(random, N), normal(random, N)
        _, interval = advantage(Fresh(normal), members, nonmembers, seed=seed)
        misses += interval.low > 0.0
    assert misses <= 9  # more than 9 of 120 has probability .002 at the 2.5 percent a lower limit may fail


@pytest.mark.slow
def test_a_whole_audit_tells_the_two_apart() -> None:
    random = np.random.default_rng(3)
    members, nonmembers = normal(random, N), normal(random, N)
    planted = {True: Memorizer(members, normal), False: Fresh(normal)}
    for leaks, model in planted.items():
        report = mj.audit(
            members, nonmembers, model=model, n_synthetic=N_SYNTHETIC, n_resamples=500, n_permutations=199
        )
        nearest = next(query for query in report.queries if query.name == "nearest synthetic distance")
        assert report.leak_detected is leaks
        assert (nearest.advantage.low > 0.95) is leaks
        assert (report.certificate.epsilon > 2.0) is leaks
        if not leaks:
            assert report.certificate.epsilon == 0.0 and nearest.advantage.low == 0.0
