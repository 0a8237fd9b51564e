"""Helpers shared by tests: where things are, tolerances by dtype, reading imports."""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = {"mace_jax": ROOT / "mace_jax", "mace_jax_kernels": ROOT / "kernels" / "mace_jax_kernels"}

_RTOL = {np.dtype(np.float32): 5e-4, np.dtype(np.float64): 5e-7}


def assert_close(actual, expected, *, rtol: float | None = None, atol: float | None = None) -> None:
    """``numpy.testing.assert_allclose`` with the tolerance of the coarser floating dtype."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    floats = [x.dtype for x in (actual, expected) if x.dtype.kind == "f"]
    default = max((_RTOL.get(dtype, 5e-7) for dtype in floats), default=0.0)
    np.testing.assert_allclose(
        actual, expected, rtol=default if rtol is None else rtol, atol=default if atol is None else atol
    )


@dataclasses.dataclass(frozen=True)
class Import:
    """One import statement: who imports what, where, and whether it runs when the module is imported."""

    importer: str
    imported: str
    line: int
    lazy: bool


def modules_of(folder: Path, package: str) -> Iterator[tuple[str, Path]]:
    """Dotted name and file of every module below ``folder``."""
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder).with_suffix("").parts
        if parts[-1] == "__init__":
            parts = parts[:-1]
        yield ".".join((package, *parts)), path


def imports_of(source: str, module: str, *, is_package: bool = False) -> Iterator[Import]:
    """Every import in ``source``; those under ``if TYPE_CHECKING`` are left out, they never run."""
    yield from _walk(ast.parse(source), module, is_package, lazy=False)


def _walk(node: ast.AST, module: str, is_package: bool, lazy: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            for other in child.orelse:
                yield from _walk(other, module, is_package, lazy)
        elif isinstance(child, ast.Import):
            for alias in child.names:
                yield Import(module, alias.name, child.lineno, lazy)
        elif isinstance(child, ast.ImportFrom):
            base = _absolute(child, module, is_package)
            for alias in child.names:
                yield Import(module, f"{base}.{alias.name}", child.lineno, lazy)
        else:
            inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from _walk(child, module, is_package, lazy or inside)


def _absolute(node: ast.ImportFrom, module: str, is_package: bool) -> str:
    if not node.level:
        return node.module or ""
    parts = module.split(".")
    parts = parts[: len(parts) - node.level + (1 if is_package else 0)]
    return ".".join((*parts, node.module) if node.module else parts)


def rest_slow(cases: Iterable[Any], keep: Callable[[Any], bool]) -> list[Any]:
    """Parameters of a test: the cases that are kept, and the others for the slow run only."""
    return [case if keep(case) else pytest.param(*_values(case), marks=pytest.mark.slow) for case in cases]


def _values(case: Any) -> tuple[Any, ...]:
    return case if isinstance(case, tuple) else (case,)
