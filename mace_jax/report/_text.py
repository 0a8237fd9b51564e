"""The report in words and figures: number formats, safe names and the summary for a terminal."""

from __future__ import annotations

import math
import numbers
import textwrap

import numpy as np

from mace_jax.report._report import QueryResult, Report

__all__ = ["at_least", "number", "p_value", "per_cent", "shorten", "summarize", "visible"]

_WIDTH = 100
_QUERIES = 10  # rows of the table
_WARNINGS = 3


def number(value: float | numbers.Integral, digits: int = 3) -> str:
    """A fixed number of decimals, thousands separated; integers have none."""
    if not math.isfinite(value):
        return "n/a"
    if isinstance(value, numbers.Integral):
        return f"{int(value):,}"
    text = f"{value:,.{digits}f}" if abs(value) < 1e6 else f"{value:.3g}"
    return text.removeprefix("-") if not text.strip("-0.") else text


def at_least(value: float, digits: int = 3) -> str:
    """A lower bound, rounded down, so that the text claims no more than the number; 0 when nothing is bounded."""
    if not math.isfinite(value):
        return "n/a"
    scale = 10**digits
    return number(math.floor(value * scale + 1e-9) / scale, digits) if value > 0.0 else "0"


def per_cent(value: float) -> str:
    """A share as a per cent with no needless zeros: 0.95 as 95%."""
    return f"{100.0 * value:.4g}%"


def p_value(value: float) -> str:
    """A p-value with two significant digits, never rounded to zero."""
    return "n/a" if not math.isfinite(value) else f"{value:.2g}"


def visible(text: str) -> str:
    """The text with every control, bidirectional or broken character spelled out, line breaks and tabs as blanks."""
    return "".join(
        mark
        if mark.isprintable() or mark == "\u00a0"
        else " "
        if mark.isspace()
        else mark.encode("unicode_escape").decode("ascii")
        for mark in text
    )


def shorten(text: str, width: int) -> str:
    """A visible text of at most ``width`` characters."""
    shown = visible(text)
    return shown if len(shown) <= width else shown[: width - 1].rstrip() + "…"


def summarize(report: Report) -> str:
    """The report as text of at most 30 lines."""
    lines = ["Membership privacy audit", *_wrap(f"Verdict: {report.verdict}", 5), _records(report), ""]
    lines += _table(report)
    lines += [""] if report.queries else []
    lines += _certificate(report) + _control(report) + _riskiest(report) + _warnings(report)
    return "\n".join(lines)


def _wrap(text: str, most: int) -> list[str]:
    return textwrap.wrap(visible(text), _WIDTH, subsequent_indent="  ", max_lines=most, placeholder=" …")


def _records(report: Report) -> str:
    data = report.data
    parts = [f"{data.n_members:,} members", f"{data.n_nonmembers:,} non-members"]
    parts += [f"{data.n_synthetic:,} synthetic"] if data.n_synthetic else []
    parts += [f"{data.n_reference:,} reference"] if data.n_reference else []
    parts.append(f"{data.n_features:,} {'features' if data.mode == 'records' else 'output columns'}")
    return f"Data: {', '.join(parts)}; seed {report.seed}"


def _table(report: Report) -> list[str]:
    if not report.queries:
        return []
    level = per_cent(report.queries[0].advantage.confidence_level)
    names = [shorten(query.name, 34) for query in report.queries[:_QUERIES]]
    width = max(len("Query"), *map(len, names))
    lines = [
        f"{'Query':<{width}}  {f'Advantage [{level}]':<22}  {'Chance':>7}  {'p':>7}  {'Certified: adv':>14}  epsilon"
    ]
    lines += [f"{name:<{width}}  {_row(query)}" for name, query in zip(names, report.queries, strict=False)]
    more = len(report.queries) - _QUERIES
    return [*lines, f"... and {more} more queries"] if more > 0 else lines


def _row(query: QueryResult) -> str:
    best, proof = query.advantage, query.certificate
    value = f"{number(best.advantage)} [{number(best.low)}, {number(best.high)}]"
    return (
        f"{value:<22}  {number(best.null_high):>7}  {p_value(best.p_value):>7}  "
        f"{at_least(proof.advantage):>14}  {at_least(proof.epsilon):>7}"
    )


def _certificate(report: Report) -> list[str]:
    proof = report.certificate
    return _wrap(
        f"Certificate over all queries, {per_cent(proof.confidence_level)} confidence, of {proof.claim}: "
        f"advantage >= {at_least(proof.advantage)}, epsilon >= {at_least(proof.epsilon)} (delta {proof.delta:g}). "
        "A lower bound on leakage, never a proof of privacy.",
        3,
    )


def _control(report: Report) -> list[str]:
    if report.control is None:
        return _wrap(f"Negative control: not run ({report.control_skipped or 'no reason given'})", 2)
    return _wrap(f"Negative control: {'passed' if report.control.passed else 'FAILED'}. {report.control.sentence}", 2)


def _riskiest(report: Report) -> list[str]:
    risk = report.individual_risk.members
    if not len(risk.posterior):
        return []
    row = int(np.argmax(risk.posterior))
    return [
        f"Riskiest member: row {row}, posterior {number(float(risk.posterior[row]))} "
        f"[{number(float(risk.low[row]))}, {number(float(risk.high[row]))}] at prior {report.individual_risk.prior:g}"
    ]


def _warnings(report: Report) -> list[str]:
    shown = [_wrap(f"Warning: {warning}", 1)[0] for warning in report.warnings[:_WARNINGS]]
    more = len(report.warnings) - _WARNINGS
    return [*shown, f"... and {more} more warnings"] if more > 0 else shown
