"""Checks that all attacks share."""

from __future__ import annotations

from typing import Any

from mace_jax import _validate
from mace_jax._types import FloatArray

__all__ = ["disjoint", "finite_records"]


def finite_records(name: str, value: Any) -> FloatArray:
    """At least one record of finite numbers."""
    return _validate.finite(**{name: _validate.min_rows(1, **{name: _validate.as_records(**{name: value})})})


def disjoint(records: FloatArray, **side: FloatArray) -> None:
    """Side knowledge that holds a record under audit, in all of its values, is an error."""
    for name, others in side.items():
        known = {row.tobytes() for row in others + 0.0}  # 0.0 and -0.0 are equal
        shared = sum(row.tobytes() in known for row in records + 0.0)
        if shared:
            raise ValueError(
                f"{name} holds {shared} of the {len(records)} records under audit; "
                f"pass a {name} that is disjoint from them, or leave those records out of the audit."
            )
