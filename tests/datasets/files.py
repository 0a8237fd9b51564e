"""Small files in the formats that data sets come in, and what to do when real ones are absent."""

from __future__ import annotations

import gzip
import hashlib
import struct
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest

from mace_jax.datasets import Dataset

IDX_FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
ADULT_TRAIN = """\
39, State-gov, 77516, Bachelors, 13, Never-married, Adm-clerical, Not-in-family, White, Male, 2174, 0, 40, Cuba, <=50K
54, ?, 180211, Some-college, 10, Married-civ-spouse, ?, Husband, Black, Male, 0, 0, 60, South, >50K
28, Private, 338409, Bachelors, 13, Never-married, Prof-specialty, Wife, Black, Female, 0, 0, 40, Cuba, <=50K

"""
ADULT_TEST = """\
|1x3 Cross validator
25, Private, 226802, 11th, 7, Never-married, Machine-op-inspct, Own-child, Black, Male, 0, 0, 40, ?, <=50K.
44, Private, 160323, Some-college, 10, Divorced, Machine-op-inspct, Husband, Black, Male, 7688, 0, 40, Cuba, >50K.

"""


def missing(error: Exception) -> NoReturn:
    """Skip with the reason, which holds the command that brings the data."""
    pytest.skip(f"not on this machine: {error}")


def idx_bytes(array: np.ndarray) -> bytes:
    """The content of an IDX file."""
    head = b"\0\0\x08" + bytes([array.ndim]) + b"".join(struct.pack(">I", extent) for extent in array.shape)
    return head + array.astype(np.uint8).tobytes()


def write_images(folder: Path, sizes: tuple[int, int] = (7, 4), *, packed: bool) -> tuple[dict[str, str], np.ndarray]:
    """Four IDX files of random 28 x 28 images; their digests, and all images."""
    random = np.random.default_rng(0)
    digests, images = {}, []
    for name in IDX_FILES:
        n = sizes[name.startswith("t10k")]
        shape = (n, 28, 28) if "images" in name else (n,)
        array = random.integers(0, 256 if "images" in name else 10, shape)
        if "images" in name:
            images.append(array.reshape(n, -1))
        content = idx_bytes(array)
        digests[name] = hashlib.sha256(content).hexdigest()
        folder.joinpath(f"{name}.gz" if packed else name).write_bytes(gzip.compress(content) if packed else content)
    return digests, np.concatenate(images)


def write_adult(folder: Path) -> None:
    """Five records of Adult in its two files."""
    folder.joinpath("adult.data").write_text(ADULT_TRAIN)
    folder.joinpath("adult.test").write_text(ADULT_TEST)


def mixed() -> Dataset:
    """A small mixed table with missing entries and a level that no record has."""
    return Dataset(
        records=np.array([[30.0, 2, 0], [41.5, -1, 1], [np.nan, 0, 1], [30.0, 2, 0], [77.0, 0, -1]]),
        labels=np.array([0, 1, 1, 0, 1]),
        name="people",
        columns=("weight", "city", "answer"),
        record_shape=(3,),
        feature_range=None,
        class_names=("no", "yes"),
        source="made up",
        license="none",
        levels={"city": ("Bonn", "Oslo", "Rome"), "answer": ("no", "yes")},
        parts=(("train", 3), ("test", 2)),
    )
