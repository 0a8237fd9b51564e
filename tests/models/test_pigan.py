from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sklearn.neighbors import KNeighborsClassifier

from mace_jax._types import DiscriminatorScores, SamplesRecords
from mace_jax.models import PIGAN, load
from mace_jax.models import parts as parts_module
from mace_jax.models.adversarial import draw
from mace_jax.models.pigan_trainer import PIGANTrainer
from tests.models.test_privgan import OVERFIT, digits_of, top_share

TINY = {"latent_dim": 3, "generator_hidden": (6,), "discriminator_hidden": (6,), "batch_size": 8}


def equal(first, second) -> bool:
    leaves = zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True)
    return all(np.array_equal(a, b) for a, b in leaves)


@pytest.fixture(scope="module")
def records():
    return np.random.default_rng(3).normal(size=(32, 4))


@pytest.fixture(scope="module", params=["per_part", "shared"])
def fitted(records, request):
    settings = PIGAN(n_parts=3, classifier_pretraining=2, discriminators=request.param, **{**TINY, "batch_size": 9})
    return settings.fit(records, np.arange(32) % 2, steps=5, seed=1)


@pytest.fixture(scope="module", params=[(0.0, "per_part"), (0.0, "shared"), (1.0, "per_part"), (1.0, "shared")])
def compiled(request):
    """A model with or without penalty: its weight, its jitted step and its state at the start."""
    ratio, discriminators = request.param
    trainer = PIGANTrainer(PIGAN(n_parts=2, privacy_ratio=ratio, discriminators=discriminators, **TINY), 4, 0)
    return ratio, jax.jit(trainer.step), jax.jit(trainer.initial)(jax.random.key(0))


def run(step, state, unit, steps):
    for number in range(steps):
        state, losses = step(state, unit, jnp.zeros((len(unit), 0), jnp.float32), jax.random.key(number))
        assert np.isfinite(losses).all()
    return state["parameters"]


def test_without_a_penalty_no_gradient_passes_from_q_to_the_generator(compiled):
    """Bit for bit: another Q at the start gives the same generator and discriminator, unless there is a penalty."""
    ratio, step, state = compiled
    other = jax.tree.map(lambda leaf: 3.0 - leaf, state["parameters"]["classifier"])
    changed = {**state, "parameters": {**state["parameters"], "classifier": other}}
    unit = jnp.asarray(np.random.default_rng(0).uniform(size=(10, 4)), jnp.float32)
    first, second = (run(step, start, unit, 3) for start in (state, changed))
    for name in ("generator", "discriminator"):
        assert equal(first[name], second[name]) == (ratio == 0.0)
    assert not equal(first["classifier"], second["classifier"])


def test_q_learns_from_synthetic_records_alone(compiled):
    """Real records reach Q through the generator only: other real ones leave Q after the first step as it is."""
    _, step, state = compiled
    rng = np.random.default_rng(0)
    first, second = (run(step, state, jnp.asarray(rng.uniform(size=(10, 4)), jnp.float32), 1) for _ in range(2))
    assert equal(first["classifier"], second["classifier"])
    assert not equal(first["discriminator"], second["discriminator"])
    assert not equal(first["classifier"], state["parameters"]["classifier"])


@pytest.mark.parametrize("discriminators", ["per_part", "shared"])
def test_every_discriminator_learns_from_its_own_part(discriminators):
    """Other records of part 1 change the discriminator of part 1 alone, or the one that all parts share."""
    trainer = PIGANTrainer(PIGAN(n_parts=2, discriminators=discriminators, **TINY), 4, 0)
    start, step = jax.jit(trainer.initial)(jax.random.key(0)), jax.jit(trainer.step)
    rng = np.random.default_rng(0)
    unit = rng.uniform(size=(10, 4)).astype(np.float32)
    changed = unit.copy()
    changed[5:] = rng.uniform(size=(5, 4))
    first, second = (run(step, start, jnp.asarray(rows), 1)["discriminator"] for rows in (unit, changed))
    if discriminators == "shared":
        assert not equal(first, second)
        return
    for part in range(2):
        own = [jax.tree.map(lambda leaf, place=part: leaf[place], weights) for weights in (first, second)]
        assert equal(*own) == (part == 0)


@pytest.mark.parametrize(("updates", "discriminators"), [("together", "per_part"), ("in_turn", "shared")])
def test_q_and_the_generator_move_as_told(updates, discriminators):
    """One step, written from the definition: plain gradients; the generator faces the first Q, or the one after it."""
    settings = PIGAN(n_parts=2, privacy_ratio=2.0, updates=updates, discriminators=discriminators, adam_eps=0.1, **TINY)
    trainer, key = PIGANTrainer(settings, 4, 0), jax.random.key(5)
    start = jax.jit(trainer.initial)(jax.random.key(0))
    unit = jnp.asarray(np.random.default_rng(0).uniform(size=(10, 4)), jnp.float32)
    after = jax.jit(trainer.step)(start, unit, unit[:, :0], key)[0]["parameters"]
    start, label = start["parameters"], jnp.zeros((8, 0), jnp.float32)
    _, noise_key, part_key, _, _ = jax.random.split(key, 5)
    parts = trainer.parts(part_key)
    others, noise, code = 1 - parts, trainer.pair.noise(noise_key, 8), jax.nn.one_hot(parts, 2)
    faced = (start if updates == "together" else after)["classifier"]

    def told(classifier, generator):
        fake = trainer.pair.generate(generator, noise, code)
        return fake, jax.nn.log_softmax(trainer.classifier.logits(classifier, fake, label))

    def q_loss(classifier):
        return -told(classifier, start["generator"])[1][jnp.arange(8), parts].mean()

    def g_loss(generator):
        fake, log_q = told(faced, generator)
        log_d = jax.nn.log_sigmoid(trainer.logits(after["discriminator"], fake, code, label))
        return -log_d.mean() - 2.0 * log_q[jnp.arange(8), others].mean()

    for name, loss in (("classifier", q_loss), ("generator", g_loss)):
        adam = trainer.optimizers()[name]
        change, _ = adam.update(jax.jit(jax.grad(loss))(start[name]), adam.init(start[name]))
        for moved, own in zip(
            jax.tree.leaves(optax.apply_updates(start[name], change)), jax.tree.leaves(after[name]), strict=True
        ):
            np.testing.assert_allclose(moved, own, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("kind", ["info", "uniform", "other"])
def test_the_generators_loss_is_the_sum_of_its_parts(kind):
    trainer = PIGANTrainer(PIGAN(n_parts=3, privacy_ratio=0.7, penalty=kind, discriminators="shared", **TINY), 4, 0)
    weights = jax.jit(trainer.initial)(jax.random.key(0))["parameters"]
    rng = np.random.default_rng(0)
    fake, label = jnp.asarray(rng.uniform(-1, 1, (8, 4)), jnp.float32), jnp.zeros((8, 0), jnp.float32)
    parts, others = np.arange(8) % 3, (np.arange(8) + 1) % 3
    condition = jnp.asarray(np.eye(3)[parts], jnp.float32)
    part_logits = trainer.classifier.logits(weights["classifier"], fake, label)
    value, (fooling, told) = jax.jit(trainer.generator_loss)(
        fake, part_logits, weights["discriminator"], condition, label, jnp.asarray(parts), jnp.asarray(others)
    )
    log_d = -np.log1p(np.exp(-np.asarray(trainer.pair.logit(weights["discriminator"], fake, condition), float)))
    logits = np.asarray(part_logits, float)
    log_q = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    rows = np.arange(8)
    penalty = {"info": log_q[rows, parts], "uniform": -log_q.mean(axis=1), "other": -log_q[rows, others]}[kind]
    np.testing.assert_allclose(fooling, -log_d.mean(), rtol=1e-5)
    np.testing.assert_allclose(told, -log_q[rows, parts].mean(), rtol=1e-5)
    np.testing.assert_allclose(value, -log_d.mean() + 0.7 * penalty.mean(), rtol=1e-5)


@pytest.mark.slow
def test_q_tells_generators_of_different_parts_and_not_those_of_a_heavy_penalty():
    """Two far clusters forced into different parts: without penalty Q tells them, with one it cannot."""
    rng, nothing = np.random.default_rng(0), jnp.zeros((40, 0), jnp.float32)
    unit = jnp.asarray(np.concatenate([rng.uniform(0.0, 0.2, (20, 2)), rng.uniform(0.8, 1.0, (20, 2))]), jnp.float32)

    @functools.partial(jax.jit, static_argnames=("trainer",))
    def last_losses(trainer):
        def body(number, carry):
            return trainer.step(carry[0], unit, nothing, jax.random.fold_in(jax.random.key(7), number))

        start = trainer.initial(jax.random.key(0)), jnp.zeros(3, jnp.float32)
        return jax.lax.fori_loop(0, 600, body, start)[1]

    entropy = {}
    for ratio in (0.0, 10.0):
        settings = PIGAN(latent_dim=3, generator_hidden=(16,), discriminator_hidden=(16,), privacy_ratio=ratio)
        entropy[ratio] = float(last_losses(PIGANTrainer(settings, 2, 0))[2])
    assert entropy[0.0] < 0.1 < 0.6 < entropy[10.0] < 0.8  # log 2 = 0.693: Q learns nothing


def test_samples_come_in_equal_numbers_from_all_parts(fitted):
    many = fitted.sample(300, seed=4)
    assert np.array_equal(fitted.sample(7, seed=4), many[:7])
    labels = np.arange(300) % 2
    rows = fitted.sample(300, seed=4, labels=labels)
    codes = np.eye(3, dtype=np.float32)[parts_module.assigned(4, 300, 3)]
    condition = np.concatenate([codes, fitted.labels.rows(labels)], axis=1)
    own = draw(fitted._trainer.pair, fitted.parameters["generator"], 4, np.arange(300, dtype=np.int32), condition)
    assert np.array_equal(rows, fitted.scaling.from_unit(own))


def test_scores_reduce_over_codes(fitted, records):
    labels = np.arange(32) % 2
    each = fitted.discriminator_score(records, labels=labels, reduce="none")
    trainer, weights = fitted._trainer, fitted.parameters["discriminator"]
    real = 2 * jnp.asarray(fitted.scaling.to_unit(records)) - 1
    for part in range(3):
        label, code = fitted.labels.rows(labels), np.tile(np.eye(3, dtype=np.float32)[part], (32, 1))
        if fitted.settings.discriminators == "shared":
            own = trainer.pair.logit(weights, real, jnp.asarray(np.concatenate([code, label], axis=1)))
        else:
            of_part = jax.tree.map(lambda leaf, place=part: leaf[place], weights)
            own = trainer.unaware.logit(of_part, real, jnp.asarray(label))
        np.testing.assert_allclose(each[:, part], own, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(fitted.discriminator_score(records, labels=labels), each.mean(axis=1))
    np.testing.assert_allclose(fitted.discriminator_score(records, labels=labels, reduce="max"), each.max(axis=1))
    together = fitted.discriminator_score(records)
    alone = np.concatenate([fitted.discriminator_score(record[None]) for record in records[:5]])
    np.testing.assert_allclose(alone, together[:5], rtol=1e-5, atol=1e-6)
    assert fitted.part_logits(records, labels=labels).shape == (32, 3)
    with pytest.raises(ValueError, match="labels=None, but the model is conditional"):
        fitted.part_logits(records)


def test_a_fitted_model_tells_its_split_and_comes_back_from_disk(fitted, records, tmp_path):
    assert isinstance(fitted, SamplesRecords) and isinstance(fitted, DiscriminatorScores)
    assert repr(fitted) == "FittedPIGAN(parts=3, features=4, labels=2, steps=5)"
    assert np.ptp(np.bincount(fitted.parts)) <= 1
    fitted.save(tmp_path)
    again = load(tmp_path)
    assert again.settings == fitted.settings and np.array_equal(again.parts, fitted.parts)
    assert np.array_equal(again.sample(4, seed=0), fitted.sample(4, seed=0))
    assert np.array_equal(again.discriminator_score(records), fitted.discriminator_score(records))


def test_a_continued_run_is_the_uninterrupted_one(fitted, records, tmp_path):
    labels = np.arange(32) % 2
    fitted.settings.fit(records, labels, steps=3, seed=1, checkpoint_dir=tmp_path)
    resumed = fitted.settings.fit(records, labels, steps=5, seed=1, checkpoint_dir=tmp_path)
    assert equal(resumed.parameters, fitted.parameters) and resumed.history == fitted.history


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PIGAN(n_parts=1), "n_parts=1 must be at least 2"),
        (lambda: PIGAN(penalty="entropy"), "penalty='entropy' is not known; pass one of 'info', 'uniform', 'other'"),
        (lambda: PIGAN(privacy_ratio=np.inf), "privacy_ratio=inf must be a finite number"),
        (lambda: PIGAN(classifier_pretraining=-1), "classifier_pretraining=-1 must be at least 0"),
        (lambda: PIGAN(n_parts=3), "batch_size=64 cannot be shared equally by n_parts=3"),
        (lambda: PIGAN(discriminators="two"), "discriminators='two' is not known; pass one of 'per_part', 'shared'"),
        (
            lambda: PIGAN(n_parts=3, batch_size=9).fit(np.eye(5), steps=1, seed=0),
            "records has 5 rows; at least 6 are needed",
        ),
        (lambda: PIGAN.from_dict({"depth": 1}), r"PIGAN has no settings \['depth'\]"),
    ],
)
def test_bad_input_is_refused_by_name(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("discriminators", "ratio", "most", "without"), [("shared", 1.0, 0.65, 0.75), ("per_part", 10.0, 0.8, 0.95)]
)
def test_a_penalty_hides_the_part_of_synthetic_digits(seed, discriminators, ratio, most, without):
    """A fresh classifier tells the part of a synthetic record less often: instead of four fifths near one half, or
    instead of nearly always seven tenths where every part has a discriminator of its own.

    The discriminator of an overfit model that is shared by the parts knows its members all the same; discriminators
    of their own, in the mean, know half as many.
    """
    members, nonmembers = digits_of(seed)
    codes = np.arange(2000) % 2
    rates, found = {}, {}
    for weight in (0.0, ratio):
        settings = PIGAN(
            privacy_ratio=weight,
            discriminators=discriminators,
            classifier_learning_rate=1e-3,
            classifier_pretraining=200,
            **OVERFIT,
        )
        fitted = settings.fit(members, steps=3000, seed=seed)
        rows, condition = np.arange(2000, dtype=np.int32), np.eye(2, dtype=np.float32)[codes]
        drawn = draw(fitted._trainer.pair, fitted.parameters["generator"], 9, rows, condition)
        nearest = KNeighborsClassifier(5).fit(drawn[:1000], codes[:1000])
        rates[weight] = nearest.score(drawn[1000:], codes[1000:])
        for reduce in ("max", "mean"):
            score = functools.partial(fitted.discriminator_score, reduce=reduce)
            found[reduce] = top_share(score, members, nonmembers)
    assert rates[ratio] < most < without < rates[0.0]
    if discriminators == "shared":
        assert min(found.values()) > 0.4
    else:
        assert found["mean"] < 0.4
