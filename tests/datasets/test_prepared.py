from __future__ import annotations

import dataclasses
import json
import struct
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds

from mace_jax import datasets
from mace_jax.datasets import Dataset, _fashion_mnist, _tfds
from mace_jax.datasets._prepared import find_prepared
from mace_jax.datasets._tfds._write import quiet
from mace_jax.datasets._tfrecord import read_tfrecord
from tests.datasets.files import mixed, write_adult, write_images


@pytest.fixture(autouse=True)
def _no_network(monkeypatch):
    def refuse(*_args, **_kwargs):
        raise AssertionError("a connection was tried")

    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.delenv("TFDS_DATA_DIR", raising=False)


def images(n: int = 12) -> Dataset:
    random = np.random.default_rng(0)
    return Dataset(
        records=random.integers(0, 256, (n, 18)).astype(np.float32),
        labels=random.integers(0, 3, n),
        name="squares",
        columns=tuple(map(str, range(18))),
        record_shape=(3, 2, 3),
        feature_range=(0.0, 255.0),
        class_names=("a", "b", "c"),
        source="made up",
        license="none",
    )


def same(one: Dataset, other: Dataset) -> None:
    for field in dataclasses.fields(Dataset):
        a, b = getattr(one, field.name), getattr(other, field.name)
        if isinstance(a, np.ndarray):
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a, b)
        else:
            assert a == b, field.name


@pytest.mark.parametrize("make", [images, mixed])
def test_a_copy_reads_back_equal(tmp_path: Path, make, capfd) -> None:
    data = make()
    folder = _tfds.write_prepared(data, tmp_path)
    assert capfd.readouterr().out == ""
    assert folder == tmp_path / data.name / "1.0.0" == find_prepared(data.name, (tmp_path,))
    same(datasets.load(data.name, data_dir=tmp_path), data)
    assert datasets.prepare(data.name, tmp_path) == folder, "an existing copy is kept"


def test_the_environment_variable_is_a_place_to_look(tmp_path: Path, monkeypatch) -> None:
    _tfds.write_prepared(images(), tmp_path)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    same(datasets.load("squares"), images())


def test_without_our_own_description(tmp_path: Path) -> None:
    """What a copy that others prepared gives: names from its features, an empty text missing."""
    (_tfds.write_prepared(mixed(), tmp_path) / "mace_jax.json").unlink()
    found = datasets.load("people", data_dir=tmp_path)
    assert found.columns == ("answer", "city", "weight") and found.levels["city"] == ("Bonn", "Rome")
    assert found.table["city"].tolist() == mixed().table["city"].tolist()
    np.testing.assert_array_equal(found.table["weight"], mixed().table["weight"])
    assert found.class_names == ("no", "yes") and found.labels.tolist() == mixed().labels.tolist()
    assert found.source == "tensorflow_datasets people/1.0.0" and found.license == "not stated"


def test_digits_from_a_copy(tmp_path: Path) -> None:
    folder = datasets.prepare("digits", tmp_path)
    same(_tfds.read_prepared(folder), datasets.load("digits"))


def test_fashion_mnist_prepared_is_found_by_its_stock_name(tmp_path: Path, monkeypatch) -> None:
    raw, copy = tmp_path / "raw", tmp_path / "copy"
    raw.mkdir()
    digests, pixels = write_images(raw, packed=True)
    monkeypatch.setattr(_fashion_mnist, "CONTENT", digests)
    monkeypatch.setattr(_fashion_mnist, "SYSTEM_FOLDERS", (raw,))
    assert datasets.prepare("fashion_mnist", copy) == copy / "fashion_mnist" / "3.0.1"
    same(datasets.load("fashion_mnist", data_dir=copy), datasets.load("fashion_mnist"))
    test = tfds.data_source("fashion_mnist", split="test", data_dir=str(copy), download=False)
    assert np.array_equal([test[row]["image"].ravel() for row in range(4)], pixels[7:])


def test_adult_from_a_copy(tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    write_adult(copy)
    data = datasets.load("adult", data_dir=copy)
    datasets.prepare("adult", copy)
    for name in ("adult.data", "adult.test"):
        (copy / name).unlink()
    same(datasets.load("adult", data_dir=copy), data)


def as_tfrecord(folder: Path) -> None:
    """Turn an array_record copy into a tfrecord one."""
    from array_record.python.array_record_module import ArrayRecordReader

    for path in sorted(folder.glob("*.array_record-*")):
        reader = ArrayRecordReader(str(path))
        raw = reader.read([*range(reader.num_records())])
        framed = b"".join(struct.pack("<QI", len(entry), 0) + entry + b"\0\0\0\0" for entry in raw)
        path.with_name(path.name.replace("array_record", "tfrecord")).write_bytes(framed)
        path.unlink()
    info = folder / "dataset_info.json"
    about = json.loads(info.read_text())
    about["fileFormat"] = "tfrecord"
    for split in about["splits"]:
        split["filepathTemplate"] = split["filepathTemplate"].replace("array_record", "tfrecord")
    info.write_text(json.dumps(about))


@pytest.mark.parametrize("make", [images, mixed])
def test_copies_in_tfrecord_are_read_too(tmp_path: Path, make) -> None:
    as_tfrecord(_tfds.write_prepared(make(), tmp_path))
    same(datasets.load(make().name, data_dir=tmp_path), make())


def test_a_tfrecord_cut_short(tmp_path: Path) -> None:
    path = tmp_path / "a"
    whole = struct.pack("<QI", 3, 0) + b"abc" + b"\0" * 4
    path.write_bytes(whole * 2)
    assert list(read_tfrecord(path)) == [b"abc", b"abc"]
    for size in (5, 14, len(whole) + 3):
        path.write_bytes((whole * 2)[:size])
        with pytest.raises(ValueError, match="ends inside an entry"):
            list(read_tfrecord(path))


class Odd(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Features of every kind, two classes, or one that has no fixed shape."""

    VERSION = tfds.core.Version("2.0.0")
    ragged = False

    def _info(self):
        features = {
            "vector": tfds.features.Tensor(shape=(2,), dtype=np.int32),
            "nested": {"flag": np.bool_, "kind": tfds.features.ClassLabel(names=["x", "y"])},
            "target": tfds.features.ClassLabel(names=["p", "q"]),
        }
        if self.ragged:
            features["words"] = tfds.features.Sequence(np.int64)
        features = tfds.features.FeaturesDict(features)
        return tfds.core.DatasetInfo(builder=self, features=features, supervised_keys=("vector", "target"))

    def _split_generators(self, dl_manager):
        return {"test": self._generate_examples(2), "train": self._generate_examples(3)}

    def _generate_examples(self, n):
        for row in range(n):
            example = {"vector": [row, n], "nested": {"flag": row == 0, "kind": row % 2}, "target": 1}
            yield row, example | ({"words": [1] * row} if self.ragged else {})


def write_odd(folder: Path, **kwargs) -> None:
    with quiet():
        Odd(data_dir=str(folder), file_format="array_record", **kwargs).download_and_prepare()


def test_features_of_every_kind(tmp_path: Path) -> None:
    write_odd(tmp_path)
    found = datasets.load("odd", data_dir=tmp_path)
    assert found.columns == ("nested/flag", "nested/kind", "vector 0", "vector 1")
    assert found.parts == (("train", 3), ("test", 2)) and found.labels.tolist() == [1] * 5
    assert found.levels == {"nested/kind": ("x", "y")} and found.class_names == ("p", "q")
    order = np.lexsort((found.records[:, 2], -found.records[:, 3]))  # such a copy is shuffled within its splits
    expected = [[1, 0, 0, 3], [0, 1, 1, 3], [0, 0, 2, 3], [1, 0, 0, 2], [0, 1, 1, 2]]
    assert found.records[order].tolist() == expected


def test_features_without_a_fixed_shape_are_named(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(Odd, "ragged", True)
    write_odd(tmp_path)
    with pytest.raises(ValueError, match=r"the feature 'words' .* prepare the data set without it"):
        datasets.load("odd", data_dir=tmp_path)


def test_versions_and_configurations(tmp_path: Path) -> None:
    for name in ("one/1.0.0", "one/1.10.0", "one/1.9.0", "two/big/1.0.0", "two/small/1.0.0", "three/only/1.0.0"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "dataset_info.json").touch()
    (tmp_path / "one" / "2.0.0").mkdir()  # unfinished
    assert find_prepared("one", (tmp_path / "absent", tmp_path)) == tmp_path / "one" / "1.10.0"
    assert find_prepared("two/big", (tmp_path,)) == tmp_path / "two" / "big" / "1.0.0"
    assert find_prepared("three", (tmp_path,)) == tmp_path / "three" / "only" / "1.0.0"
    assert find_prepared("four", (tmp_path,)) is None and find_prepared("..", (tmp_path,)) is None
    with pytest.raises(ValueError, match=r"several configurations; pass one of 'two/big', 'two/small'"):
        find_prepared("two", (tmp_path,))


def test_downloads_happen_only_when_asked_for(tmp_path: Path, monkeypatch) -> None:
    asked = []
    monkeypatch.setattr(_fashion_mnist, "SYSTEM_FOLDERS", ())

    def fetch(name: str, folder: Path) -> None:
        asked.append(name)
        _tfds.write_prepared(dataclasses.replace(images(), name=name), folder)

    monkeypatch.setattr(_tfds, "download_prepared", fetch)
    with pytest.raises(FileNotFoundError):
        datasets.prepare("fashion_mnist", tmp_path)
    with pytest.raises(ValueError, match="is not a known data set"):
        datasets.prepare("mnist", tmp_path)
    assert asked == []
    assert datasets.prepare("mnist", tmp_path, download=True) == tmp_path / "mnist" / "1.0.0"
    assert datasets.prepare("fashion_mnist", tmp_path / "new", download=True).name == "3.0.1"
    assert asked == ["mnist", "fashion_mnist"]


def test_download_errors_say_what_to_do(tmp_path: Path, monkeypatch) -> None:
    with pytest.raises(ValueError, match="name='no_such_set' cannot be built"):
        _tfds.download_prepared("no_such_set", tmp_path)

    def fail(self):
        raise OSError("no route")

    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", fail)
    with pytest.raises(RuntimeError, match=r"could not prepare 'mnist' \(OSError: no route\).*install tensorflow"):
        _tfds.download_prepared("mnist", tmp_path)
