"""Empty FAISS indexes and their first settings."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from mace_jax import _random

__all__ = ["IndexSettings", "first_breadth", "new_handle", "padded_width"]

_LINKS = 32  # neighbors of a node in the graph
_ROWS_PER_LIST = 39  # training rows below which FAISS calls a list poorly trained
_MOST_PER_LIST = 96  # and beyond which they only cost time


class IndexSettings(Protocol):
    """What the shape of an index depends on."""

    @property
    def index(self) -> str: ...
    @property
    def n_lists(self) -> int | None: ...
    @property
    def n_probe(self) -> int | None: ...
    @property
    def train_rows(self) -> int: ...
    @property
    def seed(self) -> int: ...


def new_handle(faiss: Any, settings: IndexSettings, m: int, width: int) -> Any:
    """An empty index of the kind asked for."""
    if settings.index == "flat":
        return faiss.IndexFlatL2(width)
    if settings.index == "hnsw":
        handle = faiss.IndexHNSWFlat(width, _LINKS)
        handle.hnsw.efConstruction = 80
        return handle
    sample = min(m, settings.train_rows)
    cells = settings.n_lists or int(2 ** round(np.log2(max(1.0, m**0.5))))
    cells = min(cells, sample if settings.n_lists else max(1, sample // _ROWS_PER_LIST))
    coarse = faiss.IndexFlatL2(width)
    if settings.index == "ivf":
        handle = faiss.IndexIVFFlat(coarse, width, cells)
    else:
        handle = faiss.IndexIVFPQFastScan(coarse, width, cells, width // 2, 4)
        handle.pq.cp.seed = _small(settings.seed)
        handle.pq.cp.min_points_per_centroid = 1
    handle.cp.seed, handle.cp.min_points_per_centroid = _small(settings.seed), 1
    handle.cp.niter, handle.cp.max_points_per_centroid = 10, _MOST_PER_LIST
    return handle


def _small(seed: int) -> int:
    """A seed that fits a C int."""
    return int(_random.generator(seed, "faiss", "cells").integers(1 << 31))


def padded_width(settings: IndexSettings, d: int) -> int:
    """Columns of the mapped rows: codes describe pairs of columns."""
    return d + d % 2 if settings.index == "ivfpq" else d


def first_breadth(settings: IndexSettings, handle: Any) -> int:
    """Cells, or entries of the queue, visited before any tuning."""
    if settings.index == "flat":
        return 0
    if settings.index == "hnsw":
        return settings.n_probe or 64
    return min(settings.n_probe or 16, int(handle.nlist))
