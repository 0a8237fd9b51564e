"""Privacy risk scores against the published rule, written record by record, and against what must not change them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, special

from mace_jax.attacks._risk_bins import class_bins, nearest_filled
from mace_jax.attacks._risk_score import privacy_risk_score

PUBLISHED = {"smoothing": 0.0, "parity": True}


def published(inside, in_labels, outside, out_labels, values, labels, *, bins=5, log=True, ends=False):
    """The published rule; ``ends`` puts the least and largest value back as end edges."""

    def histogram(group, edges):
        found = [sum(1 for v in group if edges[b] <= v < edges[b + 1]) for b in range(bins)]
        return np.array(found) + np.array([0] * (bins - 1) + [sum(1 for v in group if v == edges[-1])])

    scores = []
    for value, label in zip(values, labels, strict=True):
        a, b = inside[in_labels == label], outside[out_labels == label]
        if log:
            a, b = np.maximum(a, 1e-10), np.maximum(b, 1e-10)
        low, high = min(a.min(), b.min()), max(a.max(), b.max())
        spaced = np.logspace(np.log10(low), np.log10(high), bins + 1) if log else np.linspace(low, high, bins + 1)
        if ends:
            spaced[0], spaced[-1] = low, high
        p, q = histogram(a, spaced) / len(a), histogram(b, spaced) / len(b)
        if value >= spaced[-1]:
            place = bins - 1
        elif value <= spaced[0]:
            place = 0
        else:
            place = max(i for i in range(bins + 1) if spaced[i] <= value)
        tries = [place] + [place + step for t in range(1, bins) for step in (-t, t)]
        place = next(i for i in tries if 0 <= i < bins and p[i] + q[i] > 0)
        scores.append(p[place] / (p[place] + q[place]))
    return np.array(scores)


def problem(seed, n_classes=4, rows=12, n=60):
    rng = np.random.default_rng(seed)
    a, b, c = (rng.integers(0, n_classes, size) for size in (rows * n_classes, rows * n_classes + 7, n))
    for labels in (a, b):
        labels[:n_classes] = np.arange(n_classes)  # no class is absent
    shift = rng.normal(size=n_classes)
    values = [np.exp(shift[y] + d + rng.normal(size=len(y))) for y, d in ((a, 0.0), (b, 0.8), (c, 0.4))]
    return values[0], a, values[1], b, values[2], c


@pytest.mark.parametrize("edges", ["log", "linear"])
@pytest.mark.parametrize("parity", [True, False])
def test_the_published_binning_is_met_record_by_record(edges, parity):
    dropped = 0
    for seed in range(12):
        data = problem(seed)
        found = privacy_risk_score(*data, smoothing=0.0, parity=parity, edges=edges)
        expected = published(*data, log=edges == "log", ends=not parity)
        np.testing.assert_allclose(found.posterior, expected, rtol=0, atol=1e-14)
        dropped += sum(found.dropped.values())
        assert found.shrinkage == 0.0
    assert (dropped > 0) == (parity and edges == "log")


def test_confirmed_example_with_fifteen_and_five_bins():
    inside, outside, y = [1, 1, 1, 10, 100], [10, 100, 100, 1000, 10000], [0] * 5
    for bins in (15, 5):
        for parity in (True, False):
            found = [
                privacy_risk_score(inside, y, outside, y, values, y, bins=bins, smoothing=0.0, parity=parity).posterior
                for values in (inside, outside)
            ]
            np.testing.assert_allclose(found, [[1, 1, 1, 0.5, 1 / 3], [0.5, 1 / 3, 1 / 3, 0, 0]], atol=1e-12)


def test_edge_rounding_drops_values_under_parity_alone():
    rng = np.random.default_rng(0)
    first = last = 0
    for _ in range(2000):
        values = np.exp(rng.normal(size=50))
        edges = np.logspace(np.log10(values.min()), np.log10(values.max()), 6)
        first, last = first + (edges[0] > values.min()), last + (edges[-1] < values.max())
        codes = np.zeros(25, int)
        counts = [
            class_bins(values[:25], codes, values[25:], codes, 1, bins=5, log=True, parity=parity)
            for parity in (True, False)
        ]
        lost = int(edges[0] > values.min()) + int(edges[-1] < values.max())
        assert counts[0].dropped[0] == lost
        assert counts[0].members[0].sum() + counts[0].nonmembers[0].sum() == 50 - lost
        assert counts[1].dropped[0] == 0
        assert counts[1].members[0].sum() == counts[1].nonmembers[0].sum() == 25
        assert (counts[1].edges[0, 0], counts[1].edges[0, -1]) == (values.min(), values.max())
    assert min(first, last) > 200  # more than one class in ten


def test_additive_smoothing_is_the_stated_formula():
    inside, in_y, outside, out_y, values, y = problem(3)
    found = privacy_risk_score(inside, in_y, outside, out_y, values, y, smoothing=0.5, shrinkage=0.0)
    for i in range(len(values)):
        a, b = inside[in_y == y[i]], outside[out_y == y[i]]
        low, high = min(a.min(), b.min()), max(a.max(), b.max())
        inner = np.logspace(np.log10(low), np.log10(high), 6)[1:-1]
        places = [np.searchsorted(inner, v, side="right") for v in (a, b)]
        mine = np.searchsorted(inner, values[i], side="right")
        p, q = (((place == mine).sum() + 0.5) / (len(place) + 2.5) for place in places)
        assert found.posterior[i] == pytest.approx(p / (p + q), rel=1e-12)
    assert (found.low <= found.high).all()
    assert 0 < found.posterior.min()
    assert found.posterior.max() < 1


def test_shrinkage_is_the_beta_binomial_optimum():
    """Equal sizes and no smoothing of the center: a direct search over the likelihood, written with products."""
    rng = np.random.default_rng(5)
    n_classes, rows = 40, 30
    y = np.repeat(np.arange(n_classes), rows)
    shift = rng.uniform(0.0, 3.0, n_classes)
    inside, outside = np.exp(rng.normal(size=len(y))), np.exp(shift[y] + rng.normal(size=len(y)))
    found = privacy_risk_score(inside, y, outside, y, inside, y)
    counts = class_bins(inside, y, outside, y, n_classes, bins=5, log=True, parity=False)
    k, other = counts.members[:-1], counts.nonmembers[:-1]
    # posterior of one class: (k + B_b m_b) / (N + B_b), for the same m_b and B in every class of these sizes
    place = counts.place(y, inside)
    m = np.empty(5)
    for b in range(5):
        r = found.posterior[place == b]
        k_b, n_b = k[y, place][place == b], (k + other)[y, place][place == b]
        others = (k + other)[:, b].sum() - n_b
        prior = found.shrinkage * others / (found.shrinkage + others)
        centers = (r * (n_b + prior) - k_b) / prior
        np.testing.assert_allclose(centers, centers[0], rtol=1e-9)
        m[b] = centers[0]
    assert (np.diff(m) < 0).all()

    def minus(log_b):
        a, c = np.exp(log_b) * m, np.exp(log_b) * (1 - m)
        terms = special.gammaln(k + a) + special.gammaln(other + c) - special.gammaln(k + other + a + c)
        return -(terms - special.gammaln(a) - special.gammaln(c) + special.gammaln(a + c)).sum()

    best = optimize.minimize_scalar(minus, bounds=(0.0, 8.0), method="bounded", options={"xatol": 1e-8})
    assert found.shrinkage == pytest.approx(np.exp(best.x), rel=1e-3)
    assert 1.0 < found.shrinkage < 100.0


def test_one_class_is_not_shrunk_to_itself():
    data = problem(1, n_classes=1)
    auto, plain = (privacy_risk_score(*data, shrinkage=amount) for amount in ("auto", 0.0))
    np.testing.assert_array_equal(auto.posterior, plain.posterior)
    np.testing.assert_array_equal(auto.low, plain.low)


@given(st.integers(0, 10_000), st.sampled_from(["bins", "knn", "isotonic"]), st.sampled_from([0.0, 0.5]))
@settings(max_examples=15, deadline=None)
def test_names_of_classes_and_order_of_rows_do_not_matter(seed, form, smoothing):
    data = problem(seed, rows=6, n=20)
    rng = np.random.default_rng(seed)
    copies = [array.copy() for array in data]
    found = privacy_risk_score(*data, form=form, smoothing=smoothing)
    for array, copy in zip(data, copies, strict=True):
        np.testing.assert_array_equal(array, copy)
    names = rng.permutation(4) * 17 - 9
    orders = [rng.permutation(len(data[i])) for i in (0, 2, 4)]
    moved = [
        part for i, order in zip((0, 2, 4), orders, strict=True) for part in (data[i][order], names[data[i + 1][order]])
    ]
    again = privacy_risk_score(*moved, form=form, smoothing=smoothing)
    for name in ("posterior", "low", "high"):
        np.testing.assert_allclose(
            getattr(again, name), getattr(found, name)[orders[2]], rtol=1e-6, atol=1e-12, err_msg=name
        )
    assert again.posterior.min() >= 0
    assert (again.low <= again.high).all()


@given(st.integers(0, 10_000), st.floats(0.01, 0.99), st.floats(0.01, 0.99))
@settings(max_examples=15, deadline=None)
def test_any_prior_is_a_shift_of_the_logit(seed, first, second):
    data = problem(seed, rows=6, n=20)
    half, one = (privacy_risk_score(*data, prior=prior) for prior in (0.5, first))
    for name in ("posterior", "low", "high"):
        shifted = special.expit(special.logit(getattr(half, name)) + special.logit(first))
        np.testing.assert_allclose(getattr(one, name), shifted, rtol=1e-9, atol=1e-12)
        there, direct = one.at_prior(second), half.at_prior(second)
        np.testing.assert_allclose(getattr(there, name), getattr(direct, name), rtol=1e-7, atol=1e-12)
    assert one.at_prior(second).prior == second
    np.testing.assert_allclose(half.log_ratio, special.logit(half.posterior), atol=1e-9)


@pytest.mark.parametrize("smoothing", [0.0, 0.5])
@pytest.mark.parametrize("parity", [True, False])
@pytest.mark.parametrize("edges", ["log", "linear"])
def test_classes_whose_values_are_all_equal_say_nothing(smoothing, parity, edges):
    for value in (0.1, 0.3, 1.0, 7.7):  # some of these do not survive a logarithm and its inverse
        y = np.zeros(6, int)
        values = np.full(6, value)
        found = privacy_risk_score(
            values,
            y,
            values,
            y,
            [value / 2, value, 2 * value],
            [0] * 3,
            smoothing=smoothing,
            parity=parity,
            edges=edges,
        )
        np.testing.assert_array_equal(found.posterior, 0.5)
        assert found.at_prior(0.2).posterior == pytest.approx(0.2)
    counts = class_bins(values, y, values, y, 1, bins=5, log=edges == "log", parity=False)
    assert counts.members[0].tolist() == [0, 0, 0, 0, 6]


@pytest.mark.parametrize("settings_", [PUBLISHED, {}, {"form": "knn"}, {"form": "isotonic"}])
def test_absent_classes_take_all_classes_together_and_are_listed(settings_):
    inside, in_y, outside, out_y, values, y = problem(7)
    keep_in, keep_out = in_y != 2, out_y != 1  # no members of class 2, no non-members of class 1
    data = inside[keep_in], in_y[keep_in], outside[keep_out], out_y[keep_out]
    y = np.where(y == 3, 50, y)  # nobody of class 50 was seen at all
    found = privacy_risk_score(*data, values, y, **settings_)
    assert found.absent_classes.tolist() == [1, 2, 50]
    np.testing.assert_array_equal(found.pooled, np.isin(y, [1, 2, 50]))
    nothing = [np.zeros(len(array), int) for array in (data[0], data[2], values)]
    alone = {**settings_, **({"shrinkage": 0.0} if settings_.get("form", "bins") == "bins" else {})}
    pooled = privacy_risk_score(data[0], nothing[0], data[2], nothing[1], values, nothing[2], **alone)
    np.testing.assert_allclose(found.posterior[found.pooled], pooled.posterior[found.pooled], rtol=1e-12)
    assert not (found.posterior[y == 1] == 1.0).all()  # the published code says so of classes without non-members


def test_values_beyond_the_edges_take_the_end_bins():
    y = np.zeros(4, int)
    inside, outside = np.array([1.0, 1.2, 1.5, 9.0]), np.array([2.0, 8.0, 9.5, 10.0])
    found = privacy_risk_score(inside, y, outside, y, [0.0, 1e-12, 1.0, 10.0, 1e9], [0] * 5, smoothing=0.0)
    assert found.posterior[0] == found.posterior[1] == found.posterior[2] == 1.0
    assert found.posterior[3] == found.posterior[4] == pytest.approx(0.25)


def test_empty_bins_take_the_nearest_filled_one_left_first():
    filled = np.array([[1, 0, 0, 0, 1], [0, 1, 0, 1, 0], [0, 0, 0, 0, 0], [0, 0, 1, 0, 0]], bool)
    expected = [[0, 0, 0, 4, 4], [1, 1, 1, 3, 3], [-1] * 5, [2] * 5]
    assert nearest_filled(filled).tolist() == expected
    y = np.zeros(2, int)
    found = privacy_risk_score([0.0, 0.1], y, [0.9, 1.0], y, [0.5], [0], bins=5, smoothing=0.0, edges="linear")
    assert found.posterior[0] == 1.0  # the middle bin lies as near to either side
    assert (found.low[0], found.high[0]) == (0.0, 1.0)


def test_limits_at_table_counts():
    inside, outside = np.r_[np.ones(8), np.full(8, 100.0)], np.r_[np.ones(2), np.full(14, 100.0)]
    y = np.zeros(16, int)
    found = privacy_risk_score(inside, y, outside, y, [1.0], [0], shrinkage=0.0)
    np.testing.assert_allclose([found.low[0], found.high[0]], [0.54781, 0.95038], atol=5e-6)
    none = privacy_risk_score(inside, y, np.full(16, 100.0), y, [1.0], [0], shrinkage=0.0)
    np.testing.assert_allclose(none.low[0], 0.75984, atol=5e-6)
    assert none.high[0] == 1.0


@pytest.mark.parametrize("ties", [False, True])
def test_neighbors_are_those_of_a_sorted_list(ties):
    inside, in_y, outside, out_y, values, y = problem(11)
    if ties:
        inside, outside, values = (np.round(array) for array in (inside, outside, values))
    found = privacy_risk_score(inside, in_y, outside, out_y, values, y, form="knn", n_neighbors=7, smoothing=0.5)
    for i, (value, label) in enumerate(zip(values, y, strict=True)):
        a, b = np.abs(inside[in_y == label] - value), np.abs(outside[out_y == label] - value)
        reach = np.sort(np.concatenate([a, b]))[6]
        tied, closer = (a == reach).sum() + (b == reach).sum(), (a < reach).sum() + (b < reach).sum()
        share = (7 - closer) / tied
        k1, k0 = ((d < reach).sum() + share * (d == reach).sum() for d in (a, b))
        odds = (k1 + 0.5) / len(a) / ((k0 + 0.5) / len(b))
        assert found.posterior[i] == pytest.approx(odds / (1 + odds), rel=1e-9)


def test_isotonic_scores_fall_with_the_value_and_turn_around_on_request():
    inside, in_y, outside, out_y, values, y = problem(13)
    down = privacy_risk_score(inside, in_y, outside, out_y, values, y, form="isotonic")
    up = privacy_risk_score(
        -inside, in_y, -outside, out_y, -values, y, form="isotonic", increasing=True, edges="linear"
    )
    np.testing.assert_allclose(up.posterior, down.posterior)
    for label in range(4):
        own = np.argsort(values[y == label])
        assert (np.diff(down.posterior[y == label][own]) <= 1e-12).all()


def test_classes_may_have_names():
    inside, in_y, outside, out_y, values, y = problem(0)
    names = np.array(["bird", "cat", "deer", "dog"])  # in the order of the numbers
    named = privacy_risk_score(inside, names[in_y], outside, names[out_y], values, names[y], parity=True)
    numbered = privacy_risk_score(inside, in_y, outside, out_y, values, y, parity=True)
    np.testing.assert_array_equal(named.posterior, numbered.posterior)
    assert named.dropped == {names[number]: lost for number, lost in numbered.dropped.items()}
    with pytest.raises(TypeError, match="shadow_member_labels are whole numbers but labels are strings"):
        privacy_risk_score(inside, in_y, outside, out_y, values, names[y])


def test_bad_input_is_named():
    inside, in_y, outside, out_y, values, y = problem(0)
    with pytest.raises(ValueError, match="shadow_member_values has negative values"):
        privacy_risk_score(-inside, in_y, outside, out_y, values, y)
    with pytest.raises(ValueError, match=r"labels has shape \(3,\)"):
        privacy_risk_score(inside, in_y, outside, out_y, values, y[:3])
    with pytest.raises(TypeError, match="shadow_nonmember_labels must be whole numbers or strings"):
        privacy_risk_score(inside, in_y, outside, out_y * 0.5, values, y)
    with pytest.raises(ValueError, match="values has NaN"):
        privacy_risk_score(inside, in_y, outside, out_y, np.where(y == 0, np.nan, values), y)
    with pytest.raises(ValueError, match="form='knn'"):
        privacy_risk_score(inside, in_y, outside, out_y, values, y, form="knn", shrinkage=3.0)
    with pytest.raises(ValueError, match="form='table'"):
        privacy_risk_score(inside, in_y, outside, out_y, values, y, form="table")


def test_no_figure_is_drawn_while_scores_are_computed(monkeypatch):
    import builtins

    true_import = builtins.__import__

    def without_figures(name, *args, **kwargs):
        assert not name.startswith("matplotlib")
        return true_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_figures)
    assert len(privacy_risk_score(*problem(0)).posterior) == 60
