"""The report of an audit: plain values, a JSON form with a schema, one HTML page and a short text."""

from mace_jax.report._defense import defense_plot
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
from mace_jax.report._risk_plots import risk_calibration_plot, risk_distribution_plot, risk_members_plot
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
    "defense_plot",
    "report_schema",
    "risk_calibration_plot",
    "risk_distribution_plot",
    "risk_members_plot",
]
