"""score_report: rates by one stated definition, precision at priors, groups, and nothing certified on a null."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import stats

from mace_jax import score_report

QUICK = {"n_resamples": 200}


@pytest.fixture(scope="module")
def shifted():
    rng = np.random.default_rng(0)
    return rng.normal(1.0, 1.0, 3000), rng.normal(0.0, 1.0, 2000)


def test_rates_are_those_at_the_largest_realized_fpr(shifted):
    members, nonmembers = shifted
    (row,) = score_report(members, nonmembers, targets=[0.01, 0.001, 0.0001], **QUICK).rows
    for found, allowed in zip(row.rates, (20, 2, 0), strict=True):
        above = np.sort(nonmembers)[::-1][allowed]
        assert found.n_false_positives == np.sum(nonmembers > above) == allowed
        assert found.tpr == pytest.approx(np.mean(members > above))
        assert found.low < found.tpr < found.high
    assert [rate.too_few for rate in row.rates] == [False, False, True]
    assert row.rates[0].fpr_low == pytest.approx(stats.beta.ppf(0.025, 21, 1980))
    assert row.rates[0].fpr_high == pytest.approx(stats.beta.ppf(0.975, 21, 1980))
    published = score_report([1, 3], [0, 2], targets=[0, 0.25, 0.5, 0.75], **QUICK).rows[0]
    assert [rate.tpr for rate in published.rates] == [0.5, 0.5, 1.0, 1.0]


def test_precision_at_a_prior_and_its_cautious_limit(shifted):
    (row,) = score_report(*shifted, targets=[0.1, 0.0], priors=[0.5, 0.01], **QUICK).rows
    first, none = row.rates
    for prior, value, low in first.precision:
        assert value == pytest.approx(first.tpr * prior / (first.tpr * prior + first.realized_fpr * (1 - prior)))
        assert prior < low < value
    assert none.realized_fpr == 0.0 and [value for _, value, _ in none.precision] == [1.0, 1.0]
    assert none.precision[1][2] < 0.6  # an FPR of 0 in 2,000 proves little at a prior of 1 %


def test_auc_interval_and_sign(shifted):
    found = score_report(*shifted, confidence_level=0.999, **QUICK)
    row, truth = found.of("all"), stats.norm.cdf(np.sqrt(0.5))
    assert row.auc_low < truth < row.auc_high and found.auc_bootstrap[0] < truth < found.auc_bootstrap[1]
    assert 0.0 < found.epsilon
    turned = score_report(-shifted[0], -shifted[1], **QUICK)
    assert turned.rows[0].auc == pytest.approx(1.0 - row.auc) and turned.rows[0].p_value > 0.99
    assert turned.epsilon == 0.0


def test_a_group_is_a_report_of_its_records(shifted):
    members, nonmembers = shifted
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 3, 3000), rng.integers(0, 3, 2000)
    slices = {"high": (members > 1.0, nonmembers > 1.0), "empty": (members > 99.0, nonmembers > 0.0)}
    found = score_report(*shifted, member_labels=labels[0], nonmember_labels=labels[1], slices=slices, **QUICK)
    assert [row.group for row in found.rows] == ["all", "class 0", "class 1", "class 2", "high"]
    assert found.left_out == ("empty",)
    alone = score_report(members[labels[0] == 2], nonmembers[labels[1] == 2], **QUICK)
    assert found.of("class 2").rates == alone.rows[0].rates
    assert found.of("class 2").auc == alone.rows[0].auc
    assert json.loads(json.dumps(found.to_dict()))["rows"][4]["group"] == "high"
    assert "class 1" in found.summary and "epsilon >=" in found.summary
    with pytest.raises(KeyError, match="it has all, class 0"):
        found.of("class 9")


def test_equal_scores_tell_nothing():
    row = score_report(np.zeros(50), np.zeros(60), **QUICK).rows[0]
    assert row.auc == 0.5 and row.p_value == 1.0 and row.advantage == 0.0
    assert all(rate.tpr == 0.0 and rate.precision[0][1] == 0.5 for rate in row.rates)


@pytest.mark.slow
def test_nothing_is_found_where_nothing_is():
    rng = np.random.default_rng(2)
    p_values, certified = [], 0
    for _ in range(300):
        found = score_report(rng.normal(size=150), rng.normal(size=200), n_resamples=100)
        p_values.append(found.rows[0].p_value)
        certified += found.epsilon > 0.0
    assert stats.kstest(p_values, "uniform").pvalue > 0.01
    assert certified <= 15 + 3 * np.sqrt(300 * 0.05 * 0.95)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"member_scores": [1.0]}, "member_scores holds 1 scores"),
        ({"nonmember_scores": [1.0, np.inf]}, "nonmember_scores"),
        ({"targets": [1.5]}, "target=1.5"),
        ({"priors": [0.0]}, "prior=0"),
        ({"member_labels": [1, 2, 3]}, "go together"),
        ({"slices": {"all": ([True] * 3, [True] * 2)}}, "name 'all', which is taken"),
        ({"slices": {"odd": ([True], [True])}}, "two masks of bool"),
    ],
)
def test_bad_input(changes, message):
    with pytest.raises(ValueError, match=message):
        score_report(**{"member_scores": [1.0, 2.0, 3.0], "nonmember_scores": [1.0, 2.0], **changes}, **QUICK)
