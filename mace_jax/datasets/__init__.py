"""Data sets by name, and pairs of distributions whose leakage is known in closed form."""

from __future__ import annotations

import os
from pathlib import Path

from mace_jax.datasets import _closed_form as closed_form
from mace_jax.datasets._packaged import PACKAGED
from mace_jax.datasets._registry import Dataset, DatasetSpec

__all__ = ["Dataset", "DatasetSpec", "available", "closed_form", "load"]

_SPECS = {spec.name: spec for spec in PACKAGED}


def available() -> tuple[DatasetSpec, ...]:
    """The data sets that ``load`` knows, in alphabetical order.

    Example:
        >>> [spec.name for spec in available()]
        ['breast_cancer', 'digits']
    """
    return tuple(_SPECS[name] for name in sorted(_SPECS))


def load(name: str, *, data_dir: str | os.PathLike[str] | None = None) -> Dataset:
    """Load a data set by name; nothing is downloaded.

    Args:
        name: One of ``available()``.
        data_dir: Folder of prepared data. The data sets known today come with the installation and do not read it,
            but it has to exist if it is given.

    Returns:
        Records as float64 ``(n, d)`` with integer labels, in the order of the source.

    Raises:
        ValueError: the name is unknown; the message lists the known ones.
        FileNotFoundError: ``data_dir`` is given and is not a folder.

    Example:
        >>> load("digits")
        Dataset('digits', records=(1797, 64), classes=10)
    """
    if data_dir is not None and not Path(data_dir).is_dir():
        raise FileNotFoundError(f"data_dir={os.fspath(data_dir)!r} is not a folder; leave it out or create it.")
    spec = _SPECS.get(name)
    if spec is None:
        known = ", ".join(repr(spec.name) for spec in available())
        raise ValueError(f"name={name!r} is not a known data set; use one of {known}.")
    return spec.load()
