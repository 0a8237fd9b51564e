from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats
from scipy.spatial.distance import cdist

from mace_jax._types import DiscriminatorScores, ReconstructionErrors, SamplesRecords
from mace_jax.models import VAE
from mace_jax.models.vae import _Trainer, gaussian_divergence
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
    trainer = _Trainer(settings, 2, 0)
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


def test_draws_must_be_positive(vae, digits):
    with pytest.raises(ValueError, match="n_draws=0 must be at least 1"):
        vae.elbo(digits.members, seed=0, n_draws=0)
