"""The summary for a terminal and the number formats."""

from __future__ import annotations

import dataclasses
import math

import pytest

from mace_jax.report._text import at_least, number, p_value, per_cent, shorten, visible


def test_summary_tells_the_main_results(report):
    text = report.summary()
    best = report.queries[0].advantage
    assert "The model leaks membership" in text
    assert f"{best.advantage:.3f} [{best.low:.3f}, {best.high:.3f}]" in text
    assert "never a proof of privacy" in " ".join(text.split())
    assert "Negative control: passed" in text
    assert "240 members, 240 non-members" in text
    assert report.warnings[0] in text
    risk = report.individual_risk.members
    assert f"Riskiest member: row {risk.posterior.argmax()}, posterior {risk.posterior.max():.3f}" in text


def test_summary_has_at_most_30_lines_of_100_characters(make_report):
    names = tuple(f"query {place} " + "very long name " * 9 for place in range(14))
    base = make_report(names, warnings=tuple("warning " * 40 for _ in range(9)), verdict="verdict " * 200)
    report = dataclasses.replace(base, control=dataclasses.replace(base.control, sentence="word " * 200))
    lines = report.summary().splitlines()
    assert len(lines) <= 30 and max(map(len, lines)) <= 100
    assert "... and 4 more queries" in lines and "... and 6 more warnings" in lines


def test_summary_without_control_or_queries(make_report):
    text = make_report(queries=(), control=None, control_skipped="fewer than 8 non-members").summary()
    assert "Negative control: not run (fewer than 8 non-members)" in text
    assert "Query" not in text


def test_summary_cannot_steer_the_terminal(make_report):
    text = make_report(("\x1b[2Jred\r\n\u202eabc",)).summary()
    assert "\\x1b[2Jred  \\u202eabc" in text
    assert "\x1b" not in text and "\r" not in text


def test_repr_is_short(report):
    assert repr(report).startswith("Report(2 queries, 'The model leaks")


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.12345, "0.123"), (-0.0001, "0.000"), (-0.25, "-0.250"), (1234, "1,234"), (2e7, "2e+07"), (math.nan, "n/a")],
)
def test_number(value, text):
    assert number(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.7099, "0.709"), (0.7, "0.700"), (0.0, "0"), (-1.0, "0"), (math.inf, "n/a")]
)
def test_lower_bounds_round_down(value, text):
    assert at_least(value) == text


def test_small_formats():
    assert (per_cent(0.95), per_cent(0.001), p_value(0.000999), p_value(math.nan)) == ("95%", "0.1%", "0.001", "n/a")
    assert visible("a\tb\x07ü\u00a0") == "a b\\x07ü\u00a0"
    assert shorten("abcdef", 4) == "abc…" and shorten("abc", 4) == "abc"
