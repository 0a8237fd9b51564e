"""The optimum over a posterior: host and JAX against exhaustive search, linear programming, and prior shifts."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize

from mace_jax.metrics import (
    LinearFractional,
    accuracy,
    balanced_accuracy,
    cost,
    f_beta,
    jaccard,
    optimum,
    precision,
    shift_prior,
)
from mace_jax.metrics._plug_in import plug_ins

FREE = (accuracy, balanced_accuracy, cost(1.0, 3.0), f_beta(0.5), f_beta(1.0), f_beta(2.0), jaccard)
PRIORS = (0.5, 0.1, 0.01, 0.001)
RULES = np.asarray(list(itertools.product([False, True], repeat=6)))


def channel(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Two random laws on six outputs; some outputs impossible under one of them."""
    laws = rng.dirichlet(np.full(6, 0.7), 2) * (rng.random((2, 6)) < 0.9) + 1e-9
    return tuple(laws / laws.sum(axis=1, keepdims=True))


def linear_program(metric: LinearFractional, posterior, weights, prior: float) -> float:
    """The best randomized rule with enough recall, by the substitution of Charnes and Cooper (1962)."""
    c0, c1, c2, d0, d1, d2 = metric.reduced(prior)
    hits, guesses = posterior * weights, weights
    count = len(weights)
    # y = s * rule, s = 1 / denominator
    objective = -np.append(c1 * hits + c2 * guesses, c0)
    equal = np.append(d1 * hits + d2 * guesses, d0)[None]
    at_most = np.hstack([np.eye(count), -np.ones((count, 1))])
    recall = np.append(-hits, metric.min_recall * hits.sum())[None]
    solved = optimize.linprog(
        objective, np.vstack([at_most, recall]), np.zeros(count + 1), equal, [1.0], bounds=(0, None), method="highs"
    )
    assert solved.status == 0
    return -solved.fun


def test_host_and_jax_equal_exhaustive_search_on_200_channels(rng):
    with jax.enable_x64(True):
        for metric in FREE:
            at = jax.jit(jax.vmap(lambda eta, w, p, metric=metric: optimum(eta, w, metric=metric, prior=p)))
            cases = []
            for _ in range(200):
                inside, outside = channel(rng)
                for prior in PRIORS:
                    weights = prior * inside + (1 - prior) * outside
                    best = metric.value(RULES @ inside, RULES @ outside, prior=prior).max()
                    posterior = prior * inside / weights
                    assert abs(metric.optimum(posterior, weights, prior=prior) - best) < 1e-12
                    cases.append((posterior, weights, prior, best))
            posterior, weights, prior, best = (np.asarray(part) for part in zip(*cases, strict=True))
            found = at(jnp.asarray(posterior), jnp.asarray(weights), jnp.asarray(prior))
            np.testing.assert_allclose(found, best, atol=1e-12, rtol=0)


@pytest.mark.parametrize("min_recall", [0.05, 0.3, 0.9])
def test_a_minimum_recall_equals_linear_programming(min_recall, rng):
    for metric in (precision(min_recall=min_recall), f_beta(0.5)(min_recall=min_recall)):
        for _ in range(25):
            inside, outside = channel(rng)
            prior = float(rng.choice([0.5, 0.1]))
            weights = prior * inside + (1 - prior) * outside
            posterior = prior * inside / weights
            best = linear_program(metric, posterior, weights, prior)
            found = metric.optimum(posterior, weights, prior=prior)
            assert found == pytest.approx(best, abs=1e-7)
            with jax.enable_x64(True):
                assert float(optimum(posterior, weights, metric=metric, prior=prior)) == pytest.approx(found, abs=1e-12)
            # a deterministic rule with enough recall cannot do better, and completing a rule at random no better still
            tpr, fpr = RULES @ inside, RULES @ outside
            assert metric.value(tpr, fpr, prior=prior).max() <= found + 1e-9


def test_precision_by_hand():
    """Two outputs: the first holds half of the members and no others, the second everything else."""
    posterior, weights = np.asarray([1.0, 0.25 / 0.75]), np.asarray([0.25, 0.75])
    assert precision.optimum(posterior, weights) == pytest.approx(1.0)
    # at recall 3/4 half of the second output is guessed: TP = 3/8 of the mass, guesses = 5/8
    assert precision(min_recall=0.75).optimum(posterior, weights) == pytest.approx(0.6)
    assert precision(min_recall=0.75).value(0.5, 0.0) == pytest.approx(0.375 / 0.625)  # half of all others
    assert precision.value(0.0, 0.0) == pytest.approx(0.5)
    assert precision(min_recall=0.3).name == "precision_at_recall_0.3"
    assert precision(min_recall=0.3)(min_recall=0.1) == precision


def test_the_prior_curve_is_one_vmap_without_refitting():
    inside, outside = jnp.asarray([0.6, 0.3, 0.1]), jnp.asarray([0.1, 0.3, 0.6])
    half = inside / (inside + outside)

    def at(prior):
        weights = prior * inside + (1 - prior) * outside
        return optimum(shift_prior(half, to=prior), weights, metric="jaccard", prior=prior)

    curve = jax.jit(jax.vmap(at))(jnp.asarray(PRIORS))
    for prior, found in zip(PRIORS, curve, strict=True):
        tpr, fpr = np.asarray(RULES[:, :3] @ inside), np.asarray(RULES[:, :3] @ outside)
        assert float(found) == pytest.approx(jaccard.value(tpr, fpr, prior=prior).max(), abs=1e-6)


def test_shift_prior_adds_log_odds():
    eta = np.asarray([0.0, 0.2, 0.9, 1.0])
    moved = np.asarray(shift_prior(eta, prior=0.5, to=0.1))
    expected = 0.1 * eta / (0.1 * eta + 0.9 * (1 - eta))
    np.testing.assert_allclose(moved, expected, atol=1e-6)
    np.testing.assert_allclose(shift_prior(moved, prior=0.1, to=0.5), eta, atol=1e-6)


def test_plug_ins_of_many_pairs_equal_one_at_a_time(rng):
    half, labels = rng.random(300).round(2), (rng.random(300) < 0.3).astype(int)
    pairs = [(metric, prior) for metric in (*FREE, precision) for prior in PRIORS]
    for (metric, prior), found in zip(pairs, plug_ins(half, labels, pairs), strict=True):
        weights = np.where(labels == 1, prior / labels.sum(), (1 - prior) / (1 - labels).sum())
        posterior = prior * half / (prior * half + (1 - prior) * (1 - half))
        best = metric.normalize(metric.optimum(posterior, weights, prior=prior), prior=prior)
        assert found == pytest.approx(float(np.clip(best, 0.0, 1.0)), abs=1e-12)
