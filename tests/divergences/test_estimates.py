"""What holds for every estimate: identities, invariances, influence values, status, one search for all."""

from __future__ import annotations

import json
import math

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mace_jax import divergences as dv
from mace_jax._status import Status
from mace_jax.data import MembershipSample
from mace_jax.divergences import _pair, _variational
from mace_jax.divergences._alpha import heavy_tailed
from mace_jax.estimators import KNN, Threshold
from mace_jax.neighbors import _tree, paired_knn
from tests._support import assert_close
from tests.divergences import draws

FITTED = ("classifier", "donsker_varadhan", "nwj")
EVERY = {
    **{f"kl {m}": (lambda p, q, m=m: dv.kl(p, q, method=m)) for m in ("auto", "knn", "common_radius", "ensemble")},
    **{f"kl {m}": (lambda p, q, m=m: dv.kl(p, q, method=m, estimator=KNN(k=15), seed=0)) for m in FITTED},
    "renyi 0.5": lambda p, q: dv.renyi(p, q, order=0.5),
    "renyi 2": lambda p, q: dv.renyi(p, q, order=2.0),
    "hellinger": dv.hellinger,
    "l2": dv.l2,
    **{f"tv {m}": (lambda p, q, m=m: dv.total_variation(p, q, method=m)) for m in ("decision", "plug_in")},
    **{f"js {m}": (lambda p, q, m=m: dv.jensen_shannon(p, q, method=m)) for m in ("decision", "plug_in")},
    **{f"hs {m}": (lambda p, q, m=m: dv.hockey_stick(p, q, epsilon=0.3, method=m)) for m in ("decision", "plug_in")},
    "henze_penrose": dv.henze_penrose,
    "mmd": dv.mmd,
}
CELLS = {
    "kl": lambda p, q: dv.kl(p, q, method="cells"),
    "renyi": lambda p, q: dv.renyi(p, q, order=0.5, method="cells"),
    "hellinger": lambda p, q: dv.hellinger(p, q, method="cells"),
    "tv": lambda p, q: dv.total_variation(p, q, method="cells"),
    "js": lambda p, q: dv.jensen_shannon(p, q, method="cells"),
    "hs": lambda p, q: dv.hockey_stick(p, q, epsilon=[0.0, 0.5], method="cells"),
    "hp": lambda p, q: dv.henze_penrose(p, q, method="cells"),
}
ROWS_DEALT = {f"kl {m}" for m in FITTED}  # folds are dealt by row


@pytest.mark.parametrize("name", EVERY)
def test_influence_sums_to_zero_and_gives_the_standard_error(name):
    p, q = draws.gaussians(1.0, 2, 150, 120, seed=1)
    found = EVERY[name](p, q)
    assert [part.shape for part in found.influence] == [(150,), (120,)]
    assert all(abs(part.sum()) < 1e-8 * max(1.0, abs(part).max()) * len(part) for part in found.influence)
    expected = math.sqrt(found.influence[0].var(ddof=1) / 150 + found.influence[1].var(ddof=1) / 120)
    assert_close(found.standard_error, expected)
    assert found.target and found.divergence
    assert found.resampling == ("split" if name in ROWS_DEALT else "influence")
    assert json.loads(json.dumps(found.to_dict()))["value"] == found.value
    assert repr(found).startswith(f"DivergenceEstimate({found.divergence}=")
    leaves, shape = jax.tree_util.tree_flatten(found)
    assert jax.tree_util.tree_unflatten(shape, leaves).method == found.method


@pytest.mark.parametrize("name", CELLS)
def test_cell_estimates_declare_themselves(name):
    p, q = draws.randomized_response(1.0, 300, 400, seed=1)
    found = CELLS[name](p, q)
    assert (found.method, found.resampling) == ("cells", "cells")
    assert np.allclose(found.influence[0].sum(axis=-1), 0.0, atol=1e-9)
    json.dumps(found.to_dict())
    assert repr(found)


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("kind", ["normal", "atoms"])
def test_row_order_and_origin_do_not_matter(name, kind):
    rng = np.random.default_rng(2)
    if kind == "normal":
        p, q = draws.gaussians(0.5, 1, 90, 70, seed=2)
        p, q = np.round(p * 2**20) / 2**20, np.round(q * 2**20) / 2**20  # shifting is then exact
    else:
        p, q = rng.integers(20, size=(90, 1)).astype(float), rng.integers(20, size=(70, 1)).astype(float)
    if kind == "atoms" and name == "l2":
        pytest.skip("copies are refused")
    value = EVERY[name](p, q).value
    assert abs(EVERY[name](p + 4.0, q + 4.0).value - value) < 1e-6
    if name not in ROWS_DEALT:
        assert abs(EVERY[name](rng.permutation(p), rng.permutation(q)).value - value) < 1e-9


@pytest.mark.parametrize("name", ["hellinger", "l2", "tv decision", "tv plug_in", "js plug_in", "henze_penrose", "mmd"])
def test_symmetric_divergences_are_symmetric(name):
    p, q = draws.gaussians(1.0, 2, 80, 110, seed=3)
    assert_close(EVERY[name](p, q).value, EVERY[name](q, p).value)


@settings(max_examples=8)
@given(delta=st.floats(0.0, 3.0), d=st.sampled_from([1, 2]), seed=st.integers(0, 1000))
def test_inequalities_between_divergences(delta, d, seed):
    p, q = draws.gaussians(delta, d, 1500, 1500, seed)
    hellinger, tv = dv.hellinger(p, q, half_samples=0), dv.total_variation(p, q, half_samples=0)
    js, kl = dv.jensen_shannon(p, q), dv.kl(p, q, check_support=False, half_samples=0)
    slack = 3.0 * max(tv.standard_error, hellinger.standard_error) + 0.02
    assert hellinger.value <= tv.value + slack
    assert tv.value <= math.sqrt(2.0 * max(hellinger.value, 0.0)) + 3.0 * slack
    assert tv.value <= math.sqrt(max(kl.value, 0.0) / 2.0) + 4.0 * slack
    assert js.value <= math.log(2.0)
    assert abs(dv.hockey_stick(p, q, half_samples=0).value - tv.value) < 1e-12


def test_one_search_serves_every_divergence_and_every_k(monkeypatch):
    searches, pairs = [], []
    search, pair = _tree.TreeBackend.search, _pair.paired_knn
    monkeypatch.setattr(_tree.TreeBackend, "search", lambda *a, **b: searches.append(1) or search(*a, **b))
    monkeypatch.setattr(_pair, "paired_knn", lambda *a, **b: pairs.append(1) or pair(*a, **b))
    p, q = draws.gaussians(1.0, 2, 120, 100, seed=4)
    names = ("kl", "renyi", "hellinger", "l2", "total_variation", "jensen_shannon", "hockey_stick", "henze_penrose")
    found = dv.panel(p, q, k=(3, 9, 20), names=names, check_support=False, half_samples=0)
    assert (len(pairs), len(searches)) == (1, 2)  # one per label
    assert {name: sorted(by_k) for name, by_k in found.items()} == {name: [3, 9, 20] for name in names}
    assert_close(found["kl"][9].value, dv.kl(p, q, k=9).value)
    assert_close(found["renyi"][9].value, dv.renyi(p, q, k=9, order=0.5).value)
    assert_close(found["l2"][3].value, dv.l2(p, q, k=3).value)
    assert_close(found["total_variation"][20].value, dv.total_variation(p, q, k=20).value)
    assert_close(found["henze_penrose"][3].value, dv.henze_penrose(p, q, k=3).value)
    assert_close(found["hockey_stick"][9].value, dv.hockey_stick(p, q, k=9, epsilon=(0.0, 0.5, 1.0, 2.0)).value)


def test_given_lists_are_not_searched_again(monkeypatch):
    p, q = draws.gaussians(1.0, 2, 60, 60, seed=5)
    lists = paired_knn(MembershipSample(p, q), 30)
    expected = {
        name: run(p, q).value for name, run in (("kl", dv.kl), ("tv", lambda p, q: dv.total_variation(p, q, k=9)))
    }
    monkeypatch.setattr(_pair, "paired_knn", None)
    assert_close(dv.kl(p, q, neighbors=lists).value, expected["kl"])
    assert_close(dv.total_variation(p, q, k=9, neighbors=lists).value, expected["tv"])
    assert dv.total_variation(p, q, neighbors=lists).details["k"] <= 30
    for other in (dv.hellinger, dv.l2, dv.jensen_shannon, dv.henze_penrose):
        other(p, q, neighbors=lists)
    dv.renyi(p, q, order=0.5, neighbors=lists)
    with pytest.raises(ValueError, match=r"lists of shape \(120, 30\), but 60 \+ 60 records with k=31"):
        dv.kl(p, q, k=31, neighbors=lists)


def test_copies_are_never_treated_as_continuous():
    p, q = draws.randomized_response(1.0, 500, 700, seed=6)
    for found in (dv.kl(p, q), dv.kl(p, q, method="knn"), dv.renyi(p, q, order=0.5), dv.hellinger(p, q)):
        assert Status.ATOMS in found.status
        assert found.method.startswith("cells")
        assert any("copies" in sentence for sentence in found.status.sentences)
    assert Status.ATOMS in dv.kl(p, q, method="ensemble").status
    assert abs(dv.kl(p, q).value - math.tanh(0.5)) < 3 * dv.kl(p, q).standard_error
    with pytest.raises(ValueError, match="copies, or one occurs more than k=5 times"):
        dv.l2(p, q)
    rng = np.random.default_rng(0)
    few = rng.integers(100, size=500).astype(float), rng.integers(100, size=1500).astype(float)
    near = dv.kl(*few, method="common_radius")
    assert near.method == "cells and common_radius"
    assert abs(near.value) < 0.06


def test_a_mixture_of_atoms_and_densities():
    rng, n = np.random.default_rng(7), 3000

    def mixed(mean, share):
        rows = rng.normal(mean, 1.0, size=n)
        rows[rng.random(n) < share] = 9.0
        return rows

    p, q = mixed(1.0, 0.3), mixed(0.0, 0.1)
    truth = 0.3 * math.log(3.0) + 0.7 * math.log(0.7 / 0.9) + 0.7 * 0.5
    found = dv.kl(p, q)
    assert abs(found.value - truth) < 4 * found.standard_error
    integral = 0.3**0.5 * 0.1**0.5 + 0.7**0.5 * 0.9**0.5 * math.exp(-1 / 8)
    assert abs(dv.hellinger(p, q).value - (1.0 - integral)) < 0.03


def test_unbounded_divergences_are_flagged():
    rng = np.random.default_rng(8)
    p, q = rng.random(2000), rng.random(2000) + 0.5
    found = dv.kl(p, q)
    assert Status.SUPPORT_MISMATCH in found.status
    assert abs(found.details["growth_per_doubling"] - 0.5 * math.log(2.0)) < 0.1
    assert Status.SUPPORT_MISMATCH in dv.renyi(p, q, order=2.0).status
    assert Status.SUPPORT_MISMATCH in dv.renyi(p, q, order=0.5).status  # finite, but 16 % low
    assert Status.SUPPORT_MISMATCH not in dv.renyi(p, q, order=0.3).status
    assert Status.SUPPORT_MISMATCH in dv.renyi(p, q - 0.4, order=0.9).status
    assert Status.SUPPORT_MISMATCH not in dv.kl(*draws.gaussians(1.0, 1, 2000, 2000, seed=8)).status
    far, near = (draws.gaussians(shift, 1, 500, 500, seed=8) for shift in (2.5, 1.0))
    for form in (dv.kl, lambda p, q: dv.renyi(p, q, order=0.9), lambda p, q: dv.renyi(p, q, order=2.0)):
        assert Status.SUPPORT_MISMATCH in form(*far).status
        assert Status.SUPPORT_MISMATCH not in form(*near).status
    assert Status.HEAVY_TAIL in dv.renyi(*far, order=2.0).status
    assert Status.HEAVY_TAIL not in dv.renyi(*near, order=2.0).status
    assert Status.SUPPORT_MISMATCH in dv.kl(np.arange(40) % 2, np.zeros(60), method="cells").status
    assert abs(dv.total_variation(p, q).value - 0.5) < 0.04


def test_the_other_flags():
    p, q = draws.gaussians(0.0, 5, 20, 25, seed=9)
    found = dv.kl(p, q)
    assert Status.TOO_FEW_SAMPLES in found.status
    assert Status.HIGH_DIMENSION in found.status
    assert Status.HIGH_DIMENSION in dv.total_variation(p, q).status
    assert Status.HIGH_DIMENSION in dv.jensen_shannon(p, q).status
    assert Status.HIGH_DIMENSION not in dv.jensen_shannon(p[:, :4], q[:, :4]).status
    assert Status.DEGENERATE in dv.mmd(p, q).status | dv.hellinger(p, q).status | dv.total_variation(p, q).status
    assert Status.COARSE_POSTERIOR in dv.hockey_stick(p, q, epsilon=4.0).status
    assert Status.SPARSE_CELLS in dv.total_variation(p, q, method="cells").status
    assert Status.HEAVY_TAIL in dv.renyi(*draws.gaussians(1.0, 1, 400, 400, seed=1), order=4.0).status  # k <= 6
    assert heavy_tailed(np.append(np.ones(198), [60.0, 60.0]))
    assert not heavy_tailed(np.ones(200))
    assert Status.LOWER_BOUND in dv.kl(*draws.gaussians(9.0, 1, 100, 100, seed=1), method="nwj", seed=0).status
    assert "ATOMS" in repr(dv.kl(np.zeros(9), np.zeros(9), k=1))


def test_fitted_forms_are_ordered_and_bounded():
    p, q = draws.gaussians(1.0, 1, 1500, 1500, seed=10)
    values = {m: dv.kl(p, q, method=m, seed=0) for m in FITTED}
    assert all(0.3 < found.value < 0.6 for found in values.values())
    assert values["nwj"].value <= values["donsker_varadhan"].value + 1e-9  # ln x <= x - 1
    far = dv.kl(*draws.gaussians(50.0, 1, 200, 200, seed=1), method="donsker_varadhan", seed=0)
    assert far.value <= far.details["largest_possible"] + 1e-9


@pytest.mark.slow
def test_more_folds_bring_fitted_forms_nearer():
    errors = {n_folds: [] for n_folds in (2, 5)}
    for seed in range(6):
        p, q = draws.gaussians(2.0, 1, 400, 400, seed)
        for n_folds, found in errors.items():
            found.append(dv.kl(p, q, method="nwj", seed=0, n_folds=n_folds).value - (2.0 * p - 2.0).mean())
    assert np.mean(errors[2]) < np.mean(errors[5]) < 0.1  # beside the mean of the true log ratio of the same records


def test_donsker_varadhan_is_the_definition_over_all_rows():
    rng = np.random.default_rng(12)
    fitted = _variational.CrossFitted(rng.normal(size=7), rng.normal(size=9), False)
    value, (of_p, of_q) = _variational.donsker_varadhan(fitted)
    assert_close(value, fitted.p.mean() - math.log(np.exp(fitted.q).mean()))
    assert_close(of_p, fitted.p)
    for row in range(9):  # what a record adds, by moving a little weight to it
        share = np.full(9, (1.0 - 1e-6) / 9)
        share[row] += 1e-6
        moved = fitted.p.mean() - math.log(share @ np.exp(fitted.q))
        assert abs((moved - value) / 1e-6 - of_q[row]) < 1e-3
    assert _variational.nwj(fitted)[0] <= value


def test_mmd_test_has_its_level_and_finds_a_shift():
    p_values = [dv.mmd_test(*draws.gaussians(0.0, 2, 40, 40, s), n_permutations=39, seed=s).p_value for s in range(40)]
    assert np.mean(np.array(p_values) <= 0.1) < 0.1 + 3 * math.sqrt(0.09 / 40)
    found = dv.mmd_test(*draws.gaussians(1.0, 2, 60, 60, 0), n_permutations=300, bandwidth=(1.0, 2.0), seed=0)
    assert found.p_value == 1 / 301
    assert json.loads(json.dumps(found.to_dict()))["bandwidths"] == [1.0, 2.0]
    assert repr(found) == f"PermutationTest(value={found.value:.4g}, p_value=0.003322)"
    assert dv.mmd(np.zeros(5), np.zeros(6)).details["bandwidth"] == 1.0


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (lambda p, q: dv.kl(p, q, method="best"), "method='best' is not known here; pass one of 'auto', 'knn'"),
        (lambda p, q: dv.kl(p, q, k=20), "k=20 is more than the 19 rows other than the record itself"),
        (lambda p, q: dv.kl(p, q, k=0), "k=0 must be at least 1"),
        (lambda p, q: dv.kl(p, q, method="nwj"), "pass seed, for example seed=0"),
        (lambda p, q: dv.kl(p, q, method="nwj", estimator=Threshold(), seed=0), "gives no posterior"),
        (lambda p, q: dv.kl(p, q, method="nwj", n_folds=11, seed=0), "n_folds=11 must be at most 10"),
        (lambda p, q: dv.kl(p[:8], q, method="nwj", n_folds=9, seed=0), "the 8 rows of the smaller sample"),
        (lambda p, q: dv.kl(p, q[:, :1]), "p_samples has 2 columns but q_samples has 1"),
        (lambda p, q: dv.renyi(p, q, order=1.0), "use kl for order 1"),
        (lambda p, q: dv.renyi(p, q, order=-1.0), "order=-1.0 must be a positive number"),
        (lambda p, q: dv.renyi(p, q, order=9.0), r"order=9.0 needs k > 8.0, got k=5"),
        (lambda p, q: dv.l2(p, q, k=2), "k=2 must be at least 3"),
        (lambda p, q: dv.hockey_stick(p, q, epsilon=math.inf), "must be a finite number or a one-dimensional"),
        (lambda p, q: dv.mmd(p, q, bandwidth=-1.0), "bandwidth=-1.0 must be one or several positive numbers"),
        (lambda p, q: dv.panel(p, q, names=("jsd",)), "names has 'jsd'; pass any of 'kl'"),
        (lambda p, q: dv.panel(p, q, k=()), "k is empty"),
    ],
)
def test_messages(run, message):
    p, q = draws.gaussians(1.0, 2, 20, 20, seed=0)
    with pytest.raises(ValueError, match=message):
        run(p, q)


def test_ties_leave_jensen_shannon_without_the_correction_for_few_labels():
    """A shell that counts by its share is worth all its labels, not k: randomized response has two atoms."""
    kept = math.e / (1.0 + math.e)
    rng = np.random.default_rng(3)
    p, q = (rng.random(20_000) < kept) * 1.0, (rng.random(20_000) < 1.0 - kept) * 1.0
    truth = math.log(2.0) + kept * math.log(kept) + (1.0 - kept) * math.log(1.0 - kept)
    assert dv.jensen_shannon(p, q).value == pytest.approx(truth, abs=0.006)
    assert dv.jensen_shannon(p, q).value == pytest.approx(dv.jensen_shannon(p, q, method="cells").value, abs=1e-3)
