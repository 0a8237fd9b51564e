"""Signals: published values, 60-digit references from the definitions, and outputs that must be refused."""

from __future__ import annotations

import decimal
import importlib

import jax.numpy as jnp
import numpy as np
import pytest

from mace_jax.attacks import _signal_inputs, _signal_kernels, signals
from mace_jax.attacks._score import score

NAMES = signals.__all__
WITH_LABELS = [name for name in NAMES if name != "entropy"]
D = decimal.Decimal
decimal.getcontext().prec = 60


def softmax(z) -> list[decimal.Decimal]:
    powers = [D(float(each)).exp() for each in z]
    return [power / sum(powers) for power in powers]


def by_definition(name: str, p: list[decimal.Decimal], y: int) -> float:
    """Every signal of exact probabilities, as its source writes it."""
    others = [each for i, each in enumerate(p) if i != y]
    values = {
        "correctness": lambda: D(int(max(range(len(p)), key=lambda i: p[i]) == y)),
        "confidence": lambda: p[y],
        "loss": lambda: -p[y].ln(),
        "entropy": lambda: -sum((each * each.ln() for each in p), D(0)),
        "modified_entropy": lambda: -(1 - p[y]) * p[y].ln() - sum((each * (1 - each).ln() for each in others), D(0)),
        "rescaled_logit": lambda: p[y].ln() - sum(others, D(0)).ln(),
        "hinge": lambda: p[y].ln() - max(others).ln(),
    }
    return float(values[name]())


def some_logits(rng, n: int = 40, n_classes: int = 5, scale: float = 6.0) -> tuple[np.ndarray, np.ndarray]:
    return rng.normal(0.0, scale, (n, n_classes)), rng.integers(0, n_classes, n)


@pytest.mark.parametrize(
    ("p", "y", "entropy", "modified"),
    [
        ((0.7, 0.2, 0.1), 0, 0.801819, 0.162167),
        ((0.7, 0.2, 0.1), 1, 0.801819, 2.140867),
        ((0.7, 0.2, 0.1), 2, 0.801819, 2.959736),
        ((1 / 3, 1 / 3, 1 / 3), 0, 1.098612, 1.002718),
        ((0.98, 0.01, 0.01), 0, 0.111902, 0.000605),
    ],
)
@pytest.mark.parametrize("floor", [None, 1e-30])
def test_values_from_probabilities(p, y, entropy, modified, floor):
    assert round(float(signals.entropy(probabilities=[p], floor=floor)[0]), 6) == entropy
    assert round(float(signals.modified_entropy([y], probabilities=[p], floor=floor)[0]), 6) == modified


def test_certain_predictions_with_the_published_floor():
    certain = [(1.0, 0.0, 0.0)] * 2
    assert signals.entropy(probabilities=certain, floor=1e-30).tolist() == [0.0, 0.0]
    assert signals.modified_entropy([0, 1], probabilities=certain, floor=1e-30).round(6).tolist() == [0.0, 138.155106]


@pytest.mark.parametrize(
    ("z", "y", "exact", "floored"),
    [
        ((0, 50, 0), 0, 99.306853, 119.077553),
        ((0, 800, 0), 0, 1599.306853, 138.155106),
        ((1, 2, -3), 1, 0.170089, 0.170089),
    ],
)
def test_values_of_modified_entropy_from_logits(z, y, exact, floored):
    assert round(float(signals.modified_entropy([y], logits=[z])[0]), 6) == exact
    assert round(float(signals.modified_entropy([y], logits=[z], floor=1e-30)[0]), 6) == floored


def test_a_certain_and_right_prediction_is_not_rounded_to_zero():
    # p = (e, 1 - 2e, e) with e = exp(-50): (2e)(2e) for the label and e * e for each other class
    assert signals.modified_entropy([1], logits=[[0, 50, 0]])[0] == pytest.approx(6 * np.exp(-100.0), rel=1e-12)
    assert signals.modified_entropy([1], logits=[[0, 50, 0]], floor=1e-30).tolist() == [0.0]


def test_basic_signals_of_one_prediction():
    z, y = [[1.0, 2.0, -3.0]], [1]
    found = {name: round(float(getattr(signals, name)(y, logits=z)[0]), 8) for name in NAMES}
    wanted = {"confidence": 0.72747516, "loss": 0.31817543, "rescaled_logit": 0.98185007, "hinge": 1.0}
    assert found | wanted == found


@pytest.mark.parametrize("scale", [0.5, 6.0, 40.0])
@pytest.mark.parametrize("name", NAMES)
def test_logits_against_60_digits(rng, name, scale):
    z, y = some_logits(rng, scale=scale)
    wanted = [by_definition(name, softmax(row), label) for row, label in zip(z, y, strict=True)]
    np.testing.assert_allclose(getattr(signals, name)(y, logits=z), wanted, rtol=2e-13, atol=1e-300)


@pytest.mark.parametrize("name", NAMES)
def test_probabilities_against_60_digits(rng, name):
    z, y = some_logits(rng)
    p = np.array([[float(each) for each in softmax(row)] for row in z])
    exact = [[D(each) / sum(map(D, row.tolist())) for each in row.tolist()] for row in p]
    wanted = [by_definition(name, row, label) for row, label in zip(exact, y, strict=True)]
    # the loss is of p_y itself, whose rounding is all there is to it near 1
    np.testing.assert_allclose(getattr(signals, name)(y, probabilities=p), wanted, rtol=1e-12, atol=3e-16)


@pytest.mark.parametrize("scale", [1.0, 8.0])
@pytest.mark.parametrize("name", [name for name in NAMES if name != "correctness"])
def test_kernels_hold_in_single_precision(rng, name, scale):
    z, y = some_logits(rng, scale=scale)
    z = z.astype(np.float32)
    found = _signal_kernels.KERNELS[name](jnp.asarray(z), jnp.asarray(y))
    assert found.dtype == jnp.float32
    wanted = [by_definition(name, softmax(row), label) for row, label in zip(z, y, strict=True)]
    np.testing.assert_allclose(found, wanted, rtol=5e-6, atol=1e-30)


@pytest.mark.parametrize("name", NAMES)
def test_both_kinds_of_outputs_give_equal_signals(rng, name):
    z, y = some_logits(rng, scale=3.0)
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    signal = getattr(signals, name)
    np.testing.assert_allclose(signal(y, logits=z), signal(y, probabilities=p), rtol=1e-11, atol=1e-15)


def test_confident_records_keep_their_order():
    margins = np.arange(0.0, 340.0, 2.5)
    z = np.stack([margins, np.zeros_like(margins), np.zeros_like(margins)], axis=1)
    for labels in (np.zeros(len(z), int), np.ones(len(z), int)):
        for name in ("loss", "modified_entropy", "rescaled_logit", "hinge"):
            steps = np.diff(getattr(signals, name)(labels, logits=z))
            assert (steps > 0).all() or (steps < 0).all()
    p = np.array([[1.0, 1e-20, 1e-22], [1.0, 1e-30, 1e-22]])  # p_y rounded to 1 in both
    assert np.diff(signals.modified_entropy([0, 0], probabilities=p))[0] < 0 < signals.entropy(probabilities=p)[1]


@pytest.mark.parametrize("name", NAMES)
def test_certain_predictions_are_finite(name):
    found = getattr(signals, name)([0, 1], probabilities=[[1.0, 0.0], [1.0, 0.0]])
    assert np.isfinite(found).all()
    assert score(name, [0, 1], probabilities=[[1.0, 0.0], [1.0, 0.0]])[0] >= score(name, [1], logits=[[9.0, 0.0]])[0]


@pytest.mark.parametrize("dtype", ["float16", "float32", "bfloat16"])
def test_low_precision_is_read_as_the_numbers_it_holds(rng, dtype):
    z, y = some_logits(rng, n=20)
    low = jnp.asarray(z, dtype)
    for name in NAMES:
        same = getattr(signals, name)(y, logits=np.asarray(low).astype(np.float64))
        assert np.array_equal(getattr(signals, name)(y, logits=low), same)


@pytest.mark.parametrize("name", NAMES)
def test_inputs_stay_and_rows_and_classes_may_be_reordered(rng, name, monkeypatch):
    z, y = some_logits(rng, n=300)
    given, labels = z.copy(), y.copy()
    signal = getattr(signals, name)
    found = signal(labels, logits=given)
    assert np.array_equal(given, z) and np.array_equal(labels, y)
    rows, classes = rng.permutation(len(z)), rng.permutation(z.shape[1])
    assert np.array_equal(signal(y[rows], logits=z[rows]), found[rows])
    np.testing.assert_allclose(signal(np.argsort(classes)[y], logits=z[:, classes]), found, rtol=1e-13, atol=1e-300)
    monkeypatch.setattr(_signal_inputs, "ROW_BLOCK", 5 * 64)  # several blocks, the last one short
    np.testing.assert_allclose(signal(labels, logits=given), found, rtol=1e-14)


def test_the_entropy_needs_neither_logits_nor_labels():
    p = [[0.7, 0.3], [0.5, 0.5]]
    assert np.array_equal(signals.entropy(probabilities=p), signals.entropy([0, 1], probabilities=p))
    assert np.array_equal(score("entropy", None, probabilities=p), -signals.entropy(probabilities=p))
    for name in WITH_LABELS:
        with pytest.raises(ValueError, match="labels"):
            getattr(signals, name)(None, probabilities=p)


@pytest.mark.parametrize("name", NAMES)
def test_scores_of_an_overfit_model_are_higher_for_members(rng, name):
    y = rng.integers(0, 4, 400)
    z = rng.normal(size=(400, 4))
    z[np.arange(400), y] += np.where(np.arange(400) < 200, 6.0, 1.0)  # members are fitted
    found = score(name, y, logits=z)
    assert found[:200].mean() > found[200:].mean() + 0.1
    assert np.array_equal(score(getattr(signals, name), y, logits=z), found)


def test_own_functions_are_taken_as_oriented(rng):
    z, y = some_logits(rng)
    assert np.array_equal(score(lambda labels, *, logits: logits[:, 0], y, logits=z), z[:, 0])
    with pytest.raises(ValueError, match="one per record"):
        score(lambda labels, *, logits: logits[:3, 0], y, logits=z)
    with pytest.raises(ValueError, match="'modified_entropy'"):
        score("mentr", y, logits=z)
    with pytest.raises(TypeError, match="signal=3"):
        score(3, y, logits=z)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="exactly one"):
        score("loss", y, logits=z, probabilities=z)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "exactly one"),
        ({"logits": [[1.0, 2.0]], "probabilities": [[0.5, 0.5]]}, "exactly one"),
        ({"probabilities": [[2.0, -1.0]]}, r"\[0, 1\].*logits=\.\.\."),
        ({"probabilities": [[0.5, 0.4]]}, "row 0 .*sums to 0.9; divide"),
        ({"probabilities": [[0.5, np.nan]]}, "row 0"),
        ({"probabilities": [0.5]}, "two columns.*1 - p, p"),
        ({"logits": [[0.5]]}, "two columns.*zeros_like"),
        ({"logits": [[0.5, np.inf]]}, "infinity.*row 0"),
        ({"logits": np.zeros((1, 2, 2))}, "one row per record"),
        ({"logits": np.zeros((0, 2))}, "one row per record"),
    ],
)
@pytest.mark.parametrize("name", NAMES)
def test_outputs_that_do_not_fit_are_refused(name, arguments, message):
    with pytest.raises(ValueError, match=message):
        getattr(signals, name)([0], **arguments)


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        ([2, 0], ValueError, "labels is 2 in row 0.*0 to 1"),
        ([0, -1], ValueError, "labels is -1 in row 1"),
        ([0], ValueError, "one label per record"),
        ([[1, 0], [0, 1]], ValueError, "argmax"),
        ([0.5, 1.0], TypeError, "column numbers"),
        (["a", "b"], TypeError, "look names up"),
    ],
)
@pytest.mark.parametrize("name", NAMES)
def test_labels_that_are_not_columns_are_refused(name, labels, error, message):
    with pytest.raises(error, match=message):
        getattr(signals, name)(labels, logits=[[1.0, 0.0], [0.0, 1.0]])


def test_complex_or_text_outputs_are_refused():
    for values in (np.zeros((2, 2), complex), np.array([["a", "b"]] * 2)):
        with pytest.raises(TypeError, match="real numbers"):
            signals.loss([0, 1], logits=values)


def test_the_module_is_public():
    assert importlib.import_module("mace_jax.attacks.signals") is signals
