"""Exact k nearest neighbors under the squared Euclidean distance."""

from mace_jax_kernels.knn.api import NearestNeighbors, knn
from mace_jax_kernels.knn.xla import propose_block, propose_groups, rank_groups

__all__ = ["NearestNeighbors", "knn", "propose_block", "propose_groups", "rank_groups"]
