"""Progress bars show on a terminal, and only there."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from mace_jax.cli._outcome import progress_bar

START = """
import pickle, sys, mace_jax
from mace_jax.cli import main
from mace_jax.cli._outcome import progress_bar

def audit(*_arguments, progress, **_options):
    if progress:
        progress("[bold]sorting scores", 0.5)
    print("progress is", "off" if progress is False else "on", file=sys.__stdout__)
    return pickle.load(open({report!r}, "rb"))

mace_jax.audit = audit
sys.argv = ["mace-jax", "audit", *{arguments!r}]
main()
"""


@pytest.mark.skipif(os.name != "posix", reason="opens a pseudo-terminal")
@pytest.mark.parametrize("terminal", [True, False])
def test_bars_on_a_terminal_only(tmp_path: Path, files, report, child_environment, terminal: bool) -> None:
    saved = tmp_path / "report.pickle"
    saved.write_bytes(pickle.dumps(report))
    arguments = ["--members", str(files["members"]), "--nonmembers", str(files["nonmembers"])]
    code = START.format(report=str(saved), arguments=[*arguments, "--out", str(tmp_path / "out")])
    ours, theirs = os.openpty() if terminal else os.pipe()
    env = {**child_environment, "TERM": "xterm", "COLUMNS": "100"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, stderr=theirs, stdout=subprocess.PIPE, check=True, timeout=120
    )
    os.close(theirs)
    with open(ours, "rb", buffering=0) as stream:
        try:
            seen = stream.read(100_000) or b""
        except OSError:  # a pseudo-terminal whose other end is closed and that holds nothing
            seen = b""
    assert (b"progress is on" in done.stdout) == terminal and b"Written: " in done.stdout
    assert (b"[bold]sorting scores" in seen) == terminal
    assert terminal or seen == b"", "nothing but errors on standard error when nobody watches"


def test_the_bar_takes_any_text(monkeypatch) -> None:
    with progress_bar() as progress:
        assert progress is False
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with progress_bar() as progress:
        assert callable(progress)
        progress("[/bold] a column name", 0.0)
        progress("done", 1.0)
