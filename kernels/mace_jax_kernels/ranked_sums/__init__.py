"""Weighted pair wins of two sorted groups, and weighted hits above a quantile of one of them, for many replicates."""

from mace_jax_kernels.ranked_sums.api import RankedSums, ranked_sums
from mace_jax_kernels.ranked_sums.plan import Plan, plan_ranks

__all__ = ["Plan", "RankedSums", "plan_ranks", "ranked_sums"]
