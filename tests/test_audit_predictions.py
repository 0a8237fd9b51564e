"""audit_predictions: metric attacks on a classifier as queries of one audit, and its null."""

from __future__ import annotations

import numpy as np
import pytest

import mace_jax
from mace_jax._audit_predictions import _Parts, _queries
from mace_jax.attacks import Predictions

QUICK = {"n_permutations": 319, "n_resamples": 200}


def answers(n: int, sharpness: float, seed: int, n_classes: int = 3) -> Predictions:
    """Logits that favor the true class by ``sharpness``."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, n_classes, n)
    return Predictions(labels, logits=sharpness * np.eye(n_classes)[labels] + rng.normal(size=(n, n_classes)))


@pytest.fixture(scope="module")
def overfit() -> mace_jax.Report:
    return mace_jax.audit_predictions(answers(300, 5.0, 0), answers(300, 1.5, 1), seed=0, **QUICK)


def test_an_overfit_classifier_is_found(overfit):
    assert overfit.leak_detected
    names = [query.name for query in overfit.queries]
    assert names[:4] == ["correctness", "confidence", "entropy", "modified entropy"]
    assert "privacy risk" in names and len(names) == 7
    every = {query.name: query.advantage.advantage for query in overfit.queries}
    assert every["modified entropy"] > 0.4 and every["privacy risk"] > 0.4
    assert overfit.certificate.epsilon > 0.0


def test_without_a_shadow_model_half_of_the_records_is_attacked(overfit):
    assert overfit.data.n_members == overfit.data.n_nonmembers == 150
    assert any("150 members and 150 non-members" in warning for warning in overfit.warnings)
    assert overfit.settings["thresholds_from"] == "half of the records"
    assert overfit.settings["model_accuracy_on_members"] > overfit.settings["model_accuracy_on_nonmembers"]


def test_groups_may_have_names():
    """The same queries as with numbers: both say the same order of the groups."""
    numbered = [answers(40, sharpness, seed) for seed, sharpness in enumerate((5.0, 1.5, 4.0, 1.0))]
    names = np.array(["x", "y", "z"])
    named = [Predictions(one.labels, logits=one.logits, groups=names[one.labels]) for one in numbered]
    first, second = (_queries(_Parts(*sides, note=""), sides[2]) for sides in (numbered, named))
    np.testing.assert_array_equal(first, second)


@pytest.mark.slow
def test_with_a_shadow_model_all_are_attacked_and_nothing_is_found_where_nothing_is():
    shadow = {"shadow_members": answers(200, 3.0, 2), "shadow_nonmembers": answers(150, 1.0, 3)}
    report = mace_jax.audit_predictions(answers(240, 2.0, 4), answers(200, 2.0, 5), seed=0, **shadow, **QUICK)
    assert (report.data.n_members, report.data.n_nonmembers) == (240, 200)
    assert report.settings["thresholds_from"] == "a shadow model"
    assert not report.leak_detected and report.certificate.epsilon == 0.0


def test_bad_input_names_argument_and_remedy():
    first, second = answers(20, 1.0, 0), answers(20, 1.0, 1)
    with pytest.raises(ValueError, match="shadow_nonmembers is missing"):
        mace_jax.audit_predictions(first, second, shadow_members=first)
    with pytest.raises(ValueError, match="nonmembers has 4 classes but members has 3"):
        mace_jax.audit_predictions(first, answers(20, 1.0, 1, n_classes=4))
    with pytest.raises(ValueError, match="members has 3 records, too few"):
        mace_jax.audit_predictions(first.take([0, 1, 2]), second)
