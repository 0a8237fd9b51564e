"""The area under an attack's ROC curve as a row."""

from __future__ import annotations

import dataclasses
from typing import Any

from mace_jax.bootstrap import RocBootstrap
from mace_jax.reproduce._row import Row

__all__ = ["area_row"]


def area_row(base: Row, quantity: str, found: RocBootstrap, **fields: Any) -> Row:
    """``base`` with the area and its bootstrap limits, and with other ``fields`` as given."""
    limits = {"low": found.auc.low, "high": found.auc.high}
    return dataclasses.replace(base, quantity=quantity, value=found.auc_estimate, chance=0.5, **limits, **fields)
