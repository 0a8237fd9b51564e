"""Whole runs through the command line, from files to a written report."""

from __future__ import annotations

import functools
import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import mace_jax
from mace_jax import cli
from mace_jax.datasets import closed_form

SMALL = ("--resamples", 200)
WHOLE_AUDIT = mace_jax.audit
QUICK_AUDIT = functools.partial(WHOLE_AUDIT, n_permutations=39)  # the real audit, with the smallest null


@pytest.fixture(autouse=True)
def quick(monkeypatch) -> None:
    monkeypatch.setattr(mace_jax, "audit", QUICK_AUDIT)


def run(*arguments: object):
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments])


def audit(files: dict[str, Path], out: Path, *more: object):
    given = [part for name, path in files.items() for part in (f"--{name}", path)]
    return run("audit", *given, "--out", out, *SMALL, *more)


@pytest.fixture(scope="module")
def leaking(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Path], Path]:
    """Scores that leak, audited once; the folder of the report."""
    folder = tmp_path_factory.mktemp("leak")
    sample = closed_form.GaussianShift(shift=4.0).draw(40, 50, seed=1)
    files = {"members": folder / "members.npz", "nonmembers": folder / "nonmembers.parquet"}
    np.savez(files["members"], **{"<script>alert(1)</script>": sample.members[:, 0]})
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.table({"<script>alert(1)</script>": sample.nonmembers[:, 0]})
    pyarrow.parquet.write_table(table, files["nonmembers"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mace_jax, "audit", QUICK_AUDIT)
        result = audit(files, folder / "new" / "report", "--fail-above-epsilon", 0.1, "--seed", 3)
    assert result.exit_code == 1, result.output
    assert "Gate failed: the certified epsilon" in result.stderr and "fail-above-epsilon=0.1" in result.stderr
    assert str(folder / "new" / "report" / "report.html") in result.stdout
    return files, folder / "new" / "report"


def test_a_failed_gate_still_leaves_the_report(leaking) -> None:
    files, out = leaking
    assert sorted(path.name for path in out.iterdir()) == ["report.html", "report.json"]
    found = json.loads((out / "report.json").read_text())
    assert found["leak_detected"] is True and found["certificate"]["epsilon"] > 0.1
    assert found["queries"][0]["name"] == "<script>alert(1)</script>"
    assert found["settings"]["files"] == {name: str(path) for name, path in files.items()}
    assert found["seed"] == 3
    assert found["queries"][0]["advantages"][0]["advantage"] > 0.7  # the truth is 2 Phi(2) - 1 = 0.95


def test_names_from_files_stay_text_in_the_page(leaking) -> None:
    page = (leaking[1] / "report.html").read_text()
    assert "<script>alert(1)" not in page and "&lt;script&gt;alert(1)" in page


def test_the_command_line_finds_what_the_function_finds(leaking, tmp_path: Path) -> None:
    files, out = leaking
    loaded = {name: mace_jax.load_records(path) for name, path in files.items()}
    report = mace_jax.audit(
        loaded["members"], loaded["nonmembers"], n_resamples=200, seed=3, column_names=loaded["members"].columns
    )
    written = json.loads((out / "report.json").read_text())
    again = json.loads(report.to_json(tmp_path / "again.json").read_text())
    for part in ("verdict", "queries", "certificate", "control", "individual_risk"):
        assert again[part] == written[part], part


@pytest.mark.slow
def test_equal_scores_pass_the_gate_and_replace_the_old_report(tmp_path: Path, files) -> None:
    out = tmp_path / "report"
    out.mkdir()
    (out / "report.json").write_text("old")
    (out / "notes.txt").write_text("mine")
    result = audit(files, out, "--fail-above-epsilon", 0.5)
    assert result.exit_code == 0, result.output
    assert result.stderr == "", "quiet when not a terminal"
    found = json.loads((out / "report.json").read_text())
    assert found["leak_detected"] is False and found["certificate"]["epsilon"] <= 0.5
    assert [query["name"] for query in found["queries"]][:2] == ["loss", "margin"]
    assert (out / "notes.txt").read_text() == "mine" and len(list(out.iterdir())) == 3
    assert result.stdout.rstrip().endswith(f"Written: {out / 'report.html'}")


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--prior", 0, r"prior=0.0 must lie strictly between 0 and 1"),
        ("--prior", 1.5, r"prior=1.5 must lie strictly between 0 and 1"),
        ("--confidence", 1, r"confidence_level=1.0 must lie strictly between 0 and 1"),
        ("--confidence", 0, r"confidence_level=0.0 must lie strictly between 0 and 1"),
        ("--delta", 1, r"delta=1.0 must be a probability in"),
        ("--seed", -1, r"seed=-1 must be at least 0"),
        ("--resamples", 0, r"n_resamples=0 must be at least"),
    ],
)
def test_settings_out_of_range(tmp_path: Path, files, option: str, value: float, message: str) -> None:
    given = [part for name, path in files.items() for part in (f"--{name}", path)]
    result = run("audit", *given, "--out", tmp_path / "out", option, value)
    assert result.exit_code == 2 and message in result.stderr and "Traceback" not in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ({"nonmembers": "a\n1\n2\n"}, "members has 2 columns but nonmembers has 1"),
        ({"nonmembers": "1,2,3\n4,5,7\n"}, "members has 2 columns but nonmembers has 3"),
        ({"members": "loss,margin\n1,2\n"}, "members has 1 rows; at least 2 are needed"),
        ({"nonmembers": "loss,margin\n1,2\n"}, "nonmembers has 1 rows; at least 2 are needed"),
        ({"synthetic": "1,2,3\n4,5,7\n"}, "synthetic has 3 columns but members has 2"),
    ],
)
def test_records_that_do_not_fit(tmp_path: Path, files, rows: dict[str, str], message: str) -> None:
    for name, text in rows.items():
        files[name] = tmp_path / f"{name}.csv"
        files[name].write_text(text)
    result = audit(files, tmp_path / "out")
    assert result.exit_code == 2 and message in result.stderr and "Traceback" not in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_constant_columns_and_shared_records_are_warned_about_and_kept(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    files = {name: tmp_path / f"{name}.npy" for name in ("members", "nonmembers", "synthetic")}
    sizes = {"members": 40, "nonmembers": 50, "synthetic": 60}
    records = {name: np.c_[random.normal(size=(n, 2)), np.full(n, 7.0)] for name, n in sizes.items()}
    records["nonmembers"][:3] = records["members"][10:13]
    for name, path in files.items():
        np.save(path, records[name])
    result = audit(files, tmp_path / "out")
    assert result.exit_code == 0, result.output
    found = json.loads((tmp_path / "out" / "report.json").read_text())
    assert found["data"]["shared_rows"] == 3 and found["data"]["n_features"] == 3
    text = " ".join(found["warnings"])
    assert "3 of 40 members also occur among the non-members. This voids" in text
    assert "1 of 3 record columns are constant (first: column 2); they were kept" in text
    assert "also occur among the non-members" in result.stdout


@pytest.mark.filterwarnings("default::UserWarning")
def test_warnings_of_the_reader_reach_the_report(tmp_path: Path, files) -> None:
    for path in files.values():
        path.write_text(path.read_text().replace("loss,", ",", 1))
    result = audit(files, tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert result.stderr.count("Warning: ") == 2
    warned = json.loads((tmp_path / "out" / "report.json").read_text())["warnings"]
    assert "members.csv: the first column has no name" in warned[0] and "nonmembers.csv" in warned[1]


def test_a_saved_model_is_audited(tmp_path: Path, files) -> None:
    from mace_jax.models import GAN

    records = mace_jax.load_records(files["members"]).values
    GAN(latent_dim=2, generator_hidden=(8,), discriminator_hidden=(8,)).fit(records, steps=2, seed=0).save(
        tmp_path / "model"
    )
    result = audit(files, tmp_path / "out", "--model", tmp_path / "model")
    assert result.exit_code == 0, result.output
    found = json.loads((tmp_path / "out" / "report.json").read_text())
    assert "discriminator score" in [query["name"] for query in found["queries"]]
    assert found["settings"]["files"]["model"] == str(tmp_path / "model")
    missing = audit(files, tmp_path / "none", "--model", tmp_path / "nowhere")
    assert missing.exit_code == 2 and "nowhere" in missing.stderr and not (tmp_path / "none").exists()


def test_certify() -> None:
    counts = ("--true-positives", 420, "--members", 1000, "--false-positives", 50, "--nonmembers", 1000)
    result = run("certify", *counts)
    epsilon = mace_jax.certificates.epsilon_from_counts(420, 1000, 50, 1000)
    assert result.exit_code == 0 and result.stdout.startswith(f"epsilon >= {epsilon:.4f} (confidence 0.95, delta 0")
    assert "training algorithm" in result.stdout
    nothing = run("certify", *counts[:5], 400, *counts[6:], "--delta", "1e-5")
    assert nothing.exit_code == 0 and nothing.stdout.startswith("epsilon >= 0.0000")
    assert "not a proof of privacy" in nothing.stdout
    for bad, message in (
        (("--true-positives", 1001), "true_positives=1001"),
        (("--delta", 1.0), "delta=1.0"),
        (("--confidence", 0.0), "confidence_level=0.0 must lie strictly between 0 and 1"),
    ):
        refused = run("certify", *counts, *bad)
        assert refused.exit_code == 2 and message in refused.stderr


@pytest.mark.slow
def test_demo_of_a_few_steps(tmp_path: Path, monkeypatch) -> None:
    from mace_jax import demo

    monkeypatch.setattr(demo, "N_MEMBERS", 40)
    monkeypatch.setattr(demo, "N_NONMEMBERS", 50)
    whole = demo.run_demo
    monkeypatch.setattr(demo, "run_demo", lambda **given: whole(**given, steps=30, n_synthetic=200, n_resamples=200))
    result = run("demo", "--out", tmp_path / "demo", "--seed", 5)
    assert result.exit_code == 0, result.output
    lines = result.stderr.splitlines()
    assert [line[:5] for line in lines] == ["[1/3]", "[2/3]", "[3/3]"], "plain stages when not a terminal"
    found = json.loads((tmp_path / "demo" / "report.json").read_text())
    assert found["seed"] == 5 and found["settings"]["demo"]["steps"] == 30
    assert found["data"] == {
        "mode": "records",
        "n_members": 40,
        "n_nonmembers": 50,
        "n_features": 64,
        "n_synthetic": 200,
        "n_reference": 1707,
        "shared_rows": 0,
    }
    assert "Written: " in result.stdout and (tmp_path / "demo" / "report.html").stat().st_size > 10_000


@pytest.mark.slow
def test_the_demo_shows_a_leak_and_a_clean_control(monkeypatch) -> None:
    from mace_jax.demo import run_demo

    monkeypatch.setattr(mace_jax, "audit", WHOLE_AUDIT)
    for seed in (0, 1, 2):
        report = run_demo(seed=seed)
        best = max(report.queries, key=lambda query: query.advantage.low).advantage
        assert best.low > 0 and best.low > best.null_high and best.p_value <= 0.01
        assert report.certificate.epsilon > 0
        assert report.control is not None and report.control.passed and report.control.certificate.epsilon == 0
        assert all(estimate.low <= 0 <= estimate.high for _, estimate in report.control.queries)
