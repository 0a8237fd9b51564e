from __future__ import annotations

import json
from itertools import permutations

import numpy as np
import pytest

from mace_jax.attacks import set_accuracy, top_n_accuracy


def slow_top(own, other):
    """Members in the top half, averaged over every order of the records that keeps the scores sorted."""
    scores, counts = [*own, *other], []
    for order in permutations(range(len(scores))):
        ranked = [scores[i] for i in order]
        if ranked == sorted(scores, reverse=True):
            counts.append(sum(i < len(own) for i in order[: len(own)]))
    return np.mean(counts)


@pytest.mark.parametrize(
    ("own", "other"), [((1, 2, 3), (0, 2, 2)), ((1, 1, 1), (1, 1, 1)), ((2, 2, 0), (2, 1, 0)), ((5, 4), (4, 4))]
)
def test_ties_count_in_proportion(own, other):
    found = set_accuracy(own, other, size=len(own), n_sets=1, seed=0)
    expected = slow_top(own, other)
    assert found.single == pytest.approx(expected / len(own))
    assert found.value == 0.5 + 0.5 * np.sign(expected - len(own) / 2)


@pytest.mark.parametrize("rule", ["majority", "sum"])
@pytest.mark.parametrize("levels", [None, 4, 1])
@pytest.mark.parametrize("size", [5, 6])
def test_scores_without_information_reach_one_half(rng, rule, levels, size):
    values = rng.normal(size=4000) if levels is None else rng.integers(levels, size=4000)
    found = set_accuracy(values[:2000], values[2000:], size=size, rule=rule, n_sets=3000, seed=1)
    assert abs(found.value - 0.5) <= 0.04  # four times 0.5 / sqrt(3000), and the spread of the records themselves
    assert abs(found.single - 0.5) <= 0.03
    swapped = set_accuracy(values[2000:], values[:2000], size=2000, rule=rule, n_sets=1, seed=1)
    assert (
        swapped.value == 1.0 - set_accuracy(values[:2000], values[2000:], size=2000, rule=rule, n_sets=1, seed=1).value
    )


def test_the_whole_sets_give_the_top_n_rule(rng):
    members, nonmembers = rng.normal(0.5, 1.0, 300), rng.normal(size=300)
    found = set_accuracy(members, nonmembers, size=300, n_sets=3, seed=0)
    assert found.single == top_n_accuracy(members, nonmembers, n_resamples=1, seed=0).value
    assert found.value == 1.0 and found.standard_error == 0.0


def test_sets_find_what_single_records_hide(rng):
    members, nonmembers = rng.normal(0.3, 1.0, 5000), rng.normal(size=5000)
    found = set_accuracy(members, nonmembers, size=100, rule="sum", n_sets=400, seed=2)
    assert abs(found.value - 0.983) < 0.03  # P(N(0.3, 1/50) > 0)
    assert 0.5 < found.single < 0.6


def test_the_two_rules_differ_where_one_score_outweighs_all(rng):
    members, nonmembers = np.arange(5.0, 15.0), np.append(np.arange(0.5, 9.0), 1e6)
    assert set_accuracy(members, nonmembers, size=9, rule="majority", n_sets=50, seed=0).value > 0.9
    assert set_accuracy(members, nonmembers, size=9, rule="sum", n_sets=50, seed=0).value < 0.2


def test_sets_are_paired_by_the_seed_and_results_are_plain(rng):
    members, nonmembers = rng.normal(size=50), rng.normal(size=60)
    first, again = (set_accuracy(members + shift, nonmembers + shift, size=9, seed=5) for shift in (0, 1))
    assert (first.outcomes == again.outcomes).all()
    assert json.loads(json.dumps(first.to_dict()))["chance"] == 0.5


@pytest.mark.parametrize("options", [{"size": 4}, {"size": 0}, {"rule": "mean"}, {"n_sets": 0}])
def test_bad_input_is_named(options):
    with pytest.raises(ValueError, match=f"{next(iter(options))}="):
        set_accuracy([1.0, 2.0, 3.0], [1.0, 2.0, 3.0, 4.0], **{"size": 2, "seed": 0, **options})
