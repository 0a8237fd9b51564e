"""Beside jax-privacy's auditor on the same scores, and its published search over hull vertices.

It guesses "member" from a threshold on, we above it, so thresholds here lie between scores.
"""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy import stats

from mace_jax.certificates import (
    epsilon_from_counts,
    epsilon_from_scores,
    epsilon_gdp,
    epsilon_one_run,
    epsilon_one_run_fdp,
    gdp_epsilon,
    mu_one_run_fdp,
    one_run_p_value,
)
from mace_jax.certificates._one_run_fdp import _rejects


def auditing():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("jax_privacy.auditing")


SCORES = {
    "normal": lambda rng: (rng.normal(1.5, 1, 300), rng.normal(0, 1, 260)),
    "ties": lambda rng: (rng.integers(1, 6, 300) + 0.0, rng.integers(0, 5, 200) + 0.0),
    "null": lambda rng: (rng.normal(size=150), rng.normal(size=150)),
}


def counts_at(inside, outside, cut):
    return int((inside > cut).sum()), len(inside), int((outside > cut).sum()), len(outside)


@pytest.mark.parametrize("name", SCORES)
@pytest.mark.parametrize("delta", [0.0, 1e-5, 0.1])
@pytest.mark.parametrize("cut", [0.51, 2.01])
def test_one_threshold_agrees_when_it_looks_at_both_directions(name, delta, cut):
    other = auditing()
    scores = SCORES[name](np.random.default_rng(0))
    theirs = other.CanaryScoreAuditor(*scores).epsilon_clopper_pearson(
        0.05, delta, one_sided=False, threshold_strategy=other.Explicit(cut)
    )
    assert epsilon_from_scores(*scores, search=cut, delta=delta).epsilon == pytest.approx(theirs, abs=1e-9)


@pytest.mark.parametrize("name", SCORES)
@pytest.mark.parametrize("cut", [0.51, 2.01])
def test_one_run_agrees_when_only_members_are_guessed(name, cut):
    other = auditing()
    inside, outside = SCORES[name](np.random.default_rng(1))
    hits, n, alarms, m = counts_at(inside, outside, cut)
    auditor, strategy = other.CanaryScoreAuditor(inside, outside), other.Explicit(cut)
    for delta in (1e-6, 1e-3):
        theirs = auditor.epsilon_one_run(0.05, delta, threshold_strategy=strategy)
        assert epsilon_one_run(n + m, hits + alarms, hits, delta=delta) == pytest.approx(theirs, abs=2e-6)
        theirs = auditor.epsilon_one_run_fdp(0.05, delta, threshold_strategy=strategy)
        assert epsilon_one_run_fdp(n + m, hits + alarms, hits, delta=delta) == pytest.approx(theirs, abs=1e-4)


def hull_counts(inside, outside):
    """(true, false) positives at the vertices of the upper hull of the ROC."""
    cuts = np.append(-np.inf, np.unique(np.concatenate([inside, outside])))
    points = [(int((outside > cut).sum()), int((inside > cut).sum())) for cut in cuts] if len(cuts) < 2000 else list(
        zip(
            len(outside) - np.searchsorted(np.sort(outside), cuts, side="right"),
            len(inside) - np.searchsorted(np.sort(inside), cuts, side="right"),
            strict=True,
        )
    )  # fmt: skip
    hull: list[tuple[int, int]] = []
    for x, y in sorted({(int(x), int(y)) for x, y in points}):
        while len(hull) > 1 and (hull[-1][0] - hull[-2][0]) * (y - hull[-2][1]) >= (hull[-1][1] - hull[-2][1]) * (
            x - hull[-2][0]
        ):
            hull.pop()
        hull.append((x, y))
    return [(y, x) for x, y in hull]


def test_gaussian_bound_agrees_at_its_own_correction():
    """It divides the level by the number of hull vertices, which the same scores decide: a heuristic, not a bound."""
    other = auditing()
    inside, outside = SCORES["normal"](np.random.default_rng(2))
    vertices = hull_counts(inside, outside)
    level = 1 - 0.05 / len(vertices)
    mu = max(
        epsilon_gdp(300 - hits, 300, alarms, 260, delta=1e-5, confidence_level=level).mu for hits, alarms in vertices
    )
    theirs = other.CanaryScoreAuditor(inside, outside).epsilon_from_gdp(0.05, 1e-5)
    assert gdp_epsilon(mu, 1e-5) == pytest.approx(theirs, abs=1e-4)


def test_gaussian_bound_differs_without_evidence():
    """It takes the absolute value of a negative mu between two upper limits; ours says 0 there.

    Upper limits of FPR and FNR bound mu from below only where they add up to less than 1. On scores without any leak
    its bound is above 0.
    """
    other = auditing()
    inside, outside = SCORES["null"](np.random.default_rng(3))
    assert other.CanaryScoreAuditor(inside, outside).epsilon_from_gdp(0.05, 1e-3) > 0.0
    for hits, alarms in hull_counts(inside, outside):
        assert epsilon_gdp(150 - hits, 150, alarms, 150, delta=1e-3, confidence_level=0.999).epsilon == 0.0


@pytest.mark.parametrize("search", ["bonferroni", "split"])
def test_searches_differ_by_what_they_pay(search):
    """Its Bonferroni divides by the hull vertices, ours by ranks that n alone fixes; halves are drawn differently."""
    other = auditing()
    inside, outside = np.random.default_rng(4).normal([[2.0], [0.0]], 1, (2, 3000))
    strategy = other.Bonferroni() if search == "bonferroni" else other.Split(seed=0)
    theirs = other.CanaryScoreAuditor(inside, outside).epsilon_clopper_pearson(
        0.05, 1e-6, one_sided=False, threshold_strategy=strategy
    )
    assert epsilon_from_scores(inside, outside, search=search, delta=1e-6).epsilon == pytest.approx(theirs, abs=0.7)


@pytest.mark.parametrize(
    "mu, n_vertices, one_run, one_run_fdp, pair",
    [
        (1, 386, 1.13346, 2.164749, 1.787170),
        (2, 374, 2.311945, 4.7218075, 3.827951),
        (4, 140, 4.395568, 9.133752, 6.412509),
    ],
)
def test_published_search_over_hull_vertices(mu, n_vertices, one_run, one_run_fdp, pair):
    n, delta = 10_000, 1e-6
    outside = stats.norm.ppf((np.arange(n) + 0.5) / n)
    vertices = hull_counts(outside + mu, outside)
    assert len(vertices) == n_vertices
    error = 0.05 / n_vertices
    best_pair = best = best_mu = 0.0
    for hits, alarms in sorted(vertices, key=lambda entry: -entry[0] / max(1, sum(entry))):
        best_pair = max(best_pair, epsilon_from_counts(hits, n, alarms, n, delta=delta, confidence_level=1 - error))
        guesses = hits + alarms
        if guesses and one_run_p_value(2 * n, guesses, hits, best, delta=delta) < error:
            best = epsilon_one_run(2 * n, guesses, hits, delta=delta, confidence_level=1 - error)
        if guesses and _rejects(best_mu, 2 * n, guesses, hits, error):
            best_mu = mu_one_run_fdp(2 * n, guesses, hits, confidence_level=1 - error)
    assert best_pair == pytest.approx(pair, abs=6e-7)
    assert best == pytest.approx(one_run, abs=6e-6)
    assert gdp_epsilon(best_mu, delta) == pytest.approx(one_run_fdp, abs=6e-6)
