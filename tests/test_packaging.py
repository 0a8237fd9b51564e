"""What a newcomer meets first agrees with itself: metadata, the two commands, the license, what a wheel takes along."""

from __future__ import annotations

import os
import re
import subprocess
import tomllib

import pytest

from tests._support import PACKAGES, ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
README = (ROOT / "README.md").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
GATE = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
OWNERS_LIST = {"jax", "jaxlib", "flax", "optax", "numpy", "faiss-cpu", "tensorflow-datasets"}


def requirement_names(requirements) -> set[str]:
    return {re.split(r"[<>=!~\[; ]", text)[0] for text in requirements}


def shell_blocks(text: str) -> list[list[str]]:
    """The commands of every ``sh`` block, comments removed."""
    blocks = re.findall(r"```sh\n(.*?)```", text, flags=re.DOTALL)
    return [
        [line.split("#")[0].strip() for line in block.splitlines() if line.split("#")[0].strip()] for block in blocks
    ]


def test_metadata():
    project = PROJECT["project"]
    assert project["name"] == "mace-jax"
    assert project["requires-python"] == ">=3.11"
    assert project["license"] == "Apache-2.0"
    assert project["scripts"] == {"mace-jax": "mace_jax.cli:main"}
    assert OWNERS_LIST <= requirement_names(project["dependencies"])


def test_dependencies_have_lower_bounds_and_no_upper_ones():
    groups = PROJECT["dependency-groups"].values()
    for requirement in [*PROJECT["project"]["dependencies"], *(entry for group in groups for entry in group)]:
        assert ">=" in requirement and "<" not in requirement and "==" not in requirement, requirement


def test_the_console_script_has_its_function():
    import mace_jax.cli

    assert callable(mace_jax.cli.main)


def test_the_changelog_knows_this_version():
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"## {PROJECT['project']['version']}" in changelog


def test_the_first_commands_of_the_readme_are_the_makefiles():
    first = shell_blocks(README)[0]
    assert first == ["make demo", "make test"]
    for command in first:
        assert re.search(rf"^{command.split()[1]}:", MAKEFILE, flags=re.MULTILINE)


def test_the_gate_runs_the_readmes_test_command_first():
    steps = re.findall(r"^step '.*?' (.*)$", GATE, flags=re.MULTILINE)
    assert steps[0] == shell_blocks(README)[0][1]
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
    targets = [step.split()[1] for step in steps]
    assert len(targets) >= 7
    for target in targets:
        assert re.search(rf"^{target}:", MAKEFILE, flags=re.MULTILINE), target


def test_every_make_target_named_in_the_docs_exists():
    text = README + (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    for target in set(
        re.findall(r"`?make ([a-z-]+)", "\n".join(re.findall(r"```sh\n.*?```|`make [^`]+`", text, re.S)))
    ):
        assert re.search(rf"^{target}:", MAKEFILE, flags=re.MULTILINE), target


def test_the_license_is_whole():
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text and "END OF TERMS AND CONDITIONS" in text
    assert "mace-jax contributors" in text and "[yyyy]" not in text


def test_both_packages_are_typed_and_in_the_wheel():
    packages = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert {ROOT / package for package in packages} == set(PACKAGES.values())
    for folder in PACKAGES.values():
        assert (folder / "py.typed").is_file()
        assert (folder / "__init__.py").is_file()


def test_no_data_file_of_the_packages_is_ignored_by_git():
    """The build leaves out what git ignores, silently."""
    files = [
        path
        for folder in PACKAGES.values()
        for path in folder.rglob("*")
        if path.is_file() and path.suffix not in {".pyc", ".pyo"}
    ]
    assert any(path.suffix in {".html", ".j2"} for path in files), "the report template is gone"
    try:
        done = subprocess.run(
            ["git", "check-ignore", "--no-index", *map(str, files)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        pytest.skip("git is not installed; the wheel check of the gate covers this")
    if done.returncode == 128:
        pytest.skip("not a git checkout; the wheel check of the gate covers this")
    assert done.stdout.split() == []


def test_make_says_what_to_do_about_an_old_python(tmp_path):
    old = tmp_path / "old-python"
    old.write_text("#!/bin/sh\n[ \"$1\" = --version ] && echo 'Python 3.8.1' && exit 0\nexit 1\n", encoding="utf-8")
    old.chmod(0o755)
    try:
        done = subprocess.run(
            ["make", "demo", f"PYTHON={old}", f"VENV={tmp_path / 'venv'}"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        pytest.skip("make is not installed")
    assert done.returncode != 0
    assert "needs Python 3.11 or newer" in done.stdout and "make demo PYTHON=python3.11" in done.stdout
    assert not (tmp_path / "venv").exists()
