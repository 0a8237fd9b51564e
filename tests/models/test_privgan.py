from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.special import expit
from sklearn.datasets import load_digits

from mace_jax._types import DiscriminatorScores, SamplesRecords
from mace_jax.models import GAN, PrivGAN, checkpoint, load, train
from mace_jax.models import parts as parts_module
from mace_jax.models.adversarial import draw
from mace_jax.models.encoding import Labels
from mace_jax.models.privgan_trainer import PrivGANTrainer

TINY = {"latent_dim": 3, "generator_hidden": (6,), "discriminator_hidden": (6,), "batch_size": 8}
SETTINGS = PrivGAN(n_pairs=3, privacy_delay=2, privacy_pretraining=2, **TINY)


def equal(first, second) -> bool:
    leaves = zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True)
    return all(np.array_equal(a, b) for a, b in leaves)


def pair_of(tree, i):
    return jax.tree.map(lambda leaf: leaf[i], tree)


@pytest.fixture(scope="module")
def records():
    return np.random.default_rng(3).normal(size=(32, 4))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("run")


@pytest.fixture(scope="module")
def fitted(records, folder):
    return SETTINGS.fit(records, np.arange(32) % 2, steps=5, seed=1, checkpoint_dir=folder)


@pytest.fixture(scope="module")
def free():
    """Three pairs without penalty: the jitted step and its trainer."""
    trainer = PrivGANTrainer(
        PrivGAN(n_pairs=3, privacy_ratio=0.0, privacy_delay=0, privacy_pretraining=0, **TINY), 4, 0
    )
    return trainer, jax.jit(trainer.step), jax.jit(trainer.initial)(jax.random.key(0))


def run(step, state, unit, steps=3):
    for number in range(steps):
        state, _ = step(state, unit, jnp.zeros((len(unit), 0), jnp.float32), jax.random.key(number))
    return state


@pytest.mark.slow
def test_without_a_penalty_each_pair_is_a_gan_of_its_own(free):
    """Written from the definition, one pair at a time: plain gradients, no stacking."""
    trainer, step, start = free
    settings, pair = trainer.settings, trainer.pair
    unit = jnp.asarray(np.random.default_rng(0).uniform(size=(20, 4)), jnp.float32)
    together = run(step, start, unit)["parameters"]
    nothing = jnp.zeros((settings.batch_size, 0), jnp.float32)
    adam = {
        "generator": optax.adam(settings.generator_learning_rate, b1=settings.beta1),
        "discriminator": optax.adam(settings.discriminator_learning_rate, b1=settings.beta1),
    }

    def d_loss(discriminator, generator, real, noise):
        on_real = pair.logit(discriminator, real, nothing)
        on_fake = pair.logit(discriminator, pair.generate(generator, noise, nothing), nothing)
        towards_real = optax.sigmoid_binary_cross_entropy(on_real, jnp.full(len(on_real), settings.real_target))
        return jnp.mean(towards_real) + jnp.mean(optax.sigmoid_binary_cross_entropy(on_fake, jnp.zeros(len(on_fake))))

    def g_loss(generator, discriminator, noise):
        return -jnp.mean(
            jax.nn.log_sigmoid(pair.logit(discriminator, pair.generate(generator, noise, nothing), nothing))
        )

    @jax.jit
    def alone(discriminator, generator, moments, real, noise):
        change, first = adam["discriminator"].update(
            jax.grad(d_loss)(discriminator, generator, real, noise), moments["discriminator"]
        )
        discriminator = optax.apply_updates(discriminator, change)
        change, second = adam["generator"].update(
            jax.grad(g_loss)(generator, discriminator, noise), moments["generator"]
        )
        return discriminator, optax.apply_updates(generator, change), {"discriminator": first, "generator": second}

    numbers = jnp.broadcast_to(jnp.arange(3, dtype=jnp.int32)[:, None], (3, settings.batch_size))
    for i in range(3):
        discriminator, generator, moments = (
            pair_of(tree, i)
            for tree in (
                start["parameters"]["discriminator"],
                start["parameters"]["generator"],
                {name: start["optimizers"][name] for name in adam},
            )
        )
        for number in range(3):
            row_key, noise_key = jax.random.split(jax.random.key(number), 4)[:2]
            rows = parts_module.rows_of_parts(row_key, numbers, 20, 3)[i]
            noise = pair.noise(noise_key, settings.batch_size)  # one batch for all
            discriminator, generator, moments = alone(discriminator, generator, moments, 2 * unit[rows] - 1, noise)
        for stacked, single in ((together["discriminator"], discriminator), (together["generator"], generator)):
            for a, b in zip(jax.tree.leaves(pair_of(stacked, i)), jax.tree.leaves(single), strict=True):
                np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-6)


@pytest.mark.slow
def test_without_a_penalty_other_parts_leave_no_trace_in_a_pair(free):
    """Bit for bit: what the other two parts hold does not reach pair 0."""
    trainer, step, start = free
    unit = np.random.default_rng(0).uniform(size=(21, 4)).astype(np.float32)
    changed = unit.copy()
    changed[7:] = 1.0 - changed[7:]
    first, second = (run(step, start, jnp.asarray(rows))["parameters"] for rows in (unit, changed))
    for name in ("generator", "discriminator"):
        assert equal(pair_of(first[name], 0), pair_of(second[name], 0))
        assert not equal(pair_of(first[name], 1), pair_of(second[name], 1))
    assert not equal(first["privacy"], second["privacy"])  # D_p sees all generators


def test_the_privacy_discriminator_is_pretrained_once_and_waits_for_its_delay(fitted, folder):
    """Two updates before the first step, then one in each of the steps 2, 3 and 4 of five."""
    optimizers = checkpoint.read(folder, checkpoint.TRAINING_FILE)["state"]["optimizers"]
    counts = {name: np.ravel(optax.tree.get(moments, "count")).tolist() for name, moments in optimizers.items()}
    assert counts == {"generator": [5, 5, 5], "discriminator": [5, 5, 5], "privacy": [2 + 3]}


def test_pretraining_teaches_the_parts_of_real_records():
    classifier = PrivGANTrainer(PrivGAN(**{**TINY, "discriminator_hidden": (32,)}), 4, 0).classifier
    adam = optax.adam(1e-2, b1=0.5)
    unit = jnp.asarray(np.random.default_rng(0).uniform(size=(10, 4)), jnp.float32)
    nothing = jnp.zeros((10, 0), jnp.float32)

    @jax.jit
    def learned(first):
        weights = classifier.initial(jax.random.key(0))
        moments = adam.init(weights)
        key = jax.random.key(1)
        weights, moments = classifier.pretrained(
            adam, weights, moments, unit, nothing, key, first=first, steps=300, batch_size=8
        )
        return classifier.logits(weights, 2 * unit - 1, nothing), optax.tree.get(moments, "count")

    logits, count = learned(jnp.array(True))
    assert np.array_equal(np.argmax(logits, axis=1), [0] * 5 + [1] * 5) and count == 300  # sorted by part
    assert learned(jnp.array(False))[1] == 0


def test_the_penalty_reaches_the_generators(free):
    """The loss through D_p's logits has their slope, weighted; the discriminators' part is untouched."""
    trainer, _, start = free
    rng = np.random.default_rng(0)
    fake, nothing = jnp.asarray(rng.uniform(-1, 1, (8, 4)), jnp.float32), jnp.zeros((8, 0), jnp.float32)
    parts, others = jnp.zeros(8, jnp.int32), jnp.asarray(rng.integers(1, 3, 8), jnp.int32)
    discriminator, privacy = pair_of(start["parameters"]["discriminator"], 0), start["parameters"]["privacy"]

    def slope(ratio):
        weighted = PrivGANTrainer(PrivGAN(n_pairs=3, privacy_ratio=ratio, **TINY), 4, 0)

        def loss(x):
            told = trainer.classifier.logits(privacy, x, nothing)
            return weighted.generator_loss(x, told, discriminator, nothing, parts, others)[0]

        return jax.jit(jax.grad(loss))(fake)

    def cross_entropy(x):
        logits = trainer.classifier.logits(privacy, x, nothing)
        return -jnp.mean(jax.nn.log_softmax(logits)[jnp.arange(8), others])

    np.testing.assert_allclose(slope(2.0) - slope(0.0), 2.0 * jax.jit(jax.grad(cross_entropy))(fake), atol=1e-6)


@pytest.mark.slow
def test_moving_together_changes_what_the_generators_hide_from_and_nothing_else():
    """From one state: the same discriminators and the same D_p; other generators only where D_p learns."""
    rows = np.random.default_rng(0).uniform(size=(21, 4)).astype(np.float32)
    for delay in (0, 5):
        after = {}
        for updates in ("in_turn", "together"):
            steep = {"adam_eps": 1.0, "generator_learning_rate": 1.0, "privacy_learning_rate": 1.0}  # not signs alone
            settings = PrivGAN(n_pairs=3, privacy_delay=delay, updates=updates, **steep, **TINY)
            trainer = PrivGANTrainer(settings, 4, 0)
            state = jax.jit(trainer.initial)(jax.random.key(0))
            after[updates] = run(jax.jit(trainer.step), state, jnp.asarray(rows), 1)["parameters"]
        gaps = {
            name: max(
                float(jnp.abs(a - b).max())
                for a, b in zip(*(jax.tree.leaves(weights[name]) for weights in after.values()), strict=True)
            )
            for name in state["parameters"]
        }
        assert gaps["discriminator"] == 0.0
        assert gaps["privacy"] < 1e-6
        assert (gaps["generator"] > 1e-6) == (delay == 0)


def test_parts_share_records_and_labels_evenly():
    labels = np.repeat([0, 1, 2], [11, 5, 4])
    coding, one_hot = Labels.fit(labels, 20)
    parts = parts_module.deal(5, 3, one_hot, coding)
    sizes = np.bincount(parts)
    assert sizes.sum() == 20 and np.ptp(sizes) <= 1
    for label in range(3):
        assert np.ptp(np.bincount(parts[labels == label], minlength=3)) <= 1
    assert np.array_equal(parts, parts_module.deal(5, 3, one_hot, coding))
    assert not np.array_equal(parts, parts_module.deal(6, 3, one_hot, coding))
    plain = parts_module.deal(5, 3, np.zeros((20, 0)), Labels())
    assert np.ptp(np.bincount(plain)) <= 1


def test_every_record_of_a_part_is_drawn_and_no_other():
    n, n_parts = 11, 3
    sizes = [4, 4, 3]
    parts = jnp.asarray(np.arange(6000) % n_parts, jnp.int32)
    rows = np.asarray(parts_module.rows_of_parts(jax.random.key(0), parts, n, n_parts))
    assert np.array_equal(parts_module.parts_of_rows(jnp.asarray(rows), n, n_parts), parts)
    counts = np.bincount(rows, minlength=n)
    expected = np.repeat([2000 / size for size in sizes], sizes)
    assert np.abs(counts - expected).max() < 5 * np.sqrt(expected.max())


def test_samples_come_in_equal_numbers_from_generators_whose_place_tells_nothing():
    order = parts_module.assigned(0, 3000, 3)
    assert np.array_equal(parts_module.assigned(0, 7, 3), order[:7])
    blocks = order.reshape(-1, 3)
    assert (np.sort(blocks, axis=1) == np.arange(3)).all()
    first = np.bincount(blocks[:, 0])
    assert np.abs(first - 1000 / 3).max() < 5 * np.sqrt(1000 / 3)


def test_a_row_does_not_depend_on_how_many_are_drawn(fitted):
    many = fitted.sample(300, seed=4)
    assert many.shape == (300, 4) and many.dtype == np.float64
    assert np.array_equal(fitted.sample(5, seed=4), many[:5])
    assert not np.array_equal(fitted.sample(5, seed=5), many[:5])
    wanted = np.arange(300) % 2
    rows = fitted.sample(300, seed=4, labels=wanted)
    order = parts_module.assigned(4, 300, 3)
    every = np.arange(300, dtype=np.int32)
    for i in range(3):  # each row is what its generator makes of the row's noise
        own = draw(fitted._trainer.pair, fitted._weights("generator", i), 4, every, fitted.labels.rows(wanted))
        np.testing.assert_array_equal(rows[order == i], fitted.scaling.from_unit(own)[order == i])


def test_scores_reduce_over_discriminators(fitted, records):
    labels = np.arange(32) % 2
    each = fitted.discriminator_score(records, labels=labels, reduce="none")
    assert each.shape == (32, 3) and each.dtype == np.float64
    score = lambda **how: fitted.discriminator_score(records, labels=labels, **how)  # noqa: E731
    np.testing.assert_allclose(score(), each.mean(axis=1))
    np.testing.assert_allclose(score(reduce="max"), each.max(axis=1))
    np.testing.assert_allclose(score(scale="probability"), expit(each).mean(axis=1))
    np.testing.assert_allclose(score(reduce="max", scale="probability"), expit(each.max(axis=1)))
    either = [fitted.discriminator_score(records, labels=np.full(32, label), reduce="none") for label in (0, 1)]
    mixed = fitted.discriminator_score(records, reduce="none")
    np.testing.assert_allclose(mixed, np.log((np.exp(either[0]) + np.exp(either[1])) / 2.0), rtol=1e-6)
    alone = np.concatenate([score_of_one(fitted, record) for record in records[:5]])
    np.testing.assert_allclose(alone, mixed[:5], rtol=1e-5, atol=1e-6)


def score_of_one(fitted, record):
    return fitted.discriminator_score(record[None], reduce="none")


def test_part_logits_are_those_of_the_privacy_discriminator(fitted, records):
    labels = np.arange(32) % 2
    logits = fitted.part_logits(records, labels=labels)
    assert logits.shape == (32, 3)
    direct = fitted._trainer.classifier.logits(
        fitted.parameters["privacy"],
        2 * jnp.asarray(fitted.scaling.to_unit(records)) - 1,
        jnp.asarray(fitted.labels.one_hot(labels, 32)),
    )
    np.testing.assert_allclose(logits, direct, rtol=1e-5, atol=1e-6)


def test_a_fitted_model_tells_its_split_and_comes_back_from_disk(fitted, records, tmp_path):
    assert isinstance(fitted, SamplesRecords) and isinstance(fitted, DiscriminatorScores)
    assert repr(fitted) == "FittedPrivGAN(pairs=3, features=4, labels=2, steps=5)"
    assert np.ptp(np.bincount(fitted.parts)) <= 1 and len(fitted.history[0]) == 4
    path = fitted.save(tmp_path)
    again = load(tmp_path)
    assert again.settings == fitted.settings and again.history == fitted.history
    assert np.array_equal(again.parts, fitted.parts)
    assert np.array_equal(again.sample(4, seed=0), fitted.sample(4, seed=0))
    assert np.array_equal(again.discriminator_score(records), fitted.discriminator_score(records))
    content = checkpoint.read(tmp_path, path.name)
    del content["parts"]
    checkpoint.write(tmp_path, path.name, content)
    with pytest.raises(ValueError, match=r"holds a PrivGAN without \['parts'\]; the file is damaged"):
        load(tmp_path)


def test_a_continued_run_is_the_uninterrupted_one(fitted, records, tmp_path, monkeypatch):
    labels = np.arange(32) % 2
    SETTINGS.fit(records, labels, steps=3, seed=1, checkpoint_dir=tmp_path)
    resumed = SETTINGS.fit(records, labels, steps=5, seed=1, checkpoint_dir=tmp_path)
    assert equal(resumed.parameters, fitted.parameters)
    assert np.array_equal(resumed.parts, fitted.parts)
    assert train.CHUNK > 5 and resumed.history == fitted.history


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PrivGAN(n_pairs=1), "n_pairs=1 must be at least 2"),
        (lambda: PrivGAN(privacy_ratio=-1.0), "privacy_ratio=-1.0 must be a finite number of at least 0"),
        (lambda: PrivGAN(privacy_delay=-1), "privacy_delay=-1 must be at least 0"),
        (lambda: PrivGAN(privacy_pretraining=-1), "privacy_pretraining=-1 must be at least 0"),
        (lambda: PrivGAN(real_target=0.2), "real_target=0.2 must lie in"),
        (lambda: PrivGAN().fit(np.eye(3), steps=1, seed=0), "records has 3 rows; at least 4 are needed"),
        (
            lambda: PrivGAN().fit(np.eye(4), ["a", "a", "a", "b"], steps=1, seed=0),
            "labels has 1 records of 'b', fewer than the 2 parts",
        ),
        (lambda: PrivGAN.from_dict({"kind": "GAN"}), "kind='GAN' does not belong to PrivGAN"),
    ],
)
def test_bad_input_is_refused_by_name(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_unknown_choices_are_refused_by_name(fitted, records):
    with pytest.raises(ValueError, match="reduce='median' is not known; pass one of 'mean', 'max', 'none'"):
        fitted.discriminator_score(records, reduce="median")
    with pytest.raises(ValueError, match="scale='log' is not known; pass one of 'logit', 'probability'"):
        fitted.discriminator_score(records, scale="log")
    with pytest.raises(ValueError, match="labels=None, but the model is conditional"):
        fitted.part_logits(records)


OVERFIT = {
    "latent_dim": 32,
    "generator_hidden": (128, 128),
    "discriminator_hidden": (256, 128),
    "generator_learning_rate": 1e-3,
    "discriminator_learning_rate": 1e-3,
    "real_target": 0.9,
    "scaling": "common",
}


def digits_of(seed):
    """200 members of the 1,797 digits and the others: the chance level of ``top_share`` is 0.111."""
    data = load_digits().data
    order = np.random.default_rng(seed).permutation(len(data))
    return data[order[:200]], data[order[200:]]


def top_share(score, members, nonmembers) -> float:
    """Share of members among as many top scores; ties are broken at random."""
    scores = np.concatenate([score(members), score(nonmembers)])
    order = np.random.default_rng(0).permutation(len(scores))
    top = order[np.argsort(-scores[order], kind="stable")][: len(members)]
    return float((top < len(members)).mean())


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_the_mean_discriminator_of_privgan_knows_its_digits_less_than_a_gans(seed):
    """At equal numbers of discriminator updates and equal real targets; the maximum is not always lower."""
    members, nonmembers = digits_of(seed)
    early = GAN(**OVERFIT).fit(members, steps=3, seed=seed)
    assert 0.05 < top_share(early.discriminator_score, members, nonmembers) < 0.2
    plain = GAN(**OVERFIT).fit(members, steps=3000, seed=seed)
    known = top_share(plain.discriminator_score, members, nonmembers)
    assert known > 3 * 200 / 1797
    shares, entropy = {}, {}
    for ratio in (0.0, 1.0):
        fitted = PrivGAN(privacy_ratio=ratio, privacy_learning_rate=1e-3, **OVERFIT).fit(members, steps=3000, seed=seed)
        shares[ratio] = top_share(fitted.discriminator_score, members, nonmembers)
        entropy[ratio] = fitted.history[-1][3]
    assert shares[1.0] < known and shares[1.0] < shares[0.0]
    assert entropy[0.0] < 0.2 < 0.3 < entropy[1.0]  # D_p tells generators apart much better without the penalty
