from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import optimize, stats

from mace_jax.attacks._quantile import QuantileCalibration, fit_quantiles, quantile_attack
from mace_jax.attacks._quantile_model import pinball
from mace_jax.metrics import roc


def test_the_pinball_loss_is_that_of_the_definition(rng):
    errors, tau = rng.normal(size=100), 0.9
    expected = tau * np.maximum(errors, 0.0) + (1.0 - tau) * np.maximum(-errors, 0.0)
    np.testing.assert_allclose(np.asarray(pinball(errors, tau)), expected, rtol=1e-6)


@pytest.mark.parametrize("tau", [0.5, 0.9, 0.99])
def test_its_minimizer_is_the_empirical_quantile(rng, tau):
    scores = rng.normal(size=499)
    found = optimize.minimize_scalar(
        lambda q: float(np.mean(pinball(scores - q, tau))), bounds=(-4, 4), method="bounded", options={"xatol": 1e-10}
    ).x
    ranked = np.sort(scores)
    place = int(np.ceil(tau * 499)) - 1
    assert ranked[place] == pytest.approx(found, abs=1e-3)


def test_a_constant_model_gives_the_empirical_quantiles(rng):
    scores = rng.gumbel(size=2000)
    alphas = (0.5, 0.1, 0.01)
    model = fit_quantiles(
        np.ones((2000, 1)), scores, head="pinball", alphas=alphas, hidden=(), held_out=0.0, steps=4000, batch_size=2000,
        learning_rate=1e-2, weight_decay=0.0,
    )  # fmt: skip
    for alpha in alphas:
        share = float((scores > model.quantile([[1.0]], alpha)[0]).mean())
        assert share == pytest.approx(alpha, abs=0.004)


def noisy(n, rng):
    """Scores whose center and spread depend on the first of two features."""
    x = rng.uniform(-1.0, 1.0, (n, 2))
    return x, 3.0 * x[:, 0] + np.exp(x[:, 0]) * rng.normal(size=n)


@pytest.mark.parametrize("head", ["gaussian", "pinball"])
def test_quantiles_follow_the_features_and_are_calibrated(head, rng):
    alphas = (0.2, 0.05)
    model = fit_quantiles(
        *noisy(6000, rng), head=head, alphas=alphas, hidden=(32,), steps=1000, learning_rate=5e-3, seed=1
    )
    x = np.column_stack([np.linspace(-0.9, 0.9, 7), np.zeros(7)])
    for alpha in alphas:
        truth = 3.0 * x[:, 0] + np.exp(x[:, 0]) * stats.norm.isf(alpha)
        assert np.abs(model.quantile(x, alpha) - truth).max() < 0.5
        check = model.calibration(*noisy(4000, rng), alpha, confidence_level=0.999)
        assert check.agrees and check.n == 4000
        by_half = [model.calibration(z[part], s[part], alpha).observed for z, s in [noisy(4000, rng)]
                   for part in (z[:, 0] > 0, z[:, 0] <= 0)]  # fmt: skip
        assert max(abs(value - alpha) for value in by_half) < 0.05
    assert (model.quantile(x, 0.05) >= model.quantile(x, 0.2)).all()


def test_what_is_held_out_corrects_a_wrong_network(rng):
    """Far from normal scores, an untrained network: the false positive rate is still what was asked for."""
    x, scores = rng.normal(size=(4000, 1)), rng.exponential(size=4000) ** 2
    fresh = rng.normal(size=(8_000, 1)), rng.exponential(size=8_000) ** 2
    for head in ("gaussian", "pinball"):
        right = fit_quantiles(x, scores, head=head, alphas=(0.05,), hidden=(8,), steps=5, held_out=0.5)
        half = x[:2000], scores[:2000]
        wrong = fit_quantiles(*half, head=head, alphas=(0.05,), hidden=(8,), steps=5, held_out=0.0)
        # the rate given 2,000 records held out is Beta(100, 1901): mean .04998, standard deviation .0049
        assert right.calibration(*fresh, 0.05).observed == pytest.approx(0.05, abs=0.02)
        assert not wrong.calibration(*fresh, 0.05).agrees


def test_quantiles_never_cross(rng):
    x, scores = noisy(500, rng)
    alphas = (0.9, 0.5, 0.3, 0.2, 0.1)
    model = fit_quantiles(x, scores, head="pinball", alphas=alphas, hidden=(16,), steps=30, held_out=0.0)
    quantiles = np.stack([model.quantile(x, alpha) for alpha in alphas])
    assert (np.diff(quantiles, axis=0) >= 0.0).all()


def test_members_stand_out_of_their_kind(rng):
    """A record's own level hides membership from one threshold, not from a quantile of its features."""
    x, scores = noisy(9000, rng)
    member = np.arange(9000) < 1500
    scores = scores + 2.0 * np.exp(x[:, 0]) * member
    audited, others = slice(0, 3000), slice(3000, None)
    found = quantile_attack(
        x[audited], scores[audited], x[others], scores[others], alpha=0.05, hidden=(32,), steps=1500
    )
    plain = roc(scores[:1500], scores[1500:3000]).tpr_at_fpr(0.05).tpr
    curve = roc(found[:1500], found[1500:])
    assert curve.tpr_at_fpr(0.05).tpr > plain + 0.1 and curve.auc > 0.88
    assert float((found[1500:] > 0.0).mean()) == pytest.approx(0.05, abs=0.025)
    model = fit_quantiles(x[others], scores[others], hidden=(32,), steps=1500)
    np.testing.assert_allclose(model.margin(x[audited], scores[audited], 0.05), found, rtol=1e-6)
    ranked = model.standardized(x[audited], scores[audited])
    assert roc(ranked[:1500], ranked[1500:]).auc == pytest.approx(0.921350, abs=0.02)  # normals 2 apart


def test_scores_do_not_depend_on_company_or_units(rng):
    x, scores = noisy(400, rng)
    model = fit_quantiles(x, scores, hidden=(8,), steps=50)
    assert (model.quantile(x[5:9], 0.1) == model.quantile(x, 0.1)[5:9]).all()
    moved = fit_quantiles(10.0 * x + 3.0, 100.0 * scores - 7.0, hidden=(8,), steps=50)
    expected = 100.0 * model.quantile(x, 0.1) - 7.0
    np.testing.assert_allclose(moved.quantile(10.0 * x + 3.0, 0.1), expected, rtol=1e-3, atol=0.5)


def test_the_seed_decides(rng):
    x, scores = noisy(200, rng)
    first, again, other = (
        fit_quantiles(x, scores, hidden=(4,), steps=20, seed=seed).quantile(x, 0.1) for seed in (1, 1, 2)
    )
    assert (first == again).all() and (first != other).any()


def test_the_calibration_is_plain():
    check = QuantileCalibration(0.01, 30, 1000, 0.02, 0.04, 0.99)
    plain = json.loads(json.dumps(check.to_dict()))
    assert plain["observed"] == 0.03 and plain["agrees"] is False


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"head": "normal"}, "head='normal'"),
        ({"alphas": ()}, "alphas is empty"),
        ({"alphas": (0.0,)}, "alphas=0.0"),
        ({"held_out": 1.0}, "held_out=1.0"),
        ({"held_out": 0.9}, "records leaves 1 to learn from"),
        ({"learning_rate": 0.0}, "learning_rate=0"),
        ({"steps": 0}, "steps=0"),
        ({"scores": [1.0]}, "scores has 1 numbers for 10 records"),
        ({"records": [[np.nan]] * 10}, "records has NaN"),
    ],
)
def test_bad_settings_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        fit_quantiles(**{"records": np.arange(10.0)[:, None], "scores": np.arange(10.0), **change})


def test_bad_questions_are_named(rng):
    x, scores = noisy(40, rng)
    pinned = fit_quantiles(x, scores, head="pinball", alphas=(0.2,), hidden=(), steps=2)
    with pytest.raises(ValueError, match=r"alpha=0.1 was not fitted; pass one of \[0.2\]"):
        pinned.quantile(x, 0.1)
    with pytest.raises(ValueError, match="has quantiles alone"):
        pinned.standardized(x, scores)
    with pytest.raises(ValueError, match="records has 1 columns but the model was fitted on 2"):
        pinned.quantile(x[:, :1], 0.2)
    with pytest.raises(ValueError, match="alpha=0.01 needs 99 non-members held out"):
        quantile_attack(x, scores, x, scores, alpha=0.01, hidden=(), steps=2)
    with pytest.raises(ValueError, match="records has 1 columns but nonmember_records has 2"):
        quantile_attack(x[:, :1], scores, x, scores)
