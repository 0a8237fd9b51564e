"""Report: everything one audit found, as plain values with a versioned JSON form."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Literal

from mace_jax.certificates import Certificate
from mace_jax.metrics import IndividualRisk
from mace_jax.report._files import write_atomically
from mace_jax.report._json import encode, plain

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
]

SCHEMA_VERSION = "1.0"


@dataclasses.dataclass(frozen=True)
class AdvantageResult:
    """The optimal membership advantage of one query by one estimator, with interval and null."""

    estimator: str  # "KNN" or "Threshold"
    metric: str  # for example "balanced_accuracy"
    prior: float  # probability that a record is a member, as the adversary sees it
    value: float  # metric reached by the held-out rule
    advantage: float  # the same, normalized: 0 = best constant guess, 1 = perfect
    plug_in: float  # normalized plug-in estimate, biased upwards
    low: float  # interval of the normalized advantage
    high: float
    confidence_level: float
    null_mean: float  # advantage after permuting who is a member
    null_high: float  # confidence_level quantile of that null
    p_value: float  # one-sided permutation p-value
    n_permutations: int
    true_positive_rate: float  # of the held-out rule
    false_positive_rate: float
    covers: str  # what the interval is an interval for, one sentence
    status: tuple[str, ...]  # sentences; empty = nothing to report


@dataclasses.dataclass(frozen=True)
class OperatingPoint:
    """TPR of the best threshold whose empirical FPR does not exceed the target."""

    target_fpr: float
    realized_fpr: float
    tpr: float
    low: float  # limits of the TPR at a true FPR of the target: the threshold's own error is in them
    high: float


@dataclasses.dataclass(frozen=True)
class RocResult:
    """ROC curve of a query: of the output itself, or of the out-of-fold posterior for a vector."""

    score: str  # what was thresholded, one phrase
    auc: float  # Mann-Whitney, ties count one half
    auc_low: float
    auc_high: float
    false_positive_rate: tuple[float, ...]  # vertices, thinned to at most 512, ascending
    true_positive_rate: tuple[float, ...]
    tpr_at_fpr: tuple[OperatingPoint, ...]  # targets 0.01 and 0.001


@dataclasses.dataclass(frozen=True)
class Histogram:
    """Counts of the score among members and non-members over common bins."""

    label: str
    edges: tuple[float, ...]  # len = bins + 1
    members: tuple[int, ...]
    nonmembers: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class QueryResult:
    """All results of one query."""

    name: str
    description: str
    kind: Literal["scalar", "vector"]
    n_outputs: int
    advantages: tuple[AdvantageResult, ...]  # the first one is the headline
    roc: RocResult
    histogram: Histogram
    certificate: Certificate  # for this query alone

    @property
    def advantage(self) -> AdvantageResult:
        """The headline estimate: the first estimator under the first metric."""
        return self.advantages[0]


@dataclasses.dataclass(frozen=True)
class ControlResult:
    """The same audit between two random halves of the non-members, where nothing can be found."""

    passed: bool
    sentence: str
    n_members: int  # size of the half that plays the members
    n_nonmembers: int
    queries: tuple[tuple[str, AdvantageResult], ...]  # (query name, headline estimate)
    certificate: Certificate


@dataclasses.dataclass(frozen=True)
class DataSummary:
    """What went in."""

    mode: Literal["records", "query outputs"]
    n_members: int
    n_nonmembers: int
    n_features: int
    n_synthetic: int
    n_reference: int
    shared_rows: int  # members that also occur among the non-members


@dataclasses.dataclass(frozen=True, eq=False)
class Report:
    """One audit. ``certificate`` is over all queries, corrected for looking at several."""

    schema_version: str
    verdict: str
    leak_detected: bool
    queries: tuple[QueryResult, ...]
    certificate: Certificate
    individual_risk: IndividualRisk
    individual_risk_query: str  # the query it was computed from
    control: ControlResult | None
    control_skipped: str | None  # the reason when control is None
    data: DataSummary
    warnings: tuple[str, ...]
    settings: dict[str, Any]
    seed: int
    versions: dict[str, str]
    device: str
    created: str  # ISO 8601, UTC
    elapsed_seconds: float

    def to_dict(self) -> dict[str, Any]:
        """The report as plain values, arrays as lists at full precision.

        Returns:
            Dicts, lists, strings and numbers in the shape that ``mace_jax.report.report_schema()`` fixes.
        """
        return plain(self)

    def to_json(self, path: str | Path) -> Path:
        """Write the whole report as JSON, or leave the path untouched if that fails.

        Args:
            path: File to write; missing folders are made. The risks of single records are rounded to 6 significant
                digits, all other numbers keep their precision.

        Returns:
            The path.

        Raises:
            ValueError: If a number is NaN or infinite; the message names the field.
            OSError: If the file cannot be written; the message names the path.
        """
        return write_atomically(Path(path), encode(self))

    def to_html(self, path: str | Path) -> Path:
        """Write one self-contained HTML page, or leave the path untouched if that fails.

        The page has no script and loads nothing; of single records it shows only the 20 at highest risk.

        Args:
            path: File to write; missing folders are made.

        Returns:
            The path.

        Raises:
            OSError: If the file cannot be written; the message names the path.
        """
        from mace_jax.report._html import render

        return write_atomically(Path(path), render(self))

    def summary(self) -> str:
        """The report as text for a terminal, at most 30 lines."""
        from mace_jax.report._text import summarize

        return summarize(self)

    def __repr__(self) -> str:
        return f"Report({len(self.queries)} queries, {self.verdict!r})"
