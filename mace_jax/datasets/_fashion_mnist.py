"""Fashion-MNIST: from its four IDX files, or from a copy prepared by TensorFlow Datasets."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mace_jax.datasets._folders import absent
from mace_jax.datasets._idx import find_idx, read_idx
from mace_jax.datasets._prepared import find_prepared
from mace_jax.datasets._registry import Dataset, DatasetSpec, pixel_names

__all__ = ["FASHION_MNIST", "verify_fashion_mnist"]

CONTENT = {  # SHA-256 of the uncompressed files
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}
SYSTEM_FOLDERS = (
    Path("/usr/share/datasets/fashion-mnist"),
    Path("/usr/local/share/datasets/fashion-mnist"),
    Path(sys.prefix, "share/datasets/fashion-mnist"),
)
_REMEDIES = (
    "apt-get install dataset-fashion-mnist",
    "pass data_dir with the four files train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and "
    "t10k-labels-idx1-ubyte, each plain or .gz",
    "mace_jax.datasets.prepare('fashion_mnist', data_dir, download=True), which uses the network",
)
_SHAPE = (28, 28)
_ABOUT = {
    "name": "fashion_mnist",
    "columns": pixel_names(_SHAPE),
    "record_shape": _SHAPE,
    "feature_range": (0.0, 255.0),
    "class_names": (
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ),
    "source": "Fashion-MNIST, Zalando Research (H. Xiao, K. Rasul, R. Vollgraf 2017, arXiv:1708.07747)",
    "license": "MIT",
}


def verify_fashion_mnist(folders: tuple[Path, ...]) -> Path:
    """The first folder with the four files, if their content is that of Fashion-MNIST.

    Raises:
        FileNotFoundError: no folder has the files.
        ValueError: a file differs from the published one.
    """
    folder = _with_files((*_raw_folders(folders), *SYSTEM_FOLDERS))
    if folder is None:
        raise _absent(folders)
    for name in CONTENT:
        _read(folder, name)
    return folder


def _raw_folders(folders: tuple[Path, ...]) -> Iterator[Path]:
    """Where the IDX files may lie, apart from the system's folders."""
    for folder in folders:
        yield from (folder, folder / "fashion_mnist", folder / "fashion-mnist")


def _with_files(places: tuple[Path, ...]) -> Path | None:
    """The first folder that holds all four files."""
    return next((place for place in places if all(find_idx(place, name) for name in CONTENT)), None)


def _absent(folders: tuple[Path, ...]) -> FileNotFoundError:
    return absent("fashion_mnist", (*_raw_folders(folders), *SYSTEM_FOLDERS), _REMEDIES)


def _load(folders: tuple[Path, ...]) -> Dataset:
    """Train records, then test records, 70,000 in all; in each folder the files come before a prepared copy."""
    for folder in folders:
        files = _with_files(tuple(_raw_folders((folder,))))
        if files is not None:
            return _from_files(files)
        prepared = find_prepared("fashion_mnist", (folder,))
        if prepared is not None:
            from mace_jax.datasets._tfds import read_prepared

            return dataclasses.replace(read_prepared(prepared), **_ABOUT)
    files = _with_files(SYSTEM_FOLDERS)
    if files is None:
        raise _absent(folders)
    return _from_files(files)


def _from_files(folder: Path) -> Dataset:
    """The data set out of its four files."""
    images = [_read(folder, f"{part}-images-idx3-ubyte") for part in ("train", "t10k")]
    labels = [_read(folder, f"{part}-labels-idx1-ubyte") for part in ("train", "t10k")]
    records = np.concatenate([part.reshape(len(part), -1) for part in images], dtype=np.float32)
    sizes = tuple(zip(("train", "test"), map(len, images), strict=True))
    return Dataset(records=records, labels=np.concatenate(labels, dtype=np.int64), parts=sizes, **_ABOUT)


def _read(folder: Path, name: str) -> np.ndarray:
    """The array of one file whose content has been checked."""
    path = find_idx(folder, name)
    assert path is not None
    array, digest = read_idx(path)
    if digest != CONTENT[name]:
        raise ValueError(
            f"{path} is not the published Fashion-MNIST file: its content has SHA-256 {digest}, expected "
            f"{CONTENT[name]}. MNIST and others use the same file names; check where it came from."
        )
    return array


FASHION_MNIST = DatasetSpec(
    "fashion_mnist", 70_000, _SHAPE, "articles of clothing, 28 x 28 gray levels, 10 classes", _load
)
