"""self_test: calibrated pipelines pass, broken ones are caught."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest
from scipy import special, stats

from mace_jax import MembershipSample, audit, bootstrap, certify, optimal_membership_advantage
from mace_jax._self_test import SelfTest, self_test
from mace_jax._self_test_checks import Reading, judge
from mace_jax.certificates import epsilon_from_counts
from mace_jax.estimators import KNN, Threshold
from tests._support import rest_slow

NORMAL = np.random.default_rng(0).normal(size=200)


@dataclasses.dataclass
class Interval:
    low: float
    high: float
    confidence_level: float = 0.9


def t_test(sample, seed):
    a, b = sample.members[:, 0], sample.nonmembers[:, 0]
    freedom = len(a) + len(b) - 2
    spread = ((len(a) - 1) * a.var(ddof=1) + (len(b) - 1) * b.var(ddof=1)) / freedom
    return float(2 * special.stdtr(freedom, -abs(a.mean() - b.mean()) / math.sqrt(spread * (1 / len(a) + 1 / len(b)))))


def permutation_test(sample, seed, n=19):
    """Few permutations and heavy ties: a discrete p-value, valid given the pooled records."""
    pooled = np.round(np.concatenate([sample.members, sample.nonmembers])[:, 0])
    rng, size = np.random.default_rng(seed), len(sample.members)
    nulls = [rng.permutation(pooled)[:size].sum() for _ in range(n)]
    return (1 + sum(null >= pooled[:size].sum() for null in nulls)) / (n + 1)


def uniform(sample, seed):
    return np.random.default_rng(seed).random()


def best_threshold(sample, seed):
    """The test of two rates at the cut with the largest difference on the same records."""
    a, b = np.sort(sample.members[:, 0]), np.sort(sample.nonmembers[:, 0])
    cuts = np.concatenate([a, b])
    p, q = 1 - np.searchsorted(a, cuts) / len(a), 1 - np.searchsorted(b, cuts) / len(b)
    mean = (p + q) / 2
    z = np.abs(p - q) / np.sqrt(np.maximum(mean * (1 - mean), 1e-9) * (1 / len(a) + 1 / len(b)))
    return math.erfc(z.max() / math.sqrt(2))


def certificate_of_the_best_threshold(sample, seed):
    """Every point of the curve at the whole level, and the best one reported."""
    plain = certify(sample, estimator=Threshold(), seed=seed)
    a, b = np.sort(sample.members[:, 0]), np.sort(sample.nonmembers[:, 0])
    cuts = np.concatenate([a, b])
    hits, alarms = len(a) - np.searchsorted(a, cuts), len(b) - np.searchsorted(b, cuts)
    found = max(
        epsilon_from_counts(int(high[i]), len(a), int(low[i]), len(b), confidence_level=0.5)
        for high, low in ((hits, alarms), (len(a) - hits, len(b) - alarms))
        for i in range(0, len(cuts), 10)
    )
    return dataclasses.replace(plain, epsilon=found, confidence_level=0.95)


def index_ordered_ties(sample, seed):
    """Neighbors of equal distance in row order, members first: with atoms everybody looks like a member."""
    pooled = np.round(np.concatenate([sample.members, sample.nonmembers])[:, 0])
    label = np.arange(len(pooled)) < len(sample.members)
    distances = np.abs(pooled[:, None] - pooled[None, :])
    np.fill_diagonal(distances, np.inf)
    nearest = np.argsort(distances, axis=1, kind="stable")[:, :5]
    votes = label[nearest].sum(axis=1)
    return float(stats.binomtest(int(votes.sum()), 5 * len(pooled), 0.5).pvalue)


def rows_into_neighbors(sample, seed, k=1, n=30):
    """Bootstrap rows, then search neighbors among the copies: a percentile interval of 1 - 2 x leave-one-out error."""
    rng = np.random.default_rng(seed)
    pooled = np.concatenate([sample.members, sample.nonmembers])[:, 0]
    label = np.arange(len(pooled)) < len(sample.members)
    found = []
    for _ in range(n):
        rows = rng.integers(len(pooled), size=len(pooled))
        distances = np.abs(pooled[rows][:, None] - pooled[rows][None, :])
        np.fill_diagonal(distances, np.inf)
        nearest = np.argmin(distances, axis=1)
        found.append(2 * (label[rows][nearest] == label[rows]).mean() - 1)
    return Interval(*np.quantile(found, [0.05, 0.95]))


@pytest.mark.parametrize("splits, n", rest_slow([("random", 100), ("disjoint", 1000)], ("random", 100).__eq__))
@pytest.mark.parametrize("pipeline", [uniform, t_test, permutation_test])
def test_calibrated_pipelines_pass(pipeline, splits, n):
    runs = 20 if pipeline is permutation_test else 150
    passed = [
        self_test(pipeline, np.random.default_rng(seed).normal(size=n), splits=splits, seed=seed).passed
        for seed in range(runs)
    ]
    assert sum(passed) >= 0.95 * runs - 2 * math.sqrt(runs * 0.95 * 0.05)


@pytest.mark.parametrize(
    "pipeline",
    [best_threshold, certificate_of_the_best_threshold, index_ordered_ties, rows_into_neighbors],
    ids=lambda pipeline: pipeline.__name__,
)
def test_broken_pipelines_are_caught(pipeline):
    for seed in range(2):
        found = self_test(pipeline, np.random.default_rng(seed).normal(size=80), n_repeats=20, seed=seed)
        assert not found.passed
        assert found.verdict.startswith("Not calibrated: ") and "cannot be trusted" in found.verdict


def test_the_certificate_passes():
    found = self_test(
        lambda sample, seed: certify(sample, estimator=Threshold(), seed=seed), NORMAL, n_repeats=40, seed=0
    )
    (check,) = found.checks
    assert found.passed and check.name == "certificate above 0" and check.level == pytest.approx(0.05)
    assert found.n_members == found.n_nonmembers == 100 and found.p_values == {}
    assert "40 repeats where a rate of 0.05 is allowed" in found.verdict


def test_estimates_and_intervals_pass():
    def estimate(sample, seed):
        return optimal_membership_advantage(sample, estimator=KNN(k=15), n_permutations=39, seed=seed)

    found = self_test(estimate, NORMAL[:60], n_repeats=20, n_members=20, seed=0)
    assert found.passed and len(found.p_values["p-value <= 0.05"]) == 20 and found.n_nonmembers == 40
    interval = self_test(
        lambda sample, seed: bootstrap(estimate(sample, seed), n_resamples=100, seed=seed),
        NORMAL[:60],
        n_repeats=20,
        seed=0,
    )
    assert interval.passed and interval.checks[0].name == "interval without 0"


@pytest.mark.slow
def test_a_whole_audit_passes():
    def pipeline(sample, seed):
        return audit(sample.members, sample.nonmembers, n_permutations=99, n_resamples=100, seed=seed)

    found = self_test(pipeline, np.random.default_rng(1).normal(size=(120, 2)), n_repeats=20, seed=0)
    assert found.passed and [check.name for check in found.checks] == [
        "smallest p-value times 3 queries <= 0.05",
        "certificate above 0",
    ]


@pytest.mark.slow
@pytest.mark.parametrize("splits, n", [("random", 200), ("disjoint", 4000)])
def test_certificates_and_permutation_tests_pass_often_enough(splits, n):
    for pipeline in (permutation_test, lambda sample, seed: certify(sample, search="bonferroni", seed=seed)):
        passed = [
            self_test(pipeline, np.random.default_rng(seed).normal(size=n), splits=splits, seed=seed).passed
            for seed in range(60)
        ]
        assert np.mean(passed) >= 0.95 - 2 * math.sqrt(0.95 * 0.05 / 60)


def test_what_a_result_says():
    found = self_test(t_test, NORMAL, n_repeats=50, confidence_level=0.9, seed=5)
    (check,) = found.checks
    p_values = np.asarray(found.p_values["p-value <= 0.1"])
    assert check.n_alarms == (p_values <= 0.1).sum() and check.rate == check.n_alarms / 50
    assert check.rate_low < check.rate < check.rate_high
    assert check.alarm_p_value == pytest.approx(stats.binomtest(check.n_alarms, 50, 0.1, alternative="greater").pvalue)
    expected = stats.kstest(p_values, "uniform", alternative="greater").pvalue
    assert check.uniform_p_value == pytest.approx(expected)
    assert 0.1 < check.noticeable_rate < 0.4
    plain = json.loads(json.dumps(found.to_dict()))
    assert plain["passed"] is True and len(plain["p_values"]["p-value <= 0.1"]) == 50
    assert plain["checks"][0]["n_repeats"] == 50
    assert repr(found).startswith("SelfTest(passed, p-value <= 0.1: ") and isinstance(found, SelfTest)
    assert any("drawn uniformly at random" in text for text in found.assumptions)
    assert any("binomial with the pipeline's alarm rate on these records" in text for text in found.assumptions)
    blocks = self_test(t_test, NORMAL, n_repeats=20, splits="disjoint", seed=3)
    assert any("records of its own" in text for text in blocks.assumptions) and blocks.n_members == 5


def test_the_noticeable_rate_is_noticed_nine_times_in_ten():
    readings = [[Reading("alarm", 0.05, False)]] * 100
    (check,) = judge(readings, confidence_level=0.95)
    fails_from = next(
        alarms
        for alarms in range(101)
        if not judge([[Reading("alarm", 0.05, place < alarms)] for place in range(100)], confidence_level=0.95)[
            0
        ].passed
    )
    assert stats.binom.sf(fails_from - 1, 100, check.noticeable_rate) == pytest.approx(0.9)
    assert stats.binom.sf(fails_from - 1, 100, 0.05) <= 0.05 < stats.binom.sf(fails_from - 2, 100, 0.05)
    (hopeless,) = judge([[Reading("alarm", 0.99, True)]] * 20, confidence_level=0.95)
    assert hopeless.passed and hopeless.noticeable_rate == 1.0


def test_repeats_are_reproducible_and_disjoint_blocks_are():
    seen: list[np.ndarray] = []

    def remember(sample, seed):
        seen.append(np.concatenate([sample.members, sample.nonmembers])[:, 0])
        return np.random.default_rng(seed).random()

    records = np.arange(205.0)
    self_test(remember, records, n_repeats=20, splits="disjoint", seed=0)
    assert len(np.unique(np.concatenate(seen))) == 200 and all(len(block) == 10 for block in seen)
    first = self_test(remember, records, n_repeats=20, seed=0).p_values
    assert first == self_test(remember, records, n_repeats=20, seed=0).p_values
    assert first != self_test(remember, records, n_repeats=20, seed=1).p_values
    assert all(np.array_equal(np.sort(block), records) for block in seen[20:])
    assert not np.array_equal(seen[20], seen[21])


def test_decisions_and_wide_records():
    quiet = self_test(lambda sample, seed: np.bool_(False), np.zeros((40, 2, 3)), n_repeats=20, seed=0)
    assert quiet.passed and quiet.checks[0].name == "alarm" and quiet.checks[0].n_alarms == 0
    loud = self_test(lambda sample, seed: sample.members.shape == (20, 6), np.zeros((40, 2, 3)), n_repeats=20, seed=0)
    assert not loud.passed and loud.checks[0].n_alarms == 20
    auc = self_test(lambda sample, seed: Interval(0.4, 0.6), NORMAL, null_value=0.5, n_repeats=20, seed=0)
    assert auc.passed and auc.checks[0].name == "interval without 0.5" and auc.checks[0].level == pytest.approx(0.1)


def test_progress_is_reported(capsys):
    steps = []
    self_test(uniform, NORMAL, n_repeats=20, seed=0, progress=lambda stage, fraction: steps.append(fraction))
    assert steps[0] == 0.0 and steps[-1] == 1.0 and steps == sorted(steps) and len(steps) == 22
    self_test(uniform, NORMAL, n_repeats=20, seed=0, progress=True)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "pipeline, settings, error, message",
    [
        (uniform, {"n_repeats": 19}, ValueError, "n_repeats=19 must be at least 20"),
        (uniform, {"confidence_level": 95}, ValueError, "confidence_level=95"),
        (uniform, {"splits": "folds"}, ValueError, "splits='folds' is not known"),
        (uniform, {"nonmembers": NORMAL[:3]}, ValueError, "nonmembers has 3 rows; at least 4"),
        (uniform, {"splits": "disjoint", "nonmembers": NORMAL[:79]}, ValueError, "has 79 rows; at least 80"),
        (uniform, {"n_members": 199}, ValueError, "n_members=199 leaves fewer than 2 of the 200"),
        (uniform, {"n_members": 1}, ValueError, "n_members=1 must be at least 2"),
        (uniform, {"nonmembers": [0.0, np.nan, 1, 2]}, ValueError, "nonmembers has NaN"),
        ("no function", {}, TypeError, "pipeline='no function' must be callable"),
        (lambda sample, seed: None, {}, TypeError, "returned a NoneType; return a p-value"),
        (lambda sample, seed: 1.2, {}, ValueError, r"returned the p-value 1\.2"),
        (lambda sample, seed: float("nan"), {}, ValueError, "returned the p-value nan"),
        (lambda sample, seed: Interval(1.0, 0.0), {}, ValueError, "whose low exceeds its high"),
        (
            lambda sample, seed: optimal_membership_advantage(sample, n_permutations=0, seed=0),
            {"nonmembers": NORMAL[:40]},
            ValueError,
            "has no permutations",
        ),
        (
            lambda sample, seed: 0.5 if seed % 2 else Interval(0.0, 1.0),
            {},
            ValueError,
            "every repeat must return the same kind of result",
        ),
    ],
)
def test_bad_input(pipeline, settings, error, message):
    settings = {"nonmembers": NORMAL, "n_repeats": 20, "seed": 0, **settings}
    with pytest.raises(error, match=message):
        self_test(pipeline, settings.pop("nonmembers"), **settings)


def test_an_error_names_the_repeat():
    def fails(sample: MembershipSample, seed: int):
        raise KeyError("absent")

    with pytest.raises(KeyError) as caught:
        self_test(fails, NORMAL, n_repeats=20, seed=0)
    assert "in repeat 0 of 20 of the self-test, with the pipeline's seed" in caught.value.__notes__[0]
