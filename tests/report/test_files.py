"""A written file is the old one or the new one, and a failure names the path."""

from __future__ import annotations

import os
import stat

import pytest

from mace_jax.report import _files
from mace_jax.report._files import write_atomically


def test_writes_text_into_new_folders(tmp_path):
    path = write_atomically(tmp_path / "a" / "b" / "report.html", "ε\n")
    assert path.read_bytes() == "ε\n".encode()
    assert [entry.name for entry in path.parent.iterdir()] == ["report.html"]


def test_mode_follows_the_umask(tmp_path):
    old = os.umask(0o027)
    try:
        path = write_atomically(tmp_path / "r.json", "{}")
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


@pytest.mark.parametrize("step", ["fsync", "replace"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device")])
@pytest.mark.parametrize("old", ["before", None])
def test_interruption_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, step, error, old):
    path = tmp_path / "report.json"
    if old:
        path.write_text(old)

    def stop(*_):
        raise error

    monkeypatch.setattr(_files.os, step, stop)
    with pytest.raises((KeyboardInterrupt, OSError)):
        write_atomically(path, "after")
    assert [entry.name for entry in tmp_path.iterdir()] == ([path.name] if old else [])
    assert not old or path.read_text() == old


def test_text_that_cannot_be_encoded_leaves_nothing(tmp_path):
    with pytest.raises(UnicodeEncodeError):
        write_atomically(tmp_path / "r.html", "\udc80")
    assert list(tmp_path.iterdir()) == []


def test_folder_that_is_a_file_is_named(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(OSError, match=r"cannot write .*file.report\.json: .*choose a file in a folder you may write"):
        write_atomically(tmp_path / "file" / "report.json", "{}")


def test_folder_in_place_of_the_file_is_named(tmp_path):
    (tmp_path / "report.json").mkdir()
    with pytest.raises(OSError, match=r"cannot write .*report\.json: "):
        write_atomically(tmp_path / "report.json", "{}")
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.json"]


def test_folder_without_permission_is_named(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(PermissionError, match=r"cannot write .*report\.json: Permission denied; choose"):
        write_atomically(tmp_path / "report.json", "{}")


def test_failed_page_leaves_no_file(make_report, tmp_path, monkeypatch):
    def stop(_):
        raise KeyboardInterrupt

    monkeypatch.setattr("mace_jax.report._html.render", stop)
    with pytest.raises(KeyboardInterrupt):
        make_report().to_html(tmp_path / "report.html")
    assert list(tmp_path.iterdir()) == []
