"""Imports run one way: a module imports only from lower tiers, and never from another package of its own tier."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests._support import PACKAGES, imports_of, modules_of

TIERS = {
    "_types": 1.0,
    "_status": 1.0,
    "_optional": 1.0,
    "_binomial": 1.1,
    "_validate": 1.1,
    "_random": 1.1,
    "_row_blocks": 1.1,
    "_progress": 1.1,
    "data": 2.0,
    "neighbors": 2.0,
    "datasets": 3.0,
    "queries": 3.0,
    "estimators": 4.0,
    "divergences": 5.0,
    "utility": 5.0,
    "metrics": 5.0,
    "bootstrap": 5.0,
    "certificates": 6.0,
    "attacks": 6.0,
    "distributed": 6.0,
    "report": 7.0,
    "_score_report": 7.5,
    "_audit_query": 7.8,
    "_audit_inputs": 7.85,
    "_audit_control": 7.9,
    "_audit": 8.0,
    "_audit_predictions": 8.5,
    "_prediction_files": 8.5,
    "_self_test_checks": 7.9,
    "_self_test": 8.0,
    "demo": 9.0,
    "reproduce": 9.0,
    "_demo": 9.0,
    "_training_inputs": 8.9,
    "_training_run": 9.0,
    "backends": 9.0,
    "cli": 10.0,
}
MODELS_MAY_IMPORT_BELOW = 4.0
# attacks: a local GAN is part of one of them, unless the caller passes settings of another
MODELS_MAY_BE_IMPORTED_BY = {"attacks", "demo", "_demo", "reproduce", "_training_inputs", "cli"}
ONE_SITE = {  # heavy packages: importable only below these places
    "faiss": ("mace_jax.neighbors._faiss",),
    "tensorflow_datasets": ("mace_jax.datasets._tfds",),
    "flax": ("mace_jax.models", "mace_jax.estimators._network"),
    "optax": ("mace_jax.models", "mace_jax.estimators._network"),
    "matplotlib": ("mace_jax.report",),
    "jinja2": ("mace_jax.report",),
    "typer": ("mace_jax.cli",),
    "ray": ("mace_jax.distributed",),
}


def part_of(module: str) -> str | None:
    """The first name below ``mace_jax``; None for anything else."""
    parts = module.split(".")
    return parts[1] if parts[0] == "mace_jax" and len(parts) > 1 else None


def fault(importer: str, imported: str, lazy: bool) -> str | None:
    """Why this import is not allowed, or None."""
    top = imported.split(".")[0]
    here, there = part_of(importer), part_of(imported)
    if importer.split(".")[0] == "mace_jax_kernels":
        return "kernels know nothing of mace_jax" if top == "mace_jax" else None
    if top in ONE_SITE and not any(f"{importer}.".startswith(f"{site}.") for site in ONE_SITE[top]):
        return f"{top} may be imported only in {', '.join(ONE_SITE[top])}"
    if top != "mace_jax" or here == there:
        return None
    if here is None:
        return None if lazy else "the package root loads its parts on first use only"
    if there == "__version__":
        return None
    if there is None:
        return None if TIERS.get(here, 0.0) >= 9.0 else "import from the part that has the name, not from the root"
    if here == "models":
        return None if TIERS.get(there, 99.0) < MODELS_MAY_IMPORT_BELOW else "models may import tiers 1 to 3 only"
    if there == "models":
        return (
            None
            if here in MODELS_MAY_BE_IMPORTED_BY and lazy
            else "only attacks, demo, reproduce, cli and training runs import models, lazily"
        )
    if here not in TIERS or there not in TIERS:
        return "not in the table of tiers"
    if TIERS[there] < TIERS[here]:
        return None
    return "same tier" if TIERS[there] == TIERS[here] else "upward"


def faults(root: Path, package: str) -> list[str]:
    """Every forbidden import below ``root``."""
    found = []
    for module, path in modules_of(root, package):
        source = path.read_text(encoding="utf-8")
        for entry in imports_of(source, module, is_package=path.name == "__init__.py"):
            reason = fault(module, entry.imported, entry.lazy)
            if reason:
                found.append(f"{module}:{entry.line} imports {entry.imported}: {reason}")
    return found


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_imports_run_one_way(package):
    assert faults(PACKAGES[package], package) == []


def test_every_part_has_a_tier():
    parts = {part_of(module) for module, _ in modules_of(PACKAGES["mace_jax"], "mace_jax")} - {None, "models"}
    assert parts <= set(TIERS)
    assert len(parts) > 10


def test_a_made_up_tree_with_forbidden_edges_is_caught(tmp_path):
    def write(name: str, text: str) -> None:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    write("__init__.py", "from mace_jax.data import MembershipSample\n")
    write("data/__init__.py", "from mace_jax.estimators import KNN\n")
    write("neighbors/__init__.py", "def f():\n    from mace_jax.data import MembershipSample\n")
    write("queries/_a.py", "from ..report import Report\nimport faiss\n")
    write("models/gan.py", "import flax\nfrom mace_jax.metrics import x\n")
    write("estimators/_b.py", "from mace_jax._types import Seed\nfrom mace_jax.neighbors import knn\n")
    write("certificates/_c.py", "from mace_jax import certify\n")
    write("cli.py", "import mace_jax.models\ndef g():\n    import mace_jax.models\n")
    write(
        "metrics/_d.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from mace_jax.report import Report\n"
    )
    assert faults(tmp_path, "mace_jax") == [
        "mace_jax:1 imports mace_jax.data.MembershipSample: the package root loads its parts on first use only",
        "mace_jax.certificates._c:1 imports mace_jax.certify: not in the table of tiers",
        "mace_jax.cli:1 imports mace_jax.models: only attacks, demo, reproduce, cli and training runs import models, "
        "lazily",
        "mace_jax.data:1 imports mace_jax.estimators.KNN: upward",
        "mace_jax.models.gan:2 imports mace_jax.metrics.x: models may import tiers 1 to 3 only",
        "mace_jax.neighbors:2 imports mace_jax.data.MembershipSample: same tier",
        "mace_jax.queries._a:1 imports mace_jax.report.Report: upward",
        "mace_jax.queries._a:2 imports faiss: faiss may be imported only in mace_jax.neighbors._faiss",
    ]


def test_kernels_must_not_know_the_package(tmp_path):
    (tmp_path / "op.py").write_text("import jax\nimport mace_jax\n", encoding="utf-8")
    assert faults(tmp_path, "mace_jax_kernels") == [
        "mace_jax_kernels.op:2 imports mace_jax: kernels know nothing of mace_jax"
    ]
