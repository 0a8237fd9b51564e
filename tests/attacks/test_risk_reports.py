"""Reports on risk scores: calibration error, tables, correlations, distances and figures against definitions."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from scipy import stats

from mace_jax.attacks._risk_correlates import neighbor_distances, risk_correlates
from mace_jax.attacks._risk_reports import risk_calibration
from mace_jax.attacks._risk_tables import risk_table
from mace_jax.metrics import reliability
from mace_jax.report._risk_plots import risk_calibration_plot, risk_distribution_plot, risk_members_plot

EXAMPLE = [0.91, 1, 0.92, 0.82, 0.75], [0.81, 0.7, 0.75, 0.25, 0.3]


def drawn(seed, n, power=1.0, n_values=None):
    """Scores r, and members with probability r ** power."""
    rng = np.random.default_rng(seed)
    r = rng.random(n) if n_values is None else rng.integers(1, n_values, n) / n_values
    member = rng.random(n) < r**power
    return r[member], r[~member]


@pytest.mark.parametrize("prior", [0.5, 0.2])
def test_bins_of_equal_width_are_those_of_reliability(prior):
    members, nonmembers = drawn(0, 3000)
    ours = risk_calibration(members, nonmembers, prior=prior, binning="width", n_resamples=20, seed=0)
    labels = np.r_[np.ones(len(members)), np.zeros(len(nonmembers))]
    theirs = reliability(np.r_[members, nonmembers], labels, prior=prior)
    assert ours.ece == pytest.approx(theirs.ece, rel=1e-12)
    for name in ("predicted", "observed", "weight", "n_members", "n_nonmembers"):
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=1e-12)


def test_bins_of_equal_mass_by_definition():
    members, nonmembers = drawn(1, 900)
    found = risk_calibration(members, nonmembers, prior=0.3, n_bins=6, n_resamples=20, seed=0)
    score = np.r_[members, nonmembers]
    weight = np.r_[np.full(len(members), 0.3 / len(members)), np.full(len(nonmembers), 0.7 / len(nonmembers))]
    order = np.argsort(score)
    before = np.cumsum(weight[order]) - weight[order]
    place = np.empty(900, int)
    place[order] = np.minimum(np.floor(before * 6 + 1e-9), 5)
    ece = brier = 0.0
    worst = 0.0
    for b in range(6):
        own = place == b
        member = np.arange(900) < len(members)
        gap = (weight[own] * (score[own] - member[own])).sum()
        ece += abs(gap)
        worst = max(worst, abs(gap) / weight[own].sum())
        brier += (weight[own] * (score[own] - member[own]) ** 2).sum()
    assert found.ece == pytest.approx(ece, rel=1e-9)
    assert found.max_error == pytest.approx(worst, rel=1e-9)
    assert found.brier == pytest.approx(brier, rel=1e-9)
    assert found.weight.sum() == pytest.approx(1.0)
    np.testing.assert_allclose(found.weight, 1 / 6, atol=0.01)


def test_equal_scores_share_a_bin_and_order_does_not_matter():
    members, nonmembers = drawn(2, 400, n_values=4)
    found = risk_calibration(members, nonmembers, seed=3)
    assert len(found.weight) == 3
    np.testing.assert_allclose(found.predicted, [0.25, 0.5, 0.75])
    again = risk_calibration(members[::-1], np.sort(nonmembers), seed=3)
    assert again.to_dict() == found.to_dict()


def test_exact_scores_reach_their_chance_level_and_wrong_ones_do_not():
    exact = risk_calibration(*drawn(3, 4000), seed=0)
    assert 0.0 < exact.ece_by_chance < 0.03
    assert exact.ece <= 1.3 * exact.chance_high
    assert exact.low < 0.01
    assert ((exact.observed_low <= exact.predicted) & (exact.predicted <= exact.observed_high)).mean() >= 0.7
    wrong = risk_calibration(*drawn(3, 4000, power=3.0), prior=0.5, seed=0)
    assert wrong.low > wrong.chance_high
    assert wrong.low < wrong.ece < wrong.high


def test_scores_that_equal_the_prior_cannot_be_wrong():
    """All scores equal to the prior: sides are weighed to it, whatever labels are drawn."""
    found = risk_calibration(np.full(30, 0.5), np.full(70, 0.5), seed=0)
    assert found.ece == found.ece_by_chance == found.max_error == 0.0
    assert found.brier == pytest.approx(0.25)


def test_wilson_limits_at_the_share_of_the_sample():
    found = risk_calibration([0.2] * 3 + [0.8] * 7, [0.2] * 7 + [0.8] * 3, n_bins=2, seed=0)
    limits = stats.binomtest(3, 10).proportion_ci(method="wilson")
    assert found.observed_low[0] == pytest.approx(limits.low)
    assert found.observed_high[0] == pytest.approx(limits.high)


@pytest.mark.parametrize("bad", [[0.2, 1.2], [0.1, np.nan]])
def test_scores_must_be_probabilities(bad):
    with pytest.raises(ValueError, match="posterior_members"):
        risk_calibration(bad, [0.5], seed=0)
    with pytest.raises(ValueError, match="posterior_nonmembers"):
        risk_table([0.5], bad)


def test_confirmed_example_of_precision_and_recall():
    table = risk_table(*EXAMPLE, thresholds=[0.8, 0.7])
    assert [(row.precision, row.recall) for row in table.of("all")] == [(0.8, 0.8), (0.625, 1.0)]
    low, high = stats.binomtest(4, 5).proportion_ci(method="exact")
    assert (table.rows[0].precision_low, table.rows[0].precision_high) == pytest.approx((low, high))
    assert [row.threshold for row in risk_table(*EXAMPLE).rows] == [1.0, 0.9, 0.8, 0.7, 0.6, 0.5]
    first = risk_table(*EXAMPLE).rows[0]
    assert (first.flagged_members, first.flagged_nonmembers, first.precision) == (1, 0, 1.0)


def test_tables_by_class_and_slice_are_those_of_the_parts():
    rng = np.random.default_rng(0)
    members, nonmembers = rng.beta(3, 2, 80), rng.beta(2, 3, 60)
    y, z = rng.integers(0, 3, 80), rng.integers(0, 3, 60)
    z[z == 2] = 1  # class 2 has members alone
    masks = members > 0.2, nonmembers < 0.9
    table = risk_table(
        members, nonmembers, member_labels=y, nonmember_labels=z, slices={"few": masks}, prior=0.1, thresholds=[0.6]
    )
    assert [row.group for row in table.rows] == ["all", "class 0", "class 1", "class 2", "few"]
    for name, (a, b) in {"class 1": (y == 1, z == 1), "few": masks}.items():
        alone = risk_table(members[a], nonmembers[b], prior=0.1, thresholds=[0.6]).rows[0]
        assert table.of(name)[0].__dict__ == {**alone.__dict__, "group": name}
        tpr, fpr = (members[a] >= 0.6).mean(), (nonmembers[b] >= 0.6).mean()
        assert alone.precision == pytest.approx(0.1 * tpr / (0.1 * tpr + 0.9 * fpr))
        assert alone.precision_low < alone.precision < alone.precision_high
    lonely = table.of("class 2")[0]
    assert (lonely.precision, lonely.precision_low, lonely.precision_high) == (None, 0.0, 1.0)
    assert lonely.recall is not None
    nobody = risk_table([0.1], [0.2], thresholds=[0.9]).rows[0]
    assert (nobody.precision, nobody.recall) == (None, 0.0)
    with pytest.raises(ValueError, match="group='class 9'"):
        table.of("class 9")
    with pytest.raises(ValueError, match="go together"):
        risk_table(members, nonmembers, member_labels=y)
    with pytest.raises(TypeError, match="member_labels are whole numbers but nonmember_labels are strings"):
        risk_table(members, nonmembers, member_labels=y, nonmember_labels=z.astype(str))
    with pytest.raises(ValueError, match=r"nonmember_labels has shape \(80,\), but there are 60 records"):
        risk_table(members, nonmembers, member_labels=y, nonmember_labels=y)
    with pytest.raises(ValueError, match="two masks"):
        risk_table(members, nonmembers, slices={"bad": (masks[0][:3], masks[1])})


def test_rank_correlation_and_its_limits():
    rng = np.random.default_rng(0)
    x = np.round(rng.normal(size=200), 1)
    y = x + rng.normal(size=200)
    found = risk_correlates(x, {"near": y, "opposite": -x})
    assert found["near"].correlation == pytest.approx(stats.spearmanr(x, y).statistic, rel=1e-12)
    assert found["opposite"].correlation == pytest.approx(-1.0)
    assert found["opposite"].low == pytest.approx(-1.0)
    rho, z = found["near"].correlation, stats.norm.ppf(0.975)
    reach = z * np.sqrt((1 + rho**2 / 2) / 197)
    limits = np.tanh(np.arctanh(rho) - reach), np.tanh(np.arctanh(rho) + reach)
    assert (found["near"].low, found["near"].high) == pytest.approx(limits)
    with pytest.raises(ValueError, match=r"correlates\['flat'\] is 1.0 for every record"):
        risk_correlates(x, {"flat": np.ones(200)})
    with pytest.raises(ValueError, match="has 3 entries"):
        risk_correlates(x[:3], {})


@pytest.mark.slow
def test_limits_of_the_rank_correlation_cover_the_truth():
    """Normal pairs of correlation c have rank correlation (6/pi) asin(c/2)."""
    rng, c, hits = np.random.default_rng(0), 0.5, 0
    truth = 6.0 / np.pi * np.arcsin(c / 2.0)
    for _ in range(1000):
        x, e = rng.normal(size=(2, 50))
        found = risk_correlates(x, {"y": c * x + np.sqrt(1.0 - c**2) * e})["y"]
        hits += found.low <= truth <= found.high
    assert 0.93 <= hits / 1000 <= 0.97


def test_distances_to_neighbors_of_the_class_and_of_any():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 3)), rng.integers(0, 3, 40)
    z, of = rng.normal(size=(50, 3)), rng.integers(0, 3, 50)
    found = neighbor_distances(x, y, z, of, k=4)
    everything = np.sqrt(((x[:, None] - z[None]) ** 2).sum(axis=2))
    np.testing.assert_allclose(found.any_class, np.sort(everything, axis=1)[:, :4], rtol=1e-6)
    same = np.sort(np.where(y[:, None] == of[None], everything, np.inf), axis=1)[:, :4]
    np.testing.assert_allclose(found.same_class, same, rtol=1e-6)
    itself = neighbor_distances(x, y, k=2)
    gaps = np.sqrt(((x[:, None] - x[None]) ** 2).sum(axis=2)) + np.diag(np.full(40, np.inf))
    np.testing.assert_allclose(itself.any_class, np.sort(gaps, axis=1)[:, :2], rtol=1e-6)
    same = np.sort(np.where(y[:, None] == y[None], gaps, np.inf), axis=1)[:, :2]
    np.testing.assert_allclose(itself.same_class, same, rtol=1e-6)
    with pytest.raises(ValueError, match="class 9 has 0 reference records"):
        neighbor_distances(x, np.full(40, 9), z, of)


def test_figures_are_svg_that_says_what_it_shows():
    found = risk_calibration(*drawn(5, 600), seed=0)
    figures = [
        risk_calibration_plot(found.predicted, found.observed, found.observed_low, found.observed_high, found.weight),
        risk_members_plot({"undefended": drawn(5, 600)[0], "defended": drawn(6, 600)[1]}),
        risk_distribution_plot(*drawn(5, 600)),
    ]
    for figure in figures:
        root = ElementTree.fromstring(figure)
        assert root.tag == "svg"
        assert root.find("desc").text
    assert "Mean risk score" in figures[0]
    assert "undefended: median" in figures[1]
    with pytest.raises(ValueError, match="low has 1 bins"):
        risk_calibration_plot([0.1, 0.2], [0.1, 0.2], [0.1], [0.2, 0.3], [0.5, 0.5])
    with pytest.raises(ValueError, match="outside"):
        risk_members_plot({"undefended": [0.5, 1.5]})
