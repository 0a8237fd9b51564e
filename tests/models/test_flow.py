"""The flow: exact densities, maps and their inverses, and laws it must learn."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from mace_jax._types import DecodesNoise, SamplesRecords
from mace_jax.models.flow import FittedFlow, Flow
from mace_jax.models.flow_layers import BOUND, knots_of, spline, unspline
from mace_jax.models.flow_trainer import FlowTrainer

TINY = Flow(n_layers=2, hidden=(8,), n_bins=4, batch_size=32)


def two_hills(n: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    first = rng.random(n) < 0.4
    return np.where(first[:, None], rng.normal([-2, 0], [0.5, 1], (n, 2)), rng.normal([3, 40], [1, 3], (n, 2)))


def log_two_hills(x: np.ndarray) -> np.ndarray:
    parts = stats.norm.logpdf(x, [-2, 0], [0.5, 1]).sum(axis=1), stats.norm.logpdf(x, [3, 40], [1, 3]).sum(axis=1)
    return np.logaddexp(np.log(0.4) + parts[0], np.log(0.6) + parts[1])


def shaken(trainer: FlowTrainer, scale: float = 0.7) -> dict:
    """Weights far from the identity at the start."""
    start = trainer.initial(jax.random.key(3))["parameters"]
    leaves, tree = jax.tree.flatten(start)
    rng = np.random.default_rng(5)
    return jax.tree.unflatten(tree, [leaf + scale * rng.normal(size=leaf.shape).astype(np.float32) for leaf in leaves])


@pytest.fixture(scope="module")
def hills() -> FittedFlow:
    return Flow(n_layers=4, hidden=(32,), noise_sd=0.02).fit(two_hills(4000, 0), steps=500, seed=0)


def test_splines_rise_end_at_the_corners_and_are_inverted(rng):
    free = [jnp.asarray(rng.normal(size=(40, k)), jnp.float32) for k in (6, 6, 5)]
    knots = knots_of(*free)
    x = jnp.asarray(np.sort(rng.uniform(-6, 6, 40)), jnp.float32)
    y, logs = spline(knots, x)
    assert bool(jnp.all((jnp.abs(y) <= BOUND) | (jnp.abs(x) > BOUND)))
    np.testing.assert_allclose(unspline(knots, y), x, atol=2e-4)
    outside = np.abs(x) > BOUND
    np.testing.assert_array_equal(np.asarray(y)[outside], np.asarray(x)[outside])
    slopes = jax.vmap(jax.grad(lambda value, *own: spline(type(knots)(*own), value)[0]))(x, *knots)
    np.testing.assert_allclose(np.exp(logs), slopes, rtol=2e-3)
    assert np.all(slopes > 0)


def test_zero_weights_are_the_identity():
    knots = knots_of(jnp.zeros((3, 4)), jnp.zeros((3, 4)), jnp.zeros((3, 3)))
    y, logs = spline(knots, jnp.array([-3.3, 0.1, 9.0]))
    np.testing.assert_allclose(y, [-3.3, 0.1, 9.0], atol=1e-6)
    np.testing.assert_allclose(logs, 0.0, atol=1e-6)


@pytest.mark.parametrize(
    ("n_features", "n_labels"),
    [pytest.param(1, 0, marks=pytest.mark.slow), pytest.param(2, 0, marks=pytest.mark.slow), (5, 3)],
)
def test_log_determinant_is_that_of_the_jacobian_and_the_inverse_undoes_it(n_features, n_labels, rng):
    trainer = FlowTrainer(Flow(n_layers=3, hidden=(6,), n_bins=5), n_features, n_labels)
    labels = rng.integers(max(n_labels, 1), size=7)
    with jax.enable_x64(True):  # the identities are exact; in float32 a steep inverse loses digits
        weights = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), shaken(trainer))
        forward, backward = (jax.jit(functools.partial(way, weights)) for way in (trainer.to_noise, trainer.from_noise))
        x = jnp.asarray(rng.normal(size=(7, n_features)))
        one_hot = jnp.asarray(np.eye(max(n_labels, 1))[labels, :n_labels])
        noise, logs = forward(x, one_hot)
        jacobians = jax.vmap(jax.jacfwd(lambda row, own: forward(row[None], own[None])[0][0]))(x, one_hot)
        signs, expected = np.linalg.slogdet(np.asarray(jacobians))
        back = np.asarray(backward(noise, one_hot))
    assert np.all(np.abs(signs) == 1) and np.abs(expected).max() > 0.5
    np.testing.assert_allclose(logs, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(back, x, atol=1e-5)


def test_a_known_mixture_is_learned_and_has_mass_one(hills):
    fresh = two_hills(1500, 9)
    divergence = float((log_two_hills(fresh) - hills.log_density(fresh)).mean())
    assert -0.02 < divergence < 0.15  # nats; one normal law is at 1.5
    x, y = np.linspace(-9, 12, 250), np.linspace(-20, 70, 250)
    grid = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    mass = np.exp(hills.log_density(grid)).sum() * (x[1] - x[0]) * (y[1] - y[0])
    assert mass == pytest.approx(1.0, abs=0.01)
    samples = hills.sample(2000, seed=1)
    assert np.mean(samples[:, 1] < 15) == pytest.approx(0.4, abs=0.05)
    np.testing.assert_array_equal(hills.sample(5, seed=1), samples[:5])


@pytest.mark.slow
def test_a_density_of_one_column_has_two_peaks_and_mass_one():
    rng = np.random.default_rng(2)
    values = np.where(rng.random(1500) < 0.5, rng.normal(-4, 0.6, 1500), rng.normal(3, 0.6, 1500))[:, None]
    fitted = Flow(n_layers=3, hidden=(4,), learning_rate=1e-2).fit(values, steps=400, seed=0)
    grid = np.linspace(-12, 12, 3000)[:, None]
    density = np.exp(fitted.log_density(grid))
    assert density.sum() * (grid[1, 0] - grid[0, 0]) == pytest.approx(1.0, abs=0.01)
    at = {place: density[np.abs(grid[:, 0] - place).argmin()] for place in (-4.0, -0.5, 3.0)}
    assert min(at[-4.0], at[3.0]) > 5 * at[-0.5]


def test_change_of_units_moves_the_density_by_the_jacobian():
    values = two_hills(60, 1)
    here, there = TINY.fit(values, steps=3, seed=0), TINY.fit(values * [8.0, 0.25] + 3.0, steps=3, seed=0)
    moved = there.log_density(values[:20] * [8.0, 0.25] + 3.0) + np.log(8.0 * 0.25)
    np.testing.assert_allclose(moved, here.log_density(values[:20]), atol=1e-3)


@pytest.mark.slow
def test_labels_condition_the_density_and_average_without(rng):
    labels = rng.integers(2, size=300)
    values = rng.normal(size=(300, 2)) + 6.0 * labels[:, None]
    fitted = Flow(n_layers=2, hidden=(16,), learning_rate=1e-2).fit(values, labels, steps=150, seed=0)
    own = np.stack([fitted.log_density(values[:50], np.full(50, label)) for label in (0, 1)])
    assert np.mean(own[labels[:50], np.arange(50)] > own[1 - labels[:50], np.arange(50)]) > 0.95
    shares = np.array(fitted.labels.shares)
    np.testing.assert_allclose(fitted.log_density(values[:50]), np.log((np.exp(own) * shares[:, None]).sum(axis=0)))


def test_it_samples_decodes_is_saved_and_resumes(tmp_path):
    values = two_hills(60, 2)
    fitted = TINY.fit(values, steps=6, seed=4)
    assert isinstance(fitted, SamplesRecords) and isinstance(fitted, DecodesNoise)
    noise = np.random.default_rng(0).normal(size=(4, 2)).astype(np.float32)
    back = fitted._trainer.to_noise(
        fitted.parameters, fitted.scaling.to_unit(np.asarray(fitted.decode_noise(noise))), np.zeros((4, 0), np.float32)
    )[0]
    np.testing.assert_allclose(back, noise, atol=1e-3)
    fitted.save(tmp_path / "model")
    np.testing.assert_array_equal(FittedFlow.load(tmp_path / "model").log_density(values), fitted.log_density(values))
    TINY.fit(values, steps=3, seed=4, checkpoint_dir=tmp_path / "run")
    resumed = TINY.fit(values, steps=6, seed=4, checkpoint_dir=tmp_path / "run")
    np.testing.assert_array_equal(resumed.log_density(values), fitted.log_density(values))
    assert Flow.from_dict(TINY.to_dict()) == TINY


def test_records_are_scored_alone(hills):
    values = two_hills(300, 5)
    alone = np.concatenate([hills.log_density(row[None]) for row in values[:5]])
    np.testing.assert_array_equal(alone, hills.log_density(values)[:5])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_layers": 1}, "n_layers"),
        ({"n_bins": 1}, "n_bins"),
        ({"n_bins": 500}, "at most 256"),
        ({"noise_sd": -1.0}, "noise_sd"),
    ],
)
def test_bad_settings_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        Flow(**settings)


def test_records_without_density_are_refused():
    with pytest.raises(ValueError, match="constant in 1 columns, first in column 1"):
        TINY.fit([[0.0, 4.0], [1.0, 4.0]], steps=1, seed=0)
    with pytest.raises(ValueError, match="columns"):
        TINY.fit(two_hills(60, 0), steps=1, seed=0).log_density([[1.0]])
