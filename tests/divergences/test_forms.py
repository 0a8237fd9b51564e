"""Each form against a slow reference written from its definition, and against closed forms where it is unbiased."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import digamma, gamma

from mace_jax import divergences as dv
from mace_jax._status import Status
from mace_jax.data import MembershipSample
from mace_jax.divergences import _cells, _ensemble
from mace_jax.divergences._pair import searched_pair
from mace_jax.divergences._posterior import knn_posterior, null_mean_of_plug_in
from mace_jax.neighbors import paired_knn
from tests._support import assert_close
from tests.divergences import draws


def distances(x, y):
    return np.sqrt(((x[:, None, :] - y[None, :, :]) ** 2).sum(-1))


def brute(p, q):
    """Distances of P rows among P (self at infinity) and among Q."""
    own = distances(p, p)
    np.fill_diagonal(own, np.inf)
    return own, distances(p, q)


@pytest.mark.parametrize(("d", "k", "n", "m"), [(1, 3, 40, 55), (2, 5, 60, 60), (4, 1, 50, 30)])
def test_kl_forms_equal_their_definitions(d, k, n, m):
    p, q = draws.gaussians(1.0, d, n, m, seed=d)
    own, other = brute(p, q)
    rho, nu = np.sort(own, axis=1)[:, k - 1], np.sort(other, axis=1)[:, k - 1]
    assert_close(dv.kl(p, q, method="knn", k=k).value, d * np.log(nu / rho).mean() + math.log(m / (n - 1)))
    terms = []
    for i in range(n):
        radius = max(rho[i], nu[i])
        a, b = (own[i] <= radius).sum(), (other[i] <= radius).sum()
        terms.append(digamma(a + (rho[i] < radius)) - digamma(b + (nu[i] < radius)))
    expected = np.mean(terms) + math.log(m / (n - 1))
    assert_close(dv.kl(p, q, method="common_radius", k=k).value, expected)
    both = dv.kl(p, q, k=k)
    if n == m:
        assert both.method == "knn"
        assert_close(both.details["common_radius"], expected)
    else:
        assert both.method == "common_radius"


def test_common_radius_on_atoms_counts_everything_within():
    rng = np.random.default_rng(0)
    p, q = rng.integers(8, size=400).astype(float), rng.integers(8, size=900).astype(float)
    a, b = ((p[:, None] == side[None, :]).sum(1) for side in (p, q))
    found = dv.kl(p, q, method="common_radius")
    assert_close(found.value, np.mean(digamma(a) - digamma(b + 1)) + math.log(900 / 399))
    assert found.method == "common_radius"
    assert Status.TIES in found.status


@pytest.mark.parametrize("order", [0.5, 0.9, 2.0])
def test_power_forms_equal_their_definitions(order):
    k, d, n, m = 5, 2, 50, 70
    p, q = draws.gaussians(1.0, d, n, m, seed=3)
    own, other = brute(p, q)
    rho, nu = np.sort(own, axis=1)[:, k - 1], np.sort(other, axis=1)[:, k - 1]

    def mean(inner, outer, inner_n, outer_n, power):
        constant = gamma(k) ** 2 / (gamma(k - power) * gamma(k + power))
        return np.mean((outer_n * outer**d / (inner_n * inner**d)) ** -power) * constant

    # (p / q)^(order - 1) at P rows: inner radii in P, outer in Q
    of_p = mean(rho, nu, n - 1, m, 1.0 - order)
    own_q, other_q = brute(q, p)
    nu_q, rho_q = np.sort(own_q, axis=1)[:, k - 1], np.sort(other_q, axis=1)[:, k - 1]
    of_q = mean(nu_q, rho_q, m - 1, n, order)
    expected = order * of_p + (1.0 - order) * of_q if order < 1.0 else of_p
    found = dv.renyi(p, q, order=order, k=k, check_support=False)
    assert_close(found.details["integral"], expected)
    assert abs(found.value - math.log(expected) / (order - 1.0)) < 0.1
    if order == 0.5:
        assert_close(dv.hellinger(p, q, k=k).value, 1.0 - expected)


def test_squared_l2_equals_its_definition():
    k, d, n, m = 4, 3, 40, 50
    p, q = draws.gaussians(1.0, d, n, m, seed=4)
    (pp, pq), (qq, qp) = brute(p, q), brute(q, p)
    ball = math.pi ** (d / 2) / gamma(d / 2 + 1)

    def mean(near, others):
        return np.mean((k - 1) / (others * ball * np.sort(near, axis=1)[:, k - 1] ** d))

    expected = mean(pp, n - 1) - (mean(pq, m) + mean(qp, n)) + mean(qq, m - 1)
    assert_close(dv.l2(p, q, k=k).value, expected)


@pytest.mark.parametrize("kind", ["normal", "atoms"])
@pytest.mark.parametrize(("k", "n", "m"), [(1, 30, 30), (7, 40, 25)])
def test_posterior_counts_share_ties(kind, k, n, m):
    rng = np.random.default_rng(k)
    rows = rng.normal(size=(n + m, 2)) if kind == "normal" else rng.integers(3, size=(n + m, 2)).astype(float)
    pair = searched_pair(rows[:n], rows[n:], k, neighbors=None)
    near = distances(rows, rows)
    np.fill_diagonal(near, np.inf)
    expected = []
    for row in near:
        last = np.sort(row)[k - 1]
        inside, shell, of_p = row < last, row == last, np.arange(n + m) < n
        expected.append((inside & of_p).sum() + (k - inside.sum()) * (shell & of_p).sum() / shell.sum())
    assert_close(knn_posterior(pair, k).from_p, expected)


def test_posterior_divergences_equal_their_definitions():
    n, m, k = 60, 40, 9
    p, q = draws.gaussians(1.0, 1, n, m, seed=5)
    found = knn_posterior(searched_pair(p, q, k, neighbors=None, wider=1), k)
    label = np.arange(n + m) < n
    a, b = found.from_p / (n - label), (k - found.from_p) / (m - ~label)
    eta = a / (a + b)
    guess = (eta > 0.5) + 0.5 * (eta == 0.5)
    tv = dv.total_variation(p, q, k=k)
    assert_close(tv.value, guess[:n].mean() - guess[n:].mean())
    assert_close(dv.total_variation(p, q, k=k, method="plug_in").value, tv.details["plug_in"])
    assert_close(tv.details["plug_in"], 0.5 * (abs(2 * eta - 1)[:n].mean() + abs(2 * eta - 1)[n:].mean()))
    over = eta > math.e / (1 + math.e)
    both = dv.hockey_stick(p, q, epsilon=[0.0, 1.0], k=k)
    assert_close(both.value, [tv.value, over[:n].mean() - math.e * over[n:].mean()])
    assert both.influence[0].shape == (2, n)
    assert both.influence[1].shape == (2, m)
    crossing = (k - found.from_p[:n]).sum() + found.from_p[n:].sum()
    assert_close(dv.henze_penrose(p, q, k=k).value, 1.0 - crossing * (n + m - 1) / (2 * n * m * k))
    w = np.clip(eta, 1e-300, 1.0)
    entropy = -(eta * np.log(w) + (1 - eta) * np.log(np.clip(1 - eta, 1e-300, 1.0)))
    expected = math.log(2) - 0.5 * (entropy[:n].mean() + entropy[n:].mean())
    assert_close(dv.jensen_shannon(p, q, k=k).details["uncorrected"], expected)


@pytest.mark.parametrize(("k", "expected"), [(5, 0.375), (10, 0.246), (20, 0.176), (50, 0.112), (100, 0.080)])
def test_null_mean_of_the_plug_in(k, expected):
    assert abs(null_mean_of_plug_in(k, 500, 500) - expected) < 0.0006
    p, q = draws.gaussians(0.0, 1, 2000, 2000, seed=k)
    assert abs(dv.total_variation(p, q, k=k, method="plug_in").value - expected) < 0.02


def test_cells_equal_their_definitions():
    p, q = np.repeat([0.0, 1.0, 2.0], [5, 3, 2]), np.repeat([0.0, 1.0, 2.0], [2, 3, 5])
    a, b = np.array([0.5, 0.3, 0.2]), np.array([0.2, 0.3, 0.5])
    s = 0.5 * (a + b)
    assert_close(dv.kl(p, q, method="cells").details["plug_in"], (a * np.log(a / b)).sum())
    assert_close(dv.total_variation(p, q, method="cells").value, 0.3)
    js = 0.5 * (a * np.log(a / s) + b * np.log(b / s)).sum()
    assert_close(dv.jensen_shannon(p, q, method="cells").details["plug_in"], js)
    assert_close(dv.henze_penrose(p, q, method="cells").details["plug_in"], 1.0 - (a * b / s).sum())
    assert_close(dv.renyi(p, q, order=2.0, method="cells").details["plug_in"], (a**2 / b).sum())
    hockey = dv.hockey_stick(p, q, epsilon=[0.0, 0.5], method="cells")
    assert_close(hockey.value, [0.3, 0.5 - math.exp(0.5) * 0.2])
    assert dv.kl(p, q, method="cells").resampling == "cells"


@pytest.mark.parametrize("form", ["KL", "JENSEN_SHANNON", "HENZE_PENROSE", "power"])
def test_cell_derivatives_match_differences(form):
    chosen = _cells.power(0.7) if form == "power" else getattr(_cells, form)
    rng, step = np.random.default_rng(0), 1e-5
    p, q = rng.dirichlet(np.full(5, 9.0)), rng.dirichlet(np.full(5, 9.0))
    at = chosen.divergence(p, q)
    for j in range(5):
        unit = np.eye(5)[j] * step
        for place, up, down in (
            (1, chosen.divergence(p + unit, q), chosen.divergence(p - unit, q)),
            (2, chosen.divergence(p, q + unit), chosen.divergence(p, q - unit)),
        ):
            slope = (up[0] - down[0]) / (2 * step)
            offset = 1.0 if form == "KL" and place == 1 else 0.0  # constants are centered away
            assert abs(slope - offset - at[place][j]) < 1e-6
            bend = (up[0] - 2 * at[0] + down[0]) / step**2
            assert abs(bend - at[place + 2][j]) < 1e-3 * max(1.0, abs(bend))


def test_cell_limits_hold_the_truth_and_state_the_bias():
    values, covered = [], 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        found = dv.total_variation(rng.integers(50, size=500), rng.integers(50, size=500), method="cells")
        values.append(found.value)
        covered += found.details["low"] <= 0.0 <= found.details["high"]
    assert covered == 40
    assert abs(np.mean(values) - 0.176) < 0.01  # sqrt(2 / pi) / 2 * sqrt(49 * 2 / 500) at equal cells
    assert abs(found.details["null_mean"] - 0.176) < 0.005
    assert found.details["bias_at_most"] <= 0.5 * math.sqrt(49 * 2 / 500) + 1e-12


def test_mmd_equals_its_definition_and_its_permutations_too():
    p, q = draws.gaussians(0.7, 2, 30, 45, seed=6)
    widths = (0.5, 2.0)

    def gram(x, y):
        return np.mean([np.exp(-(distances(x, y) ** 2) / (2 * s**2)) for s in widths], axis=0)

    def statistic(x, y):
        n, m = len(x), len(y)
        own_x, own_y = gram(x, x).sum() - n, gram(y, y).sum() - m
        return own_x / (n * (n - 1)) + own_y / (m * (m - 1)) - 2.0 * gram(x, y).mean()

    assert_close(dv.mmd(p, q, bandwidth=widths).value, statistic(p, q))
    from mace_jax.divergences._mmd import permuted_mmd

    null = permuted_mmd(p, q, widths, 5, np.random.default_rng(1))
    rng, pooled = np.random.default_rng(1), np.concatenate([p, q])
    for value in null:
        chosen = np.zeros(75, dtype=bool)
        chosen[rng.permutation(75)[:30]] = True
        assert abs(value - statistic(pooled[chosen], pooled[~chosen])) < 2e-6


def test_ensemble_weights_cancel_what_the_norm_allows():
    for d in (1, 2, 3, 5, 10):
        weights = _ensemble.ensemble_weights(d)
        assert_close(weights.sum(), 1.0)
        assert np.linalg.norm(weights) <= 2.0 + 1e-9
    two = _ensemble.ensemble_weights(2)
    assert abs((two * np.sqrt(_ensemble.LENGTHS)).sum()) < 1e-6


@pytest.mark.parametrize("d", [2, 9])
def test_the_order_of_the_search_leaves_no_trace(d, rng):
    """Large samples are searched in the order of a tree; lists found beforehand are not."""
    p, q = rng.normal(0.5, 1, (4300, d)), rng.normal(size=(4100, d))
    sample = MembershipSample(p, q)
    searched, given = searched_pair(p, q, 2, neighbors=None), searched_pair(p, q, 2, neighbors=paired_knn(sample, 2))
    np.testing.assert_array_equal(searched.to_p, given.to_p)
    np.testing.assert_array_equal(searched.to_q, given.to_q)
