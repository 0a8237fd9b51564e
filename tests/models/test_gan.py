from __future__ import annotations

import dataclasses

import jax
import numpy as np
import pytest
from scipy.spatial.distance import cdist

from mace_jax._types import DiscriminatorScores, ReconstructionErrors, SamplesRecords
from mace_jax.models import GAN, train
from mace_jax.models.gan_trainer import GANTrainer


def auc(members, nonmembers) -> float:
    greater = (members[:, None] > nonmembers).mean()
    return float(greater + 0.5 * (members[:, None] == nonmembers).mean())


def test_an_overfit_discriminator_knows_its_members(gan, digits):
    scores = gan.discriminator_score(digits.members), gan.discriminator_score(digits.nonmembers)
    assert scores[0].shape == (200,) and scores[0].dtype == np.float64
    assert auc(*scores) > 0.8


def test_three_steps_teach_the_discriminator_nothing(digits):
    early = GAN(scaling="common").fit(digits.members, steps=3, seed=3)
    value = auc(early.discriminator_score(digits.members), early.discriminator_score(digits.nonmembers))
    assert abs(value - 0.5) < 4 * np.sqrt(401 / (12 * 200 * 200))


def test_samples_look_like_digits_and_are_not_collapsed(gan, digits):
    samples = gan.sample(1000, seed=5)
    assert samples.shape == (1000, 64) and samples.dtype == np.float64
    assert samples.min() >= 0.0 and samples.max() <= 16.0
    to_real = np.median(cdist(digits.nonmembers, digits.members).min(axis=1))
    assert np.median(cdist(digits.nonmembers, samples).min(axis=1)) < 1.25 * to_real
    assert np.median(cdist(samples, digits.members).min(axis=1)) < 1.25 * to_real
    active = digits.members.std(axis=0) > 1.0
    ratio = samples.std(axis=0)[active].mean() / digits.members.std(axis=0)[active].mean()
    assert 0.5 < ratio < 2.0
    assert np.median(cdist(samples[:500], samples[500:]).min(axis=1)) > 0.5 * to_real


def test_it_has_the_capabilities_audits_look_for(gan):
    assert isinstance(gan, SamplesRecords) and isinstance(gan, DiscriminatorScores)
    assert not isinstance(gan, ReconstructionErrors)
    assert repr(gan) == "FittedGAN(features=64, labels=0, steps=2000)"
    assert gan.history[-1][0] == 2000 and len(gan.history) == 2000 // train.CHUNK


def test_a_row_does_not_depend_on_how_many_are_drawn(gan):
    many = gan.sample(2 * train.BLOCK + 3, seed=11)
    assert np.array_equal(gan.sample(5, seed=11), many[:5])
    assert np.array_equal(gan.sample(train.BLOCK + 1, seed=11), many[: train.BLOCK + 1])
    assert len(np.unique(many, axis=0)) == len(many)
    assert not np.array_equal(gan.sample(5, seed=12), many[:5])


def test_block_size_does_not_change_samples_or_scores(gan, digits, monkeypatch):
    samples, scores = gan.sample(40, seed=1), gan.discriminator_score(digits.members[:40])
    monkeypatch.setattr(train, "BLOCK", 7)
    np.testing.assert_allclose(gan.sample(40, seed=1), samples, atol=1e-4)
    np.testing.assert_allclose(gan.discriminator_score(digits.members[:40]), scores, atol=1e-4)


def test_each_record_is_scored_alone(gan, digits):
    together = gan.discriminator_score(digits.members[:20])
    alone = np.concatenate([gan.discriminator_score(record[None]) for record in digits.members[:20]])
    np.testing.assert_allclose(alone, together, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(gan.discriminator_score(digits.members[19::-1])[::-1], together, rtol=1e-5, atol=1e-5)


def test_parameter_counts_of_the_published_mnist_networks():
    settings = GAN(latent_dim=100, generator_hidden=(512, 512, 1024), discriminator_hidden=(2048, 512, 256))
    shapes = jax.eval_shape(GANTrainer(settings, 784, 0).initial, jax.random.key(0))["parameters"]
    counts = {name: sum(leaf.size for leaf in jax.tree.leaves(part)) for name, part in shapes.items()}
    # weights and biases of 100-512-512-1024-784 and of 784-2048-512-256-1
    assert counts == {"generator": 1_643_280, "discriminator": 2_788_353}


@pytest.mark.slow
def test_a_conditional_gan_draws_the_label_asked_for(digits):
    fitted = GAN(scaling="common").fit(digits.members, digits.labels, steps=1000, seed=0)
    wanted = np.arange(200) % 10
    drawn = fitted.sample(200, seed=1, labels=wanted)
    nearest = digits.labels[cdist(drawn, digits.members).argmin(axis=1)]
    assert (nearest == wanted).mean() > 0.8
    assert np.array_equal(fitted.sample(3, seed=2), fitted.sample(30, seed=2)[:3])
    known = fitted.discriminator_score(digits.members, labels=digits.labels)
    every = np.stack([fitted.discriminator_score(digits.members, labels=np.full(200, d)) for d in range(10)])
    shares = np.bincount(digits.labels) / 200
    np.testing.assert_allclose(
        fitted.discriminator_score(digits.members), np.log((shares[:, None] * np.exp(every)).sum(axis=0)), rtol=1e-6
    )
    assert np.array_equal(known, every[digits.labels, np.arange(200)])


def test_a_diverging_run_says_so(tiny, table):
    wild = dataclasses.replace(tiny["GAN"], discriminator_learning_rate=1e30)
    with pytest.raises(FloatingPointError, match="lower the learning rates"):
        wild.fit(table, steps=40, seed=0)
