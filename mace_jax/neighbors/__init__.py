"""Exact nearest neighbors and closed-ball counts: one verb each, several searches behind them."""

from mace_jax.neighbors._api import knn, radius_count
from mace_jax.neighbors._base import AbstractNeighborBackend, Neighbors
from mace_jax.neighbors._exact import ExactBackend
from mace_jax.neighbors._sorted import SortedBackend
from mace_jax.neighbors._tree import TreeBackend

__all__ = [
    "AbstractNeighborBackend",
    "ExactBackend",
    "Neighbors",
    "SortedBackend",
    "TreeBackend",
    "knn",
    "radius_count",
]
