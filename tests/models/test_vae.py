from __future__ import annotations

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats
from scipy.spatial.distance import cdist

from mace_jax._types import DiscriminatorScores, ReconstructionErrors, SamplesRecords
from mace_jax.models import VAE
from mace_jax.models.vae_trainer import VAETrainer, gaussian_divergence
from tests.models.test_gan import auc


def test_members_are_reconstructed_better(vae, digits):
    errors = vae.reconstruction_error(digits.members, seed=0), vae.reconstruction_error(digits.nonmembers, seed=0)
    assert errors[0].shape == (200,) and errors[0].dtype == np.float64 and errors[0].min() >= 0.0
    assert auc(-errors[0], -errors[1]) > 0.9
    assert auc(vae.elbo(digits.members, seed=0), vae.elbo(digits.nonmembers, seed=0)) > 0.8


def test_it_has_the_capabilities_audits_look_for(vae):
    assert isinstance(vae, SamplesRecords) and isinstance(vae, ReconstructionErrors)
    assert not isinstance(vae, DiscriminatorScores)
    assert repr(vae) == "FittedVAE(features=64, labels=0, steps=1000)"


def test_samples_are_in_range_and_spread(vae, digits):
    samples = vae.sample(600, seed=2)
    assert samples.min() >= 0.0 and samples.max() <= 16.0
    assert np.array_equal(vae.sample(9, seed=2), samples[:9])
    ratio = np.sqrt(samples.var(axis=0).sum() / digits.members.var(axis=0).sum())
    assert 0.5 < ratio < 2.0
    to_real = np.median(cdist(digits.nonmembers, digits.members).min(axis=1))
    assert np.median(cdist(samples, digits.members).min(axis=1)) < 1.3 * to_real


def test_each_record_is_reconstructed_alone(vae, digits):
    together = vae.reconstruction_error(digits.members[:12], seed=4)
    alone = np.concatenate([vae.reconstruction_error(record[None], seed=4) for record in digits.members[:12]])
    np.testing.assert_allclose(alone, together, rtol=1e-5)
    assert not np.array_equal(vae.reconstruction_error(digits.members[:12], seed=5), together)


def test_more_draws_change_little(vae, digits):
    few = vae.reconstruction_error(digits.members[:20], seed=0, n_draws=200)
    many = vae.reconstruction_error(digits.members[:20], seed=1, n_draws=800)
    np.testing.assert_allclose(few, many, rtol=0.15)


def test_divergence_is_the_gaussian_one():
    mean, sd = 0.7, 0.4
    posterior, prior = stats.norm(mean, sd), stats.norm()
    expected, _ = integrate.quad(lambda z: posterior.pdf(z) * (posterior.logpdf(z) - prior.logpdf(z)), -6, 6)
    value = gaussian_divergence(jnp.array([[mean, 0.0]]), jnp.array([[sd, 1.0]]))
    np.testing.assert_allclose(value, [expected], rtol=1e-5)


def test_elbo_stays_below_the_log_density(table):
    settings = VAE(latent_dim=1, encoder_hidden=(8,), decoder_hidden=(8,), noise_sd=0.3)
    fitted = settings.fit(table[:, :2], steps=300, seed=0)
    trainer = VAETrainer(settings, 2, 0)
    unit = fitted.scaling.to_unit(table[:, :2])
    codes = np.linspace(-6, 6, 4001)
    means = np.asarray(
        trainer.decode(fitted.parameters, jnp.asarray(codes[:, None], jnp.float32), jnp.zeros((4001, 0), jnp.float32))
    )
    likelihood = stats.norm(means[None], 0.3).pdf(unit[:, None]).prod(axis=2)
    log_density = np.log(np.trapezoid(likelihood * stats.norm.pdf(codes), codes, axis=1))
    bound = fitted.elbo(table[:, :2], seed=0, n_draws=4000)
    assert (bound < log_density + 0.02).all()
    assert np.mean(log_density - bound) < 0.5


@pytest.mark.slow
def test_the_bernoulli_bound_is_the_one_of_its_definition(table):
    settings = VAE(latent_dim=1, encoder_hidden=(8,), decoder_hidden=(8,), likelihood="bernoulli", scaling="common")
    fitted = settings.fit(table, steps=200, seed=0)
    unit = (table - fitted.scaling.low) / fitted.scaling.span
    trainer = VAETrainer(settings, 3, 0)
    mean, sd = (
        np.asarray(part, np.float64)
        for part in trainer.encode(fitted.parameters, jnp.asarray(unit, jnp.float32), jnp.zeros((30, 0)))
    )
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    codes = jnp.asarray((mean + sd * nodes).T.reshape(-1, 1), jnp.float32)
    decoded = np.asarray(trainer.decode(fitted.parameters, codes, jnp.zeros((1200, 0))), np.float64)
    log = (unit * np.log(decoded.reshape(40, 30, 3)) + (1 - unit) * np.log1p(-decoded.reshape(40, 30, 3))).sum(axis=2)
    expected = weights @ log / weights.sum()
    expected -= 0.5 * (mean**2 + sd**2 - 2 * np.log(sd) - 1).sum(axis=1)
    np.testing.assert_allclose(fitted.elbo(table, seed=0, n_draws=4000), expected, atol=0.02)
    with pytest.raises(ValueError, match="1 of 2 rows outside the range of the training records"):
        fitted.elbo([[0.0, 0.0, 4.0], [0.0, 0.0, 400.0]], seed=0)


def test_codes_and_decodings_are_those_of_the_networks(vae, digits):
    codes = vae.encode(digits.members[:7])
    assert codes.shape == (7, 16) and codes.dtype == np.float64
    decoded = vae.decode(codes)
    mean_error = np.sum((decoded - digits.members[:7]) ** 2, axis=1) / 16.0**2
    assert (mean_error < vae.reconstruction_error(digits.members[:7], seed=0)).mean() > 0.5
    np.testing.assert_allclose(vae.encode(digits.members[3:4])[0], codes[3], atol=1e-5)
    with pytest.raises(ValueError, match="codes has 3 columns but latent_dim is 16"):
        vae.decode(np.zeros((2, 3)))


@pytest.mark.parametrize(("shape", "layers"), [((28, 28, 1), 2), ((8, 8, 1), 2), ((4, 8, 3), 1)])
def test_convolutions_keep_the_shape_of_the_image(shape, layers):
    settings = VAE(latent_dim=5, encoder_hidden=(4, 8)[:layers], decoder_hidden=(8, 4)[:layers], image_shape=shape)
    trainer, size = VAETrainer(settings, int(np.prod(shape)), 3), int(np.prod(shape))
    shapes = jax.eval_shape(trainer.initial, jax.random.key(0))["parameters"]
    small = (shape[0] >> layers) * (shape[1] >> layers) * (8 if layers == 2 else 4)
    assert shapes["encoder"]["params"]["Dense_0"]["kernel"].shape == (small + 3, 10)
    rows = jax.ShapeDtypeStruct((6, size), jnp.float32), jax.ShapeDtypeStruct((6, 3), jnp.float32)
    mean, sd = jax.eval_shape(trainer.encode, shapes, *rows)
    assert mean.shape == sd.shape == (6, 5)
    assert jax.eval_shape(trainer.decode, shapes, mean, rows[1]).shape == (6, size)


@pytest.mark.slow
def test_a_convolutional_vae_learns_digits(digits):
    settings = VAE(latent_dim=8, encoder_hidden=(8, 16), decoder_hidden=(16, 8), scaling="common",
                   activation="elu", image_shape=(8, 8, 1), batch_size=16, learning_rate=1e-2)  # fmt: skip
    fitted = settings.fit(digits.members, steps=80, seed=0)
    errors = fitted.reconstruction_error(digits.members, seed=0, n_draws=8)
    variance = np.sum((digits.members - digits.members.mean(axis=0)) ** 2, axis=1).mean() / 16.0**2
    assert errors.mean() < 0.7 * variance  # better than answering with the mean digit
    assert VAE.from_dict(json.loads(json.dumps(settings.to_dict()))) == settings


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(likelihood="poisson"), "likelihood='poisson' is not known"),
        (dict(activation="relu"), "activation='relu' is not known"),
        (dict(initializer="zeros"), "initializer='zeros' is not known"),
        (dict(dropout=1.0), "dropout=1.0 must be a probability"),
        (dict(image_shape=(8, 8)), r"image_shape=\(8, 8\) must be \(height, width, channels\)"),
        (dict(image_shape=(8, 6, 1)), "cannot be halved 2 times"),
        (dict(image_shape=(8, 8, 1), encoder_hidden=()), "cannot be halved"),
    ],
)
def test_new_settings_are_checked(changes, message):
    with pytest.raises(ValueError, match=message):
        VAE(**changes)


def test_images_must_fit_their_shape(table):
    with pytest.raises(ValueError, match=r"records has 3 columns, but image_shape=\(8, 8, 1\) has 64"):
        VAE(image_shape=(8, 8, 1)).fit(table, steps=1, seed=0)


@pytest.mark.slow
def test_a_conditional_vae_uses_the_label(digits):
    fitted = VAE(latent_dim=2, scaling="common").fit(digits.members, digits.labels, steps=400, seed=0)
    wanted = np.arange(100) % 10
    nearest = digits.labels[cdist(fitted.sample(100, seed=1, labels=wanted), digits.members).argmin(axis=1)]
    assert (nearest == wanted).mean() > 0.7
    known = fitted.reconstruction_error(digits.members, seed=0, labels=digits.labels)
    best = fitted.reconstruction_error(digits.members, seed=0)
    assert (best <= known).all() and np.mean(best == known) > 0.5
    each = np.stack([fitted.elbo(digits.members[:5], seed=0, labels=np.full(5, d)) for d in range(10)])
    shares = np.bincount(digits.labels) / 200
    mixed = np.logaddexp.reduce(each + np.log(shares)[:, None], axis=0)
    np.testing.assert_allclose(fitted.elbo(digits.members[:5], seed=0), mixed, rtol=1e-9)
    with pytest.raises(ValueError, match="labels=None, but the model is conditional"):
        fitted.encode(digits.members)
    codes = [fitted.encode(digits.members[:5], np.full(5, digit)) for digit in (0, 1)]
    assert not np.array_equal(*codes)


def test_draws_must_be_positive(vae, digits):
    with pytest.raises(ValueError, match="n_draws=0 must be at least 1"):
        vae.elbo(digits.members, seed=0, n_draws=0)
