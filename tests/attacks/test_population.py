"""Population attack: the rank by definition, exact validity, classes that are too small."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mace_jax.attacks._population import population_attack


def test_p_values_are_ranks_by_definition(rng):
    scores, population = rng.integers(0, 9, 40) / 2.0, rng.integers(0, 9, 57) / 2.0
    found = population_attack(scores, population)
    wanted = [(1 + sum(other >= score for other in population)) / 58 for score in scores]
    assert found.p_values.tolist() == wanted
    assert found.population_counts.tolist() == [57] * 40 and found.pooled == ()


def test_classes_are_compared_apart_and_small_ones_with_each_other(rng):
    labels, population_labels = rng.choice(list("abcde"), 80), rng.choice(list("abcd"), 300, p=[0.55, 0.35, 0.06, 0.04])
    scores, population = rng.normal(size=80), rng.normal(size=300) + (population_labels == "b")
    found = population_attack(scores, population, labels=labels, population_labels=population_labels, min_count=60)
    for row, (score, label) in enumerate(zip(scores, labels, strict=True)):
        company = (
            population[population_labels == label]
            if label in "ab"
            else population[np.isin(population_labels, ["c", "d"])]
        )
        assert found.p_values[row] == (1 + (company >= score).sum()) / (1 + len(company))
        assert found.population_counts[row] == len(company)
    assert found.pooled == ("c", "d", "e")
    assert "3 classes pooled" in repr(found)
    assert json.loads(json.dumps(found.to_dict()))["pooled"] == ["c", "d", "e"]


def test_a_class_without_company_is_never_accused():
    found = population_attack([9.0, 9.0], [0.0] * 5, labels=[1, 7], population_labels=[1] * 5, min_count=5)
    assert found.p_values.tolist() == [1 / 6, 1.0] and found.population_counts.tolist() == [5, 0]
    assert found.predict(0.2).tolist() == [True, False] and found.undecidable(0.2) == 1
    assert found.undecidable(0.1) == 2


@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.1, 0.29])
def test_decisions_are_those_of_the_order_statistic(rng, alpha):
    """p <= alpha says that fewer than floor(alpha (n + 1)) population scores are at least as high."""
    for n in (99, 100, 57, 7):
        scores, population = rng.normal(size=200), rng.normal(size=n)
        found = population_attack(scores, population)
        places = int(np.floor(alpha * (n + 1) + 1e-9))
        limit = np.sort(population)[::-1][places - 1] if places else np.inf
        assert np.array_equal(found.predict(alpha), scores > limit)


def test_false_positive_rate_is_exact(rng):
    """Over populations of 99, P(p <= alpha) = floor(100 alpha) / 100."""
    draws = rng.normal(size=(20_000, 100))
    p = np.array([population_attack(row[:1], row[1:]).p_values[0] for row in draws[:4000]])
    for alpha in (0.01, 0.05, 0.1):
        assert abs((p <= alpha + 1e-12).mean() - alpha) < 4 * np.sqrt(alpha * (1 - alpha) / 4000)


def test_order_of_records_does_not_matter_and_inputs_stay(rng):
    scores, population = rng.normal(size=30), rng.normal(size=120)
    labels, others = rng.integers(0, 4, 30), rng.integers(0, 4, 120)
    copies = [array.copy() for array in (scores, population, labels, others)]
    found = population_attack(scores, population, labels=labels, population_labels=others, min_count=29)
    i, j = rng.permutation(30), rng.permutation(120)
    again = population_attack(scores[i], population[j], labels=labels[i], population_labels=others[j], min_count=29)
    assert np.array_equal(again.p_values, found.p_values[i])
    assert all(np.array_equal(a, b) for a, b in zip((scores, population, labels, others), copies, strict=True))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"labels": [0, 1]}, ValueError, "together"),
        ({"labels": [0], "population_labels": [0, 1, 1]}, ValueError, "labels has shape"),
        ({"labels": [0, 1], "population_labels": ["a", "b", "c"]}, TypeError, "strings"),
        ({"scores": [np.nan]}, ValueError, "scores has NaN"),
        ({"population_scores": []}, ValueError, "population_scores has 0 rows"),
        ({"min_count": 0}, ValueError, "min_count=0"),
    ],
)
def test_bad_input_is_named(change, error, message):
    with pytest.raises(error, match=message):
        population_attack(**({"scores": [1.0, 2.0], "population_scores": [0.0, 1.0, 2.0]} | change))
    with pytest.raises(ValueError, match="alpha=1"):
        population_attack([1.0], [2.0]).predict(1)
