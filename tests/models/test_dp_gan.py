from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import expit

from mace_jax.models import DPSGD, GAN, VAE, WGANGP, ConvNetworks, DCGANNetworks, FittedGAN, PrivateFit, load
from mace_jax.models.dp_guarantee import DPSGDGuarantee
from mace_jax.models.dp_learner import DiscriminatorLearner
from mace_jax.models.dp_trainer import PrivateTrainer, poisson_sample, sampling_probability

accounting = pytest.importorskip("dp_accounting")
pytest.importorskip("jax_privacy")

SMALL = GAN(latent_dim=2, generator_hidden=(6,), discriminator_hidden=(5,), batch_size=8)
NEVER = 2.0**-23


@pytest.fixture(scope="module")
def cube():
    """Thirty records in the unit cube and their labels."""
    return np.random.default_rng(5).uniform(size=(30, 3)), np.arange(30) % 2


@pytest.fixture(scope="module")
def start(cube):
    """A learner for three labels, its first state, its inputs and keys."""
    learner = DiscriminatorLearner(SMALL, 3, 3)
    state = jax.jit(learner.initial)(jax.random.key(0))
    data = jnp.asarray(cube[0], jnp.float32), jnp.eye(3, dtype=jnp.float32)[cube[1]]
    return learner, state, data, (jax.random.key(1), jax.random.key(2))


@pytest.fixture(scope="module")
def noisy(cube):
    """A GAN trained with much noise."""
    return DPSGD(noise_multiplier=40.0, l2_clip=0.5).fit(
        SMALL, *cube, bounds=(-1.0, 3.0), label_values=[0, 1, 2], steps=200, seed=7
    )


def forward(layers, inputs):
    """Hidden values before the rectifier, and the output, of a perceptron with one hidden layer, in float64."""
    (kernel, bias), (last_kernel, last_bias) = layers
    hidden = inputs @ kernel + bias
    return hidden, np.where(hidden > 0, hidden, 0.2 * hidden) @ last_kernel + last_bias


def layers_of(weights):
    """Kernels and biases in float64."""
    dense = weights["params"]
    return [[np.asarray(dense[name][part], np.float64) for part in ("kernel", "bias")] for name in sorted(dense)]


def slow_gradient(state, record, condition, noise):
    """Gradient of the discriminator's loss on one record and its synthetic partner, by the chain rule in float64."""
    generator, discriminator = (layers_of(state["parameters"][name]) for name in ("generator", "discriminator"))
    synthetic = np.tanh(forward(generator, np.concatenate([noise, condition]))[1])
    gradient = [[np.zeros_like(part) for part in layer] for layer in discriminator]
    for values, target in ((2.0 * record - 1.0, SMALL.real_target), (synthetic, 0.0)):
        inputs = np.concatenate([values, condition])
        hidden, logit = forward(discriminator, inputs)
        slope = expit(logit) - target
        back = (discriminator[1][0] @ slope) * np.where(hidden > 0, 1.0, 0.2)
        active = np.where(hidden > 0, hidden, 0.2 * hidden)
        for layer, (kernel, bias) in enumerate(((np.outer(inputs, back), back), (np.outer(active, slope), slope))):
            gradient[layer][0] += kernel
            gradient[layer][1] += bias
    return gradient


def norm_of(gradient):
    return math.sqrt(sum(np.sum(np.square(leaf, dtype=np.float64)) for leaf in jax.tree.leaves(gradient)))


@pytest.mark.parametrize(("clip", "shares"), [(0.3, (1.0, 1.0)), (0.75, (0.2, 0.8))])
def test_gradients_of_the_discriminator_are_clipped_record_by_record(clip, shares, start):
    learner, state, data, keys = start
    trainer = PrivateTrainer(learner, 0.0, clip, 0.9)
    total = layers_of(jax.jit(trainer.clipped_sum)(state, *data, *keys))
    taken = np.flatnonzero(poisson_sample(keys[0], 30, 0.9))
    assert 16 < len(taken) < 30  # several blocks of 8, the last one not full
    expected, norms = [[np.zeros_like(part) for part in layer] for layer in total], []
    for row in taken:
        noise = learner.trainer.pair.noise(jax.random.fold_in(keys[1], row), 1)[0]
        inputs = (np.asarray(value, np.float64) for value in (data[0][row], data[1][row], noise))
        gradient = slow_gradient(state, *inputs)
        norms.append(norm_of(gradient))
        scale = min(1.0, clip / norms[-1])
        expected = jax.tree.map(lambda so_far, part, scale=scale: so_far + scale * part, expected, gradient)
    assert shares[0] <= np.mean(np.array(norms) > clip) <= shares[1]
    for ours, wanted in zip(jax.tree.leaves(total), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(ours, wanted, atol=2e-5)


def test_one_record_adds_at_most_the_clipping_norm(start):
    learner, state, (records, one_hot), keys = start
    total = jax.jit(PrivateTrainer(learner, 0.0, 0.3, 1.0).clipped_sum)  # every record is taken
    for value in (records[:1], jnp.full((1, 3), 1e4)):  # however far out it lies
        assert norm_of(total(state, value, one_hot[:1], *keys)) == pytest.approx(0.3, rel=1e-5)


def test_a_step_that_samples_no_record_is_the_same_for_all_records(start):
    """Nothing but the clipped sum carries records and labels to either network."""
    learner, state, (records, one_hot), _ = start
    step = jax.jit(PrivateTrainer(learner, 1.0, 1.0, NEVER).step)
    key = jax.random.key(4)
    assert not poisson_sample(jax.random.split(key, 4)[0], 30, NEVER).any()
    first, told = step(state, records, one_hot, key)
    second, again = step(state, 1.0 - records, one_hot[:, ::-1], key)
    assert all(map(np.array_equal, jax.tree.leaves(first), jax.tree.leaves(second))) and np.array_equal(told, again)
    for name in ("generator", "discriminator"):  # though both networks have moved
        pairs = zip(jax.tree.leaves(first["parameters"][name]), jax.tree.leaves(state["parameters"][name]), strict=True)
        assert all(not np.array_equal(after, before) for after, before in pairs)


def test_the_generator_sees_all_public_labels_alike(start):
    learner, *_ = start
    keys = jax.random.split(jax.random.key(9), 500)
    drawn = np.asarray(jax.vmap(learner._public_condition)(keys)).reshape(-1, 3)
    assert (drawn.sum(axis=1) == 1.0).all()
    assert np.abs(drawn.mean(axis=0) - 1 / 3).max() < 4 * math.sqrt(2 / 9 / 4000)
    assert DiscriminatorLearner(SMALL, 3, 0)._public_condition(keys[0]).shape == (8, 0)


def test_the_noise_has_the_stated_size(noisy):
    weights = sum(leaf.size for leaf in jax.tree.leaves(noisy.model.parameters["discriminator"]))
    # 200 norms of vectors of independent normals; the clipped signal adds at most a thousandth
    expected = 40.0 * 0.5 / 8 * math.sqrt(weights)
    assert noisy.model.history[-1][1] == pytest.approx(expected, rel=4 / math.sqrt(2 * weights * 200) + 2e-3)


def test_the_guarantee_is_the_librarys_and_falls_with_the_noise(noisy, cube):
    probability = sampling_probability(8, 30)
    assert noisy.guarantee == DPSGDGuarantee(40.0, probability, 200)
    epsilons = []
    for noise in (2.0, 8.0, 40.0):
        event = accounting.PoissonSampledDpEvent(probability, accounting.GaussianDpEvent(noise))
        accountant = accounting.pld.PLDAccountant(accounting.NeighboringRelation.ADD_OR_REMOVE_ONE)
        epsilons.append(accountant.compose(event, 200).get_epsilon(1e-5))
        assert DPSGDGuarantee(noise, probability, 200).epsilon(1e-5) == epsilons[-1]
    assert epsilons[0] > 2 * epsilons[1] > 4 * epsilons[2] > 0
    assert "200 steps, each taking every record on its own" in noisy.guarantee.statement(1e-5)


def test_the_model_holds_nothing_that_the_guarantee_does_not_cover(noisy):
    model = noisy.model
    assert np.array_equal(model.scaling.low, [-1, -1, -1]) and np.array_equal(model.scaling.span, [4, 4, 4])
    assert model.labels.values == (0, 1, 2) and model.labels.shares == (1 / 3, 1 / 3, 1 / 3)
    assert model.seed == 0 and model.steps == 200
    assert len(model.history) == 1 and len(model.history[0]) == 3 and np.isfinite(model.history).all()


def test_a_private_gan_samples_and_scores_under_every_public_label(noisy, cube):
    model, records = noisy.model, cube[0]
    drawn = model.sample(6, seed=1, labels=[0, 1, 2, 0, 1, 2])
    assert drawn.shape == (6, 3) and (drawn >= -1.0).all() and (drawn <= 3.0).all()
    every = np.stack([model.discriminator_score(records, labels=np.full(30, label)) for label in (0, 1, 2)])
    assert len(np.unique(every[:, 0])) == 3
    np.testing.assert_allclose(model.discriminator_score(records), np.log(np.exp(every).mean(axis=0)), rtol=1e-6)


def test_model_and_guarantee_are_saved_together(noisy, cube, tmp_path):
    noisy.save(tmp_path / "both")
    again = PrivateFit.load(tmp_path / "both")
    assert again.guarantee == noisy.guarantee and type(again.guarantee.steps) is int
    for model in (again.model, load(tmp_path / "both")):
        assert isinstance(model, FittedGAN) and model.settings == SMALL
        assert np.array_equal(model.sample(5, seed=1), noisy.model.sample(5, seed=1))
        scores = model.discriminator_score(cube[0], labels=cube[1])
        assert np.array_equal(scores, noisy.model.discriminator_score(cube[0], labels=cube[1]))
    noisy.model.save(tmp_path / "alone")
    with pytest.raises(ValueError, match="holds a model without a guarantee; save what DPSGD.fit returned"):
        PrivateFit.load(tmp_path / "alone")


def test_the_same_seed_gives_the_same_weights(noisy, cube):
    fit = DPSGD(noise_multiplier=40.0, l2_clip=0.5).fit
    again, other = (
        fit(SMALL, *cube, bounds=(-1.0, 3.0), label_values=[0, 1, 2], steps=200, seed=seed).model for seed in (7, 8)
    )
    ours = jax.tree.leaves(noisy.model.parameters)
    assert all(map(np.array_equal, ours, jax.tree.leaves(again.parameters))) and again.history == noisy.model.history
    assert not any(map(np.array_equal, ours, jax.tree.leaves(other.parameters)))


@pytest.mark.slow
def test_with_little_noise_it_learns_the_records_of_each_label():
    rng = np.random.default_rng(0)
    labels = np.arange(400) % 2
    records = np.where(labels[:, None] == 0, [0.25, 0.7], [0.7, 0.4]) + 0.05 * rng.normal(size=(400, 2))
    settings = GAN(latent_dim=4, generator_hidden=(32,), discriminator_hidden=(32,), batch_size=40)
    model = (
        DPSGD(noise_multiplier=0.5)
        .fit(settings, records, labels, bounds=(-0.5, 1.5), label_values=[0, 1], steps=1500, seed=1)
        .model
    )
    for label in (0, 1):
        drawn = model.sample(500, seed=2, labels=np.full(500, label))
        assert np.abs(drawn.mean(axis=0) - records[labels == label].mean(axis=0)).max() < 0.1


@pytest.mark.slow
def test_convolutions_are_trained_too():
    networks = ConvNetworks((4, 4, 1), generator_channels=(3,), discriminator_channels=(3,), kernel=3)
    images = np.random.default_rng(0).uniform(size=(20, 16))
    model = DPSGD(1.0).fit(GAN(networks=networks, batch_size=5), images, bounds=(0, 1), steps=3, seed=0).model
    assert model.sample(2, seed=0).shape == (2, 16) and model.discriminator_score(images).shape == (20,)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        (dict(model=WGANGP()), TypeError, "must be the settings of a VAE or a GAN"),
        (
            dict(model=GAN(networks=DCGANNetworks((8, 8, 1), 2)), records=np.zeros((30, 64))),
            ValueError,
            "normalizes batches, which DPSGD cannot train: its losses are defined record by record",
        ),
        (dict(model=GAN(networks=ConvNetworks((4, 4, 1), (3,), (3,)))), ValueError, "records has 3 columns but record"),
        (dict(model=VAE(image_shape=(4, 4, 1), encoder_hidden=(3,), decoder_hidden=(3,))), ValueError, "records has 3"),
        (dict(bounds=(0.4, 1.0)), ValueError, "rows outside bounds; widen the bounds from public knowledge"),
        (dict(model=GAN(batch_size=31)), ValueError, "batch_size=31 is more than the 30 records"),
    ],
)
def test_bad_input_is_refused_by_name(changes, error, message, cube):
    usual = {"model": SMALL, "records": cube[0], "bounds": (0, 1), "steps": 1, "seed": 0}
    with pytest.raises(error, match=message):
        DPSGD(1.0).fit(**{**usual, **changes})
