from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.distance import cdist

from mace_jax import _random
from mace_jax.attacks import gan_leaks
from mace_jax.datasets import load
from mace_jax.metrics import roc
from mace_jax.models import GAN, VAE, WGANGP, FittedGAN, FittedVAE, FittedWGANGP
from mace_jax.models.encoding import Labels, Scaling

SMALL = {"n_samples": 300, "restarts": 2, "n_queries": 320, "steps": 40}


def memorizer(records, seed):
    """A smooth generator that gives out the record whose code is nearest to the noise, a mixture between two."""
    codes = jnp.asarray(np.random.default_rng(seed).normal(size=(len(records), 8)), jnp.float32)
    kept = jnp.asarray(records, jnp.float32)

    def decode(noise):
        squared = jnp.sum(jnp.square(noise[:, None] - codes), axis=2)
        return jax.nn.softmax(-squared, axis=1) @ kept

    return decode


def untrained(fitted, settings, records, labels):
    """A fitted model with its initial weights; it costs no training."""
    coding, _ = Labels.fit(labels, len(records))
    hollow = fitted(settings, {}, Scaling.fit(records, "per_column"), coding, 1, 0, ())
    return dataclasses.replace(hollow, parameters=jax.jit(hollow._trainer.initial)(jax.random.key(0))["parameters"])


@pytest.mark.parametrize(("fitted", "kind"), [(FittedGAN, GAN), (FittedWGANGP, WGANGP), (FittedVAE, VAE)])
def test_models_decode_noise_as_they_sample(rng, fitted, kind):
    records = rng.normal(size=(20, 4)) * [1.0, 9.0, 0.1, 1.0]
    widths = {name: (8,) for name in vars(kind()) if name.endswith("_hidden")}
    model = untrained(fitted, kind(latent_dim=3, **widths), records, np.arange(20) % 2)
    key = _random.key(5, "sample")
    noise = jax.vmap(lambda row: jax.random.normal(jax.random.fold_in(key, row), (3,), jnp.float32))(jnp.arange(7))
    made = jax.jit(lambda noise: model.decode_noise(noise, label=1))(noise)
    np.testing.assert_allclose(made, model.sample(7, seed=5, labels=[1] * 7), rtol=1e-4, atol=1e-5)
    gradient = jax.grad(lambda noise: model.decode_noise(noise, label=1).sum())(noise)
    assert np.isfinite(gradient).all() and (np.asarray(gradient) != 0.0).any()
    with pytest.raises(ValueError, match="model is conditional"):
        model.decode_noise(noise)
    with pytest.raises(ValueError, match="latent_dim=3"):
        model.decode_noise(noise[:, :2], label=1)


@pytest.mark.parametrize("backend", ["auto", "exact", "faiss"])
def test_full_black_box_is_the_nearest_sample(rng, backend):
    x, g, h = (rng.normal(size=(n, 5)) for n in (20, 200, 200))
    first, second = ((cdist(x, part) ** 2).min(axis=1) / 5 for part in (g, h))
    np.testing.assert_allclose(gan_leaks(x, synthetic=g, backend=backend), -first)
    np.testing.assert_allclose(gan_leaks(x, synthetic=g, reference_synthetic=h, backend=backend), second - first)


def linear(matrix):
    return lambda noise: noise @ jnp.asarray(matrix, jnp.float32)


def test_gradients_reach_the_projection_of_a_linear_generator(rng):
    matrix, x = rng.normal(size=(3, 6)), rng.normal(size=(10, 6))
    projected = x @ np.linalg.pinv(matrix) @ matrix
    expected = -((x - projected) ** 2).mean(axis=1)
    options = {"generator": linear(matrix), "latent_dim": 3, "prior_weight": 0.0, "n_samples": 200}
    found = gan_leaks(x, access="white_box", steps=400, **options)
    np.testing.assert_allclose(found, expected, atol=2e-4)
    searched = gan_leaks(x, access="partial_black_box", n_queries=6400, **options)
    np.testing.assert_allclose(searched, expected, atol=0.01)
    assert (searched <= expected + 1e-6).all()


def test_more_access_reproduces_better():
    records = load("digits").records.reshape(-1, 64)[:128] / 8.0 - 1.0
    settings = GAN(latent_dim=8, generator_hidden=(64, 64), discriminator_hidden=(64, 32), scaling="common")
    model = settings.fit(records[:64], steps=100, seed=1)
    full, partial, white = (
        gan_leaks(records, generator=model, access=access, **SMALL)
        for access in ("full_black_box", "partial_black_box", "white_box")
    )
    assert (partial >= full).all() and (white >= full).all()
    assert white.mean() > partial.mean() > full.mean()
    alone = gan_leaks(records[40:41], generator=model, access="partial_black_box", **SMALL)
    np.testing.assert_allclose(alone, partial[40:41], rtol=1e-6)


@pytest.mark.parametrize("access", ["full_black_box", "partial_black_box", "white_box"])
def test_a_memorizing_model_is_found_and_the_same_reference_cancels(rng, access):
    members, nonmembers, others = rng.normal(size=(3, 60, 12))
    model, reference = memorizer(members, 0), memorizer(others, 0)

    def area(**models):
        options = {"access": access, "latent_dim": 8, "prior_weight": 0.0, **SMALL, **models}
        scores = [gan_leaks(part, **options) for part in (members, nonmembers)]
        return roc(*scores).auc, np.concatenate(scores)

    assert area(generator=model)[0] > 0.75
    assert area(generator=model, reference_generator=reference)[0] > 0.85
    chance, scores = area(generator=model, reference_generator=model)
    assert chance == 0.5 and not scores.any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "either synthetic or generator"),
        ({"synthetic": np.ones((3, 2)), "generator": linear(np.ones((1, 2)))}, "either synthetic or generator"),
        ({"synthetic": np.ones((3, 2)), "access": "white_box"}, "pass generator"),
        ({"synthetic": np.ones((3, 2)), "access": "none"}, "access='none'"),
        ({"synthetic": np.ones((3, 2)), "reference_synthetic": np.ones((4, 2))}, "pass the same number"),
        ({"synthetic": np.ones((3, 2)), "reference_generator": linear(np.ones((1, 2)))}, "reference_synthetic"),
        ({"generator": linear(np.ones((1, 2)))}, "latent_dim is needed"),
        ({"generator": linear(np.ones((1, 3))), "latent_dim": 1}, "3 columns but records has 2"),
        ({"generator": lambda z: z[0], "latent_dim": 1}, "return one row per record"),
        ({"generator": lambda z: z * jnp.nan, "latent_dim": 2}, "NaN or infinity"),
        ({"synthetic": np.ones((3, 2)), "restarts": 9, "n_samples": 5}, "restarts=9"),
        ({"synthetic": np.ones((3, 2)), "n_queries": 31}, "n_queries=31"),
        ({"synthetic": np.ones((3, 2)), "learning_rate": 0.0}, "learning_rate=0"),
    ],
)
def test_bad_input_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        gan_leaks(np.zeros((2, 2)), **options)


def test_a_model_that_cannot_be_asked_is_refused():
    with pytest.raises(TypeError, match="generator is a int"):
        gan_leaks(np.zeros((2, 2)), generator=3)
