"""Several queries: Holm, simultaneous bounds, p-values."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mace_jax.certificates import epsilon_from_counts, epsilon_over_queries, epsilon_p_value, holm
from tests._support import rest_slow


@given(p_values=st.lists(st.floats(0.0, 1.0), min_size=1, max_size=8), error=st.floats(0.001, 0.5))
def test_holm_is_the_step_down_test(p_values, error):
    p_values = np.array(p_values)
    rejected = np.zeros(len(p_values), bool)
    for step, place in enumerate(np.argsort(p_values, kind="stable")):
        if p_values[place] * (len(p_values) - step) > error:
            break
        rejected[place] = True
    assert ((holm(p_values) <= error) == rejected).all()
    assert (holm(p_values) <= np.minimum(1, len(p_values) * p_values)).all()


@given(
    hits=st.integers(0, 40), alarms=st.integers(0, 50), epsilon=st.floats(0.0, 3.0), delta=st.sampled_from([0.0, 0.05])
)
def test_p_value_is_the_level_at_which_the_bound_reaches(hits, alarms, epsilon, delta):
    p_value = epsilon_p_value(hits, 40, alarms, 50, epsilon, delta=delta)
    assert 0.0 < p_value <= 1.0
    if 1e-12 < p_value < 0.999:
        low, high = (
            epsilon_from_counts(hits, 40, alarms, 50, delta=delta, confidence_level=1 - p_value * factor)
            for factor in (1 - 1e-4, 1 + 1e-4)
        )
        assert low <= epsilon + 1e-9 and high >= epsilon - 1e-9


def test_p_values_far_in_the_tail():
    assert epsilon_p_value(10_000, 10_000, 0, 10_000, 0.0) == pytest.approx(1e-12)
    assert 2e-12 < epsilon_p_value(1000, 1000, 10, 1000, 3.8) < 1e-3
    assert epsilon_p_value(0, 10, 0, 10, 0.0) == 1.0


def test_p_values_are_valid():
    """Exactly: P(p <= level) <= level for randomized response at its own epsilon."""
    n, epsilon = 25, 0.7
    kept = math.exp(epsilon) / (1 + math.exp(epsilon))
    hits, alarms = (stats.binom.pmf(np.arange(n + 1), n, rate) for rate in (kept, 1 - kept))
    p_values = np.array([[epsilon_p_value(x, n, y, n, epsilon + 1e-12) for y in range(n + 1)] for x in range(n + 1)])
    for level in (0.01, 0.05, 0.2, 0.5):
        assert (np.outer(hits, alarms) * (p_values <= level)).sum() <= level


def test_bonferroni_is_the_bound_at_a_share_of_the_level():
    counts = [(90, 100, 10, 100), (55, 100, 50, 100), (300, 400, 100, 400)]
    found = epsilon_over_queries(counts, delta=0.01)
    expected = [epsilon_from_counts(*entry, delta=0.01, confidence_level=1 - 0.05 / 3) for entry in counts]
    assert found.bounds == pytest.approx(expected, abs=1e-9) and found.epsilon == max(found.bounds)
    assert found.exceeds == tuple(bound > 0 for bound in expected) == tuple(p <= 0.05 for p in found.p_values)
    json.dumps(found.to_dict())


def test_holm_shows_more_queries():
    counts = [(400, 500, 50, 500), (290, 500, 240, 500), (245, 500, 250, 500)]
    bonferroni = epsilon_over_queries(counts, above=0.0)
    step_down = epsilon_over_queries(counts, correction="holm")
    assert sum(step_down.exceeds) >= sum(bonferroni.exceeds)
    assert step_down.bounds[0] == 0.0 and step_down.exceeds[0] and not step_down.exceeds[2]
    all_leak = epsilon_over_queries(counts[:1] * 2, correction="holm", above=1.0)
    assert all(all_leak.exceeds) and all_leak.bounds == epsilon_over_queries(counts[:1] * 2).bounds
    just = [(400, 500, 50, 500), (310, 500, 235, 500)]
    some = epsilon_over_queries(just, correction="holm", above=0.02)
    assert min(some.bounds) >= 0.02 or not all(some.exceeds)


@pytest.mark.parametrize("correction", rest_slow(["bonferroni", "holm"], "holm".__eq__))
def test_all_statements_hold_together(correction):
    """Queries with epsilon 0, 0.3 and 1 on the same records: no bound and no claim may be wrong."""
    rng = np.random.default_rng(0)
    n, truths, wrong, above = 300, np.array([0.0, 0.3, 1.0]), 0, 0.3
    kept = np.exp(truths) / (1 + np.exp(truths))
    for _ in range(200):
        shared_in, shared_out = rng.random((2, n, 1))
        hits, alarms = (shared_in < kept).sum(0), (shared_out < 1 - kept).sum(0)
        found = epsilon_over_queries(
            [(int(a), n, int(b), n) for a, b in zip(hits, alarms, strict=True)], correction=correction, above=above
        )
        wrong += bool((np.array(found.bounds) > truths).any() or (np.array(found.exceeds) & (truths <= above)).any())
    assert wrong / 200 <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 200)


def test_bad_arguments():
    with pytest.raises(ValueError, match="at least one p-value"):
        holm([])
    with pytest.raises(ValueError, match=r"must lie in \[0, 1\]"):
        holm([0.5, float("nan")])
    with pytest.raises(ValueError, match="of at least one query"):
        epsilon_over_queries([])
    with pytest.raises(ValueError, match="of at least one query"):
        epsilon_over_queries([(1, 2, 3)])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="correction='bh'"):
        epsilon_over_queries([(1, 2, 1, 2)], correction="bh")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="true_positives=3 exceeds"):
        epsilon_over_queries([(3, 2, 1, 2)])
    with pytest.raises(ValueError, match="epsilon=-1"):
        epsilon_p_value(1, 2, 1, 2, -1)
    with pytest.raises(TypeError, match="true_positives must be an integer"):
        epsilon_p_value(1.5, 2, 1, 2, 1.0)  # type: ignore[arg-type]
