"""``mace-jax audit --probabilities`` and ``--logits``: answers of a classifier from files."""

from __future__ import annotations

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from mace_jax.cli import app

QUICK = ["--resamples", "200", "--seed", "3"]


def write(folder, name: str, sharpness: float, seed: int, *, logits: bool = False):
    """Answers about 120 records of three classes."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, 120)
    values = sharpness * np.eye(3)[labels] + rng.normal(size=(120, 3))
    if not logits:
        values = np.exp(values) / np.exp(values).sum(axis=1, keepdims=True)
    path = folder / name
    if path.suffix == ".npz":
        np.savez(path, answers=values, label=labels)
    else:
        rows = np.column_stack([labels, values])
        np.savetxt(path, rows, delimiter=",", header="label,cat,dog,fox", comments="", fmt="%.17g")
    return path


def run(*arguments):
    return CliRunner().invoke(app, ["audit", *map(str, arguments)])


def test_a_report_from_probabilities_in_files(tmp_path):
    members, nonmembers = write(tmp_path, "in.csv", 5.0, 0), write(tmp_path, "out.csv", 1.0, 1)
    out = tmp_path / "report"
    done = run("--members", members, "--nonmembers", nonmembers, "--probabilities", "label", "--out", out, *QUICK)
    assert done.exit_code == 0, done.output
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert report["leak_detected"] and report["data"]["n_members"] == 60
    assert [query["name"] for query in report["queries"]][:2] == ["correctness", "confidence"]
    assert report["settings"]["files"] == {"members": str(members), "nonmembers": str(nonmembers)}


@pytest.mark.slow
def test_shadow_files_and_logits_of_another_format(tmp_path):
    files = {
        "--members": write(tmp_path, "in.npz", 2.0, 0, logits=True),
        "--nonmembers": write(tmp_path, "out.npz", 2.0, 1, logits=True),
        "--shadow-members": write(tmp_path, "shadow-in.npz", 3.0, 2, logits=True),
        "--shadow-nonmembers": write(tmp_path, "shadow-out.npz", 1.0, 3, logits=True),
    }
    given = [part for pair in files.items() for part in pair]
    done = run(*given, "--logits", "label", "--out", tmp_path / "report", *QUICK)
    assert done.exit_code == 0, done.output
    report = json.loads((tmp_path / "report" / "report.json").read_text(encoding="utf-8"))
    assert report["data"]["n_members"] == 120 and not report["leak_detected"]


@pytest.mark.parametrize(
    "extra, message",
    [
        (["--probabilities", "class"], "members has no column 'class' for the labels; it has 'label', 'cat'"),
        (["--logits", "label", "--probabilities", "label"], "pass one of them"),
        (["--shadow-members", "in.csv"], "pass --probabilities or --logits with them"),
        (["--probabilities", "cat"], "has the label"),
        (["--probabilities", "label", "--synthetic", "in.csv"], "leave synthetic, reference and model out"),
    ],
)
def test_bad_input(tmp_path, monkeypatch, extra, message):
    monkeypatch.chdir(tmp_path)
    write(tmp_path, "in.csv", 2.0, 0)
    done = run("--members", "in.csv", "--nonmembers", "in.csv", *extra)
    assert done.exit_code == 2
    assert message in done.output
