"""kl with influence=False: the same value and flags from the neighbors of P records alone."""

from __future__ import annotations

import json
import math

import jax
import numpy as np
import pytest
from scipy.spatial.distance import cdist

from mace_jax import divergences as dv
from mace_jax._status import Status
from mace_jax.bootstrap import bootstrap
from mace_jax.data import MembershipSample
from mace_jax.divergences import _radius_search
from mace_jax.divergences._pair import searched_pair
from mace_jax.neighbors import ExactBackend, paired_knn
from tests.divergences import draws

BY_DISTANCE = ("auto", "knn", "common_radius", "ensemble")


def by_definition(p, q, k):
    n, m = len(p), len(q)
    rho = np.sort(cdist(p, p) + np.diag(np.full(n, np.inf)), axis=1)[:, k - 1]
    nu = np.sort(cdist(p, q), axis=1)[:, k - 1]
    return p.shape[1] * np.mean(np.log(nu / rho)) + math.log(m / (n - 1))


@pytest.mark.parametrize("method", BY_DISTANCE)
@pytest.mark.parametrize(("d", "n", "m"), [(2, 150, 150), (3, 140, 210), (12, 90, 60)])
def test_a_value_alone_is_the_value_with_its_flags(method, d, n, m):
    p, q = draws.gaussians(1.0, d, n, m, seed=d)
    full = dv.kl(p, q, method=method, half_samples=0)
    alone = dv.kl(p, q, method=method, influence=False)
    assert abs(alone.value - full.value) < 1e-12
    assert alone.status == full.status & ~Status.DEGENERATE
    assert alone.details.keys() == full.details.keys()
    assert all(abs(alone.details[name] - number) < 1e-12 for name, number in full.details.items())
    assert (alone.method, alone.target) == (full.method, full.target)
    assert (alone.standard_error, alone.influence, alone.resampling) == (None, None, "none")
    plain = json.loads(json.dumps(alone.to_dict()))
    assert (plain["standard_error"], plain["influence"]) == (None, None)
    assert "standard_error=None" in repr(alone)
    leaves, shape = jax.tree_util.tree_flatten(alone)
    assert jax.tree_util.tree_unflatten(shape, leaves).influence is None


@pytest.mark.parametrize(("n", "m", "d", "k"), [(4200, 2100, 3, 5), (300, 4500, 5, 1), (50, 40, 20, 7), (50, 60, 1, 3)])
@pytest.mark.parametrize("influence", [True, False])
def test_the_radius_form_is_its_definition(n, m, d, k, influence):
    p, q = draws.gaussians(0.5, d, n, m, seed=k)
    found = dv.kl(p, q, method="knn", k=k, check_support=False, half_samples=0, influence=influence)
    assert abs(found.value - by_definition(p, q, k)) < 1e-10


@pytest.mark.parametrize(("n", "m", "d"), [(4200, 4300, 2), (4200, 100, 4), (60, 70, 30)])
@pytest.mark.parametrize("at_q", [True, False])
def test_radii_are_those_of_the_neighbor_lists(n, m, d, at_q):
    p, q = draws.gaussians(0.5, d, n, m, seed=1)
    lists = paired_knn(MembershipSample(p, q), 4)
    rows = n + m if at_q else n
    for options in ({"radii_only": True}, {}):
        pair = searched_pair(p, q, 4, neighbors=None, at_q=at_q, **options)
        assert pair.at_q == at_q
        assert pair.to_p.shape == pair.to_q.shape == (rows, 4)
        np.testing.assert_allclose(pair.to_p, lists.to_members.squared_distances[:rows], rtol=1e-14)
        np.testing.assert_allclose(pair.to_q, lists.to_nonmembers.squared_distances[:rows], rtol=1e-14)


def test_the_last_digit_may_differ_only_where_radii_alone_are_read():
    p, q = draws.gaussians(0.5, 3, 300, 200, seed=2)
    lists = paired_knn(MembershipSample(p, q), 6)
    pair = searched_pair(p, q, 6, neighbors=None, at_q=False)
    np.testing.assert_array_equal(pair.to_p, lists.to_members.squared_distances[:300])
    np.testing.assert_array_equal(pair.to_q, lists.to_nonmembers.squared_distances[:300])


@pytest.mark.parametrize("method", BY_DISTANCE)
@pytest.mark.parametrize("sample", [0, 1])
@pytest.mark.parametrize("copies", [1, 8])
def test_copies_in_either_sample_are_seen(method, sample, copies):
    samples = list(draws.gaussians(0.5, 2, 400, 500, seed=3))
    samples[sample][: copies + 1] = samples[sample][0]
    full = dv.kl(*samples, method=method, half_samples=0)
    alone = dv.kl(*samples, method=method, influence=False)
    assert Status.ZERO_DISTANCE in alone.status
    assert alone.status == full.status & ~Status.DEGENERATE
    assert (alone.value, alone.method, alone.influence) == (full.value, full.method, None)
    if copies > 5 and method == "knn":
        assert Status.ATOMS in alone.status
    assert searched_pair(*samples, 5, neighbors=None, radii_only=True, at_q=False).at_q


def test_atoms_give_a_value_alone():
    p, q = draws.randomized_response(1.0, 300, 300, seed=1)
    for method in BY_DISTANCE:
        full, alone = (dv.kl(p, q, method=method, influence=which) for which in (True, False))
        assert (alone.value, alone.method, alone.standard_error) == (full.value, full.method, None)
        assert alone.status == full.status & ~Status.DEGENERATE
        assert alone.status & (Status.ATOMS | Status.TIES)


def test_negative_zero_is_a_copy_of_zero():
    p, q = draws.gaussians(0.5, 2, 100, 100, seed=4)
    p[0], q[0] = 0.0, -0.0
    assert Status.ZERO_DISTANCE in dv.kl(p, q, method="knn", influence=False).status


def test_squares_that_vanish_or_overflow():
    p, q = draws.gaussians(0.5, 2, 100, 100, seed=5)
    p[0], q[0] = [1e-170, 0.0], [2e-170, 0.0]
    full, alone = (dv.kl(p, q, method="knn", half_samples=0, influence=which) for which in (True, False))
    assert math.isfinite(alone.value)
    assert alone.value == full.value
    assert alone.status == full.status & ~Status.DEGENERATE
    p[0] = 1e200
    for method in BY_DISTANCE:
        with pytest.raises(ValueError, match="whose squares overflow; rescale the features"):
            dv.kl(p, q, method=method, influence=False)


@pytest.mark.parametrize("shift", [0.5, 3.0])
def test_reach_is_judged_on_some_q_records(shift):
    p, q = draws.gaussians(shift, 2, 2500, 3000, seed=6)
    full, alone = (dv.kl(p, q, method="knn", half_samples=0, influence=which) for which in (True, False))
    assert (Status.SUPPORT_MISMATCH in alone.status) == (shift > 2.0)
    assert alone.status == full.status & ~Status.DEGENERATE
    assert abs(alone.details["growth_per_doubling"] - full.details["growth_per_doubling"]) < 1e-12


def test_nothing_is_flagged_for_want_of_a_standard_error():
    p, q = draws.gaussians(0.0, 2, 200, 200, seed=7)
    assert Status.DEGENERATE in dv.kl(p, q, method="knn").status
    assert Status.DEGENERATE not in dv.kl(p, q, method="knn", influence=False).status


def test_given_lists_serve_a_value_alone(monkeypatch):
    p, q = draws.gaussians(1.0, 2, 80, 80, seed=8)
    lists = paired_knn(MembershipSample(p, q), 10)
    expected = dv.kl(p, q, method="knn", check_support=False, influence=False).value
    monkeypatch.setattr(_radius_search, "cKDTree", None)
    found = dv.kl(p, q, method="knn", check_support=False, influence=False, neighbors=lists)
    assert abs(found.value - expected) < 1e-12
    assert found.influence is None


def test_a_search_on_an_accelerator_or_in_many_features_is_not_a_tree(monkeypatch):
    p, q = draws.gaussians(1.0, 3, 200, 150, seed=9)
    expected = dv.kl(p, q, method="knn", influence=False).value
    monkeypatch.setattr(_radius_search, "choose", lambda *sizes: ExactBackend())
    monkeypatch.setattr(_radius_search, "cKDTree", None)
    assert abs(dv.kl(p, q, method="knn", influence=False).value - expected) < 1e-12


def test_bootstrap_refuses_a_value_alone():
    p, q = draws.gaussians(1.0, 2, 60, 60, seed=10)
    with pytest.raises(ValueError, match="made with influence=False.*make it with influence=True"):
        bootstrap(dv.kl(p, q, influence=False), seed=0)


@pytest.mark.parametrize("method", ["cells", "classifier", "donsker_varadhan", "nwj"])
def test_forms_that_save_nothing_say_so(method):
    p, q = draws.gaussians(1.0, 1, 60, 60, seed=11)
    with pytest.raises(ValueError, match=f"influence=False saves nothing for method='{method}'.*leave it out"):
        dv.kl(p, q, method=method, influence=False, seed=0)
