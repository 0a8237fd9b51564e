"""Mixed-type search against slow formulas written per variant, over every rule for missing values."""

from __future__ import annotations

import dataclasses
import datetime
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mace_jax.neighbors import Gower, _mixed, _threads, mixed_knn, mixed_radius_count

NUMBERS, LABELS = ("age", "stamp", "flat"), ("city", "job")


def table(rng, n, *, gaps=0.0, label_gaps=0.0, levels=4, offset=0.0, integers=False):
    """Columns with duplicates, a constant one, offsets and gaps."""
    made = {
        "age": rng.integers(0, 6, n).astype(float) if integers else rng.normal(size=n),
        "stamp": offset + rng.integers(0, 9, n),
        "flat": np.full(n, 3.0),
    }
    for name in NUMBERS:
        made[name] = np.where(rng.random(n) < gaps, np.nan, made[name])
    for name in LABELS:
        column = np.array([f"{name} {i}" for i in rng.integers(0, levels, n)], dtype=object)
        column[rng.random(n) < label_gaps] = None
        made[name] = column
    return made


def gap(value):
    return value is None or value != value


def spread(*parts):
    seen = [value for part in parts for value in part if not gap(value)]
    return max(seen) - min(seen) if seen else 0.0


def pairs(q, r, number, label, combine):
    """Every distance, pair by pair in plain Python."""
    n, m = len(q["age"]), len(r["age"])
    return np.array([
        [combine([number(c, q[c][i], r[c][j]) for c in NUMBERS], [label(q[c][i], r[c][j]) for c in LABELS])
         for j in range(m)] for i in range(n)
    ], dtype=float)  # fmt: skip


def as_level(x, y):
    return 0.0 if (gap(x) and gap(y)) or (not gap(x) and not gap(y) and x == y) else 1.0


def oracle_anonymeter(q, r):
    scale = {c: spread(q[c], r[c]) or 1.0 for c in NUMBERS}

    def number(c, x, y):
        return 1.0 if gap(x) and gap(y) else abs(x / scale[c] - y / scale[c])

    return pairs(q, r, number, as_level, lambda a, b: sum(a) + sum(b))


def oracle_sdmetrics(q, r):
    scale = {c: spread(r[c]) for c in NUMBERS}

    def number(c, x, y):
        if gap(x) or gap(y):
            return float(gap(x) != gap(y))
        return min(abs(x - y) / scale[c], 1.0) if scale[c] else float(x != y)

    return pairs(q, r, number, as_level, lambda a, b: (sum(a) + sum(b)) / 5)


WEIGHTS = {"age": 2.0, "flat": 0.5, "city": 3.0, "job": 0.25}
W = np.array([WEIGHTS.get(c, 1.0) for c in NUMBERS + LABELS])


def oracle_syntheval(q, r):
    if any(gap(v) for part in (q, r) for c in NUMBERS for v in part[c]):
        return np.full((len(q["age"]), len(r["age"])), np.nan)
    scale = {c: max(spread(q[c], r[c]), 1.0) for c in NUMBERS}

    def combine(a, b):
        return (W[:3] @ a + 2 * (W[3:] @ b) / W[3:].sum()) / W.sum()

    values = pairs(q, r, lambda c, x, y: abs(x - y) / scale[c], as_level, combine)
    same = len(q["age"]) == len(r["age"]) and all(np.array_equal(q[c], r[c]) for c in q)
    return values + np.eye(len(values)) if same else values


def oracle_gower(q, r):
    scale = {c: spread(q[c], r[c]) for c in NUMBERS}
    top = {c: np.nanmax(np.r_[q[c], r[c]]) for c in NUMBERS}

    def number(c, x, y):
        return abs(x - y) / scale[c] if scale[c] and top[c] else 0.0

    def label(x, y):
        return 1.0 if gap(x) or gap(y) else float(x != y)

    return pairs(q, r, number, label, lambda a, b: (W[:3] @ a + W[3:] @ b) / W.sum())


def oracle_synthyverse(q, r, normalize=False):
    def number(c, x, y):
        return None if gap(x) or gap(y) else abs(x - y)

    def combine(a, b):
        terms = [term for term in a if term is not None] + b
        return sum(terms) / (len(terms) if normalize else 1)

    return pairs(q, r, number, as_level, combine)


def oracle_sure(q, r):
    scale = {c: spread(q[c], r[c]) for c in NUMBERS}
    dead = {c: any(gap(v) for v in [*q[c], *r[c]]) or not scale[c] for c in NUMBERS}
    known = {v for c in LABELS for v in q[c] if not gap(v)}

    def label(x, y):
        return as_level(x if x in known else None, y if y in known else None)

    values = pairs(q, r, lambda c, x, y: 0.0 if dead[c] else abs(x - y) / scale[c], label, lambda a, b: sum(a) + sum(b))
    values /= W.sum()
    return np.where(np.eye(len(values), dtype=bool), 5.0, values) if q is r else values


def oracle_1971(q, r):
    scale = {c: spread(q[c], r[c]) for c in NUMBERS}

    def number(c, x, y):
        return None if gap(x) or gap(y) else (abs(x - y) / scale[c] if scale[c] else 0.0)

    def label(x, y):
        return None if gap(x) or gap(y) else float(x != y)

    def combine(a, b):
        seen = [(w, t) for w, t in zip(W, a + b, strict=True) if t is not None]
        return sum(w * t for w, t in seen) / sum(w for w, _ in seen) if seen else math.inf

    return pairs(q, r, number, label, combine)


PRESETS = {
    "anonymeter": (Gower.anonymeter(), oracle_anonymeter),
    "sdmetrics": (Gower.sdmetrics(), oracle_sdmetrics),
    "syntheval": (Gower.syntheval(WEIGHTS), oracle_syntheval),
    "gower": (Gower.gower(WEIGHTS), oracle_gower),
    "synthyverse": (Gower.synthyverse(), oracle_synthyverse),
    "synthyverse_mean": (Gower.synthyverse(normalize=True), lambda q, r: oracle_synthyverse(q, r, True)),
    "sure": (Gower.sure(WEIGHTS), oracle_sure),
    "published": (Gower(weights=WEIGHTS), oracle_1971),
}


def check(q, r, k, metric, expected, **options):
    """Distances, order and ids; ids only have to be right where the distances of the oracle say so."""
    found = mixed_knn(q, r, k, metric=metric, **options)
    single = isinstance(metric, Gower) and metric.dtype == "float32"
    ordered = np.sort(np.where(np.isnan(expected), np.inf, expected), axis=1)[:, :k]
    got = np.where(np.isnan(found.distances), np.inf, found.distances)
    tolerance = 2e-7 if single else 1e-12
    np.testing.assert_allclose(got, ordered, rtol=tolerance, atol=tolerance)
    assert found.distances.dtype == np.float64 and found.indices.dtype == np.int64
    rows = np.arange(len(got))[:, None]
    assert all(len(set(row)) == k for row in found.indices.tolist())
    chosen = np.where(np.isnan(expected), np.inf, expected)[rows, found.indices]
    np.testing.assert_allclose(got, chosen, rtol=tolerance, atol=tolerance)
    tied = got[:, 1:] == got[:, :-1]
    assert (np.diff(found.indices, axis=1)[tied] > 0).all()
    return found


@pytest.mark.parametrize("gaps", [0.0, 0.25])
@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_equals_its_formula(preset, gaps, rng):
    metric, oracle = PRESETS[preset]
    label_gaps = 0.0 if preset == "syntheval" else gaps
    q = table(rng, 17, gaps=gaps, label_gaps=label_gaps, levels=6)
    r = table(rng, 90, gaps=gaps, label_gaps=label_gaps)
    expected = oracle(q, r)
    for k in (1, 5, 90):
        found = check(q, r, k, metric, expected)
    for quantile in (0.02, 0.3):
        finite = expected[np.isfinite(expected)]
        radius = float(np.quantile(finite, quantile)) * (1 + 1e-6) if len(finite) else 1.0
        np.testing.assert_array_equal(mixed_radius_count(q, r, radius, metric=metric), (expected <= radius).sum(axis=1))
    # A returned distance as the radius includes the neighbor it came from.
    own = found.distances[:, 9]
    if np.isfinite(own).all():
        counted = mixed_radius_count(q, r, own, metric=metric)
        np.testing.assert_array_equal(counted, (found.distances <= own[:, None]).sum(axis=1))


@pytest.mark.parametrize("preset", PRESETS)
def test_one_table_against_itself(preset, rng):
    metric, oracle = PRESETS[preset]
    t = table(rng, 40, integers=True)
    expected = oracle(t, t)
    left_out = np.where(np.eye(40, dtype=bool), np.inf, oracle_sure(t, dict(t)) if preset == "sure" else expected)
    for k in (1, 39):
        check(t, t, k, metric, left_out if preset.startswith("synthyverse") else expected)
        check(t, t, k, metric, left_out, exclude_self=True)
    radius = float(np.quantile(left_out[np.isfinite(left_out)], 0.2)) * (1 + 1e-6)
    counts = mixed_radius_count(t, t, radius, metric=metric, exclude_self=True)
    np.testing.assert_array_equal(counts, (left_out <= radius).sum(axis=1))


@settings(max_examples=12)
@given(st.data())
def test_random_tables(data):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    preset = data.draw(st.sampled_from(sorted(PRESETS)))
    metric, oracle = PRESETS[preset]
    gaps = data.draw(st.sampled_from([0.0, 0.5]))
    options = {
        "gaps": gaps, "label_gaps": 0.0 if preset == "syntheval" else gaps, "integers": data.draw(st.booleans()),
        "levels": data.draw(st.integers(1, 5)), "offset": data.draw(st.sampled_from([0.0, -9.0, 1e9])),
    }  # fmt: skip
    q, r = table(rng, data.draw(st.integers(1, 9)), **options), table(rng, data.draw(st.integers(1, 30)), **options)
    if preset == "gower" and any(np.isnan(np.r_[q[c], r[c]]).all() for c in NUMBERS):
        return
    check(q, r, data.draw(st.integers(1, len(r["age"]))), metric, oracle(q, r))


def test_many_ties_are_canonical_and_offsets_do_no_harm(rng):
    q, r = table(rng, 30, integers=True, offset=1e9), table(rng, 3000, integers=True, offset=1e9)
    exact = Gower(numeric_missing="refuse", categorical_missing="refuse")
    for k in (1, 7, 60):
        found = mixed_knn(q, r, k, metric=exact)
        x = {c: (q[c] - r[c].min()) if c in NUMBERS else q[c] for c in q}
        y = {c: (r[c] - r[c].min()) if c in NUMBERS else r[c] for c in r}
        moved = mixed_knn(x, y, k, metric=exact)
        np.testing.assert_array_equal(found.indices, moved.indices)
        np.testing.assert_array_equal(found.distances, moved.distances)
    again = mixed_knn(q, {c: np.concatenate((r[c], r[c])) for c in r}, 60, metric=exact)
    first = again.indices < 3000
    np.testing.assert_array_equal(found.distances[:, :30], again.distances[:, ::2])
    assert first.sum(axis=1).min() >= 30


@pytest.mark.parametrize("preset", ["sdmetrics", "synthyverse"])
def test_batches_change_nothing(preset, rng, monkeypatch):
    metric, _ = PRESETS[preset]
    q, r = table(rng, 150, gaps=0.1, label_gaps=0.1), table(rng, 400, gaps=0.1, label_gaps=0.1)
    whole = mixed_knn(q, r, 4, metric=metric)
    parts = [mixed_knn({c: q[c][s] for c in q}, r, 4, metric=metric) for s in (slice(0, 7), slice(7, 150))]
    np.testing.assert_array_equal(whole.indices, np.concatenate([part.indices for part in parts]))
    np.testing.assert_array_equal(whole.distances, np.concatenate([part.distances for part in parts]))
    counts = mixed_radius_count(q, r, whole.distances[:, 2], metric=metric)
    monkeypatch.setattr(_mixed, "_CHUNK_ROWS", 16)
    monkeypatch.setattr(_mixed, "_PAIR_BYTES", 4096)
    monkeypatch.setattr(_mixed, "_MOST_BLOCK_ROWS", 2)
    small = mixed_knn(q, r, 4, metric=metric)
    np.testing.assert_array_equal(whole.indices, small.indices)
    np.testing.assert_array_equal(counts, mixed_radius_count(q, r, whole.distances[:, 2], metric=metric))
    monkeypatch.setattr(_threads, "processors", lambda: 1)
    np.testing.assert_array_equal(whole.distances, mixed_knn(q, r, 4, metric=metric).distances)


def test_manhattan_and_cosine(rng):
    q, r = table(rng, 12, offset=50.0), table(rng, 80, offset=50.0, levels=5)
    sums = pairs(q, r, lambda c, x, y: abs(x - y), as_level, lambda a, b: sum(a) + sum(b))
    check(q, r, 6, "manhattan", sums)
    dot = pairs(q, r, lambda c, x, y: x * y, lambda x, y: float(x == y), lambda a, b: sum(a) + sum(b))
    norms = [np.sqrt(sum(t[c] ** 2 for c in NUMBERS) + 2) for t in (q, r)]
    check(q, r, 6, "cosine", 1 - dot / norms[0][:, None] / norms[1])
    assert mixed_knn(q, q, 1, metric="cosine").distances.max() == 0.0
    assert mixed_knn(q, q, 1, metric="cosine", exclude_self=True).distances.min() > 0.0
    far = {"a": [0.0, 1.0], "b": [1e9, 0.0]}
    assert mixed_knn({"a": [0.4], "b": [1e9]}, far, 1, metric="manhattan").indices.tolist() == [[0]]
    with pytest.raises(ValueError, match="all zeros"):
        mixed_knn({"a": [0.0]}, {"a": [1.0]}, 1, metric="cosine")
    with pytest.raises(ValueError, match="cosine refuses"):
        mixed_knn({"a": [np.nan]}, {"a": [1.0]}, 1, metric="cosine")
    with pytest.raises(ValueError, match="no radius count"):
        mixed_radius_count({"a": [1.0]}, {"a": [1.0]}, 1.0, metric="cosine")


def test_queries_far_outside_the_reference_range():
    r = {"a": np.arange(2000.0), "b": np.tile([0.0, 1.0], 1000)}
    q = {"a": np.array([1e300, -5.0, 700.2]), "b": np.array([1.0, 0.0, 7e9])}
    found = mixed_knn(q, r, 2, metric=Gower.sdmetrics())
    assert found.distances[0].tolist() == [0.5, 0.5] and found.indices[0].tolist() == [1, 3]
    assert found.indices[1].tolist() == [0, 2]
    np.testing.assert_allclose(found.distances[2], (np.array([0.2, 0.8]) / 1999 + 1) / 2, rtol=1e-12)
    with pytest.raises(ValueError, match="spans too many"):
        mixed_knn(q, r, 1, metric=dataclasses.replace(Gower.sdmetrics(), clip=False, ranges="given", given_ranges=1e-9))


class Frame:
    """What pandas and polars share."""

    def __init__(self, columns):
        self._columns = columns
        self.columns = list(columns)

    def __getitem__(self, name):
        return self._columns[name]


class Series:
    def __init__(self, values):
        self.values = values

    def to_numpy(self):
        return np.array(self.values, dtype=object)


def test_every_kind_of_table():
    import pyarrow

    ages, cities = [20, 35, None, 60], ["Bonn", "Rome", None, "Oslo"]
    days = [datetime.datetime(2020, 1, d) for d in (1, 2, 3, 9)]
    columns = {"age": ages, "city": cities, "day": days}
    q = {"age": [30.0, 21.0], "city": ["Rome", "Mars"], "day": np.array(["2020-01-03", "NaT"], "M8[D]")}
    expected = mixed_knn(q, columns, 4)
    rows = np.array(list(zip(ages, cities, days, strict=True)), dtype=object)
    structured = np.zeros(4, [("age", float), ("city", object), ("day", "M8[us]")])
    structured["age"], structured["city"], structured["day"] = [20, 35, np.nan, 60], cities, days
    for other in (
        pyarrow.table(columns), Frame({c: Series(v) for c, v in columns.items()}), structured,
        {"day": days, "city": cities, "age": ages},
    ):  # fmt: skip
        found = mixed_knn(q, other, 4)
        np.testing.assert_array_equal(found.distances, expected.distances)
        np.testing.assert_array_equal(found.indices, expected.indices)
    plain = np.array([[30.0, "Rome", datetime.datetime(2020, 1, 3)], [21.0, "Mars", None]], dtype=object)
    np.testing.assert_array_equal(mixed_knn(plain, rows, 4).distances, expected.distances)
    numeric = mixed_knn(np.eye(3), np.eye(3), 3, categorical=[0])
    assert numeric.distances[0, 0] == 0.0 and numeric.status == mixed_knn(np.eye(3), np.eye(3), 3).status
    flags = mixed_knn({"a": [True], "b": [datetime.timedelta(1)]}, {"a": [False], "b": [datetime.timedelta(3)]}, 1)
    assert flags.distances.tolist() == [[1.0]]
    one = mixed_knn({"a": [None], "b": [math.nan]}, {"a": [None], "b": [1.0]}, 1)
    assert one.distances.tolist() == [[math.inf]]


def test_more_levels_than_int16_holds():
    names = np.array([f"level {i}" for i in range(33000)])
    found = mixed_knn({"a": names[-3:], "b": [0.0, 0.0, 1.0]}, {"a": names, "b": np.zeros(33000)}, 1)
    assert found.indices.ravel().tolist() == [32997, 32998, 32999]
    assert found.distances.ravel().tolist() == [0.0, 0.0, 0.5]


GOOD = {"a": [1.0, 2.0, 3.0], "b": ["x", "y", "z"]}


@pytest.mark.parametrize(
    ("queries", "reference", "k", "options", "error", "message"),
    [
        ({"a": [1.0]}, GOOD, 1, {}, ValueError, r"only in reference: \['b'\]"),
        ({"a": [1.0], "b": [2.0]}, GOOD, 1, {}, TypeError, "column 'b' holds a number in queries but a label"),
        ({"a": [np.inf], "b": ["x"]}, GOOD, 1, {}, ValueError, "infinity in row 0"),
        ({"a": [1.0, 2.0], "b": ["x"]}, GOOD, 1, {}, ValueError, "different lengths"),
        ({"a": [], "b": []}, GOOD, 1, {}, ValueError, "no rows"),
        ({}, GOOD, 1, {}, ValueError, "no columns"),
        (np.ones(3), GOOD, 1, {}, TypeError, "not a table"),
        ({"a": np.ones((1, 2)), "b": ["x"]}, GOOD, 1, {}, ValueError, "one value per row"),
        ({"a": [1.0], "b": [["x"]]}, GOOD, 1, {}, TypeError, "cannot be compared"),
        (Frame({"a": [1.0]}), GOOD, 1, {}, ValueError, "same columns"),
        (GOOD, GOOD, 4, {}, ValueError, "k=4 is more than the 3"),
        (GOOD, GOOD, 3, {"exclude_self": True}, ValueError, "other than the query itself"),
        (GOOD, GOOD, 0, {}, ValueError, "k=0"),
        (GOOD, GOOD, 1.5, {}, TypeError, "k must be an integer"),
        ({"a": [1.0], "b": ["x"]}, GOOD, 1, {"exclude_self": True}, ValueError, "same records"),
        (GOOD, GOOD, 1, {"categorical": ["c"]}, ValueError, "names the column 'c'"),
        (GOOD, GOOD, 1, {"categorical": "b"}, TypeError, "must be a list"),
        (GOOD, GOOD, 1, {"categorical": ["a"]}, TypeError, "not named in categorical"),
        (GOOD, GOOD, 1, {"metric": "euclidean"}, ValueError, "metric='euclidean'"),
        ({"a": [np.nan], "b": ["x"]}, GOOD, 1, {"metric": "manhattan"}, ValueError, "refuse"),
        ({"a": [1.0], "b": [None]}, GOOD, 1, {"metric": Gower.syntheval()}, ValueError, "column 'b' of queries"),
        (GOOD, GOOD, 1, {"metric": Gower(weights={"q": 1.0})}, ValueError, "weights names columns"),
        (GOOD, GOOD, 1, {"metric": Gower(weights={"a": -1.0})}, ValueError, "at least 0"),
        (GOOD, GOOD, 1, {"metric": Gower(weights={"a": 0.0})}, ValueError, "must be positive"),
        (GOOD, GOOD, 1, {"metric": Gower(weights={"a": 0.0, "b": 0.0})}, ValueError, "all 0"),
        (GOOD, GOOD, 1, {"metric": Gower.syntheval({"b": 0.0})}, ValueError, "categorical columns are all 0"),
        (GOOD, GOOD, 1, {"metric": Gower(ranges="given", given_ranges={})}, ValueError, "given_ranges has None"),
        ({"a": [1e308], "b": ["x"]}, {"a": [-1e308], "b": ["x"]}, 1, {}, ValueError, "spans more"),
    ],
)
def test_bad_tables(queries, reference, k, options, error, message):
    with pytest.raises(error, match=message):
        mixed_knn(queries, reference, k, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ranges": "pooled"}, "ranges='pooled' must be one of"),
        ({"ranges": "given"}, "given_ranges must be passed"),
        ({"aggregate": "split_weighted"}, "no meaning"),
        ({"aggregate": "mean", "weights": {"a": 1.0}}, "takes no weights"),
        ({"self_distance": -1.0}, "self_distance"),
        ({"numeric_missing": "mismatch"}, "needs numeric_missing"),
    ],
)
def test_bad_settings(options, message):
    with pytest.raises(ValueError, match=message):
        Gower(**options)


@pytest.mark.parametrize(
    ("radius", "error", "message"),
    [("1", TypeError, "dtype"), ([1.0, 2.0], ValueError, "shape"), (-1.0, ValueError, "at least 0")],
)
def test_bad_radius(radius, error, message):
    with pytest.raises(error, match=message):
        mixed_radius_count(GOOD, GOOD, radius)


def test_duplicate_names():
    frame = Frame({"a": [1.0]})
    frame.columns = ["a", "a"]
    with pytest.raises(ValueError, match="more than one column"):
        mixed_knn(frame, frame, 1)
