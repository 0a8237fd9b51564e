"""What a training run starts from: records as numbers, their labels, and the settings of a model."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np
from numpy.typing import NDArray

from mace_jax import _validate
from mace_jax.data import TableEncoder, load_records
from mace_jax.datasets import Dataset, load

if TYPE_CHECKING:
    from mace_jax.models.gan import GAN
    from mace_jax.models.pigan import PIGAN
    from mace_jax.models.privgan import PrivGAN
    from mace_jax.models.vae import VAE
    from mace_jax.models.wgan_gp import WGANGP

    Settings = GAN | PIGAN | PrivGAN | VAE | WGANGP

__all__ = ["CLASSES", "MODELS", "STEPS", "Source", "choose_settings", "read_source"]

MODELS = {"gan": "GAN", "wgan-gp": "WGANGP", "privgan": "PrivGAN", "pigan": "PIGAN", "vae": "VAE"}
STEPS = 6_000
CLASSES = "class"
"""What ``labels`` is for a data set loaded by name, whose classes have no column."""

_VAE_EPOCHS, _VAE_BATCH = 300, 128


@final
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Source:
    """Records to split, as they are stored and as the numbers a model is trained on.

    ``records`` and ``labels`` are what a split is of; ``numbers`` are the records themselves, or what ``encoder`` makes
    of them. ``pixels`` tells whether all columns have one range.
    """

    records: NDArray[Any]
    labels: NDArray[np.int64]
    numbers: NDArray[Any]
    encoder: TableEncoder | None
    pixels: bool


def read_source(data: str, *, data_dir: str | os.PathLike[str] | None, labels: str | None) -> Source:
    """The records of a file, known by its suffix, or of a data set by name.

    A table with categories or missing numbers is encoded by a ``TableEncoder`` fitted on all its records alike, so
    that nothing in the numbers tells members from non-members.

    Raises:
        ValueError: there are no such labels; or as for ``mace_jax.datasets.load`` and ``mace_jax.data.load_records``.
    """
    if not Path(data).suffix[1:].isalpha():
        return _of_dataset(load(data, data_dir=data_dir), labels)
    if data_dir is not None:
        raise ValueError(f"data_dir={str(data_dir)!r} is for data sets by name, but data={data!r} is a file; drop it.")
    return _of_file(data, labels)


def _of_dataset(dataset: Dataset, labels: str | None) -> Source:
    """A data set by name."""
    if labels is not None and labels != CLASSES:
        raise ValueError(f"labels={labels!r} is no column of {dataset.name!r}; pass {CLASSES!r} for its classes.")
    if labels is not None and len(np.unique(dataset.labels)) < 2:
        raise ValueError(f"labels={labels!r}, but {dataset.name!r} has a single class; leave labels out.")
    encoder, numbers = None, dataset.records
    if dataset.levels or not np.isfinite(dataset.records).all():
        encoder = TableEncoder.fit(dataset.table, levels=dataset.levels)
        numbers = dataset.encoded(encoder).records
    return Source(dataset.records, dataset.labels, numbers, encoder, pixels=dataset.feature_range is not None)


def _of_file(file: str, labels: str | None) -> Source:
    """A file of numbers, one column of which may hold labels."""
    found = load_records(file)
    values, codes = found.values, np.zeros(len(found), np.int64)
    if labels is not None:
        if found.columns.count(labels) != 1:
            many = "several columns" if labels in found.columns else "no column"
            raise ValueError(f"labels={labels!r}: {file} has {many} of that name; it has {_listed(found.columns)}.")
        place = found.columns.index(labels)
        codes = _whole(file, labels, values[:, place])
        values = np.delete(values, place, axis=1)
        if values.shape[1] == 0:
            raise ValueError(f"labels={labels!r} is the only column of {file}; one more per record is needed.")
    return Source(values, codes, values, None, pixels=False)


def _listed(columns: tuple[str, ...]) -> str:
    return ", ".join(map(repr, columns[:20])) + (", ..." if len(columns) > 20 else "")


def _whole(file: str, labels: str, values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Labels as integers."""
    bad = (values != np.round(values)) | (np.abs(values) > 2.0**53)
    if bad.any():
        row = int(np.argmax(bad))
        raise ValueError(
            f"labels={labels!r}: {file} holds {values[row]:g} in row {row} (counting from 0) of that column; "
            "labels must be whole numbers, one per class."
        )
    return values.astype(np.int64)


def choose_settings(
    model: str, *, settings: str | os.PathLike[str] | None, published: bool, pixels: bool, n_members: int
) -> tuple[Settings, int]:
    """The settings of a model, and for how many steps to train it if nobody says.

    Without a file the defaults hold, with one range for all columns where they are pixels.

    Raises:
        FileNotFoundError: there is no such file.
        TypeError: a setting in the file is of the wrong type.
        ValueError: the file holds no settings of this model, or nothing is published for it.
    """
    from mace_jax import models

    kind = getattr(models, MODELS[_validate.one_of(tuple(MODELS), model=model)])
    if published:
        if settings is not None:
            raise ValueError(f"settings={str(settings)!r} and published exclude each other; pass one of them.")
        return _published(model, n_members)
    if settings is not None:
        return kind.from_dict(_read_json(settings)), STEPS
    return kind(scaling="common" if pixels else "per_column"), STEPS


def _published(model: str, n_members: int) -> tuple[Settings, int]:
    """Architecture and training length of the published run on MNIST and Fashion-MNIST."""
    from mace_jax.models import published, published_cvae

    if model == "gan":
        return published.privgan_mnist_gan(), published.privgan_gan_steps(n_members)
    if model == "privgan":
        return published.privgan_mnist(n_members), published.privgan_steps(n_members)
    if model == "vae":
        return published_cvae(), max(1, _VAE_EPOCHS * n_members // _VAE_BATCH)
    raise ValueError(f"nothing is published for model={model!r} here, only for gan, privgan and vae; pass settings.")


def _read_json(file: str | os.PathLike[str]) -> dict[str, Any]:
    """The dictionary in a JSON file."""
    if not Path(file).is_file():
        raise FileNotFoundError(f"settings={str(file)!r} is not a file; check the path.")
    try:
        values = json.loads(Path(file).read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"settings={str(file)!r} is not JSON ({error}); pass what to_dict returns.") from error
    if not isinstance(values, dict):
        raise ValueError(f"settings={str(file)!r} holds no dictionary; pass what to_dict returns.")
    return values
