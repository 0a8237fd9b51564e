"""Classifier: logistic against scikit-learn, networks, any scikit-learn classifier, and honest inner posteriors."""

from __future__ import annotations

import subprocess
import sys

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from mace_jax.estimators import Classifier
from mace_jax.metrics import balanced_accuracy, f_beta, jaccard

OBJECTIVE = balanced_accuracy.objective()
SMALL = {"hidden": (16,), "n_networks": 2, "steps": 150}


class Unhashable:
    """An initializer that no compiled function can be filed under."""

    __hash__ = None  # type: ignore[assignment]

    def __call__(self, key, shape, dtype):
        return jnp.zeros(shape, dtype)


def shift(rng, members, others, width=1):
    """Outputs and labels of a Gaussian shift of 1 in the first coordinate, in random order."""
    rows = rng.normal(size=(members + others, width))
    labels = rng.permutation(np.repeat([1, 0], [members, others]))
    rows[:, 0] += labels
    return rows, labels


def fitted(estimator, train, test, labels, objective=OBJECTIVE):
    labels = np.asarray(labels) if estimator.on_host else jnp.asarray(labels)
    plan = estimator.plan(train, test, seed=0)
    return estimator.fit_fold(plan, labels, objective), plan


@pytest.mark.parametrize("scale", [1.0, 1e-8, 1e12])
def test_logistic_minimizes_the_penalized_balanced_loss(scale, rng):
    """scikit-learn minimizes C sum of weighted losses + |w|^2 / 2."""
    train, labels = shift(rng, 150, 450, 3)
    train[:, 2] = train[:, 0] + 0.1 * train[:, 1]  # collinear
    test = rng.normal(size=(80, 3))
    outcome, _ = fitted(Classifier(ridge=1e-3), train * scale, test * scale, labels)
    z, u = (train - train.mean(0)) / train.std(0), (test - train.mean(0)) / train.std(0)
    theirs = LogisticRegression(class_weight="balanced", C=1 / (1e-3 * 600), tol=1e-10, max_iter=5000).fit(z, labels)
    np.testing.assert_allclose(outcome.posterior, theirs.predict_proba(u)[:, 1], atol=5e-5)


def test_logistic_survives_perfect_separation(rng):
    train = np.concatenate([rng.normal(50, 1, (40, 2)), rng.normal(-50, 1, (60, 2))])
    outcome, _ = fitted(Classifier(), train, train, np.repeat([1, 0], [40, 60]))
    assert np.isfinite(np.asarray(outcome.posterior)).all()
    np.testing.assert_array_equal(outcome.decisions, np.repeat([True, False], [40, 60]))
    np.testing.assert_array_equal(np.asarray(outcome.own_posterior) > 0.5, np.repeat([True, False], [40, 60]))


@pytest.mark.parametrize(
    "estimator",
    [
        Classifier(),
        pytest.param(Classifier("mlp", **SMALL), marks=pytest.mark.slow),
        pytest.param(Classifier(nn.Dense(1), n_networks=2, learning_rate=0.05), marks=pytest.mark.slow),
        pytest.param(Classifier(nn.Sequential([nn.Dense(8), nn.tanh, nn.Dense(2)]), **SMALL), marks=pytest.mark.slow),
        Classifier(LogisticRegression()),
        Classifier(LogisticRegression(class_weight="balanced")),
        Classifier(LogisticRegression(class_weight={1: 3.0})),
        Classifier(GaussianNB()),
        Classifier(LinearSVC()),
        Classifier(make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced"))),
    ],
    ids=lambda estimator: repr(estimator.kind)[:60],
)
def test_posterior_is_near_the_truth_at_equal_priors(estimator, rng):
    """sigmoid(t - 1/2), with 300 members among 2000."""
    members = 300
    train, labels = shift(rng, members, 2000 - members)
    test = np.linspace(-2, 3, 60)[:, None]
    outcome, plan = fitted(estimator, train, test, labels)
    truth = special.expit(test[:, 0] - 0.5)
    middle = np.abs(test[:, 0] - 0.5) < 1.5
    assert np.abs(np.asarray(outcome.posterior) - truth)[middle].max() < 0.1
    own = np.asarray(outcome.own_posterior)
    assert np.mean(np.abs(own - special.expit(train[:, 0] - 0.5))) < 0.05
    assert estimator.neighbors(plan, 0) is None and estimator.supports(5)


@pytest.mark.parametrize(
    "kind",
    ["logistic", pytest.param("mlp", marks=pytest.mark.slow), RandomForestClassifier(20), LinearSVC()],
    ids=lambda kind: repr(kind)[:30],
)
def test_decide_fold_is_fit_folds_decisions(kind, rng):
    train, labels = shift(rng, 60, 90, 2)
    test = rng.normal(size=(40, 2))
    estimator = Classifier(kind, **SMALL)
    objectives = (OBJECTIVE, f_beta(1.0).objective(prior=0.1), jaccard.objective(prior=0.5))
    for objective in objectives[1:2] if kind == "mlp" else objectives:
        outcome, plan = fitted(estimator, train, test, labels, objective)
        again = estimator.decide_fold(plan, labels if estimator.on_host else jnp.asarray(labels), objective)
        np.testing.assert_array_equal(outcome.decisions, again)
        repeated, _ = fitted(estimator, train, test, labels, objective)
        np.testing.assert_array_equal(outcome.posterior, repeated.posterior)


def test_own_posteriors_are_not_those_of_the_training_fit(rng):
    """A forest is certain of every record it was grown on, of random labels too."""
    train, labels = rng.normal(size=(400, 3)), rng.integers(0, 2, 400)
    outcome, _ = fitted(Classifier(RandomForestClassifier(30)), train, train[:10], labels)
    decided = np.asarray(outcome.own_decisions)
    assert (decided == labels).mean() > 0.95
    own = np.asarray(outcome.own_posterior) > 0.5
    assert abs((own == labels).mean() - 0.5) < 0.12


def test_labels_can_be_mapped_and_permuted(rng):
    train, labels = shift(rng, 80, 120)
    estimator = Classifier()
    plan = estimator.plan(train, train[:30], seed=0)
    many = jnp.asarray(np.stack([labels, rng.permutation(labels), rng.permutation(labels)]))
    objective = f_beta(1.0).objective(prior=0.3)
    mapped = jax.vmap(lambda row: estimator.decide_fold(plan, row, objective))(many)
    for row in range(3):
        np.testing.assert_array_equal(mapped[row], estimator.decide_fold(plan, many[row], objective))


def test_a_missing_class_gives_one_half(rng):
    train = rng.normal(size=(30, 1))
    for estimator in (Classifier(), Classifier(LogisticRegression())):
        outcome, _ = fitted(estimator, train, train, np.zeros(30, int))
        np.testing.assert_allclose(outcome.posterior, 0.5)


def test_a_scikit_learn_classifier_is_never_changed_and_is_seeded(rng):
    train, labels = shift(rng, 60, 60)
    forest = RandomForestClassifier(10)
    first, _ = fitted(Classifier(forest), train, train, labels)
    second, _ = fitted(Classifier(forest), train, train, labels)
    assert forest.random_state is None and not hasattr(forest, "classes_")
    np.testing.assert_array_equal(first.posterior, second.posterior)
    assert Classifier(forest).on_host and not Classifier("mlp").on_host
    nested = CalibratedClassifierCV(RandomForestClassifier(5), cv=2)
    np.testing.assert_array_equal(
        fitted(Classifier(nested), train, train, labels)[0].posterior,
        fitted(Classifier(nested), train, train, labels)[0].posterior,
    )


def test_unusable_kinds_are_refused(rng):
    with pytest.raises(ValueError, match="kind='tree' is not known; pass 'logistic', 'mlp', a Flax Linen module or a"):
        Classifier("tree")
    with pytest.raises(TypeError, match="got the class LogisticRegression; pass an instance"):
        Classifier(LogisticRegression)
    with pytest.raises(TypeError, match="predict_proba or decision_function, got StandardScaler"):
        Classifier(StandardScaler())
    rows = rng.normal(size=(20, 2))
    with pytest.raises(ValueError, match=r"to shape \(3, 4\); it must return logits \(n,\), \(n, 1\) or \(n, 2\)"):
        Classifier(nn.Dense(4)).plan(rows, rows, seed=0)
    with pytest.raises(ValueError, match="keeps batch_stats beside its parameters"):
        Classifier(nn.Sequential([nn.BatchNorm(use_running_average=False), nn.Dense(1)])).plan(rows, rows, seed=0)
    with pytest.raises(TypeError, match="holds something that cannot be hashed"):
        Classifier(nn.Dense(1, bias_init=Unhashable()))
    with pytest.raises(ValueError, match="inner_folds=1 must be at least 2"):
        Classifier(inner_folds=1)


def test_nothing_heavy_is_imported_until_it_is_needed():
    code = (
        "import sys, mace_jax.estimators as e; e.Classifier();"
        "assert not {'flax', 'optax', 'sklearn'} & set(sys.modules); e.Classifier('mlp')"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
