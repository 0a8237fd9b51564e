from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from scipy.spatial.distance import cdist

from mace_jax.attacks import KernelDensity, NeighborDensity, domias
from mace_jax.metrics import roc


class Law:
    """A known density, optionally that of ``forward(x)`` with x from it."""

    def __init__(self, logpdf, inverse=lambda y: y, log_slope=lambda x: 0.0):
        self.logpdf, self.inverse, self.log_slope = logpdf, inverse, log_slope

    def log_density(self, records):
        return self.logpdf(self.inverse(records)) - self.log_slope(self.inverse(records))


def gaussian(mean, sd):
    return lambda x: stats.norm.logpdf(x, mean, sd).sum(axis=1)


def test_kernels_are_scipys(rng):
    y, x = rng.normal(size=(60, 3)) @ rng.normal(size=(3, 3)), rng.normal(size=(20, 3))
    expected = stats.gaussian_kde(y.T).logpdf(x.T)
    np.testing.assert_allclose(KernelDensity().fit(y).log_density(x), expected, rtol=1e-7)
    squared = cdist(x, y, "sqeuclidean")
    direct = np.log(np.exp(-squared / (2 * 0.7**2)).mean(axis=1)) - 3 * np.log(0.7 * np.sqrt(2 * np.pi))
    np.testing.assert_allclose(KernelDensity(0.7).fit(y).log_density(x), direct, rtol=1e-7)


def test_neighbors_are_counted_in_a_ball(rng):
    y, x = rng.normal(size=(50, 2)), rng.normal(size=(10, 2))
    radius = np.sort(cdist(x, y), axis=1)[:, 3]
    np.testing.assert_allclose(
        NeighborDensity(k=4).fit(y).log_density(x), np.log(4 / 50 / (np.pi * radius**2)), rtol=1e-9
    )


@pytest.mark.parametrize("density", ["kde", "knn", KernelDensity(0.5), NeighborDensity(2)])
def test_equal_sets_score_zero(rng, density):
    same = rng.normal(size=(80, 3))
    assert (domias(rng.normal(size=(30, 3)), same, same, density=density) == 0.0).all()


def test_exact_densities_score_the_same_in_any_coordinates(rng):
    x = rng.normal(size=(200, 2))
    model, population = gaussian(0.3, 0.6), gaussian(0.0, 1.0)

    def moved(logpdf):
        return Law(logpdf, np.arcsinh, lambda x: np.log(np.cosh(x)).sum(axis=1))

    plain, changed = domias(x, Law(model), Law(population)), domias(np.sinh(x), moved(model), moved(population))
    np.testing.assert_allclose(changed, plain, atol=1e-10)
    assert (np.argsort(changed) == np.argsort(plain)).all()
    alone = domias(x, Law(model), None), domias(np.sinh(x), moved(model), None)
    assert (np.argsort(alone[0]) != np.argsort(alone[1])).any()


def test_kernels_with_full_covariance_ignore_linear_maps(rng):
    x, y, z = (rng.normal(size=(n, 3)) for n in (40, 300, 200))
    change = np.array([[100.0, 3.0, 0.0], [0.0, 0.01, 0.0], [0.5, 0.0, 2.0]])
    np.testing.assert_allclose(domias(x @ change, y @ change, z @ change), domias(x, y, z), rtol=1e-6, atol=1e-6)


def test_a_score_does_not_depend_on_the_other_records(rng):
    x, y, z = (rng.normal(size=(n, 3)) for n in (40, 300, 200))
    np.testing.assert_allclose(domias(x[7:8], y, z), domias(x, y, z)[7:8], rtol=1e-9)


@pytest.mark.parametrize("density", ["kde", "knn"])
def test_a_memorizing_model_is_found_and_a_fresh_one_is_not(rng, density):
    members, nonmembers, reference, fresh = (rng.normal(size=(n, 4)) for n in (100, 100, 1000, 1000))
    copies = members[rng.integers(100, size=1000)] + 0.05 * rng.normal(size=(1000, 4))
    density = KernelDensity(0.2) if density == "kde" else density

    def auc(synthetic):
        scores = [domias(part, synthetic, reference, density=density) for part in (members, nonmembers)]
        return roc(*scores).auc

    assert auc(copies) > 0.95
    assert abs(auc(fresh) - 0.5) < 0.13  # three null standard deviations of 0.041


def average(law, width, seeds=8):
    """AUC of the ratio and of the model's density alone, where 5,000 records lie ``width`` around 50 members."""
    found = []
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        if law == "gaussian":
            draw, population = (lambda n, rng=rng: rng.normal(size=(n, 3))), gaussian(0.0, 1.0)
        else:
            draw = lambda n, rng=rng: rng.standard_t(2, size=(n, 3))  # noqa: E731
            population = lambda x: stats.t.logpdf(x, 2).sum(axis=1)  # noqa: E731
        members, nonmembers = draw(50), draw(500)
        synthetic = members[rng.integers(50, size=5000)] + width * rng.normal(size=(5000, 3))
        found.append(
            [
                roc(
                    *(domias(part, synthetic, known, density=KernelDensity(0.15)) for part in (members, nonmembers))
                ).auc
                for known in (Law(population), None)
            ]
        )
    return np.mean(found, axis=0)


CELLS = [
    ("gaussian", 0.3, 0.91, 0.89),
    pytest.param("gaussian", 0.1, 0.99, 0.99, marks=pytest.mark.slow),
    pytest.param("gaussian", 0.6, 0.70, 0.59, marks=pytest.mark.slow),
    ("student", 0.3, 0.96, 0.95),
    pytest.param("student", 0.1, 0.995, 1.00, marks=pytest.mark.slow),
    pytest.param("student", 0.6, 0.86, 0.72, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("law", "width", "ratio", "alone"), CELLS)
def test_areas_where_the_population_is_known(law, width, ratio, alone):
    np.testing.assert_allclose(average(law, width), [ratio, alone], atol=0.05)


def test_bad_input_is_named(rng):
    x, y = rng.normal(size=(5, 2)), rng.normal(size=(20, 2))
    with pytest.raises(ValueError, match="density='histogram'"):
        domias(x, y, y, density="histogram")
    with pytest.raises(TypeError, match="density=3"):
        domias(x, y, y, density=3)
    with pytest.raises(ValueError, match="reference holds 5 of the 5 records"):
        domias(x, y, np.vstack([y, x]))
    with pytest.raises(ValueError, match="fitted to synthetic: records is constant in 1 columns, first in column 1"):
        domias(x, y * [1.0, 0.0], y)
    with pytest.raises(ValueError, match="dependent columns"):
        domias(x, y[:, [0, 0]], y)
    with pytest.raises(ValueError, match="equal their 5 nearest"):
        domias(x, np.repeat(x, 5, axis=0), y, density="knn")
    with pytest.raises(ValueError, match="2 columns but synthetic has 3"):
        domias(x, rng.normal(size=(20, 3)), y)
    with pytest.raises(ValueError, match="density of synthetic has no finite logarithm at 5 of 5"):
        domias(x, Law(lambda x: np.full(len(x), -np.inf)), y)
    with pytest.raises(ValueError, match="k=5 exceeds the 2 records"):
        domias(x, y[:2], y, density="knn")
    with pytest.raises(ValueError, match="width"):
        KernelDensity(0.0)
