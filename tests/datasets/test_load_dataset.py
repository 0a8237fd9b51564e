from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mace_jax import datasets


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


def test_what_is_promised_is_what_comes() -> None:
    for spec in datasets.available():
        data = datasets.load(spec.name)
        assert (data.name, len(data), data.record_shape) == (spec.name, spec.n_records, spec.record_shape)
        assert data.source and data.license and spec.description
        plain = json.loads(json.dumps(data.to_dict()))
        assert len(plain["records"]) == spec.n_records and plain["columns"] == list(data.columns)


def test_loading_twice_gives_separate_equal_arrays() -> None:
    first, second = datasets.load("digits"), datasets.load("digits")
    first.records[0, 0] = 99.0
    assert second.records[0, 0] != 99.0


def test_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(
        ValueError, match=r"name='didgits' is not a known data set; use one of 'breast_cancer', 'digits'"
    ):
        datasets.load("didgits")


def test_data_dir_has_to_exist(tmp_path: Path) -> None:
    assert len(datasets.load("digits", data_dir=tmp_path)) == 1797
    with pytest.raises(FileNotFoundError, match="absent' is not a folder"):
        datasets.load("digits", data_dir=tmp_path / "absent")
