from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mace_jax.data import TableEncoder

TABLE = {
    "age": np.array([20, 31, 70, 31]),
    "weight": np.array([50.5, np.nan, 81.25, 1e-3]),
    "city": np.array(["Bonn", None, "Rome", "Bonn"], dtype=object),
    "smokes": np.array([True, False, False, True]),
    "code": np.array([3, 1, 3, 2]),
}


def same(one: dict, other: dict) -> None:
    assert list(one) == list(other)
    for name in one:
        assert one[name].dtype.kind == other[name].dtype.kind, name
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)


@pytest.mark.parametrize("scaling", ["standard", "range", "none"])
def test_against_the_definition(scaling: str) -> None:
    encoder = TableEncoder.fit(TABLE, categorical=["code"], scaling=scaling)
    found = encoder.encode(TABLE)
    age, seen = TABLE["age"].astype(float), TABLE["weight"][[0, 2, 3]]
    if scaling == "standard":
        age, seen = (age - age.mean()) / age.std(), (seen - seen.mean()) / seen.std()
    elif scaling == "range":
        age, seen = (2 * (part - part.min()) / (part.max() - part.min()) - 1 for part in (age, seen))
    expected = np.zeros((4, 11))
    expected[:, 0] = age
    expected[[0, 2, 3], 1] = seen
    expected[1, 2] = 1
    expected[[0, 3, 2, 1], [3, 3, 4, 5]] = 1
    expected[[1, 2, 0, 3], [6, 6, 7, 7]] = 1
    expected[[1, 3, 0, 2], [8, 9, 10, 10]] = 1
    np.testing.assert_allclose(found, expected, rtol=1e-13, atol=1e-15)
    assert encoder.width == 11 == len(encoder.names)
    assert encoder.names[:6] == ("age", "weight", "weight is missing", "city=Bonn", "city=Rome", "city is missing")


@pytest.mark.parametrize("scaling", ["standard", "range", "none"])
def test_round_trip(scaling: str) -> None:
    encoder = TableEncoder.fit(TABLE, categorical=["code"], scaling=scaling)
    decoded = encoder.decode(encoder.encode(TABLE))
    np.testing.assert_allclose(decoded["weight"], TABLE["weight"], rtol=1e-6)
    assert decoded["age"].dtype == np.int64 and decoded["code"].dtype == np.int64
    same({k: v for k, v in decoded.items() if k != "weight"}, {k: v for k, v in TABLE.items() if k != "weight"})


numbers = st.one_of(st.integers(-(2**40), 2**40).map(float), st.floats(-1e6, 1e6), st.floats(0.1, 0.2))


@settings(max_examples=60)
@given(
    st.lists(st.tuples(numbers, st.sampled_from(["a", "b", "=", " ", "é", None])), min_size=1, max_size=30),
    st.sampled_from(["standard", "range", "none"]),
    st.sampled_from(["seen", "always"]),
)
def test_round_trip_of_any_table(rows: list, scaling: str, missing: str) -> None:
    values = np.array([value for value, _ in rows])
    labels = np.array([label for _, label in rows], dtype=object)
    labels[0] = "a"
    table = {"x": values, "label": labels}
    encoder = TableEncoder.fit(table, scaling=scaling, missing=missing)
    decoded = encoder.decode(encoder.encode(table))
    assert decoded["label"].tolist() == labels.tolist()
    assert np.abs(decoded["x"] - values).max() <= 1e-14 * np.abs(values).max()
    assert TableEncoder.from_dict(json.loads(json.dumps(encoder.to_dict()))) == encoder


def test_saved_and_loaded(tmp_path: Path) -> None:
    encoder = TableEncoder.fit(TABLE, levels={"city": ["Rome", "Bonn", "Köln"]}, missing="always")
    assert TableEncoder.load(encoder.save(tmp_path / "encoder.json")) == encoder
    np.testing.assert_array_equal(TableEncoder.load(tmp_path / "encoder.json").encode(TABLE), encoder.encode(TABLE))
    for text in ("{", "[]", "{}", '{"format": "other"}'):
        (tmp_path / "bad.json").write_text(text)
        with pytest.raises(ValueError, match=r"is not (a saved encoder|'mace_jax table encoder 1')"):
            TableEncoder.load(tmp_path / "bad.json")


def test_synthetic_rows_are_decoded_to_the_nearest_table() -> None:
    encoder = TableEncoder.fit({"n": [0, 10], "x": [0.0, np.nan], "c": ["a", "b"]}, scaling="none")
    decoded = encoder.decode([[3.4, 0.25, 0.4, 0.2, 0.3], [9.6, 7.0, 0.6, 0.5, 0.5]])
    assert decoded["n"].tolist() == [3, 10] and decoded["c"].tolist() == ["b", "a"]
    np.testing.assert_array_equal(decoded["x"], [0.0, np.nan])  # a column of whole numbers, as far as it was seen


def test_tables_of_other_kinds_give_the_same() -> None:
    expected = TableEncoder.fit({"a": [1.5, 2.5], "b": ["x", "y"]}).encode({"b": ["y", "x"], "a": [2.5, 1.5]})
    structured = np.array([(2.5, "y"), (1.5, "x")], dtype=[("a", "f8"), ("b", "U1")])
    arrow = pa.table({"a": [2.5, 1.5], "b": ["y", "x"]})
    for table in (structured, arrow):
        np.testing.assert_array_equal(TableEncoder.fit(table).encode(table), expected)
    assert TableEncoder.fit(np.eye(2)).names == ("column 0", "column 1")


def test_a_constant_column_is_kept() -> None:
    encoder = TableEncoder.fit({"a": [7.5, 7.5]})
    assert encoder.encode({"a": [7.5, 8.5]}).ravel().tolist() == [0.0, 1.0]
    assert encoder.decode([[0.0], [1.0]])["a"].tolist() == [7.5, 8.5]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"a": [1.0], "b": ["z"]}, r"column 'b' holds 'z' in row 0 .*none of the 2 levels .*levels=\{'b': "),
        ({"a": [1.0], "b": [None]}, "column 'b' has 1 missing entries, first in row 0 .*missing='always'"),
        ({"a": [1.0, np.nan], "b": ["x", "y"]}, "column 'a' has 1 missing entries, first in row 1"),
        ({"a": [np.inf], "b": ["x"]}, "column 'a' holds infinity in row 0"),
        ({"a": [1.0]}, r"lacks the columns \['b'\]"),
        ({"a": [1.0], "b": ["x"], "c": [1]}, r"unknown columns \['c'\]"),
        ({"a": [1.0, 2.0], "b": ["x"]}, "different lengths"),
        ({}, "table has no columns"),
    ],
)
def test_tables_that_do_not_fit(table: dict, message: str) -> None:
    encoder = TableEncoder.fit({"a": [1.0, 2.0], "b": ["x", "y"]})
    with pytest.raises(ValueError, match=message):
        encoder.encode(table)


@pytest.mark.parametrize(
    ("table", "options", "error", "message"),
    [
        ({"a": [1, "x"]}, {}, TypeError, "several or unknown types .number, str."),
        ({"a": np.array(["2020-01-01"], "M8[D]")}, {}, TypeError, "column 'a' has dtype datetime64"),
        ({"a": [b"x"]}, {}, TypeError, "unknown types .bytes."),
        ({"a": [1, "x"]}, {"categorical": ["a"]}, TypeError, "labels of the types int, str"),
        ({"a": [None]}, {}, ValueError, "at least one is needed"),
        ({"a": [np.nan]}, {}, ValueError, "column 'a' has only missing entries"),
        ({"a": []}, {}, ValueError, "table has no rows"),
        ({"a": [1e308, -1e308]}, {}, ValueError, "too much to scale"),
        ({"a": ["x"]}, {"levels": {"a": ["y"]}}, ValueError, "holds 'x', which levels does not list"),
        ({"a": ["x"]}, {"levels": {"a": ["x", "x"]}}, ValueError, "each once"),
        ({"a": ["x"]}, {"categorical": ["b"]}, ValueError, "names the column 'b'"),
        ({"a": [1]}, {"scaling": "other"}, ValueError, "scaling='other'"),
        (3.0, {}, TypeError, "of type float is not a table"),
    ],
)
def test_tables_that_cannot_be_learned(table, options: dict, error: type, message: str) -> None:
    with np.errstate(over="ignore", invalid="ignore"), pytest.raises(error, match=message):
        TableEncoder.fit(table, **options)


def test_matrices_that_cannot_be_decoded() -> None:
    encoder = TableEncoder.fit({"a": [1.0, 2.0]})
    with pytest.raises(ValueError, match="matrix has 2 columns; the encoder makes and takes 1"):
        encoder.decode([[1.0, 2.0]])
    with pytest.raises(ValueError, match="matrix has NaN"):
        encoder.decode([[np.nan]])
    with pytest.raises(TypeError, match="holds numbers, but this table has dtype"):
        encoder.encode({"a": np.array(["x"])})
