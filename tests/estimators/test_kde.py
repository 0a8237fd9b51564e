"""KDE against sums written out in float64 and against scipy.stats.gaussian_kde."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from mace_jax.estimators import KDE
from mace_jax.estimators._kde import _silverman
from mace_jax.metrics import balanced_accuracy, f_beta

OBJECTIVE = balanced_accuracy.objective()
MULTIPLES = np.asarray([0.125, 0.25, 0.5, 1.0, 2.0, 4.0])


def sums(queries, train, labels, bandwidth, floor, leave_out):
    """Posterior and log-loss terms from the definition; all distances at once."""
    squared = ((queries[:, None, :] - train[None, :, :]) ** 2).sum(axis=2)
    weight = np.exp(-squared / (2 * bandwidth**2))
    if leave_out:
        np.fill_diagonal(weight, 0.0)
    c1, c0 = weight @ labels, weight @ (1 - labels)
    n, n1 = len(labels), labels.sum()
    own = labels if leave_out else 0
    m1, m0 = n1 - own, n - n1 - (1 - own if leave_out else 0)

    def posterior(extra):
        a, b = (c1 + floor * n1 / n + extra) / m1, (c0 + floor * (1 - n1 / n) + extra) / m0
        return a / (a + b)

    return posterior(0.0), posterior(0.5)


@pytest.mark.parametrize(("width", "members"), [(1, 60), (3, 150)])
def test_posteriors_and_the_choice_equal_exact_sums(width, members, rng):
    train, test = rng.normal(size=(300, width)), rng.normal(size=(90, width))
    labels = rng.permutation(np.repeat([1, 0], [members, 300 - members]))
    train[labels == 1] += 0.7
    center, spread = train.mean(axis=0), train.std(axis=0)
    z, u = (train - center) / spread, (test - center) / spread
    if width == 1:  # beyond the training outputs, an output is judged like the nearest of them
        u = np.clip(u, z.min(), z.max())
    plan = KDE().plan(train, test, seed=0)
    outcome = KDE().fit_fold(plan, jnp.asarray(labels), OBJECTIVE)
    losses = []
    for bandwidth in MULTIPLES * _silverman(z):
        eta = sums(z, z, labels, bandwidth, 1e-3, True)[1]
        losses.append(-np.log(eta[labels == 1]).mean() - np.log1p(-eta[labels == 0]).mean())
    chosen = int(outcome.chosen)
    assert losses[chosen] <= min(losses) + 1e-3
    bandwidth = MULTIPLES[chosen] * _silverman(z)
    atol = 3e-3 if width == 1 else 1e-4
    np.testing.assert_allclose(outcome.posterior, sums(u, z, labels, bandwidth, 1e-3, False)[0], atol=atol)
    np.testing.assert_allclose(outcome.own_posterior, sums(z, z, labels, bandwidth, 1e-3, True)[0], atol=atol)
    with_itself = sums(z, z, labels, bandwidth, 1e-3, False)[0]
    clear = np.abs(with_itself - 0.5) > atol
    np.testing.assert_array_equal(np.asarray(outcome.own_decisions)[clear], with_itself[clear] > 0.5)


@pytest.mark.parametrize("bandwidth", [0.01, 0.05, 0.3])
def test_binned_densities_agree_with_scipy(bandwidth, rng):
    """Kernel sums on the grid, where there is any density."""
    members, others = rng.normal(0.8, 1.0, 1500), rng.standard_t(4, 2500)
    train, test = np.concatenate([members, others])[:, None], np.linspace(-4, 5, 700)[:, None]
    labels = jnp.repeat(jnp.asarray([1, 0]), jnp.asarray([1500, 2500]), total_repeat_length=4000)
    plan = KDE(bandwidth).plan(train, test, seed=0)
    c1, c0 = plan.test_sums(plan.smooth(labels), jnp.asarray([0]))
    scale = bandwidth * train.std()
    steps = bandwidth * (plan.total.shape[1] - 1) * train.std() / np.ptp(train)
    assert steps >= 4
    for found, part in ((c1, members), (c0, others)):
        exact = stats.gaussian_kde(part, bw_method=scale / part.std(ddof=1))(test[:, 0])
        density = np.asarray(found[0]) / (len(part) * scale * np.sqrt(2 * np.pi))
        dense = exact > 0.02 * exact.max()
        assert np.abs(density[dense] / exact[dense] - 1).max() < (0.02 if steps < 8 else 0.005)
        assert np.abs(density - exact).max() < (0.01 if steps < 8 else 0.001) * exact.max()


def test_far_outliers_do_not_coarsen_the_grid(rng):
    train = np.concatenate([rng.normal(1, 1, 400), rng.normal(0, 1, 400), [1e9, -1e9]])[:, None]
    labels = jnp.asarray(np.r_[np.ones(400, int), np.zeros(400, int), 1, 0])
    outcome = KDE(bandwidth=1e-8).fit_fold(KDE(bandwidth=1e-8).plan(train, train, seed=0), labels, OBJECTIVE)
    eta = np.asarray(outcome.posterior)
    assert np.isfinite(eta).all() and eta[:400].mean() > eta[400:800].mean() + 0.05


def test_far_from_all_records_the_posterior_is_one_half(rng):
    train = rng.normal(size=(100, 1))
    for estimator, far in ((KDE(0.05), np.asarray([[0.0]])), (KDE(0.05), np.asarray([[300.0, 300.0]]))):
        rows = np.concatenate([train - 30, train + 30]) if far.shape[1] == 1 else rng.normal(size=(200, 2))
        labels = jnp.arange(200) % 2
        outcome = estimator.fit_fold(estimator.plan(rows, far, seed=0), labels, OBJECTIVE)
        assert outcome.posterior[0] == pytest.approx(0.5, abs=1e-3)


def test_transforms_undo_a_monotone_change_of_the_output(rng):
    train, test = rng.normal(size=(200, 2)), rng.normal(size=(60, 2))
    sigmoid = [1 / (1 + np.exp(-part)) for part in (train, test)]
    for transform, parts in (
        ("log", (np.exp(train), np.exp(test))),
        ("auto", (np.exp(train), np.exp(test))),
        ("logit", sigmoid),
        ("auto", sigmoid),
        ("auto", (train, test)),
        (None, (train, test)),
    ):
        plan = KDE(transform=transform).plan(*parts, seed=0)
        np.testing.assert_allclose(plan.train, (train - train.mean(0)) / train.std(0), atol=1e-5)
        np.testing.assert_allclose(plan.test, (test - train.mean(0)) / train.std(0), atol=1e-5)
    outside = KDE(transform="logit").plan(sigmoid[0], np.asarray([[0.0, 0.5], [1.0, 0.5], [-3.0, 0.5]]), seed=0)
    low, high, lower = np.asarray(outside.test)[:, 0]
    assert np.asarray(outside.train)[:, 0].min() == pytest.approx(low) == lower
    assert np.asarray(outside.train)[:, 0].max() == pytest.approx(high)


def test_row_order_does_not_matter_and_decide_fold_agrees(rng):
    for width in (1, 2):
        train, test = np.round(rng.normal(size=(200, width)), 2), rng.normal(size=(70, width))
        labels = (train[:, 0] + rng.normal(size=200) > 0).astype(np.int32)
        objective = f_beta(1.0).objective(prior=0.2)
        first = KDE().fit_fold(KDE().plan(train, test, seed=0), jnp.asarray(labels), objective)
        order = rng.permutation(200)
        plan = KDE().plan(train[order], test, seed=0)
        again = KDE().fit_fold(plan, jnp.asarray(labels[order]), objective)
        np.testing.assert_allclose(first.posterior, again.posterior, atol=1e-4)
        decisions = KDE().decide_fold(plan, jnp.asarray(labels[order]), objective)
        np.testing.assert_array_equal(again.decisions, decisions)


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match="bandwidth=0.0 must be positive"):
        KDE(bandwidth=0.0)
    with pytest.raises(ValueError, match="transform='sqrt' is not known"):
        KDE(transform="sqrt")
    with pytest.raises(ValueError, match="transform='log' needs positive outputs, but column 0 goes down to 0"):
        KDE(transform="log").plan(np.zeros((9, 1)), np.ones((9, 1)), seed=0)
    with pytest.raises(ValueError, match="transform='logit' needs outputs strictly between 0 and 1, but column 1"):
        KDE(transform="logit").plan(np.full((9, 2), [0.5, 1.0]), np.ones((9, 2)), seed=0)
    assert KDE().supports(10) and not KDE().supports(11)
    assert KDE().neighbors(KDE(0.5).plan(np.zeros((9, 1)), np.zeros((2, 1)), seed=0), 0) is None
