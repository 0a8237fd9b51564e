"""Windows of the k nearest values on a sorted line, ties included."""

from mace_jax_kernels.sorted_window.reference import sorted_window_reference
from mace_jax_kernels.sorted_window.xla import Windows, merge_arms, sorted_window

__all__ = ["Windows", "merge_arms", "sorted_window", "sorted_window_reference"]
