"""``import mace_jax`` stays light, and every public name is there once it is asked for."""

from __future__ import annotations

import json
import subprocess
import sys
import types

import pytest

import mace_jax as mj
from tests._support import ROOT

HEAVY = {
    "faiss",
    "flax",
    "jax",
    "jaxlib",
    "matplotlib",
    "numpy",
    "optax",
    "orbax",
    "pyarrow",
    "scipy",
    "sklearn",
    "tensorflow_datasets",
}


def in_fresh_process(code: str) -> dict:
    """Run ``code`` in a new interpreter; it prints one JSON object."""
    path = f"import sys; sys.path[:0] = {[str(ROOT), str(ROOT / 'kernels')]!r}\n"
    done = subprocess.run([sys.executable, "-c", path + code], capture_output=True, text=True, check=False, cwd="/")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_import_is_fast_and_loads_nothing_heavy():
    code = (
        "import time; start = time.perf_counter()\n"
        "import mace_jax\n"
        "seconds = time.perf_counter() - start\n"
        "import json; print(json.dumps({'seconds': seconds, 'modules': sorted(sys.modules)}))"
    )
    runs = [in_fresh_process(code) for _ in range(3)]
    assert min(run["seconds"] for run in runs) < 1.0
    assert HEAVY & {name.split(".")[0] for name in runs[0]["modules"]} == set()


def test_the_audit_loads_no_model_and_no_plotting_package():
    code = (
        "import json, mace_jax as mj; mj.audit; mj.neighbors.knn; mj.metrics\n"
        "print(json.dumps({'modules': sorted(sys.modules)}))"
    )
    loaded = {name.split(".")[0] for name in in_fresh_process(code)["modules"]}
    assert loaded & {"flax", "tensorflow_datasets", "faiss", "matplotlib", "sklearn"} == set()


@pytest.mark.parametrize("name", sorted(mj.__all__))
def test_every_public_name_exists(name):
    assert getattr(mj, name) is not None
    assert name in dir(mj)


def test_verbs_that_share_their_name_with_a_package_can_be_called():
    import mace_jax.bootstrap as package
    from mace_jax.bootstrap import bootstrap

    assert callable(bootstrap)
    assert callable(mj.bootstrap)
    assert isinstance(package, types.ModuleType)
    code = (
        "import json, mace_jax as mj\n"
        "first = callable(mj.bootstrap)\n"
        "import mace_jax.bootstrap\n"
        "print(json.dumps({'calls': [first, callable(mj.bootstrap), callable(mj.audit)]}))"
    )
    assert in_fresh_process(code) == {"calls": [True, True, True]}


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'mace_jax' has no attribute 'auditt'"):
        mj.auditt  # noqa: B018


def test_the_version_of_a_tree_that_was_never_installed(monkeypatch):
    import importlib.metadata

    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    assert mj._version() == "0+uninstalled"
