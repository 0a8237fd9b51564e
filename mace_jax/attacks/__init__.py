"""Attacks on trained models and what they achieve; every score is higher = more member-like."""

from __future__ import annotations

from mace_jax.attacks._densities import AbstractDensity, KernelDensity, NeighborDensity
from mace_jax.attacks._domias import domias
from mace_jax.attacks._features import OrientedGradients, PrincipalComponents
from mace_jax.attacks._gan_leaks import gan_leaks
from mace_jax.attacks._logan import logan_black_box, logan_local_model
from mace_jax.attacks._monte_carlo import monte_carlo
from mace_jax.attacks._named import discriminator_score, nearest_synthetic, reconstruction_error
from mace_jax.attacks._query import AttackQuery
from mace_jax.attacks._set import SetAccuracy, set_accuracy
from mace_jax.attacks._top_n import TopN, excess_ratio, top_n_accuracy

__all__ = [
    "AbstractDensity",
    "AttackQuery",
    "KernelDensity",
    "NeighborDensity",
    "OrientedGradients",
    "PrincipalComponents",
    "SetAccuracy",
    "TopN",
    "discriminator_score",
    "domias",
    "excess_ratio",
    "gan_leaks",
    "logan_black_box",
    "logan_local_model",
    "monte_carlo",
    "nearest_synthetic",
    "reconstruction_error",
    "set_accuracy",
    "top_n_accuracy",
]
