"""Epsilon from counts, rates and metrics: worked values, inverses, and the reachable region."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mace_jax._binomial import clopper_pearson_lower, clopper_pearson_upper
from mace_jax.certificates import advantage_from_epsilon, epsilon_from_advantage, epsilon_from_counts
from mace_jax.certificates._epsilon import epsilon_from_rates
from mace_jax.metrics import accuracy, balanced_accuracy, cost, f_beta, jaccard, precision

METRICS = (accuracy, balanced_accuracy, jaccard, f_beta(1.0), f_beta(0.5), cost(1.0, 2.0))


@pytest.mark.parametrize(
    "counts, level, delta, expected",
    [
        ((500, 500, 0, 500), 0.99, 0.0, 4.541915810),
        ((500, 500, 0, 500), 0.95, 0.0, 4.905594),
        ((500, 500, 0, 500), 0.95, 1e-5, 4.905584),
        ((100, 100, 0, 100), 0.95, 0.0, 3.281346),
        ((1000, 1000, 0, 1000), 0.95, 0.0, 5.600588),
        ((900, 1000, 600, 1200), 0.95, 0.0, 1.365656),  # the complementary inequality decides
    ],
)
def test_worked_counts(counts, level, delta, expected):
    assert epsilon_from_counts(*counts, delta=delta, confidence_level=level) == pytest.approx(expected, abs=1e-6)


def test_a_group_shares_the_bound():
    assert epsilon_from_counts(500, 500, 0, 500, confidence_level=0.99, group_size=2) == pytest.approx(2.270957905)


def test_first_log_alone_would_say_less():
    low, high = clopper_pearson_lower(900, 1000, 0.025), clopper_pearson_upper(600, 1200, 0.025)
    assert np.log(low / high) == pytest.approx(0.509217, abs=1e-6)


def test_limits_are_exact_binomial_tails():
    for hits, total in ((0, 7), (3, 7), (7, 7), (40, 1000)):
        low, high = float(clopper_pearson_lower(hits, total, 0.05)), float(clopper_pearson_upper(hits, total, 0.05))
        assert low == 0.0 if hits == 0 else stats.binom.sf(hits - 1, total, low) == pytest.approx(0.05)
        assert high == 1.0 if hits == total else stats.binom.cdf(hits, total, high) == pytest.approx(0.05)


@pytest.mark.parametrize("epsilon, advantage", [(0.1, 0.049958), (1.0, 0.462117), (4.0, 0.964028)])
def test_pure_caps(epsilon, advantage):
    assert advantage_from_epsilon(epsilon) == pytest.approx(advantage, abs=1e-6)
    assert accuracy.normalize(0.731059, prior=0.5) == pytest.approx(
        advantage_from_epsilon(1.0, metric=accuracy), abs=2e-6
    )


@pytest.mark.parametrize("advantage, epsilon", [(0.1, 0.2007), (0.4, 0.847), (0.8, 2.197)])
def test_epsilon_of_an_advantage(advantage, epsilon):
    assert epsilon_from_advantage(advantage) == pytest.approx(epsilon, abs=5e-4)


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
@given(
    epsilon=st.floats(0.0, 8.0), delta=st.sampled_from([0.0, 1e-6, 1e-3, 0.05]), prior=st.sampled_from([0.5, 0.1, 0.8])
)
def test_cap_and_inverse(metric, epsilon, delta, prior):
    cap = advantage_from_epsilon(epsilon, delta=delta, metric=metric, prior=prior)
    back = epsilon_from_advantage(cap, delta=delta, metric=metric, prior=prior)
    assert back <= epsilon + 1e-6
    assert advantage_from_epsilon(back, delta=delta, metric=metric, prior=prior) == pytest.approx(cap, abs=1e-9)


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
@pytest.mark.parametrize("delta", [0.0, 0.01])
def test_cap_is_the_largest_over_the_reachable_region(metric, delta):
    epsilon, grid = 1.3, np.linspace(0, 1, 801)
    fpr, tpr = np.meshgrid(grid, grid)
    allowed = epsilon_from_rates(np.clip(tpr, 1e-12, 1 - 1e-12), np.clip(fpr, 1e-12, 1 - 1e-12), delta=delta) <= epsilon
    best = metric.normalize(metric.value(tpr, fpr, prior=0.3)[allowed].max(), prior=0.3)
    cap = advantage_from_epsilon(epsilon, delta=delta, metric=metric, prior=0.3)
    assert best <= cap + 1e-9 and best == pytest.approx(cap, abs=0.01)


def test_accuracy_at_a_low_prior_certifies_nothing_below_its_odds():
    assert advantage_from_epsilon(2.19, metric=accuracy, prior=0.1) == pytest.approx(0.0, abs=1e-12)
    assert advantage_from_epsilon(2.3, metric=accuracy, prior=0.1) > 0


def test_extremes():
    assert epsilon_from_advantage(1.0) == np.inf
    assert epsilon_from_advantage(-0.2) == 0.0
    assert advantage_from_epsilon(5000.0) == 1.0
    assert advantage_from_epsilon(5000.0, metric=precision, prior=0.2) == pytest.approx(1.0)
    assert epsilon_from_rates(0.5, 0.5) == 0.0
    assert epsilon_from_rates(0.5, 0.0) == np.inf
    assert epsilon_from_rates(0.01, 0.0, delta=0.05) == pytest.approx(max(0.0, np.log(0.95 / 0.99)))


def test_bad_arguments():
    with pytest.raises(ValueError, match="true_positives=11 exceeds its total 10"):
        epsilon_from_counts(11, 10, 0, 10)
    with pytest.raises(ValueError, match="false_positives=-1 must be at least 0"):
        epsilon_from_counts(1, 10, -1, 10)
    with pytest.raises(ValueError, match="n_members=0 must be at least 1"):
        epsilon_from_counts(0, 0, 0, 10)
    with pytest.raises(TypeError, match="true_positives must be an integer"):
        epsilon_from_counts(0.5, 10, 0, 10)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="delta=1.0 must be a probability"):
        epsilon_from_counts(1, 10, 0, 10, delta=1.0)
    with pytest.raises(ValueError, match="method='wald' is not known"):
        epsilon_from_counts(1, 10, 0, 10, method="wald")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="group_size=2 with delta=0.1"):
        epsilon_from_counts(1, 10, 0, 10, delta=0.1, group_size=2)
    with pytest.raises(ValueError, match="group_size=0 must be at least 1"):
        epsilon_from_counts(1, 10, 0, 10, group_size=0)
    with pytest.raises(ValueError, match="advantage=1.2 must be at most 1"):
        epsilon_from_advantage(1.2)
    with pytest.raises(ValueError, match="epsilon=-1.0"):
        advantage_from_epsilon(-1.0)


@pytest.mark.parametrize("delta", [0.0, 0.05, 0.3])
@pytest.mark.parametrize("epsilon", [0.0, 0.3, 1.0, 3.0])
@pytest.mark.parametrize("recall", [0.02, 0.1, 0.6])
def test_no_reachable_rule_of_enough_recall_beats_the_cap(delta, epsilon, recall):
    metric, prior = precision(min_recall=recall), 0.2
    cap = advantage_from_epsilon(epsilon, delta=delta, metric=metric, prior=prior)
    tpr = np.linspace(recall, 1.0, 2001)
    bound = np.exp(epsilon)
    fpr = np.maximum(0.0, np.maximum((tpr - delta) / bound, 1.0 - delta - bound * (1.0 - tpr)))
    reached = metric.normalize(metric.value(tpr, fpr, prior=prior), prior=prior)
    assert reached.max() == pytest.approx(cap, abs=1e-12)
    if 0.0 < cap < 1.0:
        assert epsilon_from_advantage(cap, delta=delta, metric=metric, prior=prior) <= epsilon + 1e-9
