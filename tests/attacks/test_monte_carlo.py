from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from mace_jax.attacks import PrincipalComponents, monte_carlo, top_n_accuracy
from mace_jax.metrics import roc
from mace_jax.models import VAE


class Sampler:
    """Draws around fixed centers; remembers how many rows were asked for at once."""

    def __init__(self, centers, sd=0.3):
        self.centers, self.sd, self.asked = centers, sd, []

    def sample(self, n, *, seed, labels=None):
        self.asked.append(n)
        rng = np.random.default_rng(seed)
        chosen = rng.integers(len(self.centers), size=n) if labels is None else np.asarray(labels)
        return self.centers[chosen] + self.sd * rng.normal(size=(n, self.centers.shape[1]))


def slow(records, samples, radius, kind):
    """Straight from the definition."""
    distances = cdist(records, samples)
    if kind == "nearest":
        return -distances.min(axis=1)
    terms = {"count": np.ones_like, "log": lambda d: -np.log(d / radius), "inverse": lambda d: radius / d}
    return np.where(distances < radius, terms[kind](distances), 0.0).mean(axis=1)


@pytest.mark.parametrize("kind", ["count", "log", "inverse", "nearest"])
@pytest.mark.parametrize(("d", "offset", "unit"), [(3, 0.0, 1.0), (20, 1e3, 1.0), (12, -5.0, 1e-6), (1, 0.0, 1e6)])
def test_scores_are_those_of_the_definition(rng, kind, d, offset, unit):
    x, g = (unit * (offset + rng.normal(size=(n, d))) for n in (40, 3000))
    radius = float(np.quantile(cdist(x, g), 0.02))
    found = monte_carlo(x, g, radius=radius, kind=kind, chunk_rows=700)
    np.testing.assert_allclose(found, slow(x, g, radius, kind), rtol=1e-9)


@pytest.mark.parametrize("chunk_rows", [64, 1000, None])
def test_rules_for_the_radius(rng, chunk_rows):
    x, g = rng.normal(size=(30, 4)), rng.normal(size=(900, 4))
    distances = cdist(x, g)
    median = float(np.median(distances.min(axis=1)))
    np.testing.assert_allclose(monte_carlo(x, g, chunk_rows=chunk_rows), slow(x, g, median, "count"))
    width = float(np.quantile(distances[:, :chunk_rows], 0.01))
    found = monte_carlo(x, g, quantile=0.01, kind="log", chunk_rows=chunk_rows)
    np.testing.assert_allclose(found, slow(x, g, width, "log"))


def test_at_the_median_radius_all_kinds_call_the_same_half_members(rng):
    members, nonmembers = rng.normal(size=(60, 5)), rng.normal(size=(60, 5))
    sampler = Sampler(members)
    kinds = ("count", "log", "inverse", "nearest")
    scores = monte_carlo(np.vstack([members, nonmembers]), sampler, kind=kinds, n_samples=4000, chunk_rows=1000)
    assert sampler.asked == [1000] * 8  # two passes, one chunk at a time
    zero = scores[:, :3] == 0.0
    assert (zero.sum(axis=0) == 60).all()
    nearer = scores[:, 3] > np.median(scores[:, 3])
    assert (zero != nearer[:, None]).all()
    single = (nearer[:60].mean() + 1 - nearer[60:].mean()) / 2
    for column in scores[:, :3].T:
        assert top_n_accuracy(column[:60], column[60:], n_resamples=1, seed=0).value == pytest.approx(single)
    assert single > 0.7


def test_samples_are_drawn_again_from_the_seed(rng):
    x, sampler = rng.normal(size=(20, 3)), Sampler(rng.normal(size=(10, 3)))
    first, again, other = (monte_carlo(x, sampler, kind="log", n_samples=2500, seed=seed) for seed in (1, 1, 2))
    assert (first == again).all() and (first != other).any()
    fixed = monte_carlo(x, sampler, kind="log", n_samples=2500, radius=0.5, seed=1)
    alone = monte_carlo(x[3:4], sampler, kind="log", n_samples=2500, radius=0.5, seed=1)
    np.testing.assert_allclose(alone, fixed[3:4], rtol=1e-12)

    class Forgetful(Sampler):
        def sample(self, n, *, seed):
            return np.random.default_rng(len(self.asked)).normal(size=(n, 3)) + super().sample(n, seed=seed)

    with pytest.raises(ValueError, match="other records for the same seed"):
        monte_carlo(x, Forgetful(x), n_samples=100)


def test_a_label_is_compared_with_its_own_samples(rng):
    centers = np.array([[0.0, 0.0], [5.0, 5.0]])
    labels = np.arange(40) % 2
    x, own, g = centers[labels] + rng.normal(size=(40, 2)), rng.integers(2, size=600), rng.normal(size=(600, 2))
    g = g + centers[own]
    found = monte_carlo(x, g, radius=1.0, kind=("log", "nearest"), labels=labels, synthetic_labels=own, chunk_rows=50)
    for label in (0, 1):
        part, samples = labels == label, g[own == label]
        for place, kind in enumerate(("log", "nearest")):
            np.testing.assert_allclose(found[part, place], slow(x[part], samples, 1.0, kind))
    drawn = monte_carlo(x, Sampler(centers, sd=1.0), radius=1.0, labels=labels, n_samples=2000, seed=3)
    crossed = monte_carlo(x, Sampler(centers, sd=1.0), radius=1.0, labels=1 - labels, n_samples=2000, seed=3)
    assert drawn.min() > 0.0 and crossed.max() < 0.01
    with pytest.raises(ValueError, match="label 7"):
        monte_carlo(x, g, labels=labels + 7 * (labels == 1) - labels, synthetic_labels=own)


def test_features_are_applied_to_both_sides(rng):
    holdout, x, g = (rng.normal(size=(n, 6)) for n in (100, 20, 500))
    pca = PrincipalComponents.fit(holdout, 2)
    expected = slow(pca(x), pca(g), 0.3, "count")
    np.testing.assert_allclose(monte_carlo(x, g, radius=0.3, features=pca), expected)
    assert (monte_carlo(x, Sampler(holdout), radius=0.3, features=pca, n_samples=300) > 0.0).any()


def test_a_memorizing_model_is_found_and_a_fresh_one_is_not(rng):
    members, nonmembers, fresh = (rng.normal(size=(n, 4)) for n in (100, 100, 500))
    both = np.vstack([members, nonmembers])
    copied = monte_carlo(both, Sampler(members, sd=0.05), n_samples=2000)
    assert roc(copied[:100], copied[100:]).auc > 0.95
    unseen = monte_carlo(both, Sampler(fresh, sd=0.3), n_samples=2000, kind="log")
    assert abs(roc(unseen[:100], unseen[100:]).auc - 0.5) < 0.13


def test_exact_copies_keep_all_kinds_finite(rng):
    members, nonmembers = rng.normal(size=(10, 3)), rng.normal(size=(10, 3))
    scores = monte_carlo(np.vstack([members, nonmembers]), members, kind=("log", "inverse"))
    assert np.isfinite(scores).all() and scores[:10].min() > scores[10:].max()
    with pytest.raises(ValueError, match="radius is 0"):
        monte_carlo(members, members)


def test_a_conditional_model_of_the_package_is_asked_for_labels(rng):
    labels = np.arange(60) % 3
    x = rng.normal(size=(60, 2)) * 0.1 + labels[:, None]
    model = VAE(latent_dim=2, encoder_hidden=(16,), decoder_hidden=(16,)).fit(x, labels, steps=200, seed=0)
    own = monte_carlo(x, model, kind="nearest", labels=labels, n_samples=100)
    assert own.min() > -1.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"radius": 0.0}, "radius=0"),
        ({"radius": "mean"}, "radius='mean'"),
        ({"radius": 1.0, "quantile": 0.1}, "exclude each other"),
        ({"quantile": 1.0}, "quantile"),
        ({"kind": "sum"}, "kind='sum'"),
        ({"kind": ()}, "kind is empty"),
        ({"n_samples": 5}, "n_samples=5 has no effect"),
        ({"labels": [0] * 4}, "belong together"),
        ({"labels": [0] * 3, "synthetic_labels": [0] * 9}, "labels has shape"),
        ({"chunk_rows": 0}, "chunk_rows"),
    ],
)
def test_bad_input_is_named(options, message):
    x, g = np.arange(4.0)[:, None], np.arange(9.0)[:, None]
    with pytest.raises(ValueError, match=message):
        monte_carlo(x, g, **options)


def test_a_model_of_other_records_is_refused(rng):
    with pytest.raises(ValueError, match=r"need \(50, 2\)"):
        monte_carlo(np.zeros((4, 2)), Sampler(np.zeros((1, 3))), n_samples=50)
    with pytest.raises(ValueError, match="needs n_samples"):
        monte_carlo(np.zeros((4, 3)), Sampler(np.zeros((1, 3))))
    with pytest.raises(TypeError, match="features=3"):
        monte_carlo(np.zeros((4, 3)), np.zeros((4, 3)), features=3)
