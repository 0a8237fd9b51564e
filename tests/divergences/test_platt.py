"""Log ratios brought to scale: flattened ones are straightened, separated ones stay finite."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

from mace_jax import divergences as dv
from mace_jax.divergences import _variational
from mace_jax.divergences._platt import recalibrated
from mace_jax.estimators import KNN
from tests._support import assert_close
from tests.divergences import draws


def by_definition(p, q):
    """Logistic regression on T by a general optimizer."""
    high, low = (len(p) + 1.0) / (len(p) + 2.0), 1.0 / (len(q) + 2.0)

    def loss(at):
        u, v = at[0] + at[1] * p, at[0] + at[1] * q
        return np.mean(np.logaddexp(0.0, u) - high * u) + np.mean(np.logaddexp(0.0, v) - low * v)

    found = minimize(loss, np.array([0.0, 1.0]), method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-14})
    return found.x[0] + found.x[1] * p, found.x[0] + found.x[1] * q


@pytest.mark.parametrize("scale", [0.3, 1.0, 3.0])
def test_it_is_logistic_regression_at_prior_one_half(scale):
    p, q = (part.ravel() for part in draws.gaussians(1.0, 1, 300, 90, seed=1))
    found, expected = recalibrated(scale * p, scale * q), by_definition(scale * p, scale * q)
    assert found is not None
    np.testing.assert_allclose(np.concatenate(found), np.concatenate(expected), atol=1e-5)


def test_scale_and_origin_of_the_scores_do_not_matter():
    p, q = (part.ravel() for part in draws.gaussians(2.0, 1, 4000, 3000, seed=2))
    exact, moved = recalibrated(2.0 * p - 2.0, 2.0 * q - 2.0), recalibrated(0.3 * p + 7.0, 0.3 * q + 7.0)
    assert exact is not None
    assert moved is not None
    assert_close(exact[0], moved[0])
    assert_close(exact[1], moved[1])
    assert abs(np.polyfit(p, exact[0], 1) - [2.0, -2.0]).max() < 0.2  # the true log ratio is 2 x - 2


def test_separated_scores_stay_finite_and_reversed_ones_say_nothing():
    found = recalibrated(np.full(50, 4.0), np.full(60, -4.0))
    assert found is not None
    assert 3.0 < found[0].mean() < np.log(52.0)
    wide = recalibrated(np.linspace(100.0, 900.0, 50), np.linspace(-900.0, -100.0, 60))
    assert wide is not None
    assert np.isfinite(np.concatenate(wide)).all()
    rng = np.random.default_rng(3)
    p, q = rng.normal(-0.5, 1.0, size=200), rng.normal(0.5, 1.0, size=200)
    assert recalibrated(p, q) is None
    assert recalibrated(np.zeros(5), np.zeros(6)) is None
    value, (of_p, of_q) = _variational.plug_in(_variational.CrossFitted(p, q, False))
    assert value == 0.0
    assert of_p.std() > 0.0
    assert of_q.std() > 0.0


@pytest.mark.slow
def test_the_classifier_form_gains_by_it():
    raw, scaled = [], []
    for seed in range(6):
        p, q = draws.gaussians(2.0, 5, 500, 500, seed)
        truth = (2.0 * p[:, 0] - 2.0).mean()  # the true log ratio of the same records
        fitted = _variational.cross_fitted_log_ratio(p, q, KNN(), seed=0)
        raw.append(fitted.p.mean() - truth)
        scaled.append(dv.kl(p, q, method="classifier", seed=0).value - truth)
    assert abs(np.mean(scaled)) < 0.7 * abs(np.mean(raw))
