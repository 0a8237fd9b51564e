"""bootstrap_roc: replicates against the definition, limits that cover, bounds where counts are rare, its messages."""

from __future__ import annotations

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from mace_jax._random import key
from mace_jax._status import Status
from mace_jax.bootstrap._roc import bootstrap_roc
from mace_jax.bootstrap._roc_limits import area_limits, error_freedom, tpr_limits
from mace_jax.bootstrap._roc_sample import roc_sample
from mace_jax.metrics import roc
from mace_jax_kernels._weights import in_order, weight_parts

RATES = (0.01, 0.1, 0.4)


def drawn_weights(seed, group, rows, n_blocks, kind="poisson"):
    words = jax.random.key_data(key(seed, "bootstrap", group))
    return np.asarray(in_order(weight_parts(words, 0, n_blocks, jnp.asarray(rows, jnp.uint32), kind), n_blocks))


def scores(rng, n=150, m=90, digits=1):
    return rng.normal(1, 1, n).round(digits), rng.normal(0, 1, m).round(digits)


@pytest.fixture(scope="module")
def result():
    rng = np.random.default_rng(0)
    return bootstrap_roc(
        rng.normal(1, 1, 100), rng.normal(0, 1, 140), false_positive_rates=RATES, n_resamples=200, seed=0
    )


def test_every_replicate_is_the_roc_of_repeated_records(rng):
    """A replicate with whole weights is the ROC curve of the records written down that many times."""
    members, nonmembers = scores(rng)
    found = bootstrap_roc(members, nonmembers, false_positive_rates=RATES, n_resamples=200, seed=3)
    curve = roc(members, nonmembers)
    assert found.auc_estimate == pytest.approx(curve.auc)
    assert found.tpr_estimates == tuple(curve.tpr_at_fpr(rate).tpr for rate in RATES)
    ours, theirs = (drawn_weights(3, name, range(n), 4) for name, n in (("members", 150), ("nonmembers", 90)))
    for b in range(0, 200, 7):
        again = roc(np.repeat(members, ours[b].astype(int)), np.repeat(nonmembers, theirs[b].astype(int)))
        assert found.auc.distribution[b] == pytest.approx(again.auc, rel=1e-6)
        for rate, each in zip(RATES, found.tpr, strict=True):
            assert each.distribution[b] == pytest.approx(again.tpr_at_fpr(rate).tpr, rel=1e-12)


def test_standard_errors_are_those_of_theory(rng):
    members, nonmembers = rng.normal(1, 1, 800), rng.normal(0, 1, 1200)
    found = bootstrap_roc(members, nonmembers, false_positive_rates=(0.1,), n_resamples=1000, seed=0)
    curve = roc(members, nonmembers)
    assert found.auc.standard_error == pytest.approx(curve.auc_standard_error, rel=0.1)
    assert (found.auc.low, found.auc.high) == pytest.approx(curve.auc_interval(), abs=0.2 * curve.auc_standard_error)
    slope = np.exp(special.ndtri(0.9) - 0.5)  # of the ROC curve: ratio of the densities at the threshold
    truth = special.ndtr(special.ndtri(0.1) + 1.0)
    theory = np.sqrt(truth * (1 - truth) / 800 + slope**2 * 0.09 / 1200)
    assert found.tpr[0].standard_error == pytest.approx(theory, rel=0.25)
    assert (found.tpr[0].high - found.tpr[0].low) / 3.92 == pytest.approx(theory, rel=0.2)


@pytest.mark.parametrize(
    ("method", "weights"),
    [
        ("bca", "poisson"),
        ("percentile", "poisson"),
        ("basic", "poisson"),
        ("auto", "bayesian"),
        ("percentile", "double_or_nothing"),
    ],
)
def test_methods_and_weights_agree_where_all_is_normal(rng, method, weights):
    members, nonmembers = rng.normal(1, 1, 900), rng.normal(0, 1, 1100)
    settings = {"false_positive_rates": (0.2,), "n_resamples": 1000, "seed": 1}
    found = bootstrap_roc(members, nonmembers, method=method, weights=weights, **settings)
    usual = bootstrap_roc(members, nonmembers, **settings)
    for ours, theirs in ((found.auc, usual.auc), (found.tpr[0], usual.tpr[0])):
        error = theirs.standard_error
        assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.7 * error)
        assert ours.standard_error == pytest.approx(error, rel=0.15)


def test_results_depend_on_seed_and_row_alone(rng):
    members, nonmembers = scores(rng)
    run = lambda **changes: bootstrap_roc(  # noqa: E731
        members, nonmembers, **{"false_positive_rates": RATES, "n_resamples": 200, "seed": 3, **changes}
    )
    first, again, longer, other = run(), run(), run(n_resamples=256), run(seed=4)
    assert (first.auc.low, first.tpr[1].high) == (again.auc.low, again.tpr[1].high)
    np.testing.assert_array_equal(first.auc.distribution, longer.auc.distribution[:200])
    np.testing.assert_array_equal(first.tpr[1].distribution, longer.tpr[1].distribution[:200])
    assert (first.auc.distribution != other.auc.distribution).any()
    # a key is a seed too, and more rates change nothing
    assert run(seed=jax.random.key(3)).auc.low == first.auc.low
    assert run(false_positive_rates=(0.1,)).tpr[0].low == first.tpr[1].low


def test_records_of_a_cluster_share_a_weight(rng):
    members, nonmembers = rng.normal(1, 1, 100), rng.normal(0, 1, 100)
    copies = [np.repeat(group, 4) for group in (members, nonmembers)]
    owner = np.repeat(np.arange(100), 4)
    alone = bootstrap_roc(members, nonmembers, false_positive_rates=(0.3,), n_resamples=1000, seed=0)
    found = bootstrap_roc(*copies, clusters=(owner, owner), false_positive_rates=(0.3,), n_resamples=1000, seed=0)
    np.testing.assert_allclose(found.auc.distribution, alone.auc.distribution, rtol=1e-6)
    assert (found.auc.low, found.auc.high) == pytest.approx((alone.auc.low, alone.auc.high), rel=1e-6)
    assert (found.tpr[0].low, found.tpr[0].high) == pytest.approx((alone.tpr[0].low, alone.tpr[0].high), abs=0.04)
    naive = bootstrap_roc(*copies, false_positive_rates=(0.3,), n_resamples=1000, seed=0)
    assert naive.auc.standard_error < 0.6 * found.auc.standard_error


def test_separated_groups_get_exact_limits(rng):
    found = bootstrap_roc(5 + rng.random(40), rng.random(60), false_positive_rates=(0.01,), n_resamples=200, seed=0)
    assert Status.RARE_COUNTS in found.auc.status and found.auc.high == 1.0
    assert found.auc.low == pytest.approx(stats.beta.ppf(0.025, 40, 1))
    assert found.auc.method == "disjoint pairs" and "disjoint pairs" in found.auc.covers
    assert 0 <= found.tpr[0].low <= 1 == found.tpr[0].high
    below = bootstrap_roc(rng.random(40), 5 + rng.random(60), false_positive_rates=(0.5,), n_resamples=200, seed=0)
    assert below.auc.low == 0.0 and below.tpr[0].low == 0.0


def test_all_equal_and_single_records():
    for members, nonmembers in ((np.ones(50), np.ones(50)), ([2.0], [1.0]), ([1.0], [2.0]), ([1.0, 2.0], [1.5])):
        found = bootstrap_roc(members, nonmembers, n_resamples=200, seed=0)
        for each in (found.auc, *found.tpr):
            assert 0.0 <= each.low <= each.high <= 1.0 and np.isfinite(each.distribution).all()
            assert np.isfinite(each.standard_error)
    assert Status.TOO_FEW_SAMPLES in found.auc.status


def test_rare_false_positives_get_bounds_that_say_so(result):
    assert Status.RARE_COUNTS in result.tpr[0].status and "more often than the level" in result.tpr[0].covers
    assert result.tpr[0].method == "order statistics"
    assert Status.RARE_COUNTS not in result.tpr[2].status and result.tpr[2].method == "auto"
    json.dumps(result.to_dict())
    assert repr(result).startswith("RocBootstrap(AUC 0.")


def test_bounds_are_the_order_statistics_of_the_definition():
    """100 non-members at 10 %: the chance that the k-th largest has a true FPR on the wrong side, by the binomial."""
    above = np.arange(102.0)[None]
    limits = tpr_limits(above, above, 101, 0.1, 0.05)
    below = max(k for k in range(102) if k == 0 or stats.beta.sf(0.1, k, 101 - k) <= 0.025)
    beyond = min(k for k in range(1, 101) if stats.beta.cdf(0.1, k, 101 - k) <= 0.025)
    assert limits.conservative.all()
    assert limits.low[0] == pytest.approx(stats.beta.ppf(0.025, below, 102 - below))
    assert limits.high[0] == pytest.approx(stats.beta.ppf(0.975, beyond + 1, 101 - beyond))


def test_ties_widen_and_are_flagged():
    """A quarter of the non-members shares the score at the threshold: both sides of it are in the interval."""
    rng = np.random.default_rng(0)
    members, nonmembers = rng.integers(0, 4, 400).astype(float), rng.integers(0, 4, 400).astype(float)
    found = bootstrap_roc(members, nonmembers, false_positive_rates=(0.4,), n_resamples=200, seed=0)
    assert Status.TIES in found.tpr[0].status
    assert found.tpr[0].low < 0.25 < found.tpr[0].high and found.tpr[0].high > 0.45


def test_degrees_of_freedom():
    rng = np.random.default_rng(0)
    normal = rng.normal(size=100_000)
    assert float(error_freedom([normal - normal.mean()])) == pytest.approx(100_000, rel=0.05)
    lonely = np.zeros(1000)
    lonely[0] = 1.0
    assert float(error_freedom([lonely - lonely.mean(), np.zeros(5)])) < 3
    low, high = area_limits(np.float64(0.9), np.float64(0.01), np.float64(1e9), 0.025)
    reach = 1.959964 * 0.01 / 0.09
    assert (low, high) == pytest.approx(tuple(special.expit(special.logit(0.9) + np.array([-reach, reach]))), abs=1e-6)


@pytest.mark.parametrize(("rate", "shift", "n", "m"), [(0.1, 1.0, 200, 200), (0.5, 1.0, 150, 60), (0.1, 2.0, 40, 360)])
def test_tpr_limits_cover_the_true_tpr(rate, shift, n, m):
    rng, truth = np.random.default_rng(5), special.ndtr(special.ndtri(rate) + shift)
    members, others = np.sort(rng.normal(shift, 1, (600, n))), np.sort(rng.normal(size=(600, m)))
    above = np.zeros((600, m + 2))
    above[:, -1] = n
    for row in range(600):
        above[row, 1:-1] = n - np.searchsorted(members[row], others[row, ::-1])
    limits = tpr_limits(above, above, n, rate, 0.025)
    slack = 3 * np.sqrt(0.025 * 0.975 / 600)
    assert (limits.low > truth).mean() < 0.031 + slack
    assert (limits.high < truth).mean() < 0.031 + slack
    assert ((limits.low <= truth) & (truth <= limits.high)).mean() < 0.96 + slack


def test_bounds_for_rare_false_positives_cover_at_least():
    rng, truth = np.random.default_rng(5), special.ndtr(special.ndtri(0.01) + 1)
    misses = 0
    for _ in range(400):
        sample = roc_sample(rng.normal(1, 1, 100), rng.normal(0, 1, 300), None)
        limits = tpr_limits(sample.above, sample.level_or_above, 100, 0.01, 0.025)
        misses += not limits.low <= truth <= limits.high
    assert misses <= 20


def test_the_band_holds_the_curve_together_and_is_wider_than_one_interval(rng):
    members, nonmembers = rng.normal(1, 1, 400), rng.normal(0, 1, 600)
    found = bootstrap_roc(members, nonmembers, false_positive_rates=(0.1,), n_resamples=1000, seed=0)
    band = found.band([0.01, 0.1, 0.3, 0.7])
    truth = special.ndtr(special.ndtri(band.false_positive_rates) + 1)
    assert (band.low <= truth).all() and (truth <= band.high).all()
    assert band.low[1] < found.tpr[0].low and found.tpr[0].high < band.high[1]
    assert (np.diff(band.low) >= 0).all() and (np.diff(band.high) >= 0).all()
    assert Status.RARE_COUNTS in band.status and band.confidence_level == 0.95
    narrower = found.band([0.01, 0.1, 0.3, 0.7], confidence_level=0.8)
    assert (narrower.low >= band.low).all() and (narrower.high <= band.high).all()
    json.dumps(band.to_dict())


def test_bad_arguments(result):
    fine = [1.0, 2.0, 3.0]
    with pytest.raises(ValueError, match="member_scores has NaN or infinity"):
        bootstrap_roc([1.0, np.nan], fine, seed=0)
    with pytest.raises(ValueError, match="nonmember_scores has 0 rows"):
        bootstrap_roc(fine, [], seed=0)
    with pytest.raises(ValueError, match="must be one number per record"):
        bootstrap_roc(np.zeros((3, 2)), fine, seed=0)
    for rate in (0.0, 1.0, -0.1, np.nan):
        with pytest.raises(ValueError, match="false_positive_rates=.* must lie strictly between 0 and 1"):
            bootstrap_roc(fine, fine, false_positive_rates=(rate,), seed=0)
    with pytest.raises(ValueError, match="n_resamples=50 must be at least 100"):
        bootstrap_roc(fine, fine, n_resamples=50, seed=0)
    with pytest.raises(ValueError, match="confidence_level=95"):
        bootstrap_roc(fine, fine, confidence_level=95, seed=0)
    with pytest.raises(ValueError, match="method='normal' is not known"):
        bootstrap_roc(fine, fine, method="normal", seed=0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="weights='cauchy' is not known"):
        bootstrap_roc(fine, fine, weights="cauchy", seed=0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="have no skewness"):
        bootstrap_roc(fine, fine, method="bca", weights="double_or_nothing", seed=0)
    with pytest.raises(ValueError, match="clusters must be a pair"):
        bootstrap_roc(fine, fine, clusters=[1, 2, 3], seed=0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"clusters have shape \(2,\) for 3 scores"):
        bootstrap_roc(fine, fine, clusters=([1, 2], [1, 2, 3]), seed=0)
    with pytest.raises(ValueError, match="must ascend"):
        result.band([0.2, 0.1])
    with pytest.raises(ValueError, match="confidence_level=2"):
        result.band(confidence_level=2)
