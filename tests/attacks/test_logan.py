from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from mace_jax.attacks import logan_black_box, logan_local_model
from mace_jax.metrics import roc
from mace_jax.models import GAN
from mace_jax.models.against_known import _Trainer
from mace_jax.models.gan_trainer import GANTrainer
from mace_jax.queries import DiscriminatorScore

DISCRIMINATIVE = {"setting": "discriminative", "hidden": (32,), "steps": 1500}


class Settings:
    """A local model that needs no training: minus the distance to the mean of its records."""

    def fit(self, records, *, steps, seed):
        self.records, self.steps, self.seed = records, steps, seed
        return self

    def discriminator_score(self, records):
        return -np.linalg.norm(records - self.records.mean(axis=0), axis=1)


def test_the_local_model_is_trained_on_samples_and_known_members(rng):
    x, g, known = rng.normal(size=(10, 3)), rng.normal(size=(20, 3)), rng.normal(size=(5, 3))
    local = Settings()
    found = logan_black_box(x, g, local=local, known_members=known, steps=7, seed=3)
    assert (local.records == np.vstack([g, known])).all() and (local.steps, local.seed) == (7, 3)
    assert (found == local.discriminator_score(x)).all()


def test_a_local_gan_scores_with_its_discriminator(rng):
    g, x = rng.normal(size=(50, 2)), rng.normal(size=(9, 2))
    local = GAN(latent_dim=2, generator_hidden=(8,), discriminator_hidden=(8,))
    expected = local.fit(g, steps=20, seed=1).discriminator_score(x)
    np.testing.assert_allclose(logan_black_box(x, g, local=local, steps=20, seed=1), expected)


@pytest.mark.slow
def test_a_local_gan_knows_the_members_of_a_memorizing_model():
    rng = np.random.default_rng(0)
    members, nonmembers = rng.normal(size=(2, 60, 4))
    copies = members[rng.integers(60, size=3000)] + 0.02 * rng.normal(size=(3000, 4))
    scores = [logan_black_box(part, copies, steps=10_000, seed=0) for part in (members, nonmembers)]
    assert roc(*scores).auc > 0.7


def test_the_classifier_approaches_the_log_ratio(rng):
    """Equal batches of N(1, 1) and N(0, 1): the best logit is x - 1/2, whatever the sizes of the sets."""
    g, known, x = rng.normal(1.0, 1.0, (6000, 1)), rng.normal(size=(1500, 1)), np.linspace(-1.5, 2.5, 21)[:, None]
    found = logan_black_box(x, g, known_nonmembers=known, **{**DISCRIMINATIVE, "hidden": (16,), "learning_rate": 3e-3})
    assert np.abs(found - (x[:, 0] - 0.5)).mean() < 0.25
    assert stats.spearmanr(found, x[:, 0]).statistic > 0.95


def test_known_nonmembers_reveal_a_memorizing_model(rng):
    members, nonmembers, known = rng.normal(size=(40, 2)), rng.normal(size=(200, 2)), rng.normal(size=(2000, 2))
    copies = members[rng.integers(40, size=2000)] + 0.02 * rng.normal(size=(2000, 2))
    options = {**DISCRIMINATIVE, "hidden": (64, 64), "known_nonmembers": known}
    query = DiscriminatorScore(logan_local_model(copies, **options))
    assert roc(*(query(part, seed=0)[:, 0] for part in (members, nonmembers))).auc > 0.7
    np.testing.assert_array_equal(query(members[3:4], seed=0), query(members, seed=0)[3:4])
    fresh = logan_local_model(rng.normal(size=(2000, 2)), **options)
    null = roc(*(fresh.discriminator_score(part) for part in (members, nonmembers))).auc
    assert abs(null - 0.5) < 0.15  # three null standard deviations of 0.05


def test_the_seed_decides(rng):
    x, g, known = rng.normal(size=(9, 2)), rng.normal(size=(30, 2)), rng.normal(size=(30, 2))
    options = {**DISCRIMINATIVE, "steps": 20, "known_nonmembers": known}
    first, again, other = (logan_black_box(x, g, seed=seed, **options) for seed in (1, 1, 2))
    assert (first == again).all() and (first != other).any()


def test_a_local_gan_refuses_known_nonmembers(rng):
    """Both sets lie inside each other's range; only the third term of the loss can tell them apart."""
    g, known = rng.uniform(-1, 1, (600, 2)), rng.uniform(-1, 1, (300, 2))
    g, known = g[g[:, 0] * g[:, 1] > 0], known[known[:, 0] * known[:, 1] < 0]
    local = GAN(latent_dim=2, generator_hidden=(32,), discriminator_hidden=(32, 32), discriminator_learning_rate=3e-3)
    scores = [logan_black_box(part[-50:], g[:-50], known_nonmembers=known[:-50], local=local, steps=600, seed=0)
              for part in (g, known)]  # fmt: skip
    assert roc(*scores).auc > 0.9


@pytest.mark.slow
def test_its_first_step_is_that_of_the_loss(rng):
    """Adam's first step is the learning rate along the sign of the gradient, here taken by hand."""
    settings = GAN(latent_dim=1, generator_hidden=(2,), discriminator_hidden=(3,), batch_size=64)
    g, known = np.array([[0.0, 1.0], [0.0, 1.0], [1.0, 0.0]]), np.array([[0.25, 0.75]])
    trainer = _Trainer(GANTrainer(settings, 2, 0), 3)
    state = trainer.initial(jax.random.key(0))
    before, pair = state["parameters"]["discriminator"], trainer.plain.pair
    records, none = jnp.asarray(np.vstack([g, known]), jnp.float32), jnp.zeros((4, 0))
    key = jax.random.key(1)
    after, losses = trainer.step(state, records, none, key)
    rows, _, noise, _ = jax.random.split(key, 4)
    real = 2 * records[jax.random.randint(rows, (64,), 0, 3, jnp.int32)] - 1
    made = pair.generate(state["parameters"]["generator"], pair.noise(noise, 64), jnp.zeros((64, 0)))

    def loss(weights):
        parts = real, made, 2 * records[3:] - 1
        high, low, refused = (pair.logit(weights, part, jnp.zeros((len(part), 0))) for part in parts)
        real_terms = 0.9 * jax.nn.softplus(-high) + 0.1 * jax.nn.softplus(high)
        return real_terms.mean() + jax.nn.softplus(low).mean() + jax.nn.softplus(refused).mean()

    value, gradient = jax.value_and_grad(loss)(before)
    np.testing.assert_allclose(losses[0], value, rtol=1e-5)
    leaves = map(jax.tree.leaves, (after["parameters"]["discriminator"], before, gradient))
    for new, old, slope in zip(*leaves, strict=True):
        clear = np.abs(slope) > 1e-4
        np.testing.assert_allclose((new - old)[clear], -5e-4 * np.sign(slope)[clear], rtol=1e-2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"setting": "both"}, "setting='both'"),
        ({"setting": "discriminative"}, "needs known_nonmembers"),
        ({"known_members": [[1.0], [5.0]]}, "known_members holds 1 of the 2 records"),
        ({"steps": 0}, "steps=0"),
        ({"setting": "discriminative", "known_nonmembers": [[5.0]], "learning_rate": 0.0}, "learning_rate=0"),
        ({"setting": "discriminative", "known_nonmembers": [[5.0]], "batch_size": 1}, "batch_size=1"),
        ({"setting": "discriminative", "known_nonmembers": [[5.0, 6.0]]}, "known_nonmembers has 2"),
    ],
)
def test_bad_input_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        logan_black_box([[0.0], [1.0]], [[0.5], [0.7]], **options)


def test_a_local_model_that_cannot_score_is_refused():
    with pytest.raises(TypeError, match="cannot learn from known_nonmembers"):
        logan_black_box([[0.0]], [[0.5]], local=Settings(), known_nonmembers=[[3.0]])
    with pytest.raises(TypeError, match="local=3"):
        logan_black_box([[0.0]], [[0.5]], local=3)
    silent = type("Silent", (), {"fit": lambda self, records, *, steps, seed: object()})()
    with pytest.raises(TypeError, match="without discriminator_score"):
        logan_black_box([[0.0]], [[0.5]], local=silent)
