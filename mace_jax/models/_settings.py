"""Checks and the JSON round trip that the settings of all models share."""

from __future__ import annotations

import dataclasses
from typing import Any

from mace_jax import _validate
from mace_jax._types import FloatArray

__all__ = ["choice", "from_dict", "model_records", "positive", "to_dict", "widths"]


def positive(**argument: Any) -> None:
    """Check for a finite number above 0."""
    ((name, value),) = argument.items()
    if _validate.non_negative(**argument) == 0.0:
        raise ValueError(f"{name}={value!r} must be above 0.")


def widths(settings: Any, name: str) -> None:
    """Check a tuple of positive integers; a list becomes a tuple."""
    value = getattr(settings, name)
    if not isinstance(value, list | tuple):
        raise TypeError(f"{name} must be a tuple of layer widths, got {value!r}; pass for example {name}=(128,).")
    for width in value:
        _validate.positive_int(**{name: width})
    object.__setattr__(settings, name, tuple(value))


def choice(name: str, value: Any, allowed: tuple[str, ...]) -> None:
    """Check that a word is one of the known ones."""
    _validate.one_of(allowed, **{name: value})


def to_dict(settings: Any) -> dict[str, Any]:
    """The kind of model and its settings, tuples as lists and settings within settings as dictionaries."""
    plain = {field.name: _plain(getattr(settings, field.name)) for field in dataclasses.fields(settings)}
    return {"kind": type(settings).__name__, **plain}


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return to_dict(value)
    return list(value) if isinstance(value, tuple) else value


def from_dict(cls: type, values: dict[str, Any]) -> dict[str, Any]:
    """Keyword arguments of ``cls`` from what ``to_dict`` returned."""
    arguments = dict(values)
    kind = arguments.pop("kind", cls.__name__)
    if kind != cls.__name__:
        raise ValueError(f"kind={kind!r} does not belong to {cls.__name__}; read it with the class of that name.")
    known = {field.name for field in dataclasses.fields(cls)}
    unknown = sorted(set(arguments) - known)
    if unknown:
        raise ValueError(f"{cls.__name__} has no settings {unknown}; it has {sorted(known)}.")
    return arguments


def model_records(records: Any, n_features: int) -> FloatArray:
    """Finite records with the columns a fitted model knows."""
    values = _validate.finite(records=_validate.min_rows(1, records=_validate.as_records(records=records)))
    if values.shape[1] != n_features:
        raise ValueError(f"records has {values.shape[1]} columns but the model was fitted on {n_features}; pass those.")
    return values
