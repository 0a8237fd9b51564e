"""The report of an audit: plain values, a JSON form with a schema, one HTML page and a short text."""

from mace_jax.report._report import (
    SCHEMA_VERSION,
    AdvantageResult,
    ControlResult,
    DataSummary,
    Histogram,
    OperatingPoint,
    QueryResult,
    Report,
    RocResult,
)
from mace_jax.report._schema import report_schema

__all__ = [
    "SCHEMA_VERSION",
    "AdvantageResult",
    "ControlResult",
    "DataSummary",
    "Histogram",
    "OperatingPoint",
    "QueryResult",
    "Report",
    "RocResult",
    "report_schema",
]
