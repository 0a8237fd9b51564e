"""Nearest neighbors and closed-ball counts: one verb each, several searches behind them; exact unless asked not to."""

from mace_jax.neighbors._api import knn, radius_count
from mace_jax.neighbors._base import AbstractNeighborBackend, Neighbors
from mace_jax.neighbors._density import log_kde
from mace_jax.neighbors._exact import ExactBackend
from mace_jax.neighbors._faiss import ApproximateNeighbors, FaissBackend, FaissIndex
from mace_jax.neighbors._gower import Gower
from mace_jax.neighbors._mixed import MixedNeighbors, mixed_knn, mixed_radius_count
from mace_jax.neighbors._paired import PairedNeighbors, paired_knn
from mace_jax.neighbors._sorted import SortedBackend
from mace_jax.neighbors._stream import knn_stream
from mace_jax.neighbors._tree import TreeBackend

__all__ = [
    "AbstractNeighborBackend",
    "ApproximateNeighbors",
    "ExactBackend",
    "Gower",
    "MixedNeighbors",
    "FaissBackend",
    "FaissIndex",
    "Neighbors",
    "PairedNeighbors",
    "SortedBackend",
    "TreeBackend",
    "knn",
    "log_kde",
    "mixed_knn",
    "mixed_radius_count",
    "knn_stream",
    "paired_knn",
    "radius_count",
]
