from __future__ import annotations

import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sklearn.datasets import load_digits

from mace_jax._random import key
from mace_jax.attacks._lira import lira
from mace_jax.metrics import roc
from mace_jax.models import FittedVAE, _shadow_groups, checkpoint, load
from mace_jax.models._shadow_design import balanced_membership
from mace_jax.models._shadow_groups import batch_rows, bytes_per_model, groups_of
from mace_jax.models._shadow_network import ShadowTrainer, rescaled_logit
from mace_jax.models.shadow import FittedShadowModels, ShadowModels

SMALL = ShadowModels(hidden=(8,), steps=30, batch_size=16, learning_rate=1e-2)


@pytest.fixture(scope="module")
def table():
    """Sixty digits in three classes, in text."""
    data = load_digits(n_class=3)
    return data.data[:60], np.array(["zero", "one", "two"])[data.target[:60]]


@pytest.fixture(scope="module")
def fitted(table):
    return SMALL.fit(*table, n_models=6, seed=4)


def close(first, second) -> bool:
    pairs = zip(jax.tree.leaves(first.parameters), jax.tree.leaves(second.parameters), strict=True)
    return all(np.allclose(a, b, rtol=1e-5, atol=1e-5) for a, b in pairs)


def test_every_record_is_in_half_of_the_models():
    design = balanced_membership(16, 70_000, 0.5, 3)
    assert (design.sum(axis=0) == 8).all()
    assert abs(design.mean(axis=1) - 0.5).max() < 0.01
    shared = design.astype(float) @ design.T / 70_000  # of two models: 8 * 7 / (16 * 15), none decides another
    assert np.abs(shared[~np.eye(16, dtype=bool)] - 56 / 240).max() < 0.01
    assert (design == balanced_membership(16, 70_000, 0.5, 3)).all()
    assert (design != balanced_membership(16, 70_000, 0.5, 4)).any()
    odd = balanced_membership(5, 10_000, 0.5, 0).sum(axis=0)
    assert set(odd) == {2, 3} and abs(odd.mean() - 2.5) < 0.03
    assert (balanced_membership(10, 100, 0.3, 0).sum(axis=0) == 3).all()


def test_groups_do_not_change_the_models(table, fitted):
    assert (fitted.included.sum(axis=0) == 3).all()
    again = SMALL.fit(*table, n_models=6, seed=4, models_at_once=2)
    assert close(fitted, again) and (again.included == fitted.included).all()
    np.testing.assert_allclose(again.losses, fitted.losses, rtol=1e-5)


def test_rows_of_a_design_give_the_models_of_the_whole(table, fitted):
    part = SMALL.fit(*table, included=fitted.included[2:4], first_model=2, seed=4)
    assert close(fitted.select([2, 3]), part)
    np.testing.assert_allclose(part.losses, fitted.losses[2:4], rtol=1e-5)


def test_cores_do_not_change_the_models(table, fitted, monkeypatch):
    monkeypatch.setattr(_shadow_groups, "workers", lambda: 3)
    assert close(fitted, SMALL.fit(*table, n_models=6, seed=4))


def test_a_mapped_model_is_the_model_trained_by_hand(table, fitted):
    """The third model, step by step: its own rows, its own key, plain cross-entropy and AdamW."""
    records, labels = table
    unit = jnp.asarray(fitted.scaling.to_unit(records))
    classes = jnp.asarray(fitted.labels.one_hot(labels, 60).argmax(axis=1))
    trainer = ShadowTrainer(SMALL, 64, 3)
    own = jax.random.fold_in(key(4, "shadow models"), 2)
    weights = trainer.network.init(own, unit[:1])
    rows = batch_rows(4, 2, np.flatnonzero(fitted.included[2]), 0, 30, 16)
    assert rows.shape == (30, 16) and fitted.included[2][rows].all() and len(np.unique(rows)) > 25
    adam = optax.adamw(1e-2, weight_decay=0.0)
    moments, losses = adam.init(weights), []

    def loss(weights, rows):
        logits = trainer.network.apply(weights, unit[rows])
        return optax.softmax_cross_entropy_with_integer_labels(logits, classes[rows]).mean()

    slope = jax.jit(jax.value_and_grad(loss))
    for step in range(30):
        value, gradient = slope(weights, rows[step])
        change, moments = adam.update(gradient, moments, weights)
        weights = optax.apply_updates(weights, change)
        losses.append(float(value))
    mine = jax.tree.leaves(jax.tree.map(lambda leaf: leaf[2], fitted.parameters))
    for ours, theirs in zip(mine, jax.tree.leaves(weights["params"]), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-5)
    assert fitted.losses[2] == pytest.approx([np.mean(losses)], rel=1e-4)


def test_signals_are_those_of_the_logits_in_float64(table, fitted):
    records, labels = table
    logits, signal = fitted.logits(records), fitted.signal(records, labels)
    assert logits.shape == (6, 60, 3) and signal.shape == (6, 60)
    place = np.array([fitted.labels.values.index(label) for label in labels])
    total = np.logaddexp.reduce(logits, axis=2)
    own = np.take_along_axis(logits, np.broadcast_to(place[None, :, None], (6, 60, 1)), axis=2)[..., 0]
    p = np.exp(own - total)
    np.testing.assert_allclose(signal, np.log(p) - np.log1p(-p), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(fitted.log_probability(records, labels), own - total, rtol=1e-4, atol=1e-5)
    assert (fitted.signal(records[7:9], labels[7:9]) == signal[:, 7:9]).all()


def test_the_signal_does_not_saturate():
    logits = np.array([[1.0, 2.0, -3.0], [0.0, 800.0, 0.0], [0.0, 800.0, 0.0]], np.float32)
    found = np.asarray(rescaled_logit(logits, np.array([1, 1, 0])))
    np.testing.assert_allclose(found, [0.98185009, 800.0 - np.log(2.0), -800.0], rtol=1e-6)


@pytest.mark.slow
def test_members_are_better_known():
    """LiRA on small overfit models beats one threshold on the same signal."""
    data = load_digits()
    records, labels = data.data[:600], data.target[:600]
    settings = ShadowModels(hidden=(32,), steps=250, batch_size=32, learning_rate=3e-3, scaling="common")
    target = np.random.default_rng(0).permutation(600) < 300
    design = np.vstack([target, balanced_membership(16, 600, 0.5, 0)])
    models = settings.fit(records, labels, included=design, seed=0)
    signal = models.signal(records, labels)
    scores = lira(signal[0], signal[1:], design[1:], target_included=target).scores
    plain, better = (roc(values[target], values[~target]).auc for values in (signal[0], scores))
    assert better > plain + 0.03 and better > 0.6


def test_an_interrupted_run_trains_only_what_is_missing(table, fitted, tmp_path, monkeypatch):
    trained, train = [], _shadow_groups._train

    def once(*args):
        trained.append(args[6])
        if len(trained) == 3:
            raise KeyboardInterrupt
        return train(*args)

    monkeypatch.setattr(_shadow_groups, "workers", lambda: 1)
    monkeypatch.setattr(_shadow_groups, "_train", once)
    with pytest.raises(KeyboardInterrupt):
        SMALL.fit(*table, n_models=6, seed=4, checkpoint_dir=tmp_path, models_at_once=2)
    assert len(list(tmp_path.glob("shadow-*.msgpack"))) == 4
    trained.clear()
    seen = []
    again = SMALL.fit(*table, n_models=6, seed=4, checkpoint_dir=tmp_path, progress=lambda *at: seen.append(at))
    assert trained == [(4, 5)] and close(fitted, again)
    assert seen[0] == ("Training 6 shadow models", 0.0) and seen[-1][1] == 1.0
    trained.clear()
    SMALL.fit(*table, n_models=6, seed=4, checkpoint_dir=tmp_path)
    assert trained == []


def test_an_error_in_one_group_ends_the_run(table, monkeypatch):
    train = _shadow_groups._train

    def broken(*args):
        if args[6] == (2, 3):
            raise RuntimeError("no more memory")
        return train(*args)

    monkeypatch.setattr(_shadow_groups, "workers", lambda: 2)
    monkeypatch.setattr(_shadow_groups, "_train", broken)
    with pytest.raises(RuntimeError, match="no more memory"):
        SMALL.fit(*table, n_models=6, seed=4, models_at_once=2)


def test_a_cache_of_another_run_is_refused(table, tmp_path):
    SMALL.fit(*table, n_models=2, seed=4, checkpoint_dir=tmp_path)
    records, labels = table
    others = [
        (SMALL, records, labels, 2, 5),
        (ShadowModels(hidden=(8,), steps=31, batch_size=16), records, labels, 2, 4),
        (SMALL, records + 1.0 * (np.arange(60) == 3)[:, None], labels, 2, 4),
        (SMALL, records, labels[::-1], 2, 4),
        (SMALL, records, labels, 1, 4),
        (SMALL, records, labels, 4, 4),
    ]
    for settings, x, y, n_models, seed in others:
        with pytest.raises(ValueError, match="holds shadow models of other settings, seed, members or"):
            settings.fit(x, y, n_models=n_models, seed=seed, checkpoint_dir=tmp_path)


def test_saved_models_come_back(table, fitted, tmp_path):
    fitted.save(tmp_path)
    again = FittedShadowModels.load(tmp_path)
    assert again.settings == fitted.settings and again.labels == fitted.labels and again.seed == 4
    assert (again.included == fitted.included).all() and (again.losses == fitted.losses).all()
    assert (again.signal(*table) == fitted.signal(*table)).all()
    content = checkpoint.read(tmp_path, checkpoint.MODEL_FILE)
    content["parameters"]["Dense_0"]["bias"] = np.zeros(3, np.float32)
    checkpoint.write(tmp_path, checkpoint.MODEL_FILE, content)
    with pytest.raises(ValueError, match="do not fit their settings"):
        FittedShadowModels.load(tmp_path)
    checkpoint.write(tmp_path, checkpoint.MODEL_FILE, {"format": "other"})
    with pytest.raises(ValueError, match="holds no shadow models"):
        FittedShadowModels.load(tmp_path)


def test_the_door_to_saved_models_knows_them(table, fitted, tmp_path):
    fitted.save(tmp_path)
    again = load(tmp_path)
    assert type(again) is FittedShadowModels and again.settings == fitted.settings
    assert (again.included == fitted.included).all() and (again.signal(*table) == fitted.signal(*table)).all()
    with pytest.raises(ValueError, match="holds no model this version can read"):
        FittedVAE.load(tmp_path)


def test_some_of_the_models(table, fitted):
    chosen = fitted.select([4, 1])
    assert chosen.n_models == 2 and (chosen.included == fitted.included[[4, 1]]).all()
    assert (chosen.signal(*table) == fitted.signal(*table)[[4, 1]]).all()
    assert fitted.select(np.arange(6) > 3).n_models == 2
    for wrong in ([], [6], [-1], [True, False]):
        with pytest.raises(ValueError, match="models="):
            fitted.select(wrong)


def test_given_members_are_the_only_records_a_model_sees(table):
    """A model of one class only never learns the others."""
    records, labels = table
    included = np.stack([labels == "zero", labels != "zero"])
    signal = SMALL.fit(records, labels, included=included, seed=0).signal(records, labels)
    first = labels == "zero"
    assert (signal[0, first] > 0).all() and (signal[0, ~first] < 0).all()
    assert (signal[1, first] < 0).all() and (signal[1, ~first] > 0).mean() > 0.9


def test_the_callers_precision_does_not_change_the_models(table, fitted):
    with jax.enable_x64(True):
        again = SMALL.fit(*table, n_models=6, seed=4)
        assert again.signal(*table).dtype == np.float64
    assert close(fitted, again) and jax.tree.leaves(again.parameters)[0].dtype == np.float32


def test_groups_keep_to_the_memory(monkeypatch):
    trainer = ShadowTrainer(ShadowModels(hidden=(16,)), 10, 2)
    each, state = bytes_per_model(trainer)
    n_weights = 10 * 16 + 16 + 16 * 2 + 2
    assert state == 12 * n_weights
    assert each == 20 * n_weights + 8 * 64 * 28 + 4 * 64 * 250
    monkeypatch.setattr(_shadow_groups, "workers", lambda: 2)
    sizes = [len(group) for group in groups_of(range(16), trainer, 2 * 3 * each, None)]
    assert sizes == [3, 3, 3, 3, 2, 2]
    assert [len(group) for group in groups_of(range(16), trainer, 2**30, None)] == [8, 8]
    assert groups_of([1, 5, 6], trainer, 2**30, 2) == [(1, 5), (6,)]
    assert groups_of([], trainer, 2**30, None) == []
    with pytest.raises(ValueError, match=f"memory_bytes={each} does not hold 2 models"):
        groups_of(range(4), trainer, each, None)


def test_settings_are_plain_and_checked(fitted):
    plain = json.loads(json.dumps(SMALL.to_dict()))
    assert ShadowModels.from_dict(plain) == SMALL and hash(SMALL) == hash(ShadowModels.from_dict(plain))
    assert repr(fitted) == "FittedShadowModels(n_models=6, records=60, features=64, labels=3, steps=30)"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden": (0,)}, "hidden=0"),
        ({"activation": "step"}, "activation='step'"),
        ({"steps": 0}, "steps=0"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"learning_rate": 0.0}, "learning_rate=0.0"),
        ({"weight_decay": -1.0}, "weight_decay=-1.0"),
        ({"fraction": 1.0}, "fraction=1.0"),
        ({"scaling": "none"}, "scaling='none'"),
    ],
)
def test_bad_settings_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        ShadowModels(**change)


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"n_models": None}, ValueError, "n_models=None; pass how many"),
        ({"n_models": 0}, ValueError, "n_models=0"),
        ({"labels": None}, ValueError, "labels=None"),
        ({"labels": [1, 1, 1]}, ValueError, "labels holds 1 alone"),
        ({"labels": [1, 2]}, ValueError, "labels has shape"),
        ({"records": [[1.0], [np.nan], [2.0]]}, ValueError, "records has NaN"),
        ({"included": [[1, 0, 1]]}, TypeError, "included has dtype int64"),
        ({"included": [[True, False]]}, ValueError, r"included has shape \(1, 2\)"),
        ({"included": [[True, False, True]]}, ValueError, r"pass one row per model and a column per record: \(2, 3\)"),
        ({"included": [[True] * 3, [False] * 3]}, ValueError, "leaves model 1 without any member"),
        ({"memory_bytes": 10}, ValueError, "memory_bytes=10 does not hold"),
        ({"models_at_once": 0}, ValueError, "models_at_once=0"),
    ],
)
def test_bad_input_is_named(change, kind, message):
    given = {"records": [[0.0], [1.0], [2.0]], "labels": [0, 1, 1], "n_models": 2, "seed": 0, **change}
    with pytest.raises(kind, match=message):
        ShadowModels(hidden=(2,), steps=1).fit(**given)


def test_divergence_is_named(table):
    wild = ShadowModels(hidden=(8,), steps=20, learning_rate=1e30)
    with pytest.raises(FloatingPointError, match=r"shadow models \[.*\] diverged between steps 0 and 20"):
        wild.fit(*table, n_models=2, seed=0)
