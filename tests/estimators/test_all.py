"""What every estimator must do: find a known leak, find none where there is none, ignore order and class sizes."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from mace_jax import MembershipSample, optimal_membership_advantage
from mace_jax.estimators import KDE, KNN, Classifier, Discrete, Histogram, Threshold
from mace_jax.metrics import balanced_accuracy
from tests._support import rest_slow

CONTINUOUS = {
    "KNN": KNN(),
    "Histogram": Histogram(),
    "KDE": KDE(),
    "logistic": Classifier(),
    "Threshold": Threshold(),
}
TRUTH = 0.3829


@pytest.mark.parametrize("name", rest_slow(CONTINUOUS, lambda name: name in ("KNN", "Histogram", "Threshold")))
def test_gaussian_shift_is_found_and_its_null_is_centered(name, rng):
    estimator = CONTINUOUS[name]
    sample = MembershipSample(rng.normal(1, 1, 2000), rng.normal(0, 1, 2000))
    found = optimal_membership_advantage(sample, estimator=estimator, n_permutations=39, seed=0)
    deviation = np.sqrt(2 * 0.6915 * 0.3085 / 2000)
    assert TRUTH - 4 * deviation - 0.02 < found.lower_rule < TRUTH + 4 * deviation
    assert found.p_value == pytest.approx(1 / 40)
    assert abs(found.null_mean) < 4 * found.null.std() / np.sqrt(39) + 1e-3


@pytest.mark.parametrize("name", ["Histogram", "KDE", "logistic"])
def test_unequal_classes_without_a_leak_give_none(name, rng):
    found = []
    for seed in range(4):
        sample = MembershipSample(rng.normal(size=200), rng.normal(size=1800))
        estimate = optimal_membership_advantage(sample, estimator=CONTINUOUS[name], n_permutations=0, seed=seed)
        found.append(estimate.lower_rule)
    assert abs(np.mean(found)) < 3 * np.sqrt(0.25 / 200 + 0.25 / 1800) / 2 + 0.01


@pytest.mark.parametrize("name", [name for name in CONTINUOUS if name != "Threshold"])
def test_posterior_is_near_the_truth_whatever_the_class_sizes(name, rng):
    train = np.concatenate([rng.normal(1, 1, 400), rng.normal(0, 1, 3600)])[:, None]
    labels = jnp.asarray(np.repeat([1, 0], [400, 3600]))
    test = np.linspace(-1, 2, 50)[:, None]
    estimator = CONTINUOUS[name]
    posterior = estimator.fit_fold(estimator.plan(train, test, seed=0), labels, balanced_accuracy.objective())[0]
    error = np.asarray(posterior) - special.expit(test[:, 0] - 0.5)
    assert np.sqrt(np.mean(error**2)) < 0.09
    assert abs(np.mean(error)) < 0.04


@pytest.mark.parametrize("estimator", [KNN(), Histogram(), Discrete(), Threshold()], ids=repr)
def test_twenty_equal_atoms_give_no_advantage(estimator):
    found = []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        sample = MembershipSample(rng.integers(0, 20, 500), rng.integers(0, 20, 500))
        found.append(optimal_membership_advantage(sample, estimator=estimator, n_permutations=0, seed=seed).lower_rule)
    assert abs(np.mean(found)) < 3 * 0.08 / np.sqrt(5)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*CONTINUOUS, "Discrete", "KNN of a range"])
def test_p_values_without_a_leak_are_uniform(name):
    """200 draws, 19 permutations: P(p <= .05) = .05 and P(p <= .5) = .5, exactly, up to ties."""
    estimator = {"Discrete": Discrete(), "KNN of a range": KNN(k=range(1, 99, 2))}.get(name) or CONTINUOUS[name]
    p_values = []
    for seed in range(200):
        rng = np.random.default_rng(1000 + seed)
        rows = rng.normal(size=300) if name != "Discrete" else rng.integers(0, 10, 300)
        sample = MembershipSample(rows[:100], rows[100:])
        p_values.append(optimal_membership_advantage(sample, estimator=estimator, n_permutations=19, seed=seed).p_value)
    p_values = np.asarray(p_values)
    assert (p_values <= 0.05).mean() <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 200)
    assert abs((p_values <= 0.5).mean() - 0.5) < 3 * np.sqrt(0.25 / 200) + 0.03


@pytest.mark.slow
def test_a_network_is_a_valid_estimator_of_the_shift(rng):
    sample = MembershipSample(rng.normal(1, 1, (800, 3)), rng.normal(0, 1, (800, 3)))
    estimator = Classifier("mlp", steps=150, n_networks=2)
    found = optimal_membership_advantage(sample, estimator=estimator, n_permutations=19, seed=0)
    assert found.lower_rule == pytest.approx(2 * special.ndtr(np.sqrt(3) / 2) - 1, abs=0.09)
    assert found.p_value == 0.05 and abs(found.null_mean) < 0.03
