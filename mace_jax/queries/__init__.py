"""Queries: what an adversary can compute from a model about a record, higher = more member-like."""

from __future__ import annotations

from mace_jax.queries._base import AbstractQuery
from mace_jax.queries._default import default_queries
from mace_jax.queries._distance import CalibratedDistance, NearestSynthetic
from mace_jax.queries._monte_carlo import MonteCarlo
from mace_jax.queries._reconstruction import ReconstructionError
from mace_jax.queries._score import DiscriminatorScore
from mace_jax.queries._stack import Stack

__all__ = [
    "AbstractQuery",
    "CalibratedDistance",
    "DiscriminatorScore",
    "MonteCarlo",
    "NearestSynthetic",
    "ReconstructionError",
    "Stack",
    "default_queries",
]
