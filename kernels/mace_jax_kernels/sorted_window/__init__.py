"""Windows of the k nearest values on a sorted line, ties included."""

from mace_jax_kernels.sorted_window.reference import sorted_window_reference
from mace_jax_kernels.sorted_window.xla import Windows, sorted_window

__all__ = ["Windows", "sorted_window", "sorted_window_reference"]
