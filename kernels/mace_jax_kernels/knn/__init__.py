"""Exact k nearest neighbors under the squared Euclidean distance."""

from mace_jax_kernels.knn.api import NearestNeighbors, knn
from mace_jax_kernels.knn.short import byte_minima, query_bytes, reference_bytes, shortened
from mace_jax_kernels.knn.xla import group_minima, propose_block, propose_groups, rank_groups

__all__ = [
    "NearestNeighbors",
    "byte_minima",
    "group_minima",
    "knn",
    "propose_block",
    "propose_groups",
    "query_bytes",
    "rank_groups",
    "reference_bytes",
    "shortened",
]
