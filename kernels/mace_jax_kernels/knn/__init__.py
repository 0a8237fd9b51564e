"""Exact k nearest neighbors under the squared Euclidean distance."""

from mace_jax_kernels.knn.api import NearestNeighbors, knn
from mace_jax_kernels.knn.xla import group_minima, group_values, propose_block, propose_groups, rank_groups, shortened

__all__ = [
    "NearestNeighbors",
    "group_minima",
    "group_values",
    "knn",
    "propose_block",
    "propose_groups",
    "rank_groups",
    "shortened",
]
