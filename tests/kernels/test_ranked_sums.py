"""Weighted pair wins and hits at given FPRs against every pair and every threshold."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from mace_jax_kernels._weights import in_order, weight_parts
from mace_jax_kernels.ranked_sums import cases, plan_ranks, ranked_sums
from mace_jax_kernels.ranked_sums.api import _on_cpu
from tests._support import rest_slow

KEYS = np.uint32([7, 1]), np.uint32([7, 2])
RATES = (0.01, 0.1, 0.3)


def test_the_reference_counts_by_hand():
    members, nonmembers = np.float64([3, 2, 1]), np.float64([2, 0])
    from mace_jax_kernels.ranked_sums import reference

    wins, hits, n, m = reference.ranked_sums(members, nonmembers, [[1, 2, 0]], [[1, 3]], (0.2, 0.25, 0.99))
    assert (wins[0], n[0], m[0]) == (1 * (1 + 3) + 2 * (0.5 + 3), 3, 4)
    assert hits[0].tolist() == [1, 3, 3]  # above 2; down to 2, where a quarter of the non-members is; down to 1


RUNS = [(name, kind) for name in sorted(cases.CASES) for kind in ("poisson", "double_or_nothing")]
QUICK = {(name, "poisson") for name in ("single", "tied", "unequal", "all_equal", "separated")}


@pytest.mark.parametrize(("name", "kind"), rest_slow(RUNS, {*QUICK, ("tied", "double_or_nothing")}.__contains__))
def test_whole_weights_are_summed_exactly(name, kind):
    members, nonmembers = cases.make(name)
    found = ranked_sums(members, nonmembers, RATES, *KEYS, 150, kind=kind)
    expected = ranked_sums(members, nonmembers, RATES, *KEYS, 150, kind=kind, implementation="reference")
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("name", rest_slow(["one_tile", "tied", "unequal", "separated"], "tied".__eq__))
def test_exponential_weights_are_summed_to_rounding(name):
    members, nonmembers = cases.make(name)
    found = ranked_sums(members, nonmembers, RATES, *KEYS, 150, kind="bayesian")
    expected = ranked_sums(members, nonmembers, RATES, *KEYS, 150, kind="bayesian", implementation="reference")
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def test_larger_groups_over_many_tiles(rng):
    members, nonmembers = rng.normal(1, 1, 700).round(2), rng.normal(0, 1, 1500).round(2)
    found = ranked_sums(members, nonmembers, RATES, *KEYS, 150)
    expected = ranked_sums(members, nonmembers, RATES, *KEYS, 150, implementation="reference")
    np.testing.assert_allclose(found.wins, expected.wins, rtol=2.0**-23)
    np.testing.assert_array_equal(found.hits, expected.hits)


def test_replicates_do_not_depend_on_how_many_are_asked_for(rng):
    members, nonmembers = rng.normal(1, 1, 90), rng.normal(0, 1, 200)
    all_of_them = ranked_sums(members, nonmembers, RATES, *KEYS, 250)
    few = ranked_sums(members, nonmembers, RATES, *KEYS, 140)
    later = ranked_sums(members, nonmembers, RATES, *KEYS, 122, first_block=2)
    for every, first, rest in zip(all_of_them, few, later, strict=True):
        np.testing.assert_array_equal(every[:140], first)
        np.testing.assert_array_equal(every[128:], rest)


def test_a_weight_belongs_to_its_row(rng):
    """Renaming rows, or sorting them beforehand, moves the weights along."""
    members, nonmembers = rng.normal(1, 1, 90).round(1), rng.normal(0, 1, 200).round(1)
    expected = ranked_sums(members, nonmembers, RATES, *KEYS, 150)
    order, other = rng.permutation(90), rng.permutation(200)
    found = ranked_sums(members[order], nonmembers[other], RATES, *KEYS, 150, member_ids=order, nonmember_ids=other)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_rows_of_one_id_share_a_weight(rng):
    members, nonmembers = rng.normal(1, 1, 60), rng.normal(0, 1, 60)
    owner = np.arange(60) // 3
    found = ranked_sums(members, nonmembers, RATES, *KEYS, 150, member_ids=owner)
    weights = np.asarray(
        in_order(weight_parts(jnp.asarray(KEYS[0]), 0, 3, jnp.arange(20, dtype=jnp.uint32), "poisson"), 3)
    )
    np.testing.assert_array_equal(found.member_weight, 3 * weights.sum(axis=1)[:150])


def test_a_rate_that_the_weights_meet_exactly_is_kept():
    """7 of 70 at 10 %: 0.1 * 70 is 7.000000000000001 in float64 and 0.1 is above a tenth in float32."""
    for m in (10, 30, 70, 110, 120, 1000):
        nonmembers = np.arange(m, dtype=float)
        members = nonmembers + 0.5
        ids = np.zeros(m, int)  # one weight for all: the empirical FPRs are those of the sample
        found = ranked_sums(members, nonmembers, (0.1, 0.3, 0.5), *KEYS, 150, nonmember_ids=ids)
        alone = ranked_sums(members, nonmembers, (0.1, 0.3, 0.5), *KEYS, 150, member_ids=ids, nonmember_ids=ids)
        weight = np.asarray(alone.member_weight) / m
        drawn = np.asarray(found.nonmember_weight) > 0
        # k of m non-members lie above the threshold, and the k + 1 members down to just above the next of them
        for place, k in enumerate((m // 10, 3 * m // 10)):
            np.testing.assert_array_equal(np.asarray(alone.hits)[drawn, place], (k + 1) * weight[drawn])


def test_sizes_in_one_bucket_share_code(rng):
    def run(n, m):
        return ranked_sums(rng.normal(size=n), rng.normal(size=m), RATES, *KEYS, 150)

    run(100, 150)
    before = _on_cpu._cache_size()
    for n, m in [(120, 136), (200, 10), (65, 130)]:
        run(n, m)
    assert _on_cpu._cache_size() == before


def test_the_plan_sorts_members_first_among_equals():
    plan = plan_ranks(np.float64([1, 2]), np.float64([2, 3, 1]), np.arange(2), np.arange(3))
    assert plan.ids[0, :5].tolist() == [1, 1, 0, 0, 2]
    assert plan.member[0, :6].tolist() == [False, True, False, True, False, False]
    assert plan.level[0, :5].tolist() == [0, 1, 1, 2, 2]
    assert plan.last[0, :6].tolist() == [True, False, True, False, True, False]


def test_bad_arguments():
    scores = np.zeros(3)
    with pytest.raises(ValueError, match="members has shape"):
        ranked_sums(np.zeros((3, 2)), scores, RATES, *KEYS, 150)
    with pytest.raises(ValueError, match="nonmembers has shape"):
        ranked_sums(scores, scores[:0], RATES, *KEYS, 150)
    with pytest.raises(ValueError, match="n_replicates=0"):
        ranked_sums(scores, scores, RATES, *KEYS, 0)
    with pytest.raises(NotImplementedError, match="implementation='cuda' does not exist"):
        ranked_sums(scores, scores, RATES, *KEYS, 150, implementation="cuda")
    with pytest.raises(NotImplementedError, match="cannot be drawn by row"):
        ranked_sums(scores, scores, RATES, *KEYS, 150, kind="multinomial")  # type: ignore[arg-type]
