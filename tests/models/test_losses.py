"""The trainers' losses, averaged over discrete laws at the best D, Q and D_p, against divergences by definition."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mace_jax.models.losses import (
    entropy_penalty,
    fooling_loss,
    gradient_penalty,
    other_parts,
    part_loss,
    real_or_fake_loss,
)

EXACT = {"rtol": 0.0, "atol": 1e-10}
CASES = [(2, 3), (3, 7), (5, 4)]


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


def laws(n_parts, n_atoms, seed):
    """Random part weights, laws of the parts' records and laws of the generators; all atoms possible."""
    rng = np.random.default_rng(seed)
    draw = lambda *size: rng.dirichlet(np.ones(n_atoms), size=size) + 1e-3  # noqa: E731
    p, g = draw(n_parts), draw(n_parts)
    return rng.dirichlet(np.ones(n_parts) * 3.0), p / p.sum(1, keepdims=True), g / g.sum(1, keepdims=True)


def entropy(law):
    return -sum(mass * np.log(mass) for mass in law if mass > 0.0)


def divergence(weights, members):
    """Jensen-Shannon divergence of weighted laws: entropy of the mixture minus mean entropy."""
    mixture = sum(weight * law for weight, law in zip(weights, members, strict=True))
    return entropy(mixture) - sum(weight * entropy(law) for weight, law in zip(weights, members, strict=True))


def jsd(p, q):
    return divergence((0.5, 0.5), (p, q))


def game(p, g, logits):
    """E log D(real) + E log(1 - D(synthetic)) from the loss the discriminator trains on."""
    real = real_or_fake_loss(logits, jnp.ones(len(p)))
    fake = real_or_fake_loss(logits, jnp.zeros(len(p)))
    return -(p @ real + g @ fake)


def told(pi, g, logits):
    """E -log Q(c | G) under codes from pi and records from g_c, from the loss Q trains on."""
    n_parts, n_atoms = g.shape
    return sum(pi[c] * g[c] @ part_loss(logits, jnp.full(n_atoms, c, jnp.int32)) for c in range(n_parts))


def best_d(p, g):
    return jnp.log(p) - jnp.log(g)


def best_q(pi, g):
    return jnp.log(pi[:, None] * g).T


@pytest.mark.parametrize(("n_parts", "n_atoms"), CASES)
@pytest.mark.parametrize("seed", range(3))
def test_the_best_classifier_measures_information_about_the_part(n_parts, n_atoms, seed):
    pi, _, g = laws(n_parts, n_atoms, seed)
    logits = best_q(pi, g)
    mixture = pi @ g
    for c, x in itertools.product(range(n_parts), range(n_atoms)):  # Q* = pi_c g_c(x) / g(x)
        np.testing.assert_allclose(jax.nn.softmax(logits)[x, c], pi[c] * g[c, x] / mixture[x], **EXACT)
    information = divergence(pi, g)
    np.testing.assert_allclose(-told(pi, g, logits), information - entropy(pi), **EXACT)
    by_definition = sum(pi[c] * g[c, x] * np.log(g[c, x] / mixture[x]) for c in range(n_parts) for x in range(n_atoms))
    np.testing.assert_allclose(information, by_definition, **EXACT)
    assert 0.0 <= information <= entropy(pi) <= np.log(n_parts)
    np.testing.assert_allclose(jax.grad(lambda logit: told(pi, g, logit))(logits), 0.0, atol=1e-12)
    other = logits + np.random.default_rng(seed).normal(size=logits.shape)
    assert told(pi, g, other) > told(pi, g, logits)


@pytest.mark.parametrize(("n_parts", "n_atoms"), CASES)
@pytest.mark.parametrize("seed", range(3))
def test_the_best_discriminators_measure_the_divergence_from_the_records(n_parts, n_atoms, seed):
    pi, p, g = laws(n_parts, n_atoms, seed)
    value = sum(pi[c] * game(p[c], g[c], best_d(p[c], g[c])) for c in range(n_parts))
    expected = -np.log(4.0) + 2.0 * sum(pi[c] * jsd(p[c], g[c]) for c in range(n_parts))
    np.testing.assert_allclose(value, expected, **EXACT)
    for c in range(n_parts):
        logits = best_d(p[c], g[c])
        np.testing.assert_allclose(jax.nn.sigmoid(logits), p[c] / (p[c] + g[c]), **EXACT)
        np.testing.assert_allclose(jax.grad(lambda logit, c=c: game(p[c], g[c], logit))(logits), 0.0, atol=1e-12)


@pytest.mark.parametrize("weight", [0.0, 0.7, 10.0])
@pytest.mark.parametrize("seed", range(3))
def test_the_generator_of_pigan_minimizes_two_divergences(weight, seed):
    pi, p, g = laws(3, 5, seed)
    parts = range(3)
    penalty = sum(
        pi[c] * g[c] @ entropy_penalty("info", best_q(pi, g), jnp.full(5, c, jnp.int32), jnp.full(5, c, jnp.int32))
        for c in parts
    )
    value = sum(pi[c] * game(p[c], g[c], best_d(p[c], g[c])) for c in parts) + weight * penalty
    expected = 2.0 * sum(pi[c] * jsd(p[c], g[c]) for c in parts) + weight * divergence(pi, g)
    np.testing.assert_allclose(value, expected - np.log(4.0) - weight * entropy(pi), **EXACT)
    same = np.tile(g[0], (3, 1))  # a heavy weight makes all laws equal: no information, and guessing by weight only
    assert abs(divergence(pi, same)) < 1e-12
    guess = np.max(pi[:, None] * same, axis=0).sum()
    np.testing.assert_allclose(guess, pi.max(), **EXACT)


@pytest.mark.parametrize("weight", [0.0, 1.0, 10.0])
def test_equal_parts_are_learned_whatever_the_penalty(weight):
    _, p, g = laws(4, 6, 0)
    pi, p = np.full(4, 0.25), np.tile(p[0], (4, 1))

    def value(g):
        adversarial = sum(0.25 * game(p[c], g[c], best_d(p[c], g[c])) for c in range(4))
        return adversarial - weight * told(pi, g, best_q(pi, g))

    optimum = -np.log(4.0) - weight * np.log(4)
    np.testing.assert_allclose(value(p), optimum, **EXACT)
    for seed in range(5):
        assert value(laws(4, 6, seed)[2]) > optimum


@pytest.mark.parametrize("seed", range(20))
def test_no_classifier_of_parts_beats_the_bound(seed):
    pi, _, g = laws(2 + seed % 4, 6, seed)
    accuracy = np.max(pi[:, None] * g, axis=0).sum()
    assert accuracy <= pi.max() + np.sqrt(divergence(pi, g) / 2.0) + 1e-12


@pytest.mark.parametrize("weight", [0.0, 0.5, 3.0])
@pytest.mark.parametrize(("n_parts", "n_atoms"), CASES)
def test_privgan_is_pigan_times_the_number_of_parts(n_parts, n_atoms, weight):
    _, p, g = laws(n_parts, n_atoms, 1)
    pi = np.full(n_parts, 1.0 / n_parts)
    logits = jnp.log(g).T  # D_p* = g_i / sum_j g_j
    np.testing.assert_allclose(jax.nn.softmax(logits), (g / g.sum(axis=0)).T, **EXACT)
    adversarial = sum(game(p[i], g[i], best_d(p[i], g[i])) for i in range(n_parts))
    value = adversarial - weight * n_parts * told(pi, g, logits)
    expected = sum(2.0 * jsd(p[i], g[i]) for i in range(n_parts)) + weight * n_parts * divergence(pi, g)
    constant = n_parts * np.log(4.0) + weight * n_parts * np.log(n_parts)
    np.testing.assert_allclose(value, expected - constant, **EXACT)
    pigan = adversarial / n_parts - weight * told(pi, g, best_q(pi, g))
    np.testing.assert_allclose(value / n_parts, pigan, **EXACT)
    same = np.tile(p[0], (n_parts, 1))
    least = sum(game(same[i], same[i], best_d(same[i], same[i])) for i in range(n_parts))
    least -= weight * n_parts * told(pi, same, jnp.log(same).T)
    np.testing.assert_allclose(least, -constant, **EXACT)


@pytest.mark.parametrize("kind", ["uniform", "other"])
@pytest.mark.parametrize(("n_parts", "n_atoms"), CASES)
def test_the_steady_penalties_are_least_when_all_parts_are_alike(kind, n_parts, n_atoms):
    pi = np.full(n_parts, 1.0 / n_parts)

    def penalty(g):
        total = 0.0
        for c in range(n_parts):
            codes = jnp.full(n_atoms, c, jnp.int32)
            wrong = [other for other in range(n_parts) if other != c] if kind == "other" else [c]
            for other in wrong:  # "other" averages over all wrong codes
                each = entropy_penalty(kind, best_q(pi, g), codes, jnp.full(n_atoms, other, jnp.int32))
                total += pi[c] * (g[c] @ each) / len(wrong)
        return total

    same = np.tile(laws(n_parts, n_atoms, 0)[2][0], (n_parts, 1))
    np.testing.assert_allclose(penalty(same), np.log(n_parts), **EXACT)
    for seed in range(5):
        g = laws(n_parts, n_atoms, seed)[2]
        assert penalty(g) > np.log(n_parts)
        if kind == "other":
            q = np.asarray(jax.nn.softmax(best_q(pi, g)))
            form = sum((pi @ g)[x] * -np.sum((1.0 - q[x]) * np.log(q[x])) / (n_parts - 1) for x in range(n_atoms))
            np.testing.assert_allclose(penalty(g), form, **EXACT)


def test_for_two_parts_the_other_penalty_is_minus_log_of_not_being_told():
    logits = jnp.asarray(np.random.default_rng(0).normal(size=(6, 2)))
    codes = jnp.array([0, 1, 0, 1, 1, 0], jnp.int32)
    sure = np.exp(-np.asarray(part_loss(logits, codes)))
    np.testing.assert_allclose(entropy_penalty("other", logits, codes, 1 - codes), -np.log(1.0 - sure), **EXACT)


def test_the_information_penalty_fades_when_the_classifier_is_sure_and_the_others_do_not():
    codes, others = jnp.zeros(1, jnp.int32), jnp.ones(1, jnp.int32)

    def slope(kind, margin):
        logits = jnp.array([[margin, 0.0]])
        return float(jax.grad(lambda x: entropy_penalty(kind, x, codes, others)[0])(logits)[0, 0])

    assert slope("info", 12.0) < 1e-5 and slope("other", 12.0) > 0.99 and slope("uniform", 12.0) > 0.49
    probability = 1.0 / (1.0 + np.exp(-2.0))
    np.testing.assert_allclose(slope("info", 2.0), 1.0 - probability, **EXACT)


def test_fooling_is_the_non_saturating_loss():
    logits = jnp.array([-800.0, -1.0, 0.0, 2.0])
    np.testing.assert_allclose(fooling_loss(logits)[1:], -np.log(1.0 / (1.0 + np.exp([1.0, 0.0, -2.0]))), **EXACT)
    assert fooling_loss(logits)[0] == 800.0


@pytest.mark.parametrize("n_parts", [2, 3, 5])
def test_other_parts_are_uniform_over_the_others(n_parts):
    codes = jnp.asarray(np.arange(6000) % n_parts, jnp.int32)
    others = np.asarray(other_parts(jax.random.key(0), codes, n_parts))
    table = np.zeros((n_parts, n_parts))
    np.add.at(table, (np.asarray(codes), others), 1)
    assert not np.diag(table).any()
    off = table[~np.eye(n_parts, dtype=bool)]
    expected = 6000 / n_parts / (n_parts - 1)
    assert np.abs(off - expected).max() < 5 * np.sqrt(expected)


def test_the_gradient_penalty_is_the_squared_distance_of_the_slope_from_one():
    slopes = np.array([[3.0, 4.0], [0.6, 0.8], [0.0, 0.0]])
    np.testing.assert_allclose(gradient_penalty(jnp.asarray(slopes)), [16.0, 0.0, 1.0], atol=1e-5)
    assert np.isfinite(jax.grad(lambda x: gradient_penalty(x).sum())(jnp.asarray(slopes))).all()
