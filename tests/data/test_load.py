from __future__ import annotations

import os
import pickle
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.ipc
import pyarrow.parquet
import pytest

from mace_jax.data import Records, common_columns, load_records

TABLE = {"age": [1.5, 2.5, 3.0], "<script>": [1, 2, 3], "flag": [True, False, True]}
EXPECTED = np.array([[1.5, 1, 1], [2.5, 2, 0], [3.0, 3, 1]])


def fails(path: Path, message: str, error: type[Exception] = ValueError) -> None:
    with pytest.raises(error, match=message) as caught:
        load_records(path)
    assert path.name in str(caught.value), "the message names the file"


def csv(tmp_path: Path, text: str | bytes, name: str = "records.csv") -> Path:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def write_stream(path: Path, table: pa.Table) -> None:
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)


@pytest.mark.parametrize(
    ("suffix", "write"),
    [
        (".parquet", lambda path, table: pa.parquet.write_table(table, path)),
        (".feather", lambda path, table: pa.feather.write_feather(table, str(path))),
        (".arrow", lambda path, table: pa.feather.write_feather(table, str(path), compression="uncompressed")),
        (".arrow", write_stream),
        (".PARQUET", lambda path, table: pa.parquet.write_table(table, path)),
    ],
)
def test_tables_keep_values_and_names(tmp_path: Path, suffix: str, write) -> None:
    path = tmp_path / f"table{suffix}"
    write(path, pa.table(TABLE))
    records = load_records(path)
    np.testing.assert_array_equal(records.values, EXPECTED)
    assert records.columns == ("age", "<script>", "flag")
    assert records.named and len(records) == 3 and repr(records) == "Records(3 rows, 3 columns)"
    assert records.values.dtype == np.float64 and records.values.flags.c_contiguous


def test_csv_with_header(tmp_path: Path) -> None:
    text = "age,<script>,flag\n1.5,1,true\n2.5,2,false\n3,3,true\n"
    records = load_records(csv(tmp_path, text))
    np.testing.assert_array_equal(records.values, EXPECTED)
    assert records.columns == ("age", "<script>", "flag")


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_csv_without_header(tmp_path: Path, mark: str, newline: str) -> None:
    text = newline.join(mark.join(row) for row in [["1", "2e-3"], ["-3", "4"]]) + newline
    records = load_records(csv(tmp_path, text))
    np.testing.assert_array_equal(records.values, [[1, 0.002], [-3, 4]])
    assert records.columns == ("column 0", "column 1") and not records.named


def test_csv_byte_order_mark_quotes_and_spaces(tmp_path: Path) -> None:
    records = load_records(csv(tmp_path, b'\xef\xbb\xbf"a, b",c\n1, 2\n3,4\n'))
    assert records.columns == ("a, b", "c")
    np.testing.assert_array_equal(records.values, [[1, 2], [3, 4]])
    bare = load_records(csv(tmp_path, b"\xef\xbb\xbf1,2\n3,4\n"))
    np.testing.assert_array_equal(bare.values, [[1, 2], [3, 4]])


def test_csv_column_that_mixes_integers_and_fractions(tmp_path: Path) -> None:
    text = "a\n" + "1\n" * 300_000 + "0.5\n"
    records = load_records(csv(tmp_path, text))
    assert len(records) == 300_001 and records.values[-1, 0] == 0.5


def test_csv_text_column_names_column_and_first_bad_row(tmp_path: Path) -> None:
    fails(csv(tmp_path, "age,city\n1,2\n3,Rome\n"), r"column 'city' is not numeric .*row 1 .*'Rome'.*Encode")
    fails(csv(tmp_path, "age,day\n1,2020-01-01\n"), "column 'day' is not numeric .*row 0")
    long = "x" * 500
    with pytest.raises(ValueError, match=r"x{40}\.\.\.") as caught:
        load_records(csv(tmp_path, f"age\n{long}\n"))
    assert long not in str(caught.value)


def test_csv_that_is_not_text(tmp_path: Path) -> None:
    fails(csv(tmp_path, b"a,b\n\xff\xfe,2\n"), "column 'a' is not numeric")
    fails(csv(tmp_path, b"\xff,b\n1,2\n"), "cannot be read as csv: 'utf-8' codec")
    fails(csv(tmp_path, b"\0\0\0"), "cannot be read as csv")


@pytest.mark.parametrize("text", ["a,b\n1,2\n3,4,5\n", "a,b\n1,2\n3\n"])
def test_csv_ragged_rows_name_the_line(tmp_path: Path, text: str) -> None:
    fails(csv(tmp_path, text), r"cannot be read as csv: Row #3: Expected 2 columns, got [13].*Check the file")


def test_csv_missing_values_are_counted(tmp_path: Path) -> None:
    fails(csv(tmp_path, "a,b\n1,2\n3,\n4,nan\n"), r"column 'b' has 2 missing values in 3 rows, first in row 1 .*impute")
    fails(csv(tmp_path, "1,\n3,4\n"), r"column 1 has 1 missing values in 2 rows, first in row 0")
    fails(csv(tmp_path, "a,b\n1,\n3,\n"), r"column 'b' has 2 missing values in 2 rows")


def test_csv_infinity(tmp_path: Path) -> None:
    fails(csv(tmp_path, "a,b\n1,2\n3,inf\n-inf,inf\n"), r"NaN or infinity in 2 of 3 rows, first in row 1 .*'b': inf")


def test_csv_without_rows(tmp_path: Path) -> None:
    fails(csv(tmp_path, ""), "is empty")
    fails(csv(tmp_path, "\n\n"), "only blank lines")
    fails(csv(tmp_path, "a,b\n"), "has no rows")


def test_csv_that_looks_numbered_or_indexed_warns(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="counts 0, 1, 2"):
        assert len(load_records(csv(tmp_path, "0,1,2\n5,6,7\n"))) == 2
    with pytest.warns(UserWarning, match="row index"):
        assert load_records(csv(tmp_path, ",a\n0,5\n1,6\n")).columns == ("column 0", "a")


def test_npy_of_every_numeric_kind(tmp_path: Path) -> None:
    path = tmp_path / "records.npy"
    for dtype in (bool, np.uint8, np.int64, np.float16, np.float32, ">f8"):
        np.save(path, np.array([[1, 0], [0, 1]], dtype=dtype))
        records = load_records(path)
        np.testing.assert_array_equal(records.values, np.eye(2))
        assert records.values.dtype == np.float64 and records.columns == ("column 0", "column 1")
    np.save(path, np.arange(3.0))
    assert load_records(str(path)).values.shape == (3, 1)


def test_npy_images_are_flattened(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 255, (5, 4, 3, 2), dtype=np.uint8)
    np.save(tmp_path / "images.npy", images)
    np.testing.assert_array_equal(load_records(tmp_path / "images.npy").values, images.reshape(5, 24))


def test_npy_structured(tmp_path: Path) -> None:
    np.save(tmp_path / "s.npy", np.array([(1, 2.5), (3, 4.5)], dtype=[("a", "i4"), ("b", "f8")]))
    records = load_records(tmp_path / "s.npy")
    assert records.columns == ("a", "b")
    np.testing.assert_array_equal(records.values, [[1, 2.5], [3, 4.5]])


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array(["a", "b"]), "dtype <U1, which is not numeric"),
        (np.array([1j, 2]), "dtype complex128"),
        (np.array(["2020-01-01"], dtype="datetime64[D]"), "not numeric"),
        (np.array(3.0), "single number"),
        (np.empty((0, 3)), "no rows"),
        (np.empty((3, 0)), "no columns"),
        (np.array([[1.0, 2.0], [np.nan, 1.0], [1.0, np.inf]]), r"in 2 of 3 rows, first in row 1 .*'column 0': nan"),
    ],
)
def test_npy_that_cannot_be_used(tmp_path: Path, array: np.ndarray, message: str) -> None:
    np.save(tmp_path / "bad.npy", array)
    fails(tmp_path / "bad.npy", message)


class Trap:
    def __reduce__(self):
        return (os.mkdir, ("unpickled",))


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_pickled_data_are_refused_and_never_run(tmp_path: Path, suffix: str, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    objects = np.array([Trap(), None], dtype=object)
    path = tmp_path / f"objects{suffix}"
    np.save(path, objects, allow_pickle=True) if suffix == ".npy" else np.savez(path, a=objects)
    fails(path, "pickled .*never loaded.*allow_pickle=False")
    raw = tmp_path / f"raw{suffix}"
    raw.write_bytes(pickle.dumps(Trap()))
    fails(raw, "pickled .*never loaded")
    assert not (tmp_path / "unpickled").exists()


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".parquet", ".arrow", ".feather"])
def test_broken_files(tmp_path: Path, suffix: str) -> None:
    whole = tmp_path / f"whole{suffix}"
    if suffix == ".npy":
        np.save(whole, np.arange(100.0))
    elif suffix == ".npz":
        np.savez(whole, np.arange(100.0))
    elif suffix == ".parquet":
        pa.parquet.write_table(pa.table(TABLE), whole)
    else:
        pa.feather.write_feather(pa.table(TABLE), str(whole))
    cut = tmp_path / f"cut{suffix}"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    fails(cut, f"cannot be read as {suffix[1:]}")
    empty = tmp_path / f"empty{suffix}"
    empty.touch()
    fails(empty, "is empty")


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".parquet", ".arrow"])
def test_damaged_bytes_give_records_or_our_error(tmp_path: Path, suffix: str) -> None:
    random = np.random.default_rng(0)
    path = tmp_path / f"damaged{suffix}"
    if suffix == ".npy":
        np.save(path, np.arange(20.0).reshape(5, 4))
    elif suffix == ".npz":
        np.savez(path, a=np.arange(5), b=np.arange(5))
    elif suffix == ".parquet":
        pa.parquet.write_table(pa.table(TABLE), path)
    else:
        pa.feather.write_feather(pa.table(TABLE), str(path))
    whole = np.frombuffer(path.read_bytes(), dtype=np.uint8)
    refused = 0
    for _ in range(150):
        damaged = whole.copy()
        damaged[random.integers(0, len(whole), 3)] = random.integers(0, 256, 3)
        path.write_bytes(damaged.tobytes()[: random.integers(1, 2 * len(whole))])
        try:
            assert np.isfinite(load_records(path).values).all()
        except ValueError as error:
            assert str(path) in str(error)
            refused += 1
    assert refused > 50


def test_npz_of_one_array(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", np.eye(2))
    assert load_records(tmp_path / "a.npz").columns == ("column 0", "column 1")
    np.savez(tmp_path / "b.npz", loss=np.arange(3))
    assert load_records(tmp_path / "b.npz").columns == ("loss",)
    np.savez_compressed(tmp_path / "c.npz", records=np.eye(3))
    np.testing.assert_array_equal(load_records(tmp_path / "c.npz").values, np.eye(3))


def test_npz_of_several_arrays(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", loss=np.arange(3), feature=np.arange(6.0).reshape(3, 2))
    records = load_records(tmp_path / "a.npz")
    assert records.columns == ("loss", "feature 0", "feature 1")
    np.testing.assert_array_equal(records.values, [[0, 0, 1], [1, 2, 3], [2, 4, 5]])
    np.savez(tmp_path / "b.npz", a=np.arange(3), b=np.arange(4))
    fails(tmp_path / "b.npz", r"different lengths \(a: 3, b: 4\)")
    np.savez(tmp_path / "c.npz")
    fails(tmp_path / "c.npz", "holds no arrays")
    np.savez(tmp_path / "d.npz", a=np.arange(2), b=np.array(["x", "y"]))
    fails(tmp_path / "d.npz", "array 'b', has dtype <U1")


def test_paths_that_hold_no_records(tmp_path: Path) -> None:
    fails(tmp_path / "absent.npy", "does not exist; check the path", FileNotFoundError)
    (tmp_path / "folder.npy").mkdir()
    fails(tmp_path / "folder.npy", "is a directory")
    (tmp_path / "records.pkl").write_bytes(b"x")
    fails(tmp_path / "records.pkl", r"unknown suffix '\.pkl'; use one of \.arrow, \.csv")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser may read every file")
@pytest.mark.parametrize("suffix", [".npy", ".csv", ".parquet", ".arrow"])
def test_unreadable_file(tmp_path: Path, suffix: str) -> None:
    path = csv(tmp_path, "1,2\n", f"secret{suffix}")
    path.chmod(0)
    fails(path, "may not be read", PermissionError)


@pytest.mark.parametrize("suffix", [".npy", ".csv"])
def test_permission_error_names_the_remedy(tmp_path: Path, monkeypatch, suffix: str) -> None:
    def refuse(*_args, **_kwargs):
        raise PermissionError(13, "Permission denied")

    path = csv(tmp_path, "1,2\n", f"secret{suffix}")
    monkeypatch.setattr(Path, "open", refuse)
    fails(path, "may not be read by this user", PermissionError)


def test_table_columns_that_are_not_numbers(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    pa.parquet.write_table(pa.table({"a": [1, 2], "v": [[1.0], [2.0]]}), path)
    fails(path, "column 'v' is not numeric .*list")
    pa.parquet.write_table(pa.table({"a": pa.array(["x", "y"]).dictionary_encode()}), path)
    fails(path, "column 'a' is not numeric")
    pa.parquet.write_table(pa.table({"a": [1.0, None, 2.0]}), path)
    fails(path, "column 'a' has 1 missing values in 3 rows, first in row 1")
    pa.parquet.write_table(pa.table({"a": [1.0, float("nan")]}), path)
    fails(path, "NaN or infinity in 1 of 2 rows, first in row 1")


def test_table_types_that_convert(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    columns = {
        "decimal": pa.array([1, 2], pa.int64()).cast(pa.decimal128(20, 1)),
        "coded": pa.array([5, 6]).dictionary_encode(),
        "small": pa.array([1, 2], pa.uint8()),
        "half": pa.array(np.array([0.5, 1.5], np.float16)),
        "__index_level_0__": pa.array([7, 8]),
    }
    pa.parquet.write_table(pa.table(columns), path)
    records = load_records(path)
    assert records.columns == ("decimal", "coded", "small", "half"), "a stored index is not a feature"
    np.testing.assert_array_equal(records.values, [[1, 5, 1, 0.5], [2, 6, 2, 1.5]])


def test_records_are_array_like_and_plain(tmp_path: Path) -> None:
    records = Records(values=np.eye(2), columns=("a", "b"))
    np.testing.assert_array_equal(np.asarray(records), np.eye(2))
    assert records.to_dict() == {"values": [[1.0, 0.0], [0.0, 1.0]], "columns": ["a", "b"]}


def test_common_columns() -> None:
    named = Records(np.eye(2), ("a", "b"))
    other = Records(np.eye(2), ("a", "c"))
    plain = Records(np.eye(2), ("column 0", "column 1"))
    assert common_columns(members=named, nonmembers=plain) == ("a", "b")
    assert common_columns(members=plain, nonmembers=plain) is None
    with pytest.raises(ValueError, match="column 1 is called 'b' in members but 'c' in nonmembers"):
        common_columns(members=named, nonmembers=other)
    with pytest.raises(ValueError, match="members has 2 columns but synthetic has 1"):
        common_columns(members=named, synthetic=Records(np.ones((2, 1)), ("a",)))


def test_pyarrow_is_imported_only_when_a_table_is_read() -> None:
    code = "import sys, mace_jax.data; print('pyarrow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert re.fullmatch(r"False\s*", done.stdout)
