"""Ctrl-C at every stage: code 130 and no broken, half-written or temporary file."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(os.name != "posix", reason="sends SIGINT to a child process")

START = """
import signal, sys, time, mace_jax
from mace_jax.cli import main

# A test run in the background of a shell starts its children with this signal ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)

def pause(*_arguments, **_options):
    open({flag!r}, "w").close()
    time.sleep(60)

{patch}
sys.argv = ["mace-jax", *{arguments!r}]
main()
"""
PATCHES = {
    "while auditing": "mace_jax.audit = pause",
    "while reading": "import mace_jax.data as data; data.load_records = pause",
    "while rendering": "import pickle, mace_jax.report as report; report.Report.to_html = pause\n"
    "mace_jax.audit = lambda **_given: pickle.load(open({report!r}, 'rb'))",
    "while training": "import mace_jax.models as models; models.GAN.fit = pause",
}


def interrupt(tmp_path: Path, patch: str, arguments: list[str], env: dict[str, str]) -> subprocess.CompletedProcess:
    flag = tmp_path / "flag"
    code = START.format(flag=str(flag), patch=patch, arguments=arguments)
    child = subprocess.Popen([sys.executable, "-c", code], env=env, stderr=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        deadline = time.monotonic() + 60
        while not flag.exists():
            assert child.poll() is None and time.monotonic() < deadline, child.communicate()[1].decode()
            time.sleep(0.02)
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=30)
    finally:
        child.kill()
    flag.unlink()
    return subprocess.CompletedProcess(code, child.returncode, out.decode(), err.decode())


@pytest.fixture(scope="module")
def pickled(tmp_path_factory: pytest.TempPathFactory, report) -> str:
    path = tmp_path_factory.mktemp("pickled") / "report"
    path.write_bytes(pickle.dumps(report))
    return str(path)


@pytest.mark.parametrize("stage", PATCHES)
def test_interrupted(tmp_path: Path, files, child_environment, pickled: str, stage: str) -> None:
    out = tmp_path / "new" / "report"
    arguments = ["demo"] if stage == "while training" else ["audit"]
    if arguments[0] == "audit":
        arguments += ["--members", str(files["members"]), "--nonmembers", str(files["nonmembers"])]
    before = sorted(tmp_path.rglob("*"))
    done = interrupt(
        tmp_path, PATCHES[stage].format(report=pickled), [*arguments, "--out", str(out)], child_environment
    )
    assert done.returncode == 130, done.stderr
    assert done.stderr.splitlines()[-1] == "Interrupted; no report was written."
    assert "Traceback" not in done.stderr
    assert sorted(tmp_path.rglob("*")) == before


def test_interrupted_over_an_older_report(tmp_path: Path, files, child_environment, pickled: str) -> None:
    out = tmp_path / "report"
    out.mkdir()
    for name in ("report.json", "report.html"):
        (out / name).write_text("older")
    arguments = ["audit", "--members", str(files["members"]), "--nonmembers", str(files["nonmembers"])]
    done = interrupt(
        tmp_path,
        PATCHES["while rendering"].format(report=pickled),
        [*arguments, "--out", str(out)],
        child_environment,
    )
    assert done.returncode == 130
    assert {path.name: path.read_text() for path in out.iterdir()} == {"report.json": "older", "report.html": "older"}
