from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mace_jax._types import DiscriminatorScores, SamplesRecords
from mace_jax.models import WGANGP, checkpoint, load
from mace_jax.models.wgan_gp import _Trainer

TINY = {"latent_dim": 3, "generator_hidden": (6,), "discriminator_hidden": (6, 5), "batch_size": 8}


@pytest.fixture(scope="module")
def records():
    return np.random.default_rng(3).normal(size=(32, 4))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("run")


@pytest.fixture(scope="module")
def fitted(records, folder):
    return WGANGP(critic_steps=3, **TINY).fit(records, np.arange(32) % 2, steps=5, seed=1, checkpoint_dir=folder)


def test_the_critics_loss_is_its_definition():
    """Against float64: a critic written out in NumPy, its slope by central differences."""
    trainer = _Trainer(WGANGP(penalty_weight=7.0, **TINY), 4, 0)
    weights = jax.jit(trainer.initial)(jax.random.key(0))["parameters"]["discriminator"]
    rng = np.random.default_rng(0)
    real, synthetic = rng.uniform(-1, 1, (8, 4)), rng.uniform(-1, 1, (8, 4))
    places = rng.uniform(size=8)

    def critic(x):
        layers = weights["params"]
        for layer in range(3):
            kernel, bias = (np.asarray(layers[f"Dense_{layer}"][name], float) for name in ("kernel", "bias"))
            x = x @ kernel + bias
            x = np.where(x > 0, x, 0.2 * x) if layer < 2 else x
        return x[:, 0]

    between = places[:, None] * real + (1 - places[:, None]) * synthetic
    steps = 1e-6 * np.eye(4)
    slopes = np.stack([(critic(between + step) - critic(between - step)) / 2e-6 for step in steps], axis=1)
    penalty = np.mean((np.linalg.norm(slopes, axis=1) - 1.0) ** 2)
    difference = critic(real).mean() - critic(synthetic).mean()
    loss, told = jax.jit(trainer.critic_loss)(
        weights,
        *(jnp.asarray(rows, jnp.float32) for rows in (real, synthetic)),
        jnp.zeros((8, 0), jnp.float32),
        jnp.asarray(places, jnp.float32),
    )
    np.testing.assert_allclose(told, [difference, penalty], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(loss, 7.0 * penalty - difference, rtol=1e-4)


def test_the_critic_moves_several_times_per_step(fitted, folder):
    optimizers = checkpoint.read(folder, checkpoint.TRAINING_FILE)["state"]["optimizers"]
    counts = {name: int(optax.tree.get(moments, "count")) for name, moments in optimizers.items()}
    assert counts == {"generator": 5, "discriminator": 15}


@pytest.mark.slow
def test_it_learns_where_the_records_are():
    """Records near one corner and its opposite: synthetic ones end there."""
    rng = np.random.default_rng(0)
    corners = np.where(np.arange(200)[:, None] % 2, 0.9, 0.1) + rng.uniform(-0.1, 0.1, (200, 2))
    settings = WGANGP(
        latent_dim=2,
        generator_hidden=(32,),
        discriminator_hidden=(32, 32),
        generator_learning_rate=2e-3,
        discriminator_learning_rate=2e-3,
    )
    fitted = settings.fit(corners, steps=600, seed=0)
    samples = fitted.sample(500, seed=1)
    low = samples.sum(axis=1) < 1.0
    assert 0.3 < low.mean() < 0.7
    np.testing.assert_allclose(samples[low].mean(axis=0), 0.1, atol=0.15)
    np.testing.assert_allclose(samples[~low].mean(axis=0), 0.9, atol=0.15)


def test_scores_are_the_critics_values_each_record_alone(fitted, records):
    labels = np.arange(32) % 2
    scores = fitted.discriminator_score(records, labels=labels)
    direct = fitted._trainer.pair.logit(
        fitted.parameters["discriminator"],
        2 * jnp.asarray(fitted.scaling.to_unit(records)) - 1,
        jnp.asarray(fitted.labels.rows(labels)),
    )
    np.testing.assert_allclose(scores, direct, rtol=1e-5, atol=1e-6)
    zero, one = (fitted.discriminator_score(records, labels=np.full(32, label)) for label in (0, 1))
    np.testing.assert_allclose(fitted.discriminator_score(records), (zero + one) / 2.0, rtol=1e-9, atol=1e-12)
    alone = np.concatenate([fitted.discriminator_score(record[None], labels=[0]) for record in records[:4]])
    np.testing.assert_allclose(alone, zero[:4], rtol=1e-5, atol=1e-6)


def test_a_row_does_not_depend_on_how_many_are_drawn(fitted):
    assert np.array_equal(fitted.sample(3, seed=1), fitted.sample(30, seed=1)[:3])


def test_a_fitted_model_comes_back_from_disk(fitted, records, tmp_path):
    assert isinstance(fitted, SamplesRecords) and isinstance(fitted, DiscriminatorScores)
    assert repr(fitted) == "FittedWGANGP(features=4, labels=2, steps=5)"
    fitted.save(tmp_path)
    again = load(tmp_path)
    assert again.settings == fitted.settings and again.history == fitted.history
    assert np.array_equal(again.discriminator_score(records), fitted.discriminator_score(records))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: WGANGP(critic_steps=0), "critic_steps=0 must be at least 1"),
        (lambda: WGANGP(penalty_weight=0.0), "penalty_weight=0.0 must be above 0"),
        (lambda: WGANGP(beta2=1.0), "beta2=1.0 must be a probability"),
        (lambda: WGANGP().fit([[1.0]], steps=1, seed=0), "records has 1 rows; at least 2 are needed"),
        (lambda: WGANGP.from_dict({"kind": "GAN"}), "kind='GAN' does not belong to WGANGP"),
    ],
)
def test_bad_input_is_refused_by_name(make, message):
    with pytest.raises(ValueError, match=message):
        make()
