"""Attacks on trained models and what they achieve; every score is higher = more member-like."""

from __future__ import annotations

from mace_jax.attacks._top_n import TopN, excess_ratio, top_n_accuracy

__all__ = ["TopN", "excess_ratio", "top_n_accuracy"]
