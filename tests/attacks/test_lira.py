from __future__ import annotations

import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from mace_jax.attacks._lira import _normals, _scores, lira
from mace_jax.metrics import roc

CLOSED_FORMS = [  # mu, AUC, advantage, TPR at .1 % and at 1 %
    (0.5, 0.638163, 0.197413, 0.004796, 0.033899),
    (1.0, 0.760250, 0.382925, 0.018298, 0.092362),
    (2.0, 0.921350, 0.682689, 0.137805, 0.372081),
    (4.0, 0.997661, 0.954500, 0.818527, 0.952901),
]


def reference(signals, shadow, included, *, mode="online", offline="cdf", variance="fixed", auto_count=32):
    """Record by record from the definition, by SciPy."""
    signals, shadow = np.asarray(signals, float), np.asarray(shadow, float)
    if signals.ndim == 1:
        signals, shadow = signals[:, None], shadow[..., None]
    n, a = signals.shape
    sides = {"in": included, "out": ~included}
    pooled = {}
    for side, mask in sides.items():
        for j in range(a):
            squares, freedom = 0.0, 0
            for i in range(n):
                values = shadow[mask[:, i], i, j]
                if len(values):
                    squares += float(((values - values.mean()) ** 2).sum())
                    freedom += len(values) - 1
            pooled[side, j] = math.sqrt(squares / freedom) if freedom else math.nan
    scores = np.empty(n)
    for i in range(n):
        terms = []
        for j in range(a):
            laws = {}
            for side, mask in sides.items():
                values = shadow[mask[:, i], i, j]
                own = variance == "per_record" or (variance == "auto" and len(values) >= auto_count)
                own = own and len(values) >= 2
                if len(values):
                    laws[side] = stats.norm(np.median(values), np.std(values, ddof=1) if own else pooled[side, j])
            x = signals[i, j]
            if mode == "online":
                terms.append(laws["in"].logpdf(x) - laws["out"].logpdf(x))
            else:
                terms.append(-laws["out"].logsf(x) if offline == "cdf" else -laws["out"].logpdf(x))
        scores[i] = np.mean(terms)
    return scores


@pytest.fixture
def data():
    """Nine shadow models, 40 records, three augmentations; members score higher, and spreads differ."""
    rng = np.random.default_rng(3)
    included = rng.random((9, 40)) < 0.5
    included[:4] = [[True], [True], [False], [False]]
    spread = rng.uniform(0.5, 2.0, (40, 1))
    shadow = rng.normal(size=(9, 40, 3)) * spread + 3.0 * included[..., None]
    return rng.normal(1.0, 2.0, (40, 3)), shadow, included


OPTIONS = [
    {"mode": mode, "offline": offline, "variance": variance, "auto_count": 5}
    for mode, offline in (("online", "cdf"), ("offline", "cdf"), ("offline", "density"))
    for variance in ("fixed", "per_record", "auto")
]


@pytest.mark.parametrize("options", OPTIONS)
def test_scores_are_those_of_the_definition(data, options):
    signals, shadow, included = data
    for a in (slice(None), 0):
        found = lira(signals[:, a], shadow[:, :, a], included, **options)
        np.testing.assert_allclose(
            found.scores, reference(signals[:, a], shadow[:, :, a], included, **options), rtol=1e-10
        )
        assert not found.few_models.any() and not found.floored.any() and found.notes == ()


@pytest.mark.parametrize(("mu", "area", "advantage", "thousandth", "hundredth"), CLOSED_FORMS)
def test_exact_parameters_give_the_closed_forms(mu, area, advantage, thousandth, hundredth):
    """Unit normals mu apart: the score ranks as the signal, and everything follows from Phi."""
    rng = np.random.default_rng(0)
    n = 200_000
    signals = np.concatenate([rng.normal(mu, 1.0, n), rng.normal(0.0, 1.0, n)])[:, None]
    one = np.ones_like(signals)
    with jax.enable_x64(True):
        online = np.asarray(_scores("online", signals, (mu * one, one), (0.0 * one, one)))
        cdf = np.asarray(_scores("cdf", signals, (0.0 * one, one)))
    np.testing.assert_allclose(online, mu * signals[:, 0] - mu**2 / 2.0, atol=1e-9)
    np.testing.assert_allclose(cdf, -stats.norm.logsf(signals[:, 0]), rtol=1e-12)
    for scores in (online, cdf):
        curve = roc(scores[:n], scores[n:])
        assert curve.auc == pytest.approx(area, abs=4.0 * curve.auc_standard_error)
        assert curve.advantage == pytest.approx(advantage, abs=0.006)
        for rate, expected in ((0.001, thousandth), (0.01, hundredth)):
            slope = stats.norm.pdf(stats.norm.ppf(rate) + mu) / stats.norm.pdf(stats.norm.ppf(rate))
            error = math.sqrt(expected * (1.0 - expected) / n + slope**2 * rate * (1.0 - rate) / n)
            assert curve.tpr_at_fpr(rate).tpr == pytest.approx(expected, abs=4.0 * error)
    formulas = stats.norm.cdf(mu / math.sqrt(2.0)), 2.0 * stats.norm.cdf(mu / 2.0) - 1.0
    assert formulas == pytest.approx((area, advantage), abs=6e-7)


def simulated(n, n_models, mu, seed=0, spread=1.0, difficulty=3.0):
    """Records of different difficulty: every signal has its record's level, members add mu."""
    rng = np.random.default_rng(seed)
    level = rng.normal(0.0, difficulty, n)
    included = rng.random((n_models, n)).argsort(axis=0) < n_models // 2
    shadow = level + mu * included + spread * rng.normal(size=included.shape)
    members = np.arange(n) < n // 2
    return level + mu * members + spread * rng.normal(size=n), shadow, included, members


def test_estimated_parameters_come_near_the_closed_form():
    """64 shadow models at mu = 2: nearly AUC .921350; one global threshold sees records' levels instead."""
    signals, shadow, included, members = simulated(20_000, 64, 2.0)
    areas = {}
    for name, options in {
        "fixed": {},
        "per_record": {"variance": "per_record"},
        "offline": {"mode": "offline"},
    }.items():
        scores = np.asarray(lira(signals, shadow, included, target_included=members, **options))
        areas[name] = roc(scores[members], scores[~members]).auc
    plain = roc(signals[members], signals[~members]).auc
    assert plain < 0.70 < 0.905 < areas["per_record"] < areas["fixed"] < 0.93
    assert areas["offline"] > 0.905


def test_fixed_variance_wins_with_few_models():
    signals, shadow, included, members = simulated(20_000, 8, 2.0)
    tprs = [
        roc(scores[members], scores[~members]).tpr_at_fpr(0.001).tpr
        for scores in (lira(signals, shadow, included, variance=name).scores for name in ("fixed", "per_record"))
    ]
    assert tprs[0] > 2.0 * tprs[1]


def test_the_density_form_also_rewards_signals_far_below_the_median():
    shadow, included = np.array([[-1.0, -1.0], [0.0, 0.0], [1.0, 1.0]]), np.zeros((3, 2), bool)
    below, above = np.array([-8.0, 8.0])
    cdf = lira([below, above], shadow, included, mode="offline").scores
    density = lira([below, above], shadow, included, mode="offline", offline="density").scores
    assert cdf[0] == pytest.approx(0.0, abs=1e-12) and cdf[1] > 30.0
    assert density[0] == density[1] > 30.0
    signals = np.array([-30.0, -20.0, -9.0, 5.0, 6.0, 7.0, 8.0, 9.0, 39.0, 60.0])  # Phi itself rounds to 0 and 1
    shadow = np.repeat(shadow[:, :1], len(signals), axis=1)
    far = lira(signals, shadow, np.zeros(shadow.shape, bool), mode="offline").scores
    assert np.isfinite(far).all() and (np.diff(far) > 0.0).all()


def test_the_out_spread_comes_from_out_models():
    """A known defect of the reference: with one variance for all records, that of OUT was taken from IN."""
    rng = np.random.default_rng(0)
    included = np.repeat([[True], [False]], 50, axis=0) & np.ones((100, 30), bool)
    shadow = np.where(included, 0.1, 5.0) * rng.normal(size=included.shape)
    found = lira(np.zeros(30), shadow, included)
    assert found.spread_in[0] == pytest.approx(0.1, rel=0.1) and found.spread_out[0] == pytest.approx(5.0, rel=0.1)


def test_pooling_removes_the_level_of_records():
    """Raw pooling would count the differences between records as spread."""
    signals, shadow, included, _ = simulated(2000, 16, 1.0, difficulty=50.0)
    found = lira(signals, shadow, included)
    assert found.spread_out[0] == pytest.approx(1.0, rel=0.03) and found.spread_in[0] == pytest.approx(1.0, rel=0.03)


def test_records_with_one_model_on_a_side_get_the_global_spread_and_a_flag(data):
    signals, shadow, included = data
    included = included.copy()
    included[:, 7], included[0, 7] = False, True
    found = lira(signals, shadow, included, variance="per_record")
    assert found.few_models.tolist() == (np.arange(40) == 7).tolist()
    assert "1 records have fewer than two" in found.notes[0]
    expected = reference(signals, shadow, included, variance="per_record")
    np.testing.assert_allclose(found.scores, expected, rtol=1e-10)
    assert not lira(signals, shadow, included, mode="offline").few_models.any()  # IN models are not used there


def test_the_floor_is_stated(data):
    signals, shadow, included = data
    shadow = shadow.copy()
    shadow[:, 3] = 1.5
    found = lira(signals, shadow, included, variance="per_record", sd_floor=1e-4)
    assert found.floored.tolist() == (np.arange(40) == 3).tolist() and "below 0.0001" in found.notes[0]
    assert found.scores[3] == pytest.approx(0.0, abs=1e-9) and np.isfinite(found.scores).all()


def test_order_of_records_and_models_does_not_matter(data):
    signals, shadow, included = data
    rng = np.random.default_rng(1)
    rows, models = rng.permutation(40), rng.permutation(9)
    for options in OPTIONS:
        first = lira(signals, shadow, included, **options).scores
        again = lira(signals[rows], shadow[models][:, rows], included[models][:, rows], **options).scores
        np.testing.assert_allclose(again, first[rows], rtol=1e-9, atol=1e-12)


def test_shifting_a_record_does_not_change_its_score(data):
    signals, shadow, included = data
    shift = np.random.default_rng(2).normal(0, 10, (40, 1))
    first = lira(signals, shadow, included).scores
    np.testing.assert_allclose(lira(signals + shift, shadow + shift, included).scores, first, rtol=1e-8, atol=1e-10)


def test_inputs_stay_as_they_are_and_kernels_compile(data):
    signals, shadow, included = data
    copies = [array.copy() for array in data]
    lira(signals, shadow, included)
    assert all((copy == array).all() for copy, array in zip(copies, data, strict=True))
    single = lira(signals.astype(np.float32), shadow.astype(np.float32), included.astype(int))
    np.testing.assert_allclose(single.scores, lira(signals, shadow, included).scores, rtol=1e-4, atol=1e-4)
    many = jax.vmap(lambda given: _normals(given, jnp.asarray(included), jnp.inf, 1e-6)[1])(jnp.asarray(shadow)[None])
    assert many.shape == (1, 40, 3)


def test_a_shadow_model_that_knows_the_target_is_refused(data):
    signals, shadow, included = data
    for target, word in ((included[5], "equals"), (~included[5], "complements")):
        with pytest.raises(ValueError, match=f"shadow model 5 {word} the target's"):
            lira(signals, shadow, included, target_included=target)
    near = included[5].copy()
    near[0] = ~near[0]
    assert len(lira(signals, shadow, included, target_included=near)) == 40


def test_null_signals_say_nothing():
    signals, shadow, included, members = simulated(4000, 16, 0.0, seed=4)
    scores = lira(signals, shadow, included).scores
    curve = roc(scores[members], scores[~members])
    assert abs(curve.auc - 0.5) < 4.0 * curve.auc_standard_error


def test_the_result_is_plain(data):
    found = lira(*data, mode="offline")
    plain = json.loads(json.dumps(found.to_dict()))
    assert plain["spread_in"] == [None] * 3 and plain["mode"] == "offline" and len(plain["scores"]) == 40
    assert repr(found) == "LiraScores(n=40, offline, variance='fixed')"
    assert (np.asarray(found) == found.scores).all() and roc(found, found).auc == 0.5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mode": "both"}, "mode='both'"),
        ({"offline": "pdf"}, "offline='pdf'"),
        ({"variance": "global"}, "variance='global'"),
        ({"auto_count": 1}, "auto_count=1"),
        ({"sd_floor": 0.0}, "sd_floor=0"),
        ({"signals": [1.0, np.nan]}, r"signals has NaN or infinity in 1 places, first nan at \(1,\)"),
        ({"signals": [1.0]}, r"shadow_signals has shape \(4, 2\)"),
        ({"included": [[True, False]]}, r"included has shape \(1, 2\)"),
        ({"included": [[True, True]] * 4}, "2 records have no OUT shadow model, first record 0"),
        ({"included": [[False, True]] * 2 + [[False, False]] * 2}, "1 records have no IN shadow model.*mode='offline'"),
        ({"included": [[True, True]] + [[False, False]] * 3}, "no record has two IN shadow models"),
        ({"target_included": [True]}, "target_included has shape"),
    ],
)
def test_bad_input_is_named(change, message):
    given = {
        "signals": [1.0, 2.0],
        "shadow_signals": np.arange(8.0).reshape(4, 2),
        "included": [[True, False], [False, True]] * 2,
    }
    with pytest.raises(ValueError, match=message):
        lira(**{**given, **change})


def test_bad_types_are_named():
    shadow = np.arange(8.0).reshape(4, 2)
    with pytest.raises(TypeError, match="signals has dtype"):
        lira(["a", "b"], shadow, np.ones((4, 2), bool))
    with pytest.raises(TypeError, match="included must hold truth values"):
        lira([1.0, 2.0], shadow, np.full((4, 2), 0.5))
