"""Sums of weight times value over rows for many bootstrap replicates, without a matrix of weights."""

from mace_jax_kernels.weighted_sums.api import (
    CHAIN_ROWS,
    chained_size,
    draws_block,
    replicate_blocks,
    replicates_in_memory,
    sums_block,
    weighted_sums,
)

__all__ = [
    "CHAIN_ROWS",
    "chained_size",
    "draws_block",
    "replicate_blocks",
    "replicates_in_memory",
    "sums_block",
    "weighted_sums",
]
