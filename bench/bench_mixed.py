"""Nearest rows of mixed tables; given the Python of a host library, side by side with it on the same data.

``python -m bench.bench_mixed --host anonymeter --python PATH`` (or ``--host sdmetrics``) alternates single calls of
both, compares every distance and index before any ratio is written, and appends one row. Without ``--host`` the
cases run as everywhere else. PATH never enters a result.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench import harness
from bench.harness import Case, main

LEVELS = (9, 16, 7, 15, 6, 5, 2, 42)
SIZES = {"anonymeter": (1_000, 100_000), "sdmetrics": (2_000, 4_000)}

_LOAD = """
import json, sys, time, warnings
import numpy as np, pandas as pd
warnings.simplefilter("ignore")
data = np.load(sys.argv[1], allow_pickle=True)
queries, reference = (pd.DataFrame({k[2:]: data[k] for k in data.files if k[0] == side}) for side in "qr")
"""
_HOSTS = {
    "anonymeter": _LOAD
    + """
import anonymeter.evaluators
from anonymeter.neighbors.mixed_types_kneighbors import MixedTypeKNeighbors
def search(queries, reference):
    found = MixedTypeKNeighbors(n_jobs=-1).fit(reference)
    return found.kneighbors(queries, n_neighbors=1, return_distance=True)
search(queries.head(3), reference.head(50))
start = time.perf_counter()
distances, indices = search(queries, reference)
seconds = time.perf_counter() - start
np.savez(sys.argv[2], seconds=seconds, distances=distances, indices=indices)
""",
    "sdmetrics": _LOAD
    + """
from sdmetrics.single_table.privacy.dcr_utils import calculate_dcr
kinds = {c: "numerical" if queries[c].dtype.kind in "iuf" else "categorical" for c in queries}
metadata = {"columns": {c: {"sdtype": kind} for c, kind in kinds.items()}}
calculate_dcr(queries.head(9), reference.head(9), metadata)
start = time.perf_counter()
distances = calculate_dcr(queries, reference, metadata).to_numpy()[:, None]
seconds = time.perf_counter() - start
np.savez(sys.argv[2], seconds=seconds, distances=distances)
""",
}


def _table(rng: Any, n: int, missing: float) -> dict[str, Any]:
    """Fourteen columns in the style of census records: six numbers, two of them mostly 0, and eight labels."""
    import numpy as np

    made: dict[str, Any] = {
        "n0": rng.integers(17, 91, n).astype(float),
        "n1": np.round(np.exp(rng.normal(12, 0.6, n))),
        "n2": rng.integers(1, 17, n).astype(float),
        "n3": np.where(rng.random(n) < 0.08, np.round(np.exp(rng.normal(8, 1, n))), 0.0),
        "n4": np.where(rng.random(n) < 0.05, np.round(rng.normal(1900, 300, n)), 0.0),
        "n5": np.clip(np.round(rng.normal(40, 12, n)), 1, 99),
    }
    for j, levels in enumerate(LEVELS):
        names = np.array([f"level {i}" for i in range(levels)], dtype=object)
        made[f"s{j}"] = names[rng.choice(levels, n, p=rng.dirichlet(np.ones(levels)))]
    for column in made.values():
        column[rng.random(n) < missing] = np.nan if column.dtype.kind == "f" else None
    return made


def _tables(n: int, m: int, missing: float) -> tuple[Any, Any]:
    import numpy as np

    rng = np.random.default_rng(0)
    return _table(rng, n, missing), _table(rng, m, missing)


def _search(tables: tuple[Any, Any], preset: str, k: int) -> Any:
    from mace_jax.neighbors import Gower, mixed_knn

    return mixed_knn(*tables, k, metric=getattr(Gower, preset)())


def _case(preset: str, n: int, m: int, k: int = 1, missing: float = 0.0, smoke: bool = False) -> Case:
    name = "smoke" if smoke else f"{preset}_{n}x{m}_k{k}"
    parameters = {"preset": preset, "queries": n, "reference": m, "columns": 14, "k": k, "missing": missing}
    return Case(
        name, lambda: _tables(n, m, missing), lambda tables: _search(tables, preset, k).distances, parameters, smoke
    )


CASES = [
    _case("anonymeter", 50, 400, smoke=True),
    _case("anonymeter", 1_000, 100_000),
    _case("anonymeter", 1_000, 100_000, k=50),
    _case("synthyverse", 1_000, 100_000, missing=0.03),
    _case("sdmetrics", 2_000, 4_000, missing=0.03),
    _case("sdmetrics", 10_000, 100_000, missing=0.03),
]


def _compare(host: str, python: str, runs: int) -> dict[str, Any]:
    """Alternate single calls of both; the answers must agree before a ratio exists."""
    import numpy as np

    n, m = SIZES[host]
    missing = 0.03 if host == "sdmetrics" else 0.0
    tables = _tables(n, m, missing)
    start = time.perf_counter()
    found = _search(tables, host, 1)
    first = time.perf_counter() - start
    ours, theirs, gap, same = [], [], 0.0, None
    with tempfile.TemporaryDirectory() as folder:
        data, answer = Path(folder) / "data.npz", Path(folder) / "answer.npz"
        sides = {
            f"{side}_{name}": column for side, table in zip("qr", tables, strict=True) for name, column in table.items()
        }
        np.savez(data, **sides)
        for _ in range(runs):
            start = time.perf_counter()
            found = _search(tables, host, 1)
            ours.append(time.perf_counter() - start)
            subprocess.run([python, "-c", _HOSTS[host], str(data), str(answer)], check=True)
            with np.load(answer) as host_found:
                theirs.append(float(host_found["seconds"]))
                gap = max(gap, float(np.abs(host_found["distances"] - found.distances).max()))
                if "indices" in host_found:
                    same = float((host_found["indices"] == found.indices).mean())
    if not gap <= 1e-12:
        raise SystemExit(f"{host}: distances differ by {gap:g}; no ratio is written.")
    return {
        "case": f"{host}_{n}x{m}_side_by_side",
        "parameters": {"host": host, "queries": n, "reference": m, "columns": 14, "k": 1, "missing": missing},
        "first_call_s": first,
        "run_median_s": statistics.median(ours),
        "host_median_s": statistics.median(theirs),
        "run_s": ours,
        "host_s": theirs,
        "ratio": statistics.median(theirs) / statistics.median(ours),
        "largest_difference": gap,
        "equal_indices": same,
    }


def _side_by_side(host: str, python: str, runs: int) -> None:
    row = {"bench": "bench_mixed", **harness._surroundings(), "ceilings": harness._ceilings(size=1024)}
    row |= _compare(host, python, runs)
    harness.RESULTS.mkdir(parents=True, exist_ok=True)
    with (harness.RESULTS / "bench_mixed.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
    print(
        f"bench_mixed {row['case']}: ours {row['run_median_s']:.3f} s (first call {row['first_call_s']:.2f} s), host "
        f"{row['host_median_s']:.2f} s, ratio {row['ratio']:.1f}, largest difference {row['largest_difference']:g}, "
        f"equal indices {row['equal_indices']}"
    )


if __name__ == "__main__":
    if "--host" in sys.argv:
        parser = argparse.ArgumentParser(description="Side by side with a host library installed elsewhere.")
        parser.add_argument("--host", choices=sorted(_HOSTS), required=True)
        parser.add_argument("--python", required=True, help="interpreter that can import the host")
        parser.add_argument("--runs", type=int, default=3, help="alternating single calls (default: %(default)s)")
        arguments = parser.parse_args()
        _side_by_side(arguments.host, arguments.python, arguments.runs)
    else:
        main("bench_mixed", CASES)
