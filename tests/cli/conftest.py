from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

import mace_jax

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def child_environment() -> dict[str, str]:
    """Environment in which a child process finds both packages."""
    paths = [str(ROOT), str(ROOT / "kernels"), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in paths if path)}


@pytest.fixture(scope="session")
def report() -> mace_jax.Report:
    """A whole report on a little data; the sizes are those of ``files``, so that compiled code is shared."""
    random = np.random.default_rng(1)
    return mace_jax.audit(
        random.normal(size=(40, 1)), random.normal(size=(50, 1)), n_resamples=200, n_permutations=39, seed=0
    )


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """Small sound inputs, written anew for every test."""
    random = np.random.default_rng(0)
    made = {}
    for name, n in (("members", 40), ("nonmembers", 50)):
        made[name] = tmp_path / f"{name}.csv"
        rows = random.normal(size=(n, 2))
        made[name].write_text("loss,margin\n" + "".join(f"{a:.6f},{b:.6f}\n" for a, b in rows))
    return made
