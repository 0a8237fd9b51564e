"""Caps under (epsilon, delta)-DP and their inverses: closed forms, round trips, mechanisms that attain them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mace_jax.certificates import (
    auc_from_epsilon,
    epsilon_from_auc,
    epsilon_from_metric,
    epsilon_from_rates,
    gdp_delta,
    metric_from_epsilon,
    posterior_cap,
    tpr_cap,
)
from mace_jax.metrics import accuracy, balanced_accuracy, f_beta, jaccard, precision

EPSILONS, DELTAS, PRIORS = st.floats(0.0, 12.0), st.just(0.0) | st.floats(1e-9, 0.4), st.floats(0.02, 0.98)
METRICS = (accuracy, balanced_accuracy, jaccard, f_beta(1.0), f_beta(2.0), precision(min_recall=0.5))


@pytest.mark.parametrize(
    "epsilon, advantage, half, tpr", [(1.0, 0.462117, 0.731059, 0.002718), (4.0, 0.964028, 0.982014, 0.054598)]
)
def test_worked_pure_caps(epsilon, advantage, half, tpr):
    assert 2 * metric_from_epsilon(epsilon) - 1 == pytest.approx(advantage, abs=6e-7)
    assert metric_from_epsilon(epsilon, metric=accuracy) == pytest.approx(half, abs=6e-7)
    assert auc_from_epsilon(epsilon) == pytest.approx(half, abs=6e-7)
    assert tpr_cap(epsilon, 0.001) == pytest.approx(tpr, abs=6e-7)
    assert metric_from_epsilon(0.1, metric=accuracy) == pytest.approx(0.524979, abs=6e-7)


@given(epsilon=EPSILONS, delta=DELTAS, prior=PRIORS)
def test_closed_forms(epsilon, delta, prior):
    """Every cap written out at the vertex ((1 - delta) / (E + 1), (E + delta) / (E + 1)) or at a constant guess."""
    e, p, d = math.exp(epsilon), prior, delta
    closed = {
        "accuracy": d + (1 - d) * max(p, 1 - p, e / (1 + e)),
        "balanced_accuracy": (1 + (e - 1 + 2 * d) / (e + 1)) / 2,
    }
    if d == 0.0:
        closed["f_1"] = max(2 * p / (1 + p), 2 * p * e / (1 + 2 * p * e))
    value = {metric.name: metric_from_epsilon(epsilon, delta=d, metric=metric, prior=p) for metric in METRICS}
    for name, cap in closed.items():
        assert value[name] == pytest.approx(cap, abs=1e-12)
    assert value["f_1"] >= 2 * p * (e + d) / (2 * p * (e + d) + 1 - d) - 1e-12
    assert value["jaccard"] >= p * (e + d) / (p * (e + 1) + (1 - p) * (1 - d)) - 1e-12
    r = 0.5
    smallest = max(0.0, (r - d) / e, 1 - d - e * (1 - r))
    by_recall = p * r / (p * r + (1 - p) * smallest)
    assert value["precision_at_recall_0.5"] >= by_recall - 1e-12


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
@given(epsilon=EPSILONS, delta=DELTAS, prior=PRIORS)
def test_round_trips_of_metrics(metric, epsilon, delta, prior):
    cap = metric_from_epsilon(epsilon, delta=delta, metric=metric, prior=prior)
    back = epsilon_from_metric(cap, delta=delta, metric=metric, prior=prior)
    assert back <= epsilon + 1e-5
    assert metric_from_epsilon(back, delta=delta, metric=metric, prior=prior) == pytest.approx(cap, abs=1e-9)


@given(epsilon=EPSILONS, delta=DELTAS, prior=PRIORS)
def test_inverses_in_closed_form(epsilon, delta, prior):
    e, p, d = math.exp(epsilon), prior, delta
    assert epsilon_from_auc(auc_from_epsilon(epsilon, delta=d), delta=d) == pytest.approx(epsilon, abs=1e-7)
    acc = metric_from_epsilon(epsilon, delta=d, metric=accuracy, prior=p)
    if acc > max(p, 1 - p) + d * min(p, 1 - p) + 1e-9 and acc < 1 - 1e-9:
        back = epsilon_from_metric(acc, delta=d, metric=accuracy, prior=p)
        assert back == pytest.approx(math.log((acc - d) / (1 - acc)), abs=1e-6)
    pure = metric_from_epsilon(epsilon, metric=jaccard, prior=p)
    if p + 1e-9 < pure < 1 - 1e-9:
        assert epsilon_from_metric(pure, metric=jaccard, prior=p) == pytest.approx(
            math.log(pure / (p * (1 - pure))), abs=1e-6
        )
    assert posterior_cap(epsilon, prior=p) == pytest.approx(p * e / (1 - p + p * e), rel=1e-12)


@given(epsilon=EPSILONS, delta=DELTAS, fpr=st.floats(1e-6, 1 - 1e-6))
def test_tpr_cap_is_the_edge_of_the_region(epsilon, delta, fpr):
    e = math.exp(epsilon)
    cap = tpr_cap(epsilon, fpr, delta=delta)
    assert cap == pytest.approx(min(1.0, e * fpr + delta, 1 - (1 - delta - fpr) / e), rel=1e-10)
    if cap < 1.0:
        assert epsilon_from_rates(cap, fpr, delta=delta) == pytest.approx(epsilon, abs=1e-6)
    assert epsilon_from_rates(0.9 * cap, fpr, delta=delta) <= epsilon + 1e-9


def test_auc_cap_is_the_area_below_the_tpr_cap():
    grid = np.linspace(0, 1, 200_001)
    for epsilon, delta in ((0.0, 0.0), (1.0, 0.0), (0.7, 0.1), (3.0, 0.01)):
        tpr = tpr_cap(epsilon, grid, delta=delta)
        assert auc_from_epsilon(epsilon, delta=delta) == pytest.approx(np.trapezoid(tpr, grid), abs=1e-6)


@pytest.mark.parametrize("mu", [0.5, 1.0, 2.0, 4.0])
def test_gaussian_mechanisms_stay_below_every_cap(mu):
    """AUC Phi(mu / sqrt 2), advantage 2 Phi(mu / 2) - 1 and the ROC of two normals, at every point of their curve."""
    worked = {
        0.5: (0.638163, 0.004796),
        1.0: (0.760250, 0.018298),
        2.0: (0.921350, 0.137805),
        4.0: (0.997661, 0.818527),
    }
    auc = stats.norm.cdf(mu / math.sqrt(2))
    low_fpr = stats.norm.cdf(stats.norm.ppf(0.001) + mu)
    assert (auc, low_fpr) == pytest.approx(worked[mu], abs=6e-7)
    grid = np.linspace(0, 1, 501)
    for epsilon in (0.0, 0.5, 2.0, 6.0):
        delta = float(gdp_delta(mu, epsilon))
        assert auc <= auc_from_epsilon(epsilon, delta=delta) + 1e-12
        assert (stats.norm.cdf(stats.norm.ppf(grid) + mu) <= tpr_cap(epsilon, grid, delta=delta) + 1e-9).all()
        assert stats.norm.cdf(mu / 2) <= metric_from_epsilon(epsilon, delta=delta) + 1e-12


def test_extremes():
    assert epsilon_from_auc(1.0) == np.inf == epsilon_from_metric(1.0)
    assert epsilon_from_auc(0.3) == 0.0 == epsilon_from_metric(0.3)
    assert auc_from_epsilon(1e6) == 1.0 == tpr_cap(1e6, 0.1) == posterior_cap(1e6)
    assert tpr_cap(1e6, 0.0) == 0.0 and tpr_cap(2.0, 0.0, delta=0.1) == 0.1


def test_bad_arguments():
    for call, message in (
        (lambda: epsilon_from_metric(1.5), "value=1.5 must be at most 1"),
        (lambda: epsilon_from_metric(float("nan")), "value=nan"),
        (lambda: epsilon_from_auc(-0.1), "auc=-0.1"),
        (lambda: auc_from_epsilon(-1.0), "epsilon=-1.0"),
        (lambda: tpr_cap(1.0, 1.5), "false_positive_rate=1.5"),
        (lambda: tpr_cap(1.0, float("nan")), "false_positive_rate=nan"),
        (lambda: posterior_cap(1.0, prior=0.0), "prior=0.0"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
