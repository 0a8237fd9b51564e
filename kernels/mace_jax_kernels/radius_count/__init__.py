"""How many reference rows lie in a closed ball around each query."""

from mace_jax_kernels.radius_count.api import RadiusCount, radius_count
from mace_jax_kernels.radius_count.xla import count_block, count_groups

__all__ = ["RadiusCount", "count_block", "count_groups", "radius_count"]
