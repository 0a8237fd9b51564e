"""Block minima and block counts of a mixed-type dissimilarity: what an exact search of tables filters with."""

from mace_jax_kernels.mixed_knn.api import BlockCounts, Packed, Terms, block_counts, block_minima, pack

__all__ = ["BlockCounts", "Packed", "Terms", "block_counts", "block_minima", "pack"]
