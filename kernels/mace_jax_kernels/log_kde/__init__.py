"""Logarithms of Gaussian kernel sums, for several bandwidths in one pass over the distances."""

from mace_jax_kernels.log_kde.api import DIRECT_FEATURES, log_kernel_sums, log_sum_error
from mace_jax_kernels.log_kde.xla import add_block

__all__ = ["DIRECT_FEATURES", "add_block", "log_kernel_sums", "log_sum_error"]
