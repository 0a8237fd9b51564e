"""advantage_curve: the same numbers as one metric at a time, from one cross-fit."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mace_jax import optimal_membership_advantage
from mace_jax.datasets._closed_form import GaussianShift
from mace_jax.estimators import KNN, Threshold
from mace_jax.metrics import AdvantageCurve, accuracy, advantage_curve, f_beta, precision

METRICS = ("accuracy", precision(min_recall=0.2))


@pytest.mark.parametrize(
    "estimator, width, n_folds", [pytest.param(KNN(k=15), 2, 3, marks=pytest.mark.slow), (Threshold(), 1, 2)]
)
def test_every_point_is_the_single_estimate(estimator, width, n_folds):
    sample = GaussianShift(1.0, n_outputs=width).draw(150, 210, seed=0)
    settings = {"estimator": estimator, "n_permutations": 25, "n_folds": n_folds, "seed": 4}
    curve = advantage_curve(sample, metrics=METRICS, priors=(0.5, 0.2), **settings)
    assert isinstance(curve, AdvantageCurve) and len(curve) == 4 and curve.null.shape == (4, 25)
    for row, (metric, prior) in enumerate((metric, prior) for metric in METRICS for prior in (0.5, 0.2)):
        alone = optimal_membership_advantage(sample, metric=metric, prior=prior, **settings)
        point = curve.at(metric, prior)
        assert (point.metric, point.prior) == (alone.metric.name, alone.prior)
        assert point.lower_rule == pytest.approx(alone.lower_rule, abs=1e-12)
        assert point.plug_in == pytest.approx(alone.plug_in, abs=1e-12)
        np.testing.assert_allclose(curve.null[row], alone.null, atol=1e-12)
        assert point.p_value == alone.p_value
        if estimator.gives_posterior:
            assert point.null_plug_in_mean == pytest.approx(alone.null_plug_in_mean, abs=1e-6)
        else:
            assert np.isnan(point.null_plug_in_mean)


def test_the_curve_of_a_gaussian_shift_and_its_table():
    sample = GaussianShift(1.0).draw(3000, 3000, seed=0)
    curve = advantage_curve(sample, metrics=[accuracy, f_beta(1)], priors=(0.5, 0.1), n_permutations=0, seed=0)
    assert curve.at("accuracy", 0.5).value == pytest.approx(0.6915, abs=0.025)
    assert curve.at("accuracy", 0.1).trivial == pytest.approx(0.9)
    assert curve.at(f_beta(1), 0.1).value == pytest.approx(0.3433, abs=0.04)
    assert np.isnan(curve.points[0].null_mean) and curve.points[0].p_value == 1.0
    assert len(repr(curve).splitlines()) == 5
    table = json.loads(json.dumps(curve.to_dict()))
    assert table["points"][0]["advantage"] == curve.points[0].advantage
    assert [point.prior for point in curve] == [0.5, 0.1, 0.5, 0.1]


@pytest.mark.slow
def test_the_null_at_the_chosen_k():
    """With every fold's choice fixed, the null is that of an estimator without a choice."""
    sample = GaussianShift(1.0).draw(120, 120, seed=0)
    settings = {"metrics": ["f_1"], "priors": [0.3], "n_permutations": 15, "n_folds": 3, "seed": 0}
    chosen = advantage_curve(sample, estimator=KNN(k=(2, 41)), permute_choice=False, **settings)
    assert chosen.n_neighbors == (41, 41, 41)
    alone = advantage_curve(sample, estimator=KNN(k=41), **settings)
    np.testing.assert_array_equal(chosen.null, alone.null)
    assert chosen.points == alone.points


def test_progress_and_bad_arguments():
    sample = GaussianShift(1.0).draw(40, 40, seed=0)
    seen: list[float] = []
    settings = {"estimator": Threshold(), "metrics": "accuracy", "priors": [0.5], "seed": 0}
    advantage_curve(sample, n_permutations=20, on_progress=seen.append, **settings)
    assert seen and seen[-1] == 1.0
    with pytest.raises(ValueError, match="must not be empty"):
        advantage_curve(sample, metrics=[], seed=0)
    with pytest.raises(ValueError, match="n_folds=41"):
        advantage_curve(sample, n_folds=41, seed=0)
    with pytest.raises(KeyError, match="No point for metric='jaccard'"):
        advantage_curve(sample, n_permutations=0, **settings).at("jaccard", 0.5)
