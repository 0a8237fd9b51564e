from __future__ import annotations

import re
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import mace_jax
from mace_jax import cli

NONE_LEFT = "no report, whole or in part"


def run(*arguments: object):
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments])


def shell(*arguments: object, cwd: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mace_jax.cli", *map(str, arguments)],
        cwd=cwd,
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def refused(tmp_path: Path, files: dict[str, Path], message: str, **options: object) -> None:
    """The audit ends with code 2, one sentence on stderr that matches, and writes nothing."""
    out = tmp_path / "out"
    arguments = {**files, "out": out, **options}
    flat = [part for name, value in arguments.items() for part in (f"--{name.replace('_', '-')}", value)]
    result = run("audit", *flat)
    assert result.exit_code == 2, result.output
    assert re.search(message, result.stderr), result.stderr
    assert "Traceback" not in result.output
    assert len([line for line in result.stderr.splitlines() if line.startswith("Error: ")]) == 1
    assert not list(tmp_path.rglob("report.*")) and not list(tmp_path.rglob(".mace-jax-*")), NONE_LEFT
    assert not out.is_dir() or not list(out.iterdir()), NONE_LEFT


@pytest.mark.parametrize("command", [[], ["audit"], ["demo"], ["train"], ["certify"], ["design"]])
def test_help_is_fast_and_shows_an_example(command: list[str], tmp_path: Path, child_environment) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = shell(*command, "--help", cwd=tmp_path, env=child_environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0 and "mace-jax" in done.stdout
    if command:
        assert re.search(rf"  Example:\n    mace-jax {command[0]} (\w+ )?--", done.stdout)
    spent = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    assert spent < 1.0, "seconds of processor time; the clock on the wall depends on who else is at work"


def test_help_loads_nothing_heavy(child_environment) -> None:
    code = (
        "import sys\nfrom typer.testing import CliRunner\nfrom mace_jax.cli import app\n"
        "assert CliRunner().invoke(app, ['audit', '--help']).exit_code == 0\n"
        "print(sorted({'jax', 'flax', 'numpy', 'scipy', 'pyarrow', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=child_environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_version() -> None:
    result = run("--version")
    assert result.exit_code == 0 and result.stdout == f"mace-jax {mace_jax.__version__}\n"


def test_exit_code_reaches_the_shell(tmp_path: Path, child_environment) -> None:
    done = shell("audit", "--members", "absent.npy", "--nonmembers", "absent.npy", cwd=tmp_path, env=child_environment)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "Error: absent.npy does not exist; check the path.\n"
    assert not list(tmp_path.iterdir())


def test_a_missing_option_is_bad_input() -> None:
    result = run("audit", "--members", "a.npy")
    assert result.exit_code == 2 and "--nonmembers" in result.stderr


def test_missing_file(tmp_path: Path, files) -> None:
    refused(tmp_path, files, r"absent\.csv does not exist; check the path", nonmembers=tmp_path / "absent.csv")


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_unreadable_and_pickled_arrays(tmp_path: Path, files, suffix: str) -> None:
    broken = tmp_path / f"broken{suffix}"
    broken.write_bytes(b"PK\x03\x04 and then nothing" if suffix == ".npz" else b"\x93NUMPY\x01\x00")
    refused(tmp_path, files, f"broken{suffix} cannot be read as {suffix[1:]}", members=broken)
    pickled = tmp_path / f"pickled{suffix}"
    objects = np.array([{}, None], dtype=object)
    np.save(pickled, objects, allow_pickle=True) if suffix == ".npy" else np.savez(pickled, objects)
    refused(tmp_path, files, "holds pickled .* never loaded", members=pickled)


def test_text_column_and_ragged_rows(tmp_path: Path, files) -> None:
    files["members"].write_text("loss,city\n1,Rome\n2,Oslo\n")
    refused(tmp_path, files, r"column 'city' is not numeric .*first in row 0 .*'Rome'")
    files["members"].write_text("loss,margin\n1,2\n3\n")
    refused(tmp_path, files, "Row #3: Expected 2 columns, got 1")


def test_nan_and_infinity(tmp_path: Path, files) -> None:
    path = tmp_path / "members.npy"
    np.save(path, np.array([[0.0, 1.0], [np.nan, 1.0], [np.inf, 1.0]]))
    refused(tmp_path, files, r"NaN or infinity in 2 of 3 rows, first in row 1", members=path)
    files["members"].write_text("loss,margin\n1,2\n3,\n")
    refused(tmp_path, files, r"column 'margin' has 1 missing values in 2 rows, first in row 1")


def test_names_that_differ(tmp_path: Path, files) -> None:
    files["nonmembers"].write_text("loss,entropy\n1,2\n3,4\n")
    refused(tmp_path, files, "column 1 is called 'margin' in members but 'entropy' in nonmembers")


def test_out_that_cannot_be_written(tmp_path: Path, files) -> None:
    (tmp_path / "taken").write_text("")
    refused(tmp_path, files, "out='.*taken' cannot be a folder because .* is a file", out=tmp_path / "taken")
    refused(tmp_path, files, "out='.*below' cannot be a folder", out=tmp_path / "taken" / "below")
    (tmp_path / "holds" / "report.html").mkdir(parents=True)
    result = run("audit", *flatten(files), "--out", tmp_path / "holds")
    assert result.exit_code == 2 and "holds a folder called report.html" in result.stderr


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a file system that refuses new files")
def test_out_that_refuses_new_files(tmp_path: Path, files) -> None:
    for out in ("/proc/self", "/proc/absent/report"):
        refused(tmp_path, files, f"out='{out}' is not writable .*choose another folder with --out", out=out)


def test_out_is_checked_before_the_files_are_read(tmp_path: Path, files) -> None:
    (tmp_path / "taken").write_text("")
    refused(tmp_path, files, "cannot be a folder", out=tmp_path / "taken", members=tmp_path / "absent.npy")


@pytest.mark.parametrize("value", ["-1", "nan", "inf"])
def test_gate_out_of_range(tmp_path: Path, files, value: str) -> None:
    refused(tmp_path, files, f"fail-above-epsilon={float(value)} must be a finite number", fail_above_epsilon=value)


def test_unexpected_errors_keep_their_traceback(tmp_path: Path, files, monkeypatch) -> None:
    def crash(*_args, **_kwargs):
        return {}["no such key"]

    def foreign(*_args, **_kwargs):
        return int("ten")  # a ValueError, but not one of ours

    exec(compile("def ours(*_a, **_k):\n    raise ValueError('k=0 must be\\nat least 1.')", "x", "exec"), made := {})
    made["ours"].__globals__["__name__"] = "mace_jax.somewhere"
    for stand_in, code, text in (
        (crash, 3, "KeyError"),
        (foreign, 3, "invalid literal"),
        (made["ours"], 2, "Error: k=0 must be at least 1."),
    ):
        monkeypatch.setattr(mace_jax, "audit", stand_in, raising=False)
        result = run("audit", *flatten(files), "--out", tmp_path / "out")
        assert result.exit_code == code and text in result.stderr
        assert ("Traceback" in result.stderr) == (code == 3)
        assert not (tmp_path / "out").exists(), NONE_LEFT


@pytest.mark.filterwarnings("default::UserWarning")
def test_warnings_are_one_line(tmp_path: Path, files) -> None:
    files["members"].write_text(",loss\n0,1\n1,2\n")
    files["nonmembers"].write_text("loss\n")
    result = run("audit", *flatten(files), "--out", tmp_path / "out")
    assert result.exit_code == 2
    lines = result.stderr.splitlines()
    assert len(lines) == 2 and lines[0].startswith("Warning: ") and "row index" in lines[0]
    assert lines[1].endswith("has no rows; one row per record is needed.")


def flatten(files: dict[str, Path]) -> list[object]:
    return [part for name, path in files.items() for part in (f"--{name}", path)]


RATES = ("--true-positives", 420, "--members", 1000, "--false-positives", 50, "--nonmembers", 1000)


@pytest.mark.parametrize("method", ["clopper_pearson", "katz", "adjusted_log", "bailey", "inverse_sinh"])
def test_certify_by_method(method: str) -> None:
    from mace_jax.certificates import epsilon_from_counts

    result = run("certify", *RATES, "--method", method)
    epsilon = epsilon_from_counts(420, 1000, 50, 1000, method=method)
    assert result.exit_code == 0 and result.stdout.startswith(f"epsilon >= {epsilon:.4f} (confidence 0.95, delta 0, ")
    assert ("large-sample" in result.stdout) == (method != "clopper_pearson")


def test_certify_by_families() -> None:
    gaussian = run("certify", *RATES, "--method", "gdp", "--delta", "1e-5")
    assert gaussian.exit_code == 0 and "Gaussian family, mu >= 1.2296" in gaussian.stdout
    assert "may lie above the truth" in gaussian.stdout
    credible = run("certify", *RATES, "--method", "joint_beta", "--confidence", 0.9)
    assert credible.stdout.startswith("epsilon in [1.") and "not a certificate" in credible.stdout
    refused_ = run("certify", *RATES, "--method", "gdp")
    assert refused_.exit_code == 2 and "no finite epsilon at delta 0" in refused_.stderr


def test_certify_one_run() -> None:
    result = run("certify", "--canaries", 1000, "--guesses", 100, "--correct", 95, "--delta", "1e-5")
    assert result.exit_code == 0 and result.stdout.startswith(
        "epsilon >= 2.1652 (confidence 0.95, delta 1e-05, one run)"
    )
    assert "The training algorithm is not" in result.stdout
    family = run(
        "certify", "--canaries", 1000, "--guesses", 1000, "--correct", 600, "--delta", "1e-5", "--method", "one_run_fdp"
    )
    assert family.stdout.startswith("epsilon >= 0.5835") and "not Gaussian" in family.stdout
    nothing = run("certify", "--canaries", 1000, "--guesses", 1000, "--correct", 500)
    assert nothing.exit_code == 0 and "not a proof of privacy" in nothing.stdout


@pytest.mark.parametrize(
    "arguments, message",
    [
        (RATES[:6], "--nonmembers is missing"),
        ((), "--true-positives, --members, --false-positives and --nonmembers is missing"),
        (("--canaries", 100, "--guesses", 10), "--correct is missing"),
        ((*RATES, "--canaries", 100), "--nonmembers belongs to the others"),
        (("--canaries", 100, "--guesses", 101, "--correct", 3), "n_guesses=101 exceeds its total 100"),
        (("--canaries", 100, "--guesses", 10, "--correct", -1), "n_correct=-1 must be at least 0"),
        (("--canaries", 100, "--guesses", 10, "--correct", 3, "--method", "gdp"), "with canaries pass one_run"),
        ((*RATES, "--method", "one_run"), "needs records that were included in training by independent coins"),
        ((*RATES, "--method", "wald"), "method='wald' is not known"),
        ((*RATES, "--design", "coins.json"), "pass --design and --scores together"),
        (("--design", "coins.json"), "one of them is missing"),
        (("--design", "absent.json", "--scores", "absent.csv"), r"absent\.json does not exist"),
    ],
)
def test_certify_refuses(arguments: tuple[object, ...], message: str) -> None:
    result = run("certify", *arguments)
    assert result.exit_code == 2 and re.search(message, result.stderr), result.stderr
    assert result.stderr.startswith("Error: ") and "Traceback" not in result.output


@pytest.mark.parametrize("kind", [(), ("--pairs",), ("--models", 3)])
def test_design_is_drawn_and_read_back(tmp_path: Path, kind: tuple[object, ...]) -> None:
    coins, rows = tmp_path / "coins.json", tmp_path / "included.csv"
    drawn = run("design", "--records", 200, "--seed", 7, "--out", coins, "--included", rows, *kind)
    assert drawn.exit_code == 0, drawn.output
    assert "Design(n_" in drawn.stdout and f"Written: {coins}" in drawn.stdout
    found = run("certify", "--design", coins, "--scores", rows, "--guesses", 100, "--delta", "1e-6")
    assert found.exit_code == 0, found.output
    assert float(found.stdout.split()[2]) > 3.0 and "one run, independent coins" in found.stdout
    assert "- " in found.stdout and "about the training algorithm" in found.stdout
    again = run("certify", "--design", coins, "--scores", rows, "--guesses", 400)
    assert again.exit_code == 2 and "n_guesses=400 exceeds the 200" in again.stderr


def test_design_refuses(tmp_path: Path) -> None:
    for arguments, message in (
        (("--records", 0), "n_records=0 must be at least 1"),
        (("--records", 9, "--pairs", "--models", 3), "--pairs and --models are two designs"),
    ):
        result = run("design", *arguments, "--seed", 1, "--out", tmp_path / "coins.json")
        assert result.exit_code == 2 and message in result.stderr and not list(tmp_path.iterdir())
    (tmp_path / "coins.json").write_text("{}")
    (tmp_path / "scores.csv").write_text("1\n2\n")
    foreign = run("certify", "--design", tmp_path / "coins.json", "--scores", tmp_path / "scores.csv")
    assert foreign.exit_code == 2 and "is no design file" in foreign.stderr
