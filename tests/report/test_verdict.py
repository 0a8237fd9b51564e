"""The sentence at the top and the decision behind it."""

from __future__ import annotations

import dataclasses

import pytest

from mace_jax.report._verdict import holm, is_leak, verdict_sentence


def with_p(query, p, **changes):
    return dataclasses.replace(query, advantages=(dataclasses.replace(query.advantage, p_value=p, **changes),))


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([0.2]) == [0.2]


def test_looking_at_several_queries_costs(report):
    one, nothing = with_p(report.queries[0], 0.02), dataclasses.replace(report.certificate, epsilon=0.0)
    assert is_leak([one], nothing, 0.95)
    assert not is_leak([one, with_p(report.queries[1], 0.5)], nothing, 0.95)
    assert is_leak([with_p(one, 0.05)], nothing, 0.9)  # although (1 - 0.9) / 2 is below 0.05


def test_a_certified_epsilon_is_a_leak(report):
    """A leak of few records moves no average, but may well be certified."""
    queries = [with_p(report.queries[0], 0.6, low=0.0, high=0.03, advantage=0.01)]
    proof = dataclasses.replace(report.certificate, epsilon=1.5)
    assert is_leak(queries, proof, 0.95) and not is_leak(queries, dataclasses.replace(proof, epsilon=0.0), 0.95)
    assert "an epsilon of at least 1.5" in verdict_sentence(queries, proof, True, None)


def test_a_high_level_is_not_rounded_to_certainty(report):
    queries = [with_p(report.queries[0], 0.0005, confidence_level=0.999)]
    proof = dataclasses.replace(report.certificate, epsilon=1.5, confidence_level=0.999)
    sentence = verdict_sentence(queries, proof, True, None)
    assert "99.9% interval" in sentence and "99.9% confidence" in sentence and "100%" not in sentence


def test_leak_sentence_names_the_strongest_query_and_rounds_the_bound_down(report):
    queries = [with_p(report.queries[0], 0.001, low=0.2, high=0.4, advantage=0.3), report.queries[1]]
    proof = dataclasses.replace(report.certificate, epsilon=0.997)
    sentence = verdict_sentence(queries, proof, True, report.control)
    assert "nearest synthetic distance" in sentence and "0.30" in sentence and "0.20 to 0.40" in sentence
    assert "epsilon is at least 0.99 with 95" in sentence
    assert "epsilon" not in verdict_sentence(queries, dataclasses.replace(proof, epsilon=0.0), True, None)


def test_no_leak_is_no_proof_and_a_failed_control_is_said(report):
    control = dataclasses.replace(report.control, passed=False)
    sentence = verdict_sentence(report.queries, report.certificate, False, control)
    assert "No leak was detected" in sentence and "no proof of privacy" in sentence
    assert "negative control failed" in sentence
    assert "strongest of 2 queries" in sentence and "the only query gains" in verdict_sentence(
        report.queries[:1], report.certificate, False, report.control
    )
