"""The JSON Schema of a report, built from its dataclasses and shipped as ``report.schema.json``."""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from importlib import resources
from typing import Any, Literal

from mace_jax._types import FloatArray
from mace_jax.report._report import SCHEMA_VERSION, Report

__all__ = ["build_schema", "report_schema", "schema_text"]

_SCALARS: dict[Any, dict[str, Any]] = {
    str: {"type": "string"},
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    type(None): {"type": "null"},
    Any: {},
}


def report_schema() -> dict[str, Any]:
    """The shape that ``Report.to_json`` writes, as JSON Schema (draft 2020-12).

    Returns:
        A fresh dict; its ``properties.schema_version.const`` is the version this release writes.

    Example:
        >>> report_schema()["properties"]["schema_version"]
        {'const': '1.0'}
    """
    return json.loads(resources.files("mace_jax.report").joinpath("report.schema.json").read_text(encoding="utf-8"))


def build_schema() -> dict[str, Any]:
    """The schema as the dataclasses have it now; the shipped file must equal it."""
    definitions: dict[str, Any] = {}
    root = _record(Report, definitions)
    root["properties"]["schema_version"] = {"const": SCHEMA_VERSION}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Report of a membership privacy audit by mace_jax",
        **root,
        "$defs": dict(sorted(definitions.items())),
    }


def _record(cls: type, definitions: dict[str, Any]) -> dict[str, Any]:
    hints = typing.get_type_hints(cls)
    names = [field.name for field in dataclasses.fields(cls)]
    return {
        "description": (cls.__doc__ or "").strip().partition("\n")[0],
        "type": "object",
        "properties": {name: _of(hints[name], definitions) for name in names},
        "required": names,
        "additionalProperties": False,
    }


def _of(hint: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    if hint == FloatArray:
        return {"type": "array", "items": {"type": "number"}}
    if hint in _SCALARS:
        return dict(_SCALARS[hint])
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        if hint.__name__ not in definitions:
            definitions[hint.__name__] = {}
            definitions[hint.__name__] = _record(hint, definitions)
        return {"$ref": f"#/$defs/{hint.__name__}"}
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return {"enum": list(inner)}
    if origin in (typing.Union, types.UnionType):
        return {"anyOf": [_of(part, definitions) for part in inner]}
    if origin is dict:
        return {"type": "object", "additionalProperties": _of(inner[1], definitions)}
    if origin is tuple and inner[-1] is Ellipsis:
        return {"type": "array", "items": _of(inner[0], definitions)}
    if origin is tuple:
        parts = [_of(part, definitions) for part in inner]
        return {"type": "array", "prefixItems": parts, "items": False, "minItems": len(parts)}
    raise TypeError(f"no JSON Schema is known for {hint!r}")


def schema_text() -> str:
    """The content of ``report.schema.json``."""
    return json.dumps(build_schema(), indent=2) + "\n"
