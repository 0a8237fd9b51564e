"""Prepared copies as data sets."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import tensorflow_datasets as tfds
from numpy.typing import NDArray

from mace_jax.datasets._registry import Dataset, pixel_names
from mace_jax.datasets._tfds._write import OWN_FILE
from mace_jax.datasets._tfrecord import read_tfrecord

__all__ = ["read_prepared"]

_BLOCK = 1000
_ORDER = ("train", "validation", "test")


@dataclasses.dataclass(frozen=True, eq=False)
class _Column:
    """One feature of the prepared set: where it is, and what becomes of it."""

    path: tuple[str, ...]
    kind: str  # image, number, text, class
    shape: tuple[int, ...]
    levels: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return "/".join(self.path)

    @property
    def width(self) -> int:
        return math.prod(self.shape)

    @property
    def names(self) -> tuple[str, ...]:
        """One name per number."""
        if self.kind == "image":
            return pixel_names(self.shape)
        return (self.name,) if self.shape == () else tuple(f"{self.name} {place}" for place in range(self.width))

    def of(self, row: dict[str, Any]) -> Any:
        """This feature of one record."""
        for step in self.path:
            row = row[step]
        return row


def read_prepared(folder: Path) -> Dataset:
    """The data set in a version folder, all splits in the order train, validation, test, then by name.

    Images are flattened and numbers stacked; text and further classes become categorical columns, an empty text
    missing. The label is the supervised target if that is a class, otherwise the only class there is.

    Raises:
        ValueError: a feature has no fixed shape or is neither number, image, class nor text; or the format is unknown.
    """
    builder = tfds.builder_from_directory(str(folder))
    label, columns = _plan(builder.info, folder)
    splits = sorted(builder.info.splits, key=lambda name: (_ORDER.index(name) if name in _ORDER else 9, name))
    sizes = [int(builder.info.splits[name].num_examples) for name in splits]
    n, width = sum(sizes), sum(column.width for column in columns)
    pictures = all(column.kind == "image" for column in columns)
    records: NDArray[Any] = np.empty((n, width), np.float32 if pictures else np.float64)
    labels = np.zeros(n, np.int64)
    texts: dict[str, list[str]] = {column.name: [] for column in columns if column.kind == "text"}
    start = 0
    for rows in _blocks(builder, splits, folder):
        _fill(rows, columns, records[start : start + len(rows)], texts)
        if label is not None:
            labels[start : start + len(rows)] = [label.of(row) for row in rows]
        start += len(rows)
    if start != n:
        raise ValueError(f"{folder} holds {start} records where its description promises {n}; prepare it again.")
    levels = {column.name: column.levels for column in columns if column.kind == "class"}
    place = 0
    for column in columns:
        if column.kind == "text":
            levels[column.name], records[:, place] = _codes(texts[column.name])
        place += column.width
    info = builder.info
    found = Dataset(
        records=records,
        labels=labels,
        name=info.full_name.rpartition("/")[0],
        columns=tuple(name for column in columns for name in column.names),
        record_shape=columns[0].shape if len(columns) == 1 and columns[0].shape else (width,),
        feature_range=(0.0, 255.0) if pictures else None,
        class_names=label.levels if label is not None else ("unlabelled",),
        source=f"tensorflow_datasets {info.full_name}",
        license=info.redistribution_info.license or "not stated",
        levels=levels,
        parts=tuple(zip(splits, sizes, strict=True)),
    )
    return _as_written(found, folder)


def _plan(info: Any, folder: Path) -> tuple[_Column | None, list[_Column]]:
    """The label, if there is one, and the columns of the records."""
    found = list(_features(info.features, (), folder))
    classes = [column for column in found if column.kind == "class"]
    target = info.supervised_keys[1] if info.supervised_keys else None
    label = next((column for column in classes if column.name == target), None)
    if label is None and len(classes) == 1:
        label = classes[0]
    columns = [column for column in found if column is not label]
    if not columns:
        raise ValueError(f"{folder} has no feature besides its label.")
    return label, columns


def _features(features: Any, path: tuple[str, ...], folder: Path) -> Iterator[_Column]:
    """Every feature, those inside others too."""
    for name, feature in sorted(features.items()):  # stored in no order
        here = (*path, name)
        if isinstance(feature, tfds.features.FeaturesDict):
            yield from _features(feature, here, folder)
            continue
        yield _column(feature, here, folder)


def _column(feature: Any, path: tuple[str, ...], folder: Path) -> _Column:
    """One feature that can be a column or several."""
    kinds = tfds.features
    shape = feature.shape
    fixed = isinstance(shape, tuple) and None not in shape
    if fixed and type(feature) is kinds.Image and feature.np_dtype == np.uint8:
        return _Column(path, "image", shape[:2] if shape[2] == 1 else shape)
    if isinstance(feature, kinds.ClassLabel) and feature.num_classes is not None:
        return _Column(path, "class", (), tuple(feature.int2str(code) for code in range(feature.num_classes)))
    if type(feature) in (kinds.Scalar, kinds.Tensor, kinds.Text) and fixed:
        dtype = np.dtype(cast(Any, feature.np_dtype))
        if dtype.kind in "biuf":
            return _Column(path, "number", shape)
        if dtype.kind in "OSU" and shape == ():
            return _Column(path, "text", ())
    raise ValueError(
        f"{folder}: the feature {'/'.join(path)!r} ({feature!r}) is not a number, image, class or text of one shape "
        "for all records; prepare the data set without it."
    )


def _blocks(builder: Any, splits: list[str], folder: Path) -> Iterator[list[dict[str, Any]]]:
    """Records of all splits in order, some at a time."""
    written = builder.info.file_format.value
    for split in splits:
        if written == "array_record":
            source = builder.as_data_source(split=split)
            for start in range(0, len(source), _BLOCK):
                yield source.__getitems__(range(start, min(start + _BLOCK, len(source))))
        elif written == "tfrecord":
            rows: list[dict[str, Any]] = []
            for path in builder.info.splits[split].filepaths:
                for raw in read_tfrecord(Path(path)):
                    rows.append(builder.info.features.deserialize_example_np(raw))
                    if len(rows) == _BLOCK:
                        yield rows
                        rows = []
            if rows:
                yield rows
        else:
            raise ValueError(
                f"{folder} was prepared as {written}, which cannot be read reliably; prepare it with "
                "file_format='array_record'."
            )


def _fill(rows: list[dict[str, Any]], columns: list[_Column], out: NDArray[Any], texts: dict[str, list[str]]) -> None:
    """Numbers of some records into their place, texts to the end of their lists."""
    place = 0
    for column in columns:
        values = [column.of(row) for row in rows]
        if column.kind == "text":
            texts[column.name] += [value.decode() if isinstance(value, bytes) else str(value) for value in values]
        else:
            out[:, place : place + column.width] = np.asarray(values).reshape(len(rows), column.width)
        place += column.width


def _codes(texts: list[str]) -> tuple[tuple[str, ...], NDArray[np.float64]]:
    """Sorted levels, and the level of every text; -1 for an empty one."""
    levels = tuple(sorted(set(texts) - {""}))
    codes = {level: code for code, level in enumerate(levels)} | {"": -1}
    return levels, np.array([codes[text] for text in texts], np.float64)


def _as_written(found: Dataset, folder: Path) -> Dataset:
    """The description of a copy that ``write_prepared`` made, which says more than the features can."""
    path = folder / OWN_FILE
    if not path.is_file():
        return found
    about = json.loads(path.read_text(encoding="utf-8"))
    levels = {name: tuple(entries) for name, entries in about["levels"].items()}
    records = found.records
    if set(found.columns) == set(about["columns"]):  # found in the order of their names
        records = np.ascontiguousarray(records[:, [found.columns.index(name) for name in about["columns"]]])
    for place, name in enumerate(about["columns"]):
        if name in levels:  # levels that no record has shift the positions
            moved = np.array([*(levels[name].index(level) for level in found.levels[name]), -1], np.float64)
            records[:, place] = moved[records[:, place].astype(np.int64)]
    return dataclasses.replace(
        found,
        records=records,
        name=about["name"],
        columns=tuple(about["columns"]),
        record_shape=tuple(about["record_shape"]),
        feature_range=tuple(about["feature_range"]) if about["feature_range"] else None,
        class_names=tuple(about["class_names"]),
        source=about["source"],
        license=about["license"],
        levels=levels,
        parts=tuple((name, size) for name, size in about["parts"]),
    )
