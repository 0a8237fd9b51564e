"""Which search ``backend="auto"`` stands for."""

from __future__ import annotations

import jax

from mace_jax.neighbors._base import AbstractNeighborBackend
from mace_jax.neighbors._exact import ExactBackend
from mace_jax.neighbors._faiss import FaissBackend
from mace_jax.neighbors._sorted import SortedBackend
from mace_jax.neighbors._tree import TreeBackend

__all__ = ["choose", "resolve"]

_BACKENDS = {"exact": ExactBackend, "tree": TreeBackend, "sorted": SortedBackend, "faiss": FaissBackend}
SMALL_WORK = 100_000_000


def choose(n_queries: int, n_reference: int, d: int, k: int) -> AbstractNeighborBackend:
    """One feature: sorting. Few features, or too little work to pay for compiling: the tree. Else the kernel.

    A tree visits few rows up to about 8 features and nearly all of them beyond 10, where tiled matrix products are
    faster. On an accelerator the kernel takes everything but one feature and small work.
    """
    if d == 1:
        return SortedBackend()
    if n_queries * n_reference * d <= SMALL_WORK:
        return TreeBackend()
    if jax.default_backend() == "cpu" and (d <= 8 or (d <= 10 and k <= 16)):
        return TreeBackend()
    return ExactBackend()


def resolve(
    backend: str | AbstractNeighborBackend, n_queries: int, n_reference: int, d: int, k: int
) -> AbstractNeighborBackend:
    """The backend object that an argument names."""
    if isinstance(backend, AbstractNeighborBackend):
        return backend
    if backend == "auto":
        return choose(n_queries, n_reference, d, k)
    if isinstance(backend, str) and backend in _BACKENDS:
        if backend == "sorted" and d != 1:
            raise ValueError(f"backend='sorted' needs records of one column, got {d}; use backend='auto'.")
        return _BACKENDS[backend]()
    raise ValueError(
        f"backend={backend!r} is unknown; use 'auto', 'exact', 'tree', 'sorted', 'faiss' or an "
        "AbstractNeighborBackend object."
    )
