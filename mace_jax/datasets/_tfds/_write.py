"""Data sets as prepared copies, and downloads by tensorflow_datasets itself."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from tensorflow_datasets.core.utils import tqdm_utils

from mace_jax.datasets._registry import Dataset

__all__ = ["OWN_FILE", "download_prepared", "quiet", "write_prepared"]

OWN_FILE = "mace_jax.json"
"""Beside a copy: what the data set says of itself and the features cannot."""

_VERSIONS = {"fashion_mnist": "3.0.1"}  # the version under which tensorflow_datasets looks for it


def write_prepared(dataset: Dataset, data_dir: Path) -> Path:
    """Write a data set as array_record below ``data_dir``, in its own order; returns the version folder.

    8-bit images become an image feature, other numbers one tensor, a mixed table one feature per column.
    """
    picture = (
        len(dataset.record_shape) in (2, 3)
        and (len(dataset.record_shape) == 2 or dataset.record_shape[2] in (1, 3))
        and dataset.feature_range == (0.0, 255.0)
    )
    features = dict(_written_features(dataset, picture))
    parts = dataset.parts or (("train", len(dataset)),)
    edges = np.cumsum([0, *(size for _, size in parts)])

    class Prepared(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        """Records that are already in memory."""

        name = dataset.name
        VERSION = tfds.core.Version(_VERSIONS.get(dataset.name, "1.0.0"))

        def _info(self) -> Any:
            return tfds.core.DatasetInfo(
                builder=self,
                description=dataset.source,
                features=tfds.features.FeaturesDict(features),
                supervised_keys=("image", "label") if picture else None,
                disable_shuffling=True,
            )

        def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
            return {
                name: self._generate_examples(int(low), int(high))
                for (name, _), low, high in zip(parts, edges[:-1], edges[1:], strict=True)
            }

        def _generate_examples(self, low: int, high: int) -> Iterator[tuple[int, dict[str, Any]]]:
            for row in range(low, high):
                yield row - low, _example(dataset, row, picture)

    builder = Prepared(data_dir=str(data_dir), file_format="array_record")
    with quiet():
        builder.download_and_prepare()
    folder = Path(builder.data_dir)
    about = {field.name: getattr(dataset, field.name) for field in dataclasses.fields(dataset)}
    for arrays in ("records", "labels"):
        del about[arrays]
    (folder / OWN_FILE).write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    return folder


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """No talk of downloads, of which there are none, and progress bars on a terminal only."""
    shown = getattr(tqdm_utils, "_active", True)
    tqdm_utils.display_progress_bar(shown and sys.stderr.isatty())
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        tqdm_utils.display_progress_bar(shown)


def _written_features(dataset: Dataset, picture: bool) -> Iterator[tuple[str, Any]]:
    """The features of a copy by name."""
    if picture:
        height, width, *channels = dataset.record_shape
        yield "image", tfds.features.Image(shape=(height, width, *(channels or [1])))
    elif dataset.levels:
        for name in dataset.columns:
            yield name, tfds.features.Text() if name in dataset.levels else tfds.features.Scalar(np.float64)
    else:
        yield "records", tfds.features.Tensor(shape=(dataset.records.shape[1],), dtype=np.float64)
    yield "label", tfds.features.ClassLabel(names=list(dataset.class_names))


def _example(dataset: Dataset, row: int, picture: bool) -> dict[str, Any]:
    """One record as its features."""
    values, label = dataset.records[row], int(dataset.labels[row])
    if picture:
        from PIL import Image

        return {"image": Image.fromarray(values.astype(np.uint8).reshape(dataset.record_shape)), "label": label}
    if not dataset.levels:
        return {"records": values.astype(np.float64), "label": label}
    entries: dict[str, Any] = {"label": label}
    for name, value in zip(dataset.columns, values.tolist(), strict=True):
        levels = dataset.levels.get(name)
        entries[name] = value if levels is None else "" if value < 0 else levels[int(value)]
    return entries


def download_prepared(name: str, data_dir: Path) -> None:
    """Let tensorflow_datasets download a data set and write it as array_record.

    Raises:
        ValueError: tensorflow_datasets does not know the name.
        RuntimeError: the download or its preparation failed; the message has the cause.
    """
    try:
        builder = tfds.builder(name, data_dir=str(data_dir), file_format="array_record")
    except (tfds.core.DatasetNotFoundError, ImportError) as error:
        raise ValueError(f"name={name!r} cannot be built by tensorflow_datasets here: {error}") from error
    try:
        builder.download_and_prepare()
    except Exception as error:  # network, checksums, extraction without TensorFlow: whatever the builder raises
        raise RuntimeError(
            f"tensorflow_datasets could not prepare {name!r} ({type(error).__name__}: {error}). Many of its builders "
            "unpack downloads with TensorFlow: install tensorflow, or get the files by hand and pass data_dir."
        ) from error
