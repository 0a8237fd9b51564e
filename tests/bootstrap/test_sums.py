"""Replicates of sums: the same for any batch, shards, devices and threads; clusters; cells; progress."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import jax
import numpy as np
import pytest
from scipy import stats

from mace_jax._random import key
from mace_jax.bootstrap._cells import resample_counts
from mace_jax.bootstrap._sums import SumsAccumulator, replicate_sums
from mace_jax_kernels.weighted_sums import CHAIN_ROWS, api
from mace_jax_kernels.weighted_sums.reference import weighted_sums as oracle
from tests._support import ROOT, rest_slow

KINDS = ("poisson", "double_or_nothing", "bayesian", "multinomial")
FIRST_KIND_AND_SLOWLY_THE_OTHERS = [KINDS[0], *(pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS[1:])]
SETTINGS = {"n_resamples": 300, "seed": 5, "purpose": "test"}


def draws(n=3000, c=3, seed=0):
    values = np.random.default_rng(seed).standard_normal((n, c))
    return values - values.mean(axis=0)


def assert_same(found, expected, n, tolerance=1e-6):
    """Equal to 1e-6 of the spread that sums of n values of unit size have, and of the total weight."""
    assert np.abs(found[0] - expected[0]).max() <= tolerance * np.sqrt(n)
    assert np.abs(found[1] - expected[1]).max() <= tolerance * n


@pytest.mark.parametrize("weights", KINDS)
def test_sums_equal_the_matrix_of_weights(weights):
    values = draws(500)
    words = np.asarray(jax.random.key_data(key(5, "bootstrap", "test")))
    rows = np.arange(500, dtype=np.uint32)
    expected = oracle(words, values, 100, weights, 0, rows, 0, 500)
    found = replicate_sums(values, weights=weights, **{**SETTINGS, "n_resamples": 100})
    assert found[0].dtype == found[1].dtype == np.float64
    assert_same(found, (expected[:, :-1], expected[:, -1]), 500, 1e-6 if weights == "bayesian" else 2e-7)


@pytest.mark.parametrize("weights", KINDS)
def test_replicates_have_the_moments_of_a_bootstrap(weights):
    values = draws(2000)
    sums, totals = replicate_sums(values, weights=weights, n_resamples=20_000, seed=0, purpose="moments")
    means = sums / totals[:, None]
    np.testing.assert_allclose(means.std(axis=0), values.std(axis=0) / np.sqrt(2000), rtol=0.03)
    assert np.abs(means.mean(axis=0)).max() < 5 / np.sqrt(2000 * 20_000) + 2 / 2000
    np.testing.assert_allclose(np.corrcoef(means.T), np.corrcoef(values.T), atol=0.04)


@pytest.mark.parametrize("weights", FIRST_KIND_AND_SLOWLY_THE_OTHERS)
def test_no_batch_size_matters(weights):
    values = draws()
    expected = replicate_sums(values, weights=weights, **SETTINGS)
    for batch in (1, 100, 300, 4096):
        assert_same(replicate_sums(values, weights=weights, replicate_batch=batch, **SETTINGS), expected, 3000)
    fewer = replicate_sums(values, weights=weights, **{**SETTINGS, "n_resamples": 70})
    assert_same(fewer, (expected[0][:70], expected[1][:70]), 3000)


@pytest.mark.parametrize("weights", rest_slow(KINDS, lambda kind: kind in ("poisson", "multinomial")))
def test_shards_in_any_layout_and_order_merge_to_the_whole(weights):
    values = draws()
    expected = replicate_sums(values, weights=weights, **SETTINGS)
    for edges in ([0, 1000, 2000, 3000], [0, 1, 17, 2999, 3000]):
        parts = []
        for a, b in reversed([*zip(edges, edges[1:], strict=False)]):
            part = SumsAccumulator(3, weights=weights, n_total=3000, **SETTINGS)
            parts.append(part.add(values[a:b], a))
        total = SumsAccumulator(3, weights=weights, n_total=3000, **SETTINGS)
        for part in parts:
            total.merge(part)
        assert_same(total.add(values[:0]).result(), expected, 3000)


def test_more_rows_than_a_chain_are_added_in_float64():
    values = draws(140_000, 1)
    found = replicate_sums(values, n_resamples=64, seed=0, purpose="long")
    words = np.asarray(jax.random.key_data(key(0, "bootstrap", "long")))
    expected = oracle(words, values, 64, "poisson", 0, np.arange(len(values), dtype=np.uint32), 0, None)
    assert_same(found, (expected[:, :-1], expected[:, -1]), len(values), 2e-7)
    np.testing.assert_array_equal(found[1], expected[:, -1])


def test_draws_are_passed_again_for_rows_that_do_not_fit_into_memory(monkeypatch):
    values = draws(3 * CHAIN_ROWS - 7, 1)
    settings = {"weights": "multinomial", "n_resamples": 4, "seed": 0, "purpose": "draws"}
    whole = replicate_sums(values, **settings)
    monkeypatch.setattr("mace_jax.bootstrap._sums._DRAWN_BYTES", 0)
    seen: list[float] = []
    parts = replicate_sums(values, **settings, on_progress=seen.append)
    assert_same(parts, whole, len(values))
    assert seen == sorted(seen) and seen[-1] == 1.0 and len(seen) == 3


@pytest.mark.parametrize("weights", rest_slow(KINDS, lambda kind: kind in ("poisson", "multinomial")))
def test_one_weight_per_cluster(weights, rng):
    values, clusters = draws(600), rng.integers(40, size=600)
    found = replicate_sums(values, weights=weights, clusters=clusters, **SETTINGS)
    grouped = np.zeros((40, 4))
    np.add.at(grouped, clusters, np.column_stack([values, np.ones(600)]))
    expected, _ = replicate_sums(grouped, weights=weights, **SETTINGS)
    assert_same(found, (expected[:, :-1], expected[:, -1]), 600)
    named = np.asarray([f"user {c:02d}" for c in clusters])
    for ids in (named, named.tolist(), [(1, int(c)) for c in clusters] if weights == "poisson" else named):
        again = replicate_sums(values, weights=weights, clusters=ids, **SETTINGS)
        if isinstance(ids[0], tuple):  # numbered by first appearance
            assert again[0].std() == pytest.approx(found[0].std(), rel=0.2)
        else:
            assert_same(again, found, 600)
    if weights != "multinomial":
        streamed = SumsAccumulator(3, weights=weights, **SETTINGS)
        streamed.add(values[:250], clusters=clusters[:250]).add(values[250:], clusters=clusters[250:])
        assert_same(streamed.result(), found, 600)


def test_many_clusters_are_not_summed_first(monkeypatch):
    values, clusters = draws(900), np.arange(900) // 2
    expected = replicate_sums(values, clusters=clusters, **SETTINGS)
    monkeypatch.setattr("mace_jax.bootstrap._sums._GROUPED_BYTES", 0)
    assert_same(replicate_sums(values, clusters=clusters, **SETTINGS), expected, 900)


def test_clusters_widen_replicates():
    """Copies of a record in one cluster carry no news: the spread is that of the distinct records."""
    values = draws(200, 1)
    copies, ids = np.repeat(values, 9, axis=0), np.repeat(np.arange(200), 9)
    sums, totals = replicate_sums(copies, clusters=ids, n_resamples=4000, seed=0, purpose="copies")
    assert (sums[:, 0] / totals).std() == pytest.approx(values.std() / np.sqrt(200), rel=0.05)
    sums, totals = replicate_sums(copies, n_resamples=4000, seed=0, purpose="copies")
    assert (sums[:, 0] / totals).std() == pytest.approx(values.std() / np.sqrt(1800), rel=0.05)


@pytest.mark.parametrize("weights", KINDS)
@pytest.mark.parametrize("clusters", [None, np.arange(300) // 3])
def test_a_center_is_subtracted_before_anything_is_rounded(weights, clusters):
    values = draws(300)
    expected = replicate_sums(values, weights=weights, clusters=clusters, **SETTINGS)
    found = replicate_sums(values + 1e6, center=np.full(3, 1e6), weights=weights, clusters=clusters, **SETTINGS)
    assert_same(found, expected, 300)


def test_seed_and_purpose_fix_the_weights():
    values = draws(200)
    first = replicate_sums(values, **SETTINGS)
    again = replicate_sums(values, **{**SETTINGS, "seed": jax.random.key(5)})
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], replicate_sums(values, **SETTINGS)[1])
    assert (replicate_sums(values, **{**SETTINGS, "purpose": "other"})[1] != first[1]).mean() > 0.9
    assert (replicate_sums(values, **{**SETTINGS, "seed": 6})[1] != first[1]).mean() > 0.9


@pytest.mark.parametrize("scale", [1e-300, 1e-30, 1e30, 1e300])
def test_any_unit_will_do(scale):
    values = draws(300)
    expected = replicate_sums(values, **SETTINGS)
    found = replicate_sums(values * [scale, 1.0, 0.0], **SETTINGS)
    np.testing.assert_allclose(found[0][:, 0] / scale, expected[0][:, 0], rtol=1e-6, atol=1e-6 * np.sqrt(300))
    np.testing.assert_array_equal(found[0][:, 1], expected[0][:, 1])
    assert (found[0][:, 2] == 0.0).all()


def test_sizes_in_one_bucket_share_code():
    replicate_sums(draws(2500), **SETTINGS)
    before = api._on_cpu._cache_size(), api._elsewhere._cache_size()
    for n in (2049, 3000, 4096):
        replicate_sums(draws(n), **SETTINGS)
    assert (api._on_cpu._cache_size(), api._elsewhere._cache_size()) == before


def test_work_is_reported_and_can_be_stopped():
    seen: list[float] = []
    replicate_sums(draws(), replicate_batch=64, on_progress=seen.append, **SETTINGS)
    assert seen == sorted(seen) and len(seen) >= 2 and seen[-1] == 1.0

    def stop(fraction):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        replicate_sums(draws(), replicate_batch=64, on_progress=stop, **SETTINGS)


_DEVICES = """
import json, sys
import jax, numpy as np
from mace_jax.bootstrap._sums import replicate_sums
values = np.random.default_rng(0).standard_normal((3000, 3))
found = {}
for weights in ("poisson", "multinomial"):
    for many in (1, 2, 8):
        sums, totals = replicate_sums(values, n_resamples=500, weights=weights, seed=1, purpose="devices",
                                      devices=jax.devices()[:many], replicate_batch=64)
        found[f"{weights} {many}"] = np.column_stack([sums, totals]).tolist()
print(json.dumps({"devices": len(jax.devices()), "found": found}))
"""


@pytest.mark.slow
def test_one_two_and_eight_devices_agree():
    path = os.pathsep.join([str(ROOT), str(ROOT / "kernels")])
    environment = {
        **os.environ,
        "PYTHONPATH": path,
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": "--xla_force_host_platform_device_count=8",
    }
    done = subprocess.run(
        [sys.executable, "-c", _DEVICES], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["devices"] == 8
    values = np.random.default_rng(0).standard_normal((3000, 3))
    for weights in ("poisson", "multinomial"):
        expected = replicate_sums(values, n_resamples=500, weights=weights, seed=1, purpose="devices")
        for many in (1, 2, 8):
            found = np.asarray(answer["found"][f"{weights} {many}"])
            assert_same((found[:, :-1], found[:, -1]), expected, 3000)


@pytest.mark.parametrize(("weights", "third"), [("poisson", 1), ("bayesian", 2), ("double_or_nothing", 0)])
def test_tables_of_counts_have_the_moments_of_summed_weights(weights, third, rng):
    counts = np.asarray([[3, 0], [50, 7]])
    drawn = resample_counts(counts, 40_000, weights=weights, rng=rng)
    assert drawn.shape == (40_000, 2, 2) and (drawn[:, 0, 1] == 0).all()
    deviation = np.sqrt(counts / 40_000)
    assert (np.abs(drawn.mean(axis=0) - counts) <= 5 * deviation).all()
    np.testing.assert_allclose(drawn.var(axis=0), counts, rtol=0.05)
    central = ((drawn[:, 0, 0] - 3.0) ** 3).mean()
    assert central == pytest.approx(3 * third, abs=5 * ((drawn[:, 0, 0] - 3.0) ** 3).std() / 200)


def test_a_multinomial_table_is_what_resampling_rows_gives(rng):
    counts = np.asarray([10, 0, 25, 65])
    rows = np.repeat(np.arange(4), counts)
    by_rows = np.asarray([np.bincount(rng.choice(rows, 100), minlength=4) for _ in range(4000)])
    by_counts = resample_counts(counts, 4000, weights="multinomial", rng=rng)
    assert (by_counts.sum(axis=1) == 100).all()
    for cell in (0, 2, 3):
        assert stats.ks_2samp(by_rows[:, cell], by_counts[:, cell]).pvalue > 0.001
    large = resample_counts([10**12, 3 * 10**12], 1000, weights="multinomial", rng=rng)
    assert (large[:, 0] / 4e12).std() == pytest.approx(np.sqrt(0.1875 / 4e12), rel=0.1)


def test_bad_arguments(rng):
    values = draws(10)
    with pytest.raises(ValueError, match="weights='normal' is not known"):
        replicate_sums(values, weights="normal", **SETTINGS)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"values has shape \(10,\)"):
        replicate_sums(values[:, 0], **SETTINGS)
    with pytest.raises(ValueError, match="with at least one row"):
        replicate_sums(values[:0], **SETTINGS)
    with pytest.raises(ValueError, match="n_resamples=0 must be at least 1"):
        replicate_sums(values, n_resamples=0, seed=0, purpose="x")
    with pytest.raises(ValueError, match="one id per row"):
        replicate_sums(values, clusters=[1, 2], **SETTINGS)
    with pytest.raises(ValueError, match=r"center has shape \(2,\)"):
        replicate_sums(values, center=np.zeros(2), **SETTINGS)
    with pytest.raises(ValueError, match="devices is empty"):
        replicate_sums(values, devices=[], **SETTINGS)
    with pytest.raises(ValueError, match="n_total=None"):
        SumsAccumulator(3, weights="multinomial", **SETTINGS)
    total = SumsAccumulator(3, **SETTINGS)
    with pytest.raises(ValueError, match="must have 3 columns"):
        total.add(values[:, :2])
    with pytest.raises(ValueError, match="do not fit into n_total"):
        total.add(values, first_row=2**32 - 5)
    with pytest.raises(ValueError, match="pass 10 integer ids"):
        total.add(values, clusters=["a"] * 10)
    with pytest.raises(ValueError, match="between 0 and 2"):
        total.add(values, clusters=np.arange(-1, 9))
    with pytest.raises(ValueError, match="do not add up"):
        total.merge(SumsAccumulator(3, **{**SETTINGS, "seed": 6}))
    with pytest.raises(NotImplementedError, match="no clusters in parts"):
        SumsAccumulator(3, weights="multinomial", n_total=10, **SETTINGS).add(values, clusters=np.arange(10))
    for counts in ([1.5], [-1, 2], [], ["a"], [np.nan]):
        with pytest.raises(ValueError, match="whole numbers"):
            resample_counts(counts, 5, weights="poisson", rng=rng)
    with pytest.raises(ValueError, match="counts are all 0"):
        resample_counts([0, 0], 5, weights="poisson", rng=rng)
    with pytest.raises(ValueError, match="weights='normal' is not known"):
        resample_counts([1], 5, weights="normal", rng=rng)  # type: ignore[arg-type]
