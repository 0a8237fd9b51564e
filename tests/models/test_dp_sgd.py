from __future__ import annotations

import math
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from mace_jax.models import DPSGD, VAE, MetricPrivateVAE, PrivateFit, checkpoint, load, train
from mace_jax.models.dp_guarantee import DPSGDGuarantee, noise_multiplier_for
from mace_jax.models.dp_learner import VAELearner
from mace_jax.models.dp_trainer import PrivateTrainer, poisson_sample, sampling_probability
from mace_jax.models.vae_trainer import VAETrainer
from tests._support import rest_slow

pytest.importorskip("jax_privacy")

SMALL = VAE(latent_dim=2, encoder_hidden=(8,), decoder_hidden=(8,), batch_size=8)


@pytest.fixture(scope="module")
def cube():
    """Thirty records in the unit cube."""
    return np.random.default_rng(5).uniform(size=(30, 3))


@pytest.fixture(scope="module")
def alone(cube):
    """Initial weights, inputs, keys, and the gradient of each record alone."""
    trainer = VAETrainer(SMALL, 3, 2)
    records, one_hot = jnp.asarray(cube, jnp.float32), jnp.eye(2)[np.arange(30) % 2]
    parameters = trainer.initial(jax.random.key(0))["parameters"]
    keys = jax.random.key(1), jax.random.key(2)

    @jax.jit
    @jax.grad
    def gradient(weights, row):
        key = jax.random.fold_in(keys[1], row)
        return trainer.loss(weights, records[row][None], one_hot[row][None], key)[0]

    leaves = [jax.tree.leaves(gradient(parameters, row)) for row in range(30)]
    return (
        trainer,
        parameters,
        (records, one_hot),
        keys,
        [[np.asarray(leaf, np.float64) for leaf in row] for row in leaves],
    )


@pytest.mark.parametrize(
    ("probability", "clip"), rest_slow([(0.9, 0.3), (0.9, 40.0), (2.0**-23, 1.0)], (0.9, 0.3).__eq__)
)
def test_gradients_are_clipped_one_by_one_and_summed_over_the_sample(probability, clip, alone):
    vae, parameters, data, keys, gradients = alone
    learner = VAELearner(vae.settings, vae.n_features, vae.n_labels)
    trainer = PrivateTrainer(learner, noise_multiplier=0.0, l2_clip=clip, probability=probability)
    total = jax.tree.leaves(jax.jit(trainer.clipped_sum)({"parameters": parameters}, *data, *keys))
    taken = np.flatnonzero(np.asarray(jax.random.uniform(keys[0], (30,)), np.float64) < probability)
    expected, clipped = [np.zeros(leaf.shape) for leaf in total], 0
    for row in taken:
        norm = math.sqrt(sum(np.sum(leaf**2) for leaf in gradients[row]))
        clipped += norm > clip
        expected = [a + b * min(1.0, clip / norm) for a, b in zip(expected, gradients[row], strict=True)]
    if probability == 0.9:
        assert 16 < len(taken) < 30  # several blocks of 8, the last one not full
        assert clipped == len(taken) if clip < 1 else 0 < clipped < len(taken)
    else:
        assert len(taken) == 0  # an empty batch gives no gradient
    for ours, wanted in zip(total, expected, strict=True):
        np.testing.assert_allclose(ours, wanted, atol=1e-5 * max(1.0, np.abs(wanted).max()))


def test_samples_are_poisson():
    n, probability = 200, sampling_probability(32, 200)
    assert (probability * 2**23).is_integer() and 0.16 <= probability < 0.16 + 2**-23
    keys = jax.random.split(jax.random.key(3), 4000)
    taken = np.asarray(jax.vmap(lambda key: poisson_sample(key, n, probability))(keys))
    sizes = taken.sum(axis=1)
    law = stats.binom(n, probability)
    edges = np.array([-1, 24, 27, 29, 31, 33, 35, 38, 200])
    expected = np.diff(law.cdf(edges)) * 4000
    counts = [((sizes > low) & (sizes <= high)).sum() for low, high in zip(edges[:-1], edges[1:], strict=True)]
    assert stats.chisquare(counts, expected).pvalue > 1e-3
    often = taken.sum(axis=0)
    z = (often - 4000 * probability) / math.sqrt(4000 * probability * (1 - probability))
    assert stats.kstest(z, "norm").pvalue > 1e-3  # every record equally often
    together = np.corrcoef(taken[:, 0], taken[:, 1])[0, 1]
    assert abs(together) < 4 / math.sqrt(4000)


@pytest.mark.parametrize(("noise", "steps"), [(0.8, 1), (5.0, 30)])
def test_accounting_of_full_batches_is_the_exact_gaussian_one(noise, steps):
    mu = math.sqrt(steps) / noise
    guarantee = DPSGDGuarantee(noise, 1.0, steps)
    for epsilon in (0.2, 1.0, 2.0):
        exact = stats.norm.cdf(mu / 2 - epsilon / mu) - math.exp(epsilon) * stats.norm.cdf(-mu / 2 - epsilon / mu)
        assert guarantee.delta(epsilon) == pytest.approx(exact, rel=1e-2)
        assert guarantee.delta(epsilon) >= exact * (1 - 1e-9)  # never too optimistic


def test_accounting_of_one_poisson_step_is_the_exact_mixture():
    q, noise = 0.2, 0.9
    x = np.linspace(-12, 14, 2_000_001)
    without = stats.norm.pdf(x, 0, noise)
    with_it = (1 - q) * without + q * stats.norm.pdf(x, 1, noise)
    for epsilon in (0.1, 0.5, 1.0):
        exact = max(
            np.trapezoid(np.maximum(first - math.exp(epsilon) * second, 0), x)
            for first, second in ((with_it, without), (without, with_it))
        )
        value = DPSGDGuarantee(noise, q, 1).delta(epsilon)
        assert exact * (1 - 1e-6) <= value <= exact + 1e-4


def test_a_usual_setting_has_its_known_epsilon():
    guarantee = DPSGDGuarantee(1.1, 0.01, 1000)
    assert guarantee.epsilon(1e-5) == pytest.approx(1.516, abs=2e-3)
    assert guarantee.delta(guarantee.epsilon(1e-5)) == pytest.approx(1e-5, rel=1e-2)
    assert DPSGDGuarantee(0.0, 0.01, 10).epsilon(1e-5) == math.inf
    assert DPSGDGuarantee(0.0, 0.01, 10).delta(3.0) == 1.0
    assert (
        " at delta = 1e-05: 1000 steps, each taking every record on its own with probability 0.01 (Poisson"
        in guarantee.statement(1e-5)
    )


@pytest.mark.slow
def test_the_noise_for_an_epsilon_gives_that_epsilon():
    noise = noise_multiplier_for(epsilon=2.0, delta=1e-5, n_records=1000, batch_size=50, steps=400)
    reached = DPSGDGuarantee(noise, sampling_probability(50, 1000), 400).epsilon(1e-5)
    assert 1.98 <= reached <= 2.0


@pytest.fixture(scope="module")
def noisy(cube):
    """A model trained with much noise."""
    return DPSGD(noise_multiplier=40.0, l2_clip=0.5).fit(
        SMALL, cube, np.arange(30) % 2, bounds=(-1.0, 3.0), label_values=[0, 1, 2], steps=200, seed=7
    )


@pytest.mark.slow
def test_the_noise_has_the_stated_size(noisy):
    weights = sum(leaf.size for leaf in jax.tree.leaves(noisy.model.parameters))
    # 200 norms of vectors of independent normals; the clipped signal adds at most a thousandth
    expected = 40.0 * 0.5 / 8 * math.sqrt(weights)
    assert noisy.model.history[-1][1] == pytest.approx(expected, rel=4 / math.sqrt(2 * weights * 200) + 2e-3)


def test_the_model_holds_nothing_that_the_guarantee_does_not_cover(noisy, tmp_path):
    model = noisy.model
    assert np.array_equal(model.scaling.low, [-1, -1, -1]) and np.array_equal(model.scaling.span, [4, 4, 4])
    assert model.labels.values == (0, 1, 2) and model.labels.shares == (1 / 3, 1 / 3, 1 / 3)
    assert model.seed == 0 and model.steps == 200 and len(model.history[0]) == 2
    assert noisy.guarantee == DPSGDGuarantee(40.0, sampling_probability(8, 30), 200)
    model.save(tmp_path)
    assert np.array_equal(load(tmp_path).sample(3, seed=0), model.sample(3, seed=0))
    noisy.save(tmp_path)
    assert PrivateFit.load(tmp_path).guarantee == noisy.guarantee
    assert np.array_equal(load(tmp_path).sample(3, seed=0), model.sample(3, seed=0))


@pytest.mark.slow
def test_it_learns_and_stays_bit_identical_after_an_interruption(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    line = rng.uniform(size=(60, 1)) * np.ones(4) + 0.02 * rng.normal(size=(60, 4))
    settings, method = VAE(latent_dim=1, encoder_hidden=(8,), decoder_hidden=(8,), batch_size=20), DPSGD(0.5, 1.0)
    bounds = (line.min(), line.max())
    monkeypatch.setattr(train, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(train, "CALL_SECONDS", np.inf)
    whole = method.fit(settings, line, bounds=bounds, steps=500, seed=1).model
    method.fit(settings, line, bounds=bounds, steps=130, seed=1, checkpoint_dir=tmp_path)
    assert checkpoint.read(tmp_path, checkpoint.TRAINING_FILE)["done"] == 130
    resumed = method.fit(settings, line, bounds=bounds, steps=500, seed=1, checkpoint_dir=tmp_path).model
    for first, second in zip(jax.tree.leaves(whole.parameters), jax.tree.leaves(resumed.parameters), strict=True):
        assert np.array_equal(first, second)
    error = whole.reconstruction_error(line, seed=0).mean()
    start = method.fit(settings, line, bounds=bounds, steps=1, seed=1).model.reconstruction_error(line, seed=0).mean()
    assert error < 0.5 * start
    private = MetricPrivateVAE(settings, training_data="dp_sgd").around(whole)
    assert private.release(line, epsilon=1.0, seed=0).records.shape == (60, 4)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        (dict(model=3), TypeError, "model=3 must be the settings of a VAE"),
        (dict(bounds=(0.4, 1.0)), ValueError, "rows outside bounds; widen the bounds from public knowledge"),
        (dict(bounds=(1.0, 0.0)), ValueError, "every lower bound below its upper bound"),
        (dict(bounds=(0.0, 1.0, 2.0)), ValueError, r"bounds has shape \(3,\)"),
        (dict(labels=np.zeros(30, int)), ValueError, "labels and label_values go together"),
        (dict(labels=np.zeros(30, int), label_values=[1, 1]), ValueError, "must name each possible label once"),
        (dict(labels=np.zeros(30, int), label_values=[1, 2]), ValueError, "which the model never saw"),
        (dict(model=VAE(batch_size=31)), ValueError, "batch_size=31 is more than the 30 records"),
        (dict(steps=0), ValueError, "steps=0 must be at least 1"),
    ],
)
def test_bad_input_is_refused_by_name(changes, error, message, cube):
    usual = {"model": SMALL, "records": cube, "bounds": (0, 1), "steps": 1, "seed": 0}
    with pytest.raises(error, match=message):
        DPSGD(1.0).fit(**{**usual, **changes})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DPSGD(-1.0), "noise_multiplier=-1.0 must be a finite number"),
        (lambda: DPSGD(1.0, 0.0), "l2_clip=0.0 must be above 0"),
        (lambda: DPSGDGuarantee(1.0, 0.1, 5).epsilon(0.0), "delta=0.0 must lie strictly between 0 and 1"),
        (lambda: DPSGDGuarantee(1.0, 0.1, 5).delta(-1.0), "epsilon=-1.0 must be a finite number"),
        (lambda: noise_multiplier_for(epsilon=0, delta=0.1, n_records=9, batch_size=3, steps=1), "must be above 0"),
    ],
)
def test_bad_settings_are_refused_by_name(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_missing_library_is_named(cube, monkeypatch):
    monkeypatch.setitem(sys.modules, "jax_privacy", None)
    with pytest.raises(ImportError, match=r"pip install 'mace-jax\[dp\]'"):
        DPSGD(1.0).fit(SMALL, cube, bounds=(0, 1), steps=1, seed=0)
