from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mace_jax.models import published_cvae
from mace_jax.models.vae_trainer import VAETrainer


@pytest.fixture(scope="module")
def weights():
    """One set of initial weights of the published networks, as numpy arrays."""
    trainer = VAETrainer(published_cvae(), 784, 10)
    return jax.tree.map(np.asarray, jax.jit(trainer.initial)(jax.random.key(0))["parameters"])


def test_parameter_counts_are_the_published_ones():
    shapes = jax.eval_shape(VAETrainer(published_cvae(), 784, 10).initial, jax.random.key(0))["parameters"]
    counts = {name: sum(leaf.size for leaf in jax.tree.leaves(part)) for name, part in shapes.items()}
    assert counts == {"encoder": 670_970, "decoder": 653_784}


def test_weights_start_as_published(weights):
    for part, widths in (("encoder", (794, 510, 500, 20)), ("decoder", (20, 500, 500, 784))):
        for layer, (inputs, outputs) in enumerate(zip(widths[:-1], widths[1:], strict=True)):
            dense = weights[part]["params"][f"Dense_{layer}"]
            assert dense["kernel"].shape == (inputs, outputs) and not dense["bias"].any()
            assert dense["kernel"].std() == pytest.approx(np.sqrt(2.0 / inputs), rel=0.05)
            assert np.abs(dense["kernel"]).max() < 2.5 * np.sqrt(2.0 / inputs)  # a truncated normal


def test_networks_compute_the_published_formulas(weights):
    rng = np.random.default_rng(1)
    gray, one_hot = rng.uniform(size=(5, 784)), np.eye(10)[[0, 3, 9, 9, 1]]
    layer = {
        part: [tuple(weights[part]["params"][f"Dense_{i}"][name].astype(np.float64) for name in ("kernel", "bias"))
               for i in range(3)]
        for part in weights
    }  # fmt: skip

    def dense(part, place, value):
        kernel, bias = layer[part][place]
        return value @ kernel + bias

    def elu(value):
        return np.where(value > 0, value, np.expm1(np.minimum(value, 0)))

    hidden = np.tanh(dense("encoder", 1, elu(dense("encoder", 0, np.hstack([gray, one_hot])))))
    mean, raw = np.split(dense("encoder", 2, hidden), 2, axis=1)
    sd = np.logaddexp(raw, 0.0) + 1e-6
    hidden = elu(dense("decoder", 1, np.tanh(dense("decoder", 0, np.hstack([mean, one_hot])))))
    decoded = 1.0 / (1.0 + np.exp(-dense("decoder", 2, hidden)))
    bernoulli = -(gray * np.log(decoded) + (1 - gray) * np.log1p(-decoded)).sum(axis=1)

    trainer = VAETrainer(published_cvae(), 784, 10)
    condition = jnp.asarray(one_hot, jnp.float32)
    ours = trainer.encode(weights, jnp.asarray(gray, jnp.float32), condition)
    np.testing.assert_allclose(ours[0], mean, atol=2e-5)
    np.testing.assert_allclose(ours[1], sd, rtol=2e-5)
    codes = jnp.asarray(mean, jnp.float32)
    np.testing.assert_allclose(trainer.decode(weights, codes, condition), decoded, atol=1e-5)
    logits = trainer.logits(weights, codes, condition)
    np.testing.assert_allclose(trainer.cost(jnp.asarray(gray, jnp.float32), logits), bernoulli, rtol=1e-5)


@pytest.mark.slow
def test_dropout_keeps_nine_tenths_while_training_only(weights):
    trainer, condition = VAETrainer(published_cvae(), 784, 10), jnp.eye(10)[:1]
    gray = jnp.full((1, 784), 0.5)
    fixed = trainer.encode(weights, gray, condition)[0]
    draws = np.stack([trainer.encode(weights, gray, condition, jax.random.key(i))[0][0] for i in range(40)])
    assert np.array_equal(fixed, trainer.encode(weights, gray, condition)[0])
    assert len(np.unique(draws, axis=0)) == 40
    assert trainer.settings.dropout == pytest.approx(0.1)
    # what is kept is scaled up, so that the mean stays near the value without dropout
    assert np.abs(draws.mean(axis=0) - fixed[0]).max() < 5 * draws.std(axis=0).max() / np.sqrt(40) + 0.05


@pytest.mark.parametrize("keep", [0.0, 1.5, -1.0])
def test_keep_is_a_probability(keep):
    with pytest.raises(ValueError, match=f"keep={keep}"):
        published_cvae(keep=keep)
    assert published_cvae(keep=1.0).dropout == 0.0
