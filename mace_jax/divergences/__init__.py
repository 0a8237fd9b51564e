"""Divergences of two samples, with the influence of every record: estimates, never bounds.

Each verb takes draws from P ``(n, d)`` and from Q ``(m, d)`` and returns a ``DivergenceEstimate``.
"""

from mace_jax.divergences._estimate import DivergenceEstimate
from mace_jax.divergences._kl_api import kl
from mace_jax.divergences._mmd_api import PermutationTest, mmd, mmd_test
from mace_jax.divergences._panel import panel
from mace_jax.divergences._posterior_api import henze_penrose, hockey_stick, jensen_shannon, total_variation
from mace_jax.divergences._power_api import hellinger, l2, renyi

__all__ = [
    "DivergenceEstimate",
    "PermutationTest",
    "hellinger",
    "henze_penrose",
    "hockey_stick",
    "jensen_shannon",
    "kl",
    "l2",
    "mmd",
    "mmd_test",
    "panel",
    "renyi",
    "total_variation",
]
