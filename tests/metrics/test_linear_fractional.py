"""The metric family: values, trivial guesses, the optimum against exhaustive search."""

from __future__ import annotations

import itertools

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from mace_jax.metrics import LinearFractional, accuracy, balanced_accuracy, cost, f_beta, jaccard, precision
from mace_jax.metrics._linear_fractional import named_metric

METRICS = (accuracy, balanced_accuracy, jaccard, f_beta(1.0), f_beta(2.0), cost(1.0, 3.0), precision)


@pytest.mark.parametrize("prior", [0.5, 0.1])
def test_values_by_hand(prior):
    tpr, fpr = 0.8, 0.3
    tp, fp = prior * tpr, (1 - prior) * fpr
    fn, tn = prior - tp, 1 - prior - fp
    assert accuracy.value(tpr, fpr, prior=prior) == pytest.approx(tp + tn)
    assert balanced_accuracy.value(tpr, fpr, prior=prior) == pytest.approx((tpr + 1 - fpr) / 2)
    assert jaccard.value(tpr, fpr, prior=prior) == pytest.approx(tp / (tp + fp + fn))
    assert f_beta(2).value(tpr, fpr, prior=prior) == pytest.approx(5 * tp / (5 * tp + fp + 4 * fn))
    assert precision.value(tpr, fpr, prior=prior) == pytest.approx(tp / (tp + fp))
    assert cost(1, 3).value(tpr, fpr, prior=prior) == pytest.approx(1 - fp - 3 * fn)


@pytest.mark.parametrize("prior", [0.5, 0.1])
def test_trivial_guesses_by_formula(prior):
    expected = {
        "accuracy": max(prior, 1 - prior),
        "balanced_accuracy": 0.5,
        "jaccard": prior,
        "f_1": 2 * prior / (1 + prior),
        "f_2": 5 * prior / (1 + 4 * prior),
        "precision": prior,
        "cost_1_3": 1 - min(3 * prior, 1 - prior),
    }
    for metric in METRICS:
        assert metric.trivial(prior=prior) == pytest.approx(expected[metric.name])
        assert metric.value(1.0, 0.0, prior=prior) == pytest.approx(1.0)
        assert metric.normalize(metric.trivial(prior=prior), prior=prior) == 0.0


@pytest.mark.parametrize("metric", METRICS[:-1], ids=lambda metric: metric.name)
def test_optimum_equals_exhaustive_search(metric, rng):
    for _ in range(40):
        inside, outside = rng.dirichlet(np.ones(6)), rng.dirichlet(np.ones(6))
        prior = rng.uniform(0.05, 0.95)
        weights = prior * inside + (1 - prior) * outside
        best = max(
            metric.value(inside[list(rule)].sum(), outside[list(rule)].sum(), prior=prior)
            for size in range(7)
            for rule in itertools.combinations(range(6), size)
        )
        assert metric.optimum(prior * inside / weights, weights, prior=prior) == pytest.approx(best, abs=1e-12)


@pytest.mark.parametrize(
    "shift, expected",
    [
        (0.25, (0.5497, 0.9, 0.6667, 0.1964)),
        (1.0, (0.6915, 0.9013, 0.7191, 0.3433)),
        (2.0, (0.8413, 0.9299, 0.8443, 0.6121)),
    ],
)
def test_optima_of_a_gaussian_shift(shift, expected):
    """Numerical optimum over thresholds of N(shift, 1) against N(0, 1)."""
    cuts = np.linspace(-8, 10, 200_001)
    tpr, fpr = stats.norm.sf(cuts - shift), stats.norm.sf(cuts)
    found = (
        accuracy.value(tpr, fpr, prior=0.5).max(),
        accuracy.value(tpr, fpr, prior=0.1).max(),
        f_beta(1).value(tpr, fpr, prior=0.5).max(),
        f_beta(1).value(tpr, fpr, prior=0.1).max(),
    )
    np.testing.assert_allclose(found, expected, atol=6e-5)


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_objective_agrees_with_the_metric(metric, rng):
    objective = metric.objective(prior=0.2)
    tpr, fpr = rng.random(20), rng.random(20)
    normalized = metric.normalize(metric.value(tpr, fpr, prior=0.2), prior=0.2)
    np.testing.assert_allclose(objective.value(jnp.asarray(tpr), jnp.asarray(fpr)), normalized, rtol=1e-5, atol=5e-6)
    labels = rng.integers(0, 2, 500)
    half = np.clip(0.5 + 0.3 * (labels - 0.5) + 0.2 * rng.normal(size=500), 0.02, 0.98).astype(np.float32)
    reached = objective.optimum(jnp.asarray(half), jnp.asarray(labels))
    decided = np.asarray(objective.decide(jnp.asarray(half), reached))
    found = metric.normalize(
        metric.value(decided[labels == 1].mean(), decided[labels == 0].mean(), prior=0.2), prior=0.2
    )
    cuts = [half >= cut for cut in np.unique(half)] + [np.zeros(500, bool)]
    by_cut = max(metric.value(rule[labels == 1].mean(), rule[labels == 0].mean(), prior=0.2) for rule in cuts)
    # a rule trusts the posterior, a search over cuts trusts the labels: no rule of this order exceeds the search
    assert found <= by_cut + 1e-6
    assert decided[labels == 1].mean() >= metric.min_recall
    assert half[decided].min(initial=1.0) > half[~decided].max(initial=0.0)


def test_names_and_bad_arguments():
    assert named_metric("jaccard") is jaccard
    assert named_metric(accuracy) is accuracy
    with pytest.raises(ValueError, match="metric='auc' is not known"):
        named_metric("auc")
    with pytest.raises(ValueError, match="prior=1.0 must lie strictly between 0 and 1"):
        accuracy.value(0.5, 0.5, prior=1.0)
    with pytest.raises(ValueError, match="beta=0"):
        f_beta(0.0)
    with pytest.raises(ValueError, match=r"both costs must lie between 1e-06 and 1e\+06"):
        cost(0.0, 1.0)
    with pytest.raises(ValueError, match="prior=1e-09 must lie between 1e-06"):
        accuracy.objective(prior=1e-9)
    assert isinstance(f_beta(), LinearFractional)
    with pytest.raises(ValueError, match="min_recall=1.0 must be a probability"):
        precision(min_recall=1.0)
    with pytest.raises(ValueError, match="is 0/0 where nothing is guessed"):
        precision(min_recall=0.0)
    with pytest.raises(ValueError, match="has one threshold whatever its value"):
        accuracy(min_recall=0.5).objective()


def test_small_costs_and_priors_are_not_lost_in_float32():
    """Only the ratio of the costs matters, and small gains over a large trivial value still order the rules."""
    for scale in (1.0, 1e-6):
        objective = cost(scale, scale).objective(prior=0.5)
        assert float(objective.value(jnp.asarray(0.7), jnp.asarray(0.3))) == pytest.approx(0.4, abs=1e-6)
    rare = accuracy.objective(prior=1e-4)
    assert float(rare.value(jnp.asarray(0.5), jnp.asarray(1e-5))) == pytest.approx(0.5 - 0.09999, abs=1e-5)
