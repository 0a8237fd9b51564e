from __future__ import annotations

import gzip
import hashlib
import json
import struct
from pathlib import Path

import numpy as np
import pytest

from mace_jax import datasets
from mace_jax.datasets import _fashion_mnist
from mace_jax.datasets._idx import find_idx, read_idx
from mace_jax.neighbors import mixed_knn
from tests.datasets.files import IDX_FILES, idx_bytes, missing, mixed, write_adult, write_images


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("below", ["", "fashion_mnist", "fashion-mnist"])
def test_fashion_mnist_from_files(tmp_path: Path, monkeypatch, packed: bool, below: str) -> None:
    folder = tmp_path / below
    folder.mkdir(exist_ok=True)
    digests, images = write_images(folder, packed=packed)
    monkeypatch.setattr(_fashion_mnist, "CONTENT", digests)
    data = datasets.load("fashion_mnist", data_dir=tmp_path)
    assert data.records.dtype == np.float32 and np.array_equal(data.records, images)
    assert data.parts == (("train", 7), ("test", 4)) and data.labels.shape == (11,)
    assert data.record_shape == (28, 28) and data.columns[29] == "pixel_1_1"
    assert datasets.verify("fashion_mnist", data_dir=tmp_path) == folder


def test_files_of_another_data_set_are_refused(tmp_path: Path) -> None:
    write_images(tmp_path, packed=True)
    with pytest.raises(ValueError, match=r"train-images-idx3-ubyte.gz is not the published Fashion-MNIST file"):
        datasets.load("fashion_mnist", data_dir=tmp_path)


@pytest.mark.parametrize("shape", [(3,), (2, 4), (2, 3, 5)])
def test_idx_round_trip(tmp_path: Path, shape: tuple[int, ...]) -> None:
    array = np.random.default_rng(1).integers(0, 256, shape).astype(np.uint8)
    (tmp_path / "a").write_bytes(idx_bytes(array))
    found, digest = read_idx(tmp_path / "a")
    assert np.array_equal(found, array) and digest == hashlib.sha256(idx_bytes(array)).hexdigest()
    assert find_idx(tmp_path, "a") == tmp_path / "a" and find_idx(tmp_path, "b") is None


def test_damaged_idx_files(tmp_path: Path) -> None:
    path, content = tmp_path / "a", idx_bytes(np.arange(12).reshape(3, 4))
    for damaged, message in (
        (content[:-1], "holds 23 bytes where its header"),
        (content + b"x", "holds 25 bytes"),
        (content[:6], "holds 6 bytes"),
        (b"\0\0\x0d" + content[3:], "is not an IDX file of bytes"),
        (b"", "is not an IDX file"),
        (gzip.compress(content)[:-3], "cannot be decompressed"),
    ):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=message):
            read_idx(path)


def test_the_content_checked_is_what_was_published() -> None:
    """The files' gzip headers lost a name and a time; with both back they have the registered checksums."""
    try:
        folder = datasets.verify("fashion_mnist")
    except FileNotFoundError as error:
        missing(error)
    tfds = pytest.importorskip("tensorflow_datasets")
    registered = {info.filename: info.checksum for info in tfds.builder("fashion_mnist").url_infos.values()}
    for name in IDX_FILES:
        path = find_idx(folder, name)
        if path is None or path.suffix != ".gz":
            pytest.skip("the files are not compressed; apt-get install dataset-fashion-mnist brings those that are")
        raw = path.read_bytes()
        time = 1504176606 if name.startswith("train") else 1504176627
        if raw[3] & 8 == 0:
            raw = b"\x1f\x8b\x08\x08" + struct.pack("<I", time) + raw[8:10] + name.encode() + b"\0" + raw[10:]
        assert hashlib.sha256(raw).hexdigest() == registered[f"{name}.gz"]


@pytest.mark.parametrize("below", ["", "adult"])
def test_adult_from_files(tmp_path: Path, below: str) -> None:
    (tmp_path / below).mkdir(exist_ok=True)
    write_adult(tmp_path / below)
    data = datasets.load("adult", data_dir=tmp_path)
    assert data.parts == (("train", 3), ("test", 2)) and data.labels.tolist() == [0, 1, 0, 0, 1]
    table = data.table
    assert table["age"].tolist() == [39, 54, 28, 25, 44] and table["capital-gain"].tolist() == [2174, 0, 0, 0, 7688]
    assert table["workclass"].tolist() == ["State-gov", None, "Private", "Private", "Private"]
    assert table["native-country"].tolist() == ["Cuba", "South", "Cuba", None, "Cuba"]
    assert data.levels["workclass"] == ("Private", "State-gov") and len(data.categorical) == 8
    found = mixed_knn(table, table, 1, exclude_self=True, categorical=data.categorical)
    assert np.isfinite(found.distances).all()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1, 2, <=50K", r"adult.data, line 5: has 3 fields instead of 15"),
        ("x" + ", 1" * 13 + ", <=50K", r"line 5: age is 'x' instead of a whole number"),
        ("1, " * 14 + "rich", "the income is 'rich' instead of"),
        ("1, , " + "1, " * 12 + "<=50K", "workclass is '' instead of a category"),
    ],
)
def test_adult_lines_that_cannot_be_used(tmp_path: Path, line: str, message: str) -> None:
    write_adult(tmp_path)
    with (tmp_path / "adult.data").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(ValueError, match=message):
        datasets.load("adult", data_dir=tmp_path)


def test_a_mixed_table_tells_missing_from_levels() -> None:
    data = mixed()
    assert repr(data) == "Dataset('people', records=(5, 3), classes=2, categorical=2)"
    assert data.table["city"].tolist() == ["Rome", None, "Bonn", "Rome", "Bonn"]
    assert np.isnan(data.table["weight"][2]) and data.categorical == ("city", "answer")
    encoded = data.encoded()
    assert encoded.columns[:2] == ("weight", "weight is missing") and "city=Oslo" in encoded.columns
    assert np.isfinite(encoded.records).all() and encoded.levels == {} and encoded.record_shape == (9,)
    plain = json.loads(json.dumps(data.to_dict(), allow_nan=False))
    assert plain["records"][2] == [None, 0, 1] and plain["levels"]["answer"] == ["no", "yes"]


def test_take() -> None:
    data = mixed()
    assert data.take([4, 0]).table["city"].tolist() == ["Bonn", "Rome"] and data.take([0]).parts == ()
    assert data.take(data.labels == 1).labels.tolist() == [1, 1, 1]
    with pytest.raises(TypeError, match="rows must be one row number each"):
        data.take([0.5])
