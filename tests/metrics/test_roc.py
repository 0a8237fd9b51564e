"""ROC: hand-made curves, scikit-learn as a twin, DeLong's error against its sampling distribution."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sk

from mace_jax.datasets._closed_form import GaussianShift
from mace_jax.metrics import roc


@pytest.mark.parametrize("decimals", [0, 1, 8])
def test_area_and_curve_equal_scikit_learns(decimals, rng):
    members, others = np.round(rng.normal(1, 1, 300), decimals), np.round(rng.normal(size=500), decimals)
    curve = roc(members, others)
    labels, scores = np.repeat([1, 0], [300, 500]), np.concatenate([members, others])
    assert curve.auc == pytest.approx(sk.roc_auc_score(labels, scores), abs=1e-12)
    fpr, tpr, _ = sk.roc_curve(labels, scores, drop_intermediate=False)
    np.testing.assert_allclose(curve.false_positive_rate, fpr)
    np.testing.assert_allclose(curve.true_positive_rate, tpr)
    assert curve.advantage == pytest.approx((tpr - fpr).max())


def test_tpr_at_fpr_uses_the_realized_rate_and_whole_ties():
    curve = roc([3, 2, 2, 0], [2, 1, 1, 0])
    at_none, at_quarter, at_half = (curve.tpr_at_fpr(f) for f in (0.0, 0.25, 0.5))
    assert (at_none.tpr, at_none.realized_fpr, at_none.threshold) == (0.25, 0.0, 3.0)
    assert (at_quarter.tpr, at_quarter.realized_fpr) == (0.75, 0.25)
    assert (at_half.tpr, at_half.realized_fpr) == (0.75, 0.25)
    assert at_none.low == pytest.approx(stats.beta.ppf(0.025, 1, 4))
    assert at_none.high == pytest.approx(stats.beta.ppf(0.975, 2, 3))
    nothing = roc([0, 0], [1, 1]).tpr_at_fpr(0.01)
    assert (nothing.tpr, nothing.low) == (0.0, 0.0) and nothing.threshold == np.inf
    assert roc([5, 5], [1, 1]).tpr_at_fpr(0.0).high == 1.0


def test_a_gaussian_shift_has_its_known_curve():
    sample = GaussianShift(1.0).draw(40_000, 40_000, seed=0)
    curve = roc(sample.members, sample.nonmembers)
    assert curve.auc == pytest.approx(0.760250, abs=0.006)
    assert curve.tpr_at_fpr(0.01).tpr == pytest.approx(0.092362, abs=0.012)
    low, high = curve.band(0.95)
    truth = stats.norm.sf(stats.norm.isf(curve.false_positive_rate) - 1.0)
    assert ((low <= truth) & (truth <= high)).all()


def test_delong_error_and_interval_match_repeated_draws():
    curves = [roc(s.members, s.nonmembers) for s in (GaussianShift(1.0).draw(80, 120, seed=i) for i in range(400))]
    areas = np.asarray([curve.auc for curve in curves])
    errors = np.asarray([curve.auc_standard_error for curve in curves])
    assert errors.mean() == pytest.approx(areas.std(), rel=0.12)
    covered = np.mean([low <= 0.760250 <= high for low, high in (curve.auc_interval(0.95) for curve in curves)])
    assert 0.95 - 3 * np.sqrt(0.0475 / 400) <= covered


def test_perfect_and_reversed_scores():
    perfect = roc([2, 3, 4], [0, 1])
    assert perfect.auc == 1.0 and perfect.advantage == 1.0
    # two disjoint pairs, both in the right order
    assert perfect.auc_interval() == pytest.approx((0.025**0.5, 1.0))
    assert roc([0, 1], [2, 3, 4]).auc_interval() == pytest.approx((0.0, 1.0 - 0.025**0.5))
    assert roc([1.0], np.arange(100.0) - 90).auc_interval() == pytest.approx((0.0, 1.0), abs=0.1)
    assert roc([0, 1], [2, 3]).advantage == 0.0
    json.dumps(perfect.to_dict())
    assert repr(perfect) == "Roc(auc=1.0000, members=3, nonmembers=2)"


def test_bad_arguments():
    with pytest.raises(ValueError, match="member_scores has 0 rows"):
        roc([], [1.0])
    with pytest.raises(ValueError, match="nonmember_scores has NaN or infinity in 1 of 2 rows, first in row 1"):
        roc([1.0], [0.0, np.nan])
    with pytest.raises(ValueError, match="one number per record"):
        roc(np.zeros((3, 2)), np.zeros((3, 2)))
    with pytest.raises(ValueError, match="target=1"):
        roc([1.0], [0.0]).tpr_at_fpr(1)
