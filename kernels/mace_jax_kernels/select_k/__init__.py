"""The k smallest values of each row."""

from mace_jax_kernels.select_k.api import Selected, select_k

__all__ = ["Selected", "select_k"]
