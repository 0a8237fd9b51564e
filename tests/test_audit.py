"""audit end to end: query outputs, records, models, the control, and every kind of bad input."""

from __future__ import annotations

import json

import numpy as np
import pytest

import mace_jax
from mace_jax import audit
from mace_jax.datasets._closed_form import GaussianShift
from mace_jax.queries import NearestSynthetic

QUICK = {"n_permutations": 99, "n_resamples": 1000}


@pytest.fixture(scope="module")
def leaking_report():
    sample = GaussianShift(1.0).draw(1000, 1200, seed=0)
    return audit(sample.members, sample.nonmembers, **QUICK)


def test_a_leak_in_scores_is_found_measured_and_certified(leaking_report):
    report = leaking_report
    assert report.leak_detected and "leaks" in report.verdict
    (query,) = report.queries
    assert [result.estimator for result in query.advantages] == ["KNN", "Threshold"]
    for result in query.advantages:
        assert result.low < 0.3829 < result.high and result.low > result.null_high
        assert result.p_value == 0.01
    assert query.roc.auc_low < 0.76025 < query.roc.auc_high
    assert 0 < report.certificate.advantage < 0.3829
    assert [point.target_fpr for point in query.roc.tpr_at_fpr] == [0.01, 0.001]
    assert sum(query.histogram.members) == 1000 and sum(query.histogram.nonmembers) == 1200
    assert len(report.individual_risk.members.posterior) == 1000
    assert report.data.mode == "query outputs" and report.versions["jax"]


def test_the_control_finds_nothing(leaking_report):
    control = leaking_report.control
    assert control.passed and control.certificate.epsilon == 0.0
    assert control.n_members + control.n_nonmembers == 1200
    assert control.queries[0][1].low == 0.0


def test_a_failing_control_is_said():
    from mace_jax._audit_control import _sentence

    assert "cannot be trusted" in _sentence(["score"], 0.0, False)
    assert "an epsilon of 0.5" in _sentence([], 0.5, False)


def test_the_same_seed_gives_the_same_report_and_another_seed_does_not():
    sample = GaussianShift(1.0).draw(200, 200, seed=0)
    first, again, other = (audit(sample.members, sample.nonmembers, seed=seed, **QUICK) for seed in (1, 1, 2))

    def content(report):
        plain = report.to_dict()
        return {name: plain[name] for name in ("queries", "certificate", "individual_risk", "control", "verdict")}

    assert content(first) == content(again) != content(other)


@pytest.mark.slow
def test_no_leak_is_said_to_be_no_proof():
    sample = GaussianShift(0.0).draw(300, 300, seed=3)
    report = audit(sample.members, sample.nonmembers, **QUICK)
    assert not report.leak_detected and "no proof of privacy" in report.verdict
    assert report.certificate.epsilon == 0.0


@pytest.mark.slow
def test_several_columns_are_tried_alone_and_together(rng):
    members = np.stack([rng.normal(1, 1, 300), rng.normal(size=300)], axis=1)
    report = audit(members, rng.normal(size=(300, 2)), column_names=["a", "<script>"], **QUICK)
    assert [query.name for query in report.queries] == ["a", "<script>", "all columns together"]
    assert [query.kind for query in report.queries] == ["scalar", "scalar", "vector"]
    assert "Bonferroni over 3 queries" in report.certificate.method
    assert report.certificate.advantage <= max(query.certificate.advantage for query in report.queries)
    assert report.individual_risk_query in ("a", "all columns together")


@pytest.fixture(scope="module")
def copied():
    """A "generator" that gives away its training records, slightly blurred."""
    rng = np.random.default_rng(0)
    members, others = rng.normal(size=(200, 6)), rng.normal(size=(240, 6))
    synthetic = np.concatenate([members + 0.05 * rng.normal(size=(200, 6)), rng.normal(size=(200, 6))])
    return members, others, synthetic, rng.normal(size=(150, 6))


def test_records_and_synthetic_records(copied):
    members, others, synthetic, reference = copied
    seen = []
    report = audit(
        members,
        others,
        synthetic=synthetic,
        reference=reference,
        progress=lambda stage, fraction: seen.append((stage, fraction)),
        **QUICK,
    )
    assert report.data.mode == "records" and report.data.n_synthetic == 400 and report.data.n_reference == 150
    by_name = {query.name: query for query in report.queries}
    assert {"scalar", "vector"} == {query.kind for query in report.queries} and len(by_name) == 4
    nearest = next(query for query in report.queries if query.kind == "scalar" and "nearest" in query.name)
    assert nearest.advantage.low > 0.8
    assert report.control is not None and report.control.passed
    assert any(stage.startswith("permutation null") for stage, _ in seen) and seen[-1][1] == 1.0


def test_a_model_is_asked_for_what_it_can(copied):
    members, others, synthetic, _ = copied

    class Model:
        """Answers with the real distance to its training records."""

        def sample(self, n, *, seed):
            return np.resize(synthetic, (n, 6))

        def discriminator_score(self, records):
            return -np.linalg.norm(records[:, None] - members[None], axis=2).min(axis=1)

    report = audit(members, others, model=Model(), n_synthetic=400, **QUICK)
    assert any("discriminator" in query.name for query in report.queries)
    assert report.data.n_synthetic == 400 and report.leak_detected


@pytest.mark.slow
def test_chosen_queries_and_metrics(copied):
    members, others, synthetic, _ = copied
    report = audit(
        members, others, queries=[NearestSynthetic(synthetic)], metrics=("balanced_accuracy", "f_1"), prior=0.1, **QUICK
    )
    (query,) = report.queries
    assert [(r.estimator, r.metric) for r in query.advantages] == [
        ("KNN", "balanced_accuracy"),
        ("Threshold", "balanced_accuracy"),
        ("KNN", "f_1"),
        ("Threshold", "f_1"),
    ]
    assert all(result.prior == 0.1 for result in query.advantages)


def test_reports_are_written_and_read_back(leaking_report, tmp_path):
    path = leaking_report.to_json(tmp_path / "report.json")
    plain = json.loads(path.read_text())
    assert plain["schema_version"] == leaking_report.schema_version
    assert plain["certificate"]["epsilon"] == pytest.approx(leaking_report.certificate.epsilon, rel=1e-5)
    page = leaking_report.to_html(tmp_path / "report.html").read_text()
    assert page.lstrip().lower().startswith("<!doctype html>")
    assert "leaks" in leaking_report.summary()
    assert "queries" in repr(leaking_report)


def test_warnings_name_what_was_seen(rng):
    members, others = rng.normal(size=(60, 2)), rng.normal(size=(60, 2))
    members[:, 1] = others[:, 1] = 7.0
    others[:5] = members[:5]
    report = audit(members, others, synthetic=rng.normal(size=(50, 2)) + [0, 7], **QUICK)
    text = " ".join(report.warnings)
    assert report.data.shared_rows == 5
    assert "5 of 60 members also occur among the non-members" in text
    assert "1 of 2 record columns are constant (first: column 1)" in text
    scores = audit(np.ones(40), np.ones(40), **QUICK)
    assert "its output is constant over all records" in " ".join(scores.warnings)
    assert "also occur" not in " ".join(scores.warnings)  # equal scores are nothing unusual


def test_tiny_and_discrete_inputs_run():
    report = audit([0.0, 1.0], [0.0, 2.0], n_permutations=39, n_resamples=100)
    assert report.control is None and "needs at least 8 non-members" in report.control_skipped
    assert report.certificate.epsilon == 0.0
    binary = audit(np.arange(40) % 2, np.arange(40) % 4 == 0, n_permutations=39, n_resamples=100)
    assert binary.control is not None


def test_progress_true_is_quiet_without_a_terminal(capsys):
    sample = GaussianShift(1.0).draw(30, 30, seed=0)
    audit(sample.members, sample.nonmembers, n_permutations=39, n_resamples=100, progress=True)
    assert capsys.readouterr().err == ""


def test_progress_bars_on_a_terminal(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    sample = GaussianShift(1.0).draw(30, 30, seed=0)
    audit(sample.members, sample.nonmembers, n_permutations=39, n_resamples=100, progress=True)
    assert "permutation null" in capsys.readouterr().err


NORMAL = np.linspace(0, 1, 20)


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        ({"members": NORMAL[:1]}, ValueError, "members has 1 rows; at least 2 are needed"),
        (
            {"nonmembers": [1.0, np.inf, 2.0]},
            ValueError,
            "nonmembers has NaN or infinity in 1 of 3 rows, first in row 1",
        ),
        ({"members": np.zeros((5, 3))}, ValueError, "members has 3 columns but nonmembers has 1"),
        ({"members": ["a", "b"]}, TypeError, "members has dtype <U1, which is not numeric"),
        ({"prior": 1.0}, ValueError, "prior=1.0 must lie strictly between 0 and 1"),
        ({"confidence_level": 95}, ValueError, "confidence_level=95 must lie strictly between 0 and 1"),
        ({"delta": -1}, ValueError, "delta=-1 must be a probability"),
        ({"n_resamples": 5}, ValueError, "n_resamples=5 must be at least 100"),
        (
            {"n_permutations": 5},
            ValueError,
            "n_permutations=5 cannot give a p-value small enough for confidence_level=0.95: .* pass at least 39",
        ),
        ({"n_permutations": 99, "confidence_level": 0.99}, ValueError, "pass at least 199"),
        ({"metrics": ()}, ValueError, r"metrics=\(\) is empty"),
        ({"metrics": "auc"}, ValueError, "metric='auc' is not known"),
        ({"seed": -3}, ValueError, "seed=-3 must be at least 0"),
        ({"reference": NORMAL}, ValueError, "reference= calibrates queries of records"),
        ({"column_names": ["a", "b"]}, ValueError, "column_names has 2 names for 1 columns"),
        ({"synthetic": np.zeros((9, 2))}, ValueError, "synthetic has 2 columns but members has 1"),
        ({"synthetic": [np.nan, 1.0]}, ValueError, "synthetic has NaN or infinity"),
        ({"queries": "all", "synthetic": NORMAL}, ValueError, "queries='all' is not known"),
        ({"queries": []}, ValueError, r"queries=\(\) is empty"),
        ({"queries": [print]}, TypeError, "which is no query"),
        ({"queries": [NearestSynthetic(NORMAL)] * 2}, ValueError, "queries has two named"),
        ({"model": object()}, ValueError, "pass synthetic records, or a model with discriminator_score"),
    ],
)
def test_bad_input(arguments, error, message):
    with pytest.raises(error, match=message):
        audit(**{"members": NORMAL, "nonmembers": NORMAL + 0.01, **arguments})


def test_repeated_column_names(rng):
    with pytest.raises(ValueError, match="column_names has 'a' more than once"):
        audit(rng.normal(size=(9, 2)), rng.normal(size=(9, 2)), column_names=["a", "a"])


def test_the_module_offers_what_it_names():
    assert mace_jax.audit is audit


def test_a_model_that_answers_by_row_number_does_not_look_like_a_leak(rng):
    """Members come first in the pool: an answer that drifts with the row must not tell them apart."""

    class Drifting:
        def discriminator_score(self, records):
            return np.arange(len(records)) + rng.normal(size=len(records))

    report = audit(rng.normal(size=(200, 3)), rng.normal(size=(200, 3)), model=Drifting(), **QUICK)
    assert report.queries[0].advantage.p_value > 0.01


@pytest.mark.slow
def test_few_synthetic_records_are_said(rng):
    report = audit(rng.normal(size=(30, 2)), rng.normal(size=(30, 2)), synthetic=rng.normal(size=(3, 2)), **QUICK)
    assert "only 3 synthetic records" in " ".join(report.warnings)


@pytest.mark.slow
def test_many_queries_can_still_show_a_leak(rng):
    """Three columns and both together: the smallest of 39 + 1 permutation p-values times 4 is above 0.025."""
    quick = {"n_permutations": 39, "n_resamples": 100}
    report = audit(rng.normal(8, 1, (12, 3)), rng.normal(0, 1, (12, 3)), **quick)
    assert report.settings["n_permutations"] == 159 and "raised from 39 to 159" in " ".join(report.warnings)
    assert report.leak_detected and min(query.advantage.p_value for query in report.queries) == 1 / 160


def test_copies_within_a_group_are_said(rng):
    members, others = (np.repeat(rng.normal(size=(15, 2)), 4, axis=0) for _ in range(2))
    report = audit(members, others, n_permutations=79, n_resamples=100)
    assert "100% of a group's rows equal another row" in " ".join(report.warnings)


def test_sentinels_at_the_end_of_the_float_range_are_plotted(rng):
    from mace_jax._audit_query import _histogram

    found = _histogram(*rng.choice([-1.0, 1.0], (2, 40)) * np.finfo(np.float64).max, "score", 40)
    assert np.isfinite(found.edges).all() and sum(found.members) == sum(found.nonmembers) == 40
