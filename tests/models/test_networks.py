from __future__ import annotations

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mace_jax.models import GAN, PIGAN, WGANGP, ConvNetworks, DCGANNetworks, MLPNetworks, PrivGAN, load, published
from mace_jax.models.adversarial import Pair, check
from mace_jax.models.gan_trainer import GANTrainer
from mace_jax.models.pigan_trainer import PIGANTrainer
from mace_jax.models.privgan_trainer import PrivGANTrainer

TINY_CONV = ConvNetworks((8, 8, 2), generator_channels=(4, 3), discriminator_channels=(3, 4), kernel=3)
SMALL_CONV = ConvNetworks((16, 16, 3), generator_channels=(32, 48), discriminator_channels=(48, 32))
TINY_DCGAN = DCGANNetworks((16, 16, 1), width=2)


def counts(trainer) -> dict[str, int]:
    """Trainable numbers of each network, without running anything."""
    shapes = jax.eval_shape(trainer.initial, jax.random.key(0))["parameters"]
    return {name: sum(leaf.size for leaf in jax.tree.leaves(part["params"])) for name, part in shapes.items()}


@pytest.mark.parametrize(
    ("settings", "n_features", "generator", "discriminator"),
    [
        (published.privgan_mnist_gan(), 784, 1_643_280, 2_788_353),
        (published.privgan_mnist_gan(), 62 * 47, 3_826_530, 7_150_593),
        (published.privgan_cifar10_gan(), 32 * 32 * 3, 4_512_899, 1_440_001),
        (published.logan_dcgan(), 64 * 64 * 3, 3_576_704, 2_765_568),
    ],
)
def test_parameter_counts_of_published_gans(settings, n_features, generator, discriminator):
    assert counts(GANTrainer(settings, n_features, 0)) == {"generator": generator, "discriminator": discriminator}


@pytest.mark.parametrize(
    ("settings", "n_features", "generator", "discriminator", "privacy"),
    [
        (published.privgan_mnist(), 784, 1_643_280, 2_788_353, 2_788_610),
        (published.privgan_mnist(1_323), 62 * 47, 3_826_530, 7_150_593, 7_150_850),
        (published.privgan_cifar10(n_pairs=2), 32 * 32 * 3, 4_512_899, 1_440_001, 1_441_026),
    ],
)
def test_parameter_counts_of_published_privgans(settings, n_features, generator, discriminator, privacy):
    expected = {"generator": 2 * generator, "discriminator": 2 * discriminator, "privacy": privacy}
    assert counts(PrivGANTrainer(settings, n_features, 0)) == expected


@pytest.mark.parametrize(
    ("discriminators", "of_all_parts"), [("shared", 2_788_353 + 5 * 2048), ("per_part", 5 * 2_788_353)]
)
def test_pigan_shares_one_generator_whatever_the_number_of_parts(discriminators, of_all_parts):
    widths = {"latent_dim": 100, "generator_hidden": (512, 512, 1024), "discriminator_hidden": (2048, 512, 256)}
    settings = PIGAN(n_parts=5, batch_size=10, discriminators=discriminators, **widths)
    code = {"generator": 1_643_280 + 5 * 512, "classifier": 2_788_353 + 4 * 257}  # with what five parts add
    assert counts(PIGANTrainer(settings, 784, 0)) == {**code, "discriminator": of_all_parts}


def test_published_schedules_in_steps():
    assert published.privgan_gan_steps(7_000) == 27 * 500 and published.privgan_steps(7_000) == 13 * 500
    assert published.privgan_steps(1_323) == 2 * 500 and published.privgan_gan_steps(6_000) == 23 * 500
    settings = published.privgan_mnist(7_000)
    assert (settings.privacy_delay, settings.privacy_pretraining) == (13 * 100, 28 * 50)
    assert (settings.real_target, settings.adam_eps, settings.batch_size) == (0.95, 1e-7, 256)
    assert published.privgan_mnist_gan().real_target == 0.9 and published.logan_dcgan().real_target == 1.0
    with pytest.raises(ValueError, match="n_records=300 in 2 parts is less than a batch of 256 each"):
        published.privgan_steps(300)


@pytest.mark.parametrize("networks", [MLPNetworks((64, 96), (128, 64), first_sd=0.02), SMALL_CONV])
def test_first_layers_are_narrow_normals_and_others_glorot_uniform(networks):
    pair = Pair(networks, 100, 768, 0)
    weights = jax.jit(pair.initial)(jax.random.key(0))
    for network in weights.values():
        layers = network["params"]
        names = sorted(layers, key=lambda name: not name.startswith("Dense" if "Conv_0" not in layers else "Conv"))
        first = names[0]
        for name, layer in layers.items():
            kernel = np.asarray(layer["kernel"])
            assert not np.any(layer["bias"])
            window = kernel[..., 0, 0].size
            bound = np.sqrt(6.0 / (window * (kernel.shape[-1] + kernel.shape[-2])))
            if name == first:
                assert np.std(kernel) == pytest.approx(0.02, rel=0.05)
                assert np.abs(kernel).max() > 0.06  # beyond three standard deviations: no uniform law of that spread
            else:
                assert np.abs(kernel).max() <= bound * 1.0001
                assert np.std(kernel) == pytest.approx(bound / np.sqrt(3.0), rel=0.1)


def test_convolutions_follow_their_definition():
    """One 3x3 stride-2 layer of the discriminator against sums written out, and its transpose in the generator."""
    networks = ConvNetworks((4, 4, 1), generator_channels=(2,), discriminator_channels=(1,), kernel=3)
    pair = Pair(networks, 3, 16, 2)
    rng = np.random.default_rng(0)
    weights = jax.tree.map(
        lambda leaf: jnp.asarray(rng.normal(size=leaf.shape), jnp.float32),
        jax.eval_shape(pair.initial, jax.random.key(0)),
    )
    record, condition = rng.normal(size=(1, 16)), np.array([[0.0, 1.0]])
    maps = np.concatenate([record.reshape(4, 4, 1), np.broadcast_to(condition[0], (4, 4, 2))], axis=-1)
    padded = np.zeros((5, 5, 3))
    padded[:4, :4] = maps  # SAME at stride 2 pads below and to the right
    layer = weights["discriminator"]["params"]["Conv_0"]
    kernel = np.asarray(layer["kernel"], float)
    sums = [[(padded[2 * i : 2 * i + 3, 2 * j : 2 * j + 3, :, None] * kernel).sum() for j in (0, 1)] for i in (0, 1)]
    hidden = np.array(sums).ravel() + float(layer["bias"][0])
    hidden = np.where(hidden > 0, hidden, 0.2 * hidden)
    last = weights["discriminator"]["params"]["Dense_0"]
    expected = hidden @ np.asarray(last["kernel"], float) + np.asarray(last["bias"], float)
    got = pair.logit(weights["discriminator"], jnp.asarray(record, jnp.float32), jnp.asarray(condition, jnp.float32))
    np.testing.assert_allclose(got, expected, rtol=1e-5)

    noise = rng.normal(size=(1, 3))
    dense = weights["generator"]["params"]["Dense_0"]
    small = np.concatenate([noise, condition], axis=1) @ np.asarray(dense["kernel"], float) + np.asarray(dense["bias"])
    small = np.where(small > 0, small, 0.2 * small).reshape(2, 2, 2)
    layer = weights["generator"]["params"]["ConvTranspose_0"]
    kernel = np.asarray(layer["kernel"], float)  # (3, 3, out, in)
    image = np.zeros((5, 5, 1))
    for i in range(2):
        for j in range(2):
            image[2 * i : 2 * i + 3, 2 * j : 2 * j + 3] += (kernel * small[i, j]).sum(axis=-1)
    expected = np.tanh(image[:4, :4] + np.asarray(layer["bias"])).ravel()
    got = pair.generate(weights["generator"], jnp.asarray(noise, jnp.float32), jnp.asarray(condition, jnp.float32))
    np.testing.assert_allclose(got[0], expected, rtol=1e-4, atol=1e-6)


@pytest.fixture(scope="module")
def dcgan():
    images = np.random.default_rng(0).uniform(0.0, 255.0, (24, 256))
    settings = GAN(latent_dim=3, batch_size=8, scaling="common", networks=TINY_DCGAN)
    return settings.fit(images, np.arange(24) % 2, steps=12, seed=0), images


@pytest.mark.slow
def test_scores_and_samples_of_a_dcgan_do_not_depend_on_their_batch(dcgan):
    fitted, images = dcgan
    scores = fitted.discriminator_score(images[:6])
    assert np.array_equal(fitted.discriminator_score(images[2:3]), scores[2:3])
    other = np.concatenate([images[:3], 255.0 - images[3:20]])
    assert np.array_equal(fitted.discriminator_score(other)[:3], scores[:3])
    assert np.array_equal(fitted.sample(3, seed=1), fitted.sample(9, seed=1)[:3])


@pytest.mark.slow
def test_running_averages_move_in_training_and_decide_the_score(dcgan):
    fitted, images = dcgan
    for name in ("generator", "discriminator"):
        for layer in fitted.parameters[name]["batch_stats"].values():
            assert np.abs(layer["mean"]).min() > 0.0 and np.abs(layer["var"] - 1.0).min() > 0.0  # both start at 0 and 1
    weights = fitted.parameters["discriminator"]
    shifted = {**weights, "batch_stats": jax.tree.map(lambda leaf: leaf + 1.0, weights["batch_stats"])}
    moved = dataclasses.replace(fitted, parameters={**fitted.parameters, "discriminator": shifted})
    assert not np.allclose(moved.discriminator_score(images), fitted.discriminator_score(images), rtol=1e-3)


def test_real_and_synthetic_batches_are_normalized_apart(dcgan):
    fitted, images = dcgan
    both = jax.jit(fitted._trainer.pair.logits_of_both)
    real, label = jnp.asarray(images[:8], jnp.float32) / 255.0, jnp.asarray(fitted.labels.rows(np.arange(8) % 2))
    (first, _), (second, _) = (both(fitted.parameters["discriminator"], real, other, label) for other in (real, -real))
    np.testing.assert_allclose(first[:8], second[:8], rtol=1e-5)
    np.testing.assert_allclose(first[:8], first[8:], rtol=1e-5)
    assert not np.allclose(first[8:], second[8:])


def test_a_dcgan_comes_back_from_disk(dcgan, tmp_path):
    fitted, images = dcgan
    fitted.save(tmp_path)
    again = load(tmp_path)
    assert again.settings == fitted.settings and again.settings.networks == TINY_DCGAN
    assert np.array_equal(again.discriminator_score(images), fitted.discriminator_score(images))
    assert np.array_equal(again.sample(2, seed=0), fitted.sample(2, seed=0))


def test_convolutional_networks_use_labels(dcgan):
    fitted, images = dcgan
    zero, one = (fitted.discriminator_score(images, labels=np.full(24, label)) for label in (0, 1))
    assert not np.allclose(zero, one)
    np.testing.assert_allclose(fitted.discriminator_score(images), np.logaddexp(zero, one) - np.log(2.0), rtol=1e-5)
    first, second = (fitted.sample(4, seed=0, labels=np.full(4, label)) for label in (0, 1))
    assert first.shape == (4, 256) and not np.allclose(first, second)


@pytest.mark.slow
@pytest.mark.parametrize("model", [GAN, WGANGP, PrivGAN, PIGAN])
def test_every_model_trains_convolutions(model):
    images = np.random.default_rng(1).uniform(size=(20, 128))
    fitted = model(latent_dim=3, batch_size=8, scaling="common", networks=TINY_CONV).fit(
        images, np.arange(20) % 2, steps=5, seed=0
    )
    assert fitted.sample(3, seed=0).shape == (3, 128)
    scores = fitted.discriminator_score(images)
    assert scores.shape == (20,) and np.ptp(scores) > 0.0
    for network in fitted.parameters.values():  # biases start at 0; a critic's last one has no gradient
        for name, layer in network["params"].items():
            assert np.any(layer["bias"]) or name == "Dense_0"


@pytest.mark.parametrize(
    "settings",
    [
        GAN(networks=TINY_CONV),
        GAN(networks=TINY_DCGAN),
        PrivGAN(networks=TINY_CONV),
        PIGAN(networks=MLPNetworks((3,), (4,), first_sd=0.1), penalty="info"),
        WGANGP(critic_steps=2),
    ],
)
def test_settings_with_networks_survive_json(settings):
    again = type(settings).from_dict(json.loads(json.dumps(settings.to_dict())))
    assert again == settings and hash(again) == hash(settings)


def test_settings_saved_before_networks_existed_still_load():
    old = {name: value for name, value in GAN().to_dict().items() if name not in ("networks", "adam_eps")}
    assert GAN.from_dict(old) == GAN()


def test_mlp_networks_are_the_widths():
    named = GAN(networks=MLPNetworks((8,), (9,)))
    short = GAN(generator_hidden=(8,), discriminator_hidden=(9,))
    assert GANTrainer(named, 4, 2).pair == GANTrainer(short, 4, 2).pair


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: GAN(networks="conv"), TypeError, "networks must be None or one of MLPNetworks, ConvNetworks"),
        (lambda: GAN(networks={"kind": "RNN"}), ValueError, "networks kind='RNN' is not known"),
        (lambda: GAN(networks=TINY_CONV, generator_hidden=(3,)), ValueError, "has no effect beside networks"),
        (lambda: GAN(adam_eps=0.0), ValueError, "adam_eps=0.0 must be above 0"),
        (lambda: ConvNetworks((30, 32, 3)), ValueError, "pad the records to a multiple of 16"),
        (lambda: ConvNetworks((8, 8)), ValueError, r"record_shape=\(8, 8\) must be \(height, width, colors\)"),
        (lambda: ConvNetworks(generator_channels=()), ValueError, r"generator_channels=\(\) is empty"),
        (lambda: ConvNetworks(kernel=0), ValueError, "kernel=0 must be at least 1"),
        (lambda: DCGANNetworks((24, 24, 3)), ValueError, "must have equal sides of 8, 16, 32, 64"),
        (lambda: DCGANNetworks((32, 64, 3)), ValueError, "must have equal sides of 8, 16, 32, 64"),
        (lambda: MLPNetworks(first_sd=0.0), ValueError, "first_sd=0.0 must be above 0"),
        (lambda: PrivGAN(networks=TINY_DCGAN), ValueError, "normalizes batches, which PrivGAN cannot train"),
        (lambda: PIGAN(networks=TINY_DCGAN), ValueError, "normalizes batches, which PIGAN cannot train"),
        (lambda: WGANGP(networks=TINY_DCGAN), ValueError, "normalizes batches, which WGANGP cannot train"),
        (lambda: GAN(networks=TINY_CONV).fit(np.eye(3), steps=1, seed=0), ValueError, "record_shape=.* needs 128"),
    ],
)
def test_bad_networks_are_refused_by_name(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_check_turns_lists_into_tuples():
    settings = GAN(generator_hidden=[4, 5])
    check(settings)
    assert settings.generator_hidden == (4, 5) and hash(settings) == hash(GAN(generator_hidden=(4, 5)))
