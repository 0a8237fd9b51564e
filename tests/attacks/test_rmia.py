from __future__ import annotations

import math

import numpy as np
import pytest

from mace_jax.attacks._rmia import rmia, tune_a
from mace_jax.metrics import roc


def reference(own, models, population, others, *, gamma, a, mode, included):
    """Pair by pair, in probabilities."""
    p, q, z, w = (np.exp(np.asarray(logs, float)) for logs in (own, models, population, others))

    def offline(out):
        return 0.5 * ((1.0 + a) * out + 1.0 - a)

    of_x = np.empty(len(p))
    for i in range(len(p)):
        if mode == "online":
            of_x[i] = q[:, i].mean()
        elif included[:, i].all():
            of_x[i] = offline(max(0.0, (q[:, i].mean() + a - 1.0) / a))
        else:
            of_x[i] = offline(q[~included[:, i], i].mean())
    of_z = w.mean(axis=0) if mode == "online" else offline(w.mean(axis=0))
    ratios = (p / of_x)[:, None] / (z / of_z)[None]
    return (ratios > gamma).mean(axis=1)


@pytest.fixture
def data():
    """A target and six reference models on 50 records and 80 others; members are better known."""
    rng = np.random.default_rng(5)
    included = rng.random((7, 50)) < 0.5
    included[1:, 0] = True
    level = rng.normal(0.0, 2.0, 50)
    logs = -np.logaddexp(0.0, -(level + 1.5 * included + rng.normal(size=included.shape)))
    others = -np.logaddexp(0.0, -(rng.normal(0.0, 2.0, 80) + rng.normal(size=(7, 80))))
    return logs[0], logs[1:], others[0], others[1:], included


@pytest.mark.parametrize("gamma", [1.0, 2.0])
@pytest.mark.parametrize("a", [0.2, 1.0 / 3.0, 1.0])
@pytest.mark.parametrize("mode", ["offline", "online"])
def test_scores_are_the_share_of_pairs(data, gamma, a, mode):
    own, models, population, others, included = data
    given = {"gamma": gamma, "a": a, "mode": mode, "included": included[1:]}
    found = rmia(own, models, population, others, **given)
    np.testing.assert_allclose(found, reference(own, models, population, others, **given), rtol=1e-14)
    assert 0.0 < found.mean() < 1.0


def test_a_tie_is_not_beaten():
    """Ratios of exactly gamma do not count: log 2 + log 1 - log 1 against gamma = 2 is no more than equal."""
    equal = np.log([[0.25]]), np.log([0.25]), np.log([[0.25]])
    assert rmia(np.log([0.5]), *equal, gamma=2.0, mode="online")[0] == 0.0
    assert rmia(np.log([0.25]), *equal, gamma=1.0, mode="online")[0] == 0.0
    assert rmia(np.log([0.5]), *equal, gamma=1.99, mode="online")[0] == 1.0


def of_x(reference, included, a):
    """``p(x)`` from the score of a record of probability .1, where population ratios are a fine grid."""
    grid = np.linspace(-3.0, 0.0, 30_001)
    found = rmia([math.log(0.1)], reference, grid, np.zeros((len(reference), len(grid))), gamma=1.0, a=a,
                 included=included)  # fmt: skip
    return 0.1 / math.exp(-3.0 + 1e-4 * found[0] * len(grid))


def test_the_offline_line():
    """p(x) = .5 ((1 + a) p_out + 1 - a), and a reference model that saw x: p_out = (p_in + a - 1) / a = .69697."""
    assert of_x(np.log([[0.6], [0.8]]), [[False], [False]], 0.33) == pytest.approx(0.5 * (1.33 * 0.7 + 0.67), rel=2e-4)
    p_out = (0.9 + 0.33 - 1.0) / 0.33
    assert p_out == pytest.approx(0.69697, abs=5e-6)
    assert of_x(np.log([[0.9]]), [[True]], 0.33) == pytest.approx(0.5 * (1.33 * p_out + 0.67), rel=2e-4)
    assert of_x(np.log([[0.9], [0.4]]), [[True], [False]], 0.33) == pytest.approx(0.5 * (1.33 * 0.4 + 0.67), rel=2e-4)
    assert of_x(np.log([[0.3]]), [[True]], 0.33) == pytest.approx(0.335, rel=2e-4)  # the line has no p_out below 0
    assert of_x(np.log([[0.3]]), [[True]], 1.0) == pytest.approx(0.3, rel=2e-4)


def test_logs_far_below_zero_keep_their_order():
    """Probabilities that are 0 in float64."""
    models, population = np.full((2, 2), -2000.0), np.linspace(-3000.0, -1000.0, 11)
    found = rmia([-1500.0, -2500.0], models, population, np.full((2, 11), -2000.0), mode="online")
    assert found.tolist() == [7 / 11, 2 / 11] or found[0] > found[1]
    assert np.isfinite(rmia([-1500.0, -2500.0], models, population, np.full((2, 11), -2000.0), a=1.0)).all()


def test_order_does_not_matter(data):
    own, models, population, others, included = data
    rng = np.random.default_rng(0)
    i, j, k = rng.permutation(50), rng.permutation(80), rng.permutation(6)
    first = rmia(own, models, population, others, included=included[1:])
    again = rmia(own[i], models[k][:, i], population[j], others[k][:, j], included=included[1:][k][:, i])
    assert (again == first[i]).all()


def test_members_score_higher_and_memberships_help(data):
    rng = np.random.default_rng(0)
    n = 2000
    included = rng.random((9, n)) < 0.5
    level = rng.normal(0.0, 2.0, n)
    logs = -np.logaddexp(0.0, -(level + 2.0 * included + 0.5 * rng.normal(size=included.shape)))
    others = -np.logaddexp(0.0, -(rng.normal(0.0, 2.0, 500) + 0.5 * rng.normal(size=(9, 500))))
    given = logs[0], logs[1:], others[0], others[1:]
    areas = {}
    for name, options in {
        "online": {"mode": "online"},
        "offline": {"included": included[1:]},
        "blind": {},
    }.items():
        scores = rmia(*given, **options)
        areas[name] = roc(scores[included[0]], scores[~included[0]]).auc
    plain = roc(logs[0][included[0]], logs[0][~included[0]]).auc
    assert min(areas.values()) > plain + 0.1
    assert areas["offline"] > 0.8


def linear(n=3000, n_models=8, a=0.4, seed=0):
    """Reference models that obey p_in = a p_out + 1 - a."""
    rng = np.random.default_rng(seed)
    included = rng.random((n_models, n)) < 0.5
    out = rng.uniform(0.02, 0.9, n)
    noise = rng.normal(0.0, 0.03, (n_models, n))
    logs = np.log(np.clip(np.where(included, a * out + 1.0 - a, out) + noise, 0.005, 1.0))
    level = rng.uniform(0.02, 0.9, 1000)
    others = np.log(np.clip(level + rng.normal(0.0, 0.03, (n_models, 1000)), 0.005, 1.0))
    return logs, others, included


def test_tuning_takes_the_best_value_on_reference_models():
    logs, others, included = linear()
    candidates = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    tuned = tune_a(logs, others, included, candidates=candidates)
    means = []
    for a in candidates:
        areas = []
        for t in range(len(logs)):
            rest = np.arange(len(logs)) != t
            scores = rmia(logs[t], logs[rest], others[t], others[rest], a=a, included=included[rest])
            areas.append(roc(scores[included[t]], scores[~included[t]]).auc)
        means.append(np.mean(areas))
    assert tuned == candidates[int(np.argmax(means))]
    assert max(means) - min(means) > 0.01


def test_tuning_never_uses_a_model_that_knows_the_answer():
    """A known defect elsewhere: ``a`` was tuned on the complement of the target."""
    logs, others, included = linear(n_models=2)
    included[1] = ~included[0]
    with pytest.raises(ValueError, match="leaves no reference model to tune on"):
        tune_a(logs, others, included)
    with pytest.raises(ValueError, match="reference model 1 complements the target's"):
        rmia(logs[0], logs, others[0], others, included=np.stack([included[0] ^ (np.arange(3000) < 5), included[1]]),
             target_included=included[0])  # fmt: skip
    with pytest.raises(ValueError, match="reference model 0 equals the target's"):
        rmia(logs[0], logs, others[0], others, included=included, target_included=included[0])
    # with a third, independent model the complements are left out, so that garbage in them changes nothing
    third = np.random.default_rng(1).random(3000) < 0.5
    members = np.stack([included[0], ~included[0], third])
    three, more = np.stack([logs[0], logs[1], logs[0]]), np.stack([others[0], others[1], others[0]])
    chosen = tune_a(three, more, members, candidates=(0.1, 0.9))
    assert chosen in (0.1, 0.9)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gamma": 0.5}, "gamma=0.5 must be at least 1"),
        ({"a": 1.5}, r"a=1.5 must lie in \[0, 1\]"),
        ({"mode": "both"}, "mode='both'"),
        ({"log_probabilities": [0.5, -1.0]}, "log_probabilities holds 0.5, above 0"),
        ({"log_probabilities": [-np.inf, -1.0]}, "log_probabilities has NaN or infinity"),
        ({"reference_log_probabilities": [[-1.0]]}, r"reference_log_probabilities has shape \(1, 1\)"),
        ({"reference_population_log_probabilities": [[-1.0]]}, "reference_population_log_probabilities has shape"),
        ({"included": [[True]]}, "included has shape"),
        ({"target_included": [True, False]}, "target_included needs included"),
    ],
)
def test_bad_input_is_named(change, message):
    given = {
        "log_probabilities": [-0.1, -1.0],
        "reference_log_probabilities": [[-0.5, -0.6]],
        "population_log_probabilities": [-1.0, -2.0, -3.0],
        "reference_population_log_probabilities": [[-1.0, -2.0, -3.0]],
    }
    with pytest.raises(ValueError, match=message):
        rmia(**{**given, **change})
    with pytest.raises(ValueError, match="candidates is empty"):
        tune_a([[-1.0]], [[-1.0]], [[True]], candidates=())
