"""Divergence estimates: time beside a plain k-d tree script, and a table of estimates beside closed forms.

The timed cases measure one ``kl`` of unit normals 1 apart. ``ours`` returns the value and the influence of both
samples, so it looks up the neighbors of both; ``value`` is ``kl(..., influence=False)``, the value alone;
``script_value`` is a SciPy script of the value alone, ``script_lists`` one that finds the same lists as ``ours``. A
case is prepared only if all agree to 1e-9. ``kl_value_50000_d5`` times all four in turns, in one process.

``python -m bench.bench_divergences --table [--features D] [--runs R] [--law NAME]`` prints the table and appends it to
``bench/results/bench_divergences_table.jsonl``. The bias stated there does not know the truth: it carries the change
of the mean from n/2 to n on to infinity at the slowest rate nearest neighbors have, ``n^(-1/d)``. What n/2 records give
is the mean over both halves of the same n, so that most noise cancels in the change. ``within_one`` asks whether the
mean lies within three standard errors of one estimate and the bias of the truth, ``within`` the same with the standard
error of the mean over runs, which finds biases that no single estimate shows. ``flags`` has the share of runs in which
the estimate itself said that it is too low.
"""

from __future__ import annotations

import argparse
import collections
import json
import math
import sys
from collections.abc import Callable
from typing import Any

from bench.divergence_laws import laws
from bench.harness import RESULTS, Case, Contender, Contenders, main
from mace_jax._status import Status

ROWS = 1000
_SAY_TOO_LOW = (Status.SUPPORT_MISMATCH, Status.HEAVY_TAIL, Status.LOWER_BOUND, Status.HIGH_DIMENSION)


def _records(n: int, d: int) -> tuple[Any, Any]:
    import numpy as np

    rng = np.random.default_rng(0)
    p, q = rng.normal(size=(n, d)), rng.normal(size=(n, d))
    p[:, 0] += 1.0
    return p, q


def _script(p: Any, q: Any, k: int, *, lists: bool) -> float:
    import numpy as np
    from scipy.spatial import cKDTree  # pyright: ignore[reportAttributeAccessIssue]

    n, d = p.shape
    rows = np.concatenate([p, q]) if lists else p
    rho = cKDTree(p).query(rows, k + 1, workers=2)[0][:n, k]
    nu = cKDTree(q).query(rows, k + 1 if lists else k, workers=2)[0][:n, k - 1]
    return float(d * np.mean(np.log(nu / rho)) + math.log(len(q) / (n - 1)))


def _ours(p: Any, q: Any, k: int) -> float:
    from mace_jax.divergences import kl

    return kl(p, q, k=k, method="knn", check_support=False, half_samples=0).value


def _value(p: Any, q: Any, k: int) -> float:
    from mace_jax.divergences import kl

    return kl(p, q, k=k, method="knn", check_support=False, influence=False).value


RUNS: dict[str, Callable[[Any, Any, int], float]] = {
    "value": _value,
    "ours": _ours,
    "script_value": lambda p, q, k: _script(p, q, k, lists=False),
    "script_lists": lambda p, q, k: _script(p, q, k, lists=True),
}


def _timed(name: str, n: int, d: int, k: int = 5, *, smoke: bool = False) -> Case:
    def prepare() -> Any:
        p, q = _records(n, d)
        values = [run(p, q, k) for run in RUNS.values()]
        if max(values) - min(values) > 1e-9:
            raise SystemExit(f"the answers differ: {values}")
        return p, q

    def beside(given: Any) -> Contenders:
        return {other: Contender(lambda run=run: run(given[0], given[1], k)) for other, run in RUNS.items()}

    parameters = {"n": n, "m": n, "features": d, "k": k, "workers": 2}
    run = RUNS[name]
    full_name = f"kl_{name}_{n}_d{d}"
    return Case(
        full_name,
        prepare,
        lambda given: run(given[0], given[1], k),
        parameters,
        smoke,
        beside if name == "value" else None,
    )


def _cases() -> list[Case]:
    small = [_timed(name, 2000, 5, smoke=True) for name in ("ours", "value")]
    return [*(_timed(name, 50_000, 5) for name in RUNS), *small]


def _estimators() -> dict[str, Callable[[Any, Any], Any]]:
    from mace_jax import divergences as dv

    return {
        "kl knn": lambda p, q: dv.kl(p, q, method="knn", half_samples=0),
        "kl common_radius": lambda p, q: dv.kl(p, q, method="common_radius", half_samples=0),
        "kl ensemble": lambda p, q: dv.kl(p, q, method="ensemble"),
        "kl classifier": lambda p, q: dv.kl(p, q, method="classifier", seed=0),
        "renyi 0.5": lambda p, q: dv.renyi(p, q, order=0.5, half_samples=0),
        "renyi 0.9": lambda p, q: dv.renyi(p, q, order=0.9, half_samples=0),
        "renyi 2": lambda p, q: dv.renyi(p, q, order=2.0, half_samples=0),
        "hellinger": lambda p, q: dv.hellinger(p, q, half_samples=0),
        "total_variation": lambda p, q: dv.total_variation(p, q, half_samples=0),
        "jensen_shannon": dv.jensen_shannon,
        "hockey_stick 1": lambda p, q: dv.hockey_stick(p, q, epsilon=1.0, half_samples=0),
        "henze_penrose": dv.henze_penrose,
        "mmd": lambda p, q: dv.mmd(p, q, bandwidth=1.0),
    }


def table(features: int, runs: int, rows: int = ROWS, only: str = "") -> list[dict[str, Any]]:
    """One row per law and estimator."""
    import numpy as np

    out = []
    for name, d, draw, truths in laws(features):
        if only not in name:
            continue
        for estimator, run in _estimators().items():
            if estimator not in truths:
                continue
            middle = rows // 2
            samples = [draw(rows, seed) for seed in range(runs)]
            large = [run(p, q) for p, q in samples]
            full = np.array([one.value for one in large])
            parts = (slice(middle), slice(middle, 2 * middle))
            half = np.array([np.mean([run(p[part], q[part]).value for part in parts]) for p, q in samples])
            flags = collections.Counter(flag.name for one in large for flag in _SAY_TOO_LOW if flag in one.status)
            rate = 2.0 ** (-1.0 / d)
            bias = float(full.mean() - half.mean()) * rate / (1.0 - rate)
            bias_error = rate / (1.0 - rate) * float((full - half).std(ddof=1)) / math.sqrt(runs)
            error = float(full.std(ddof=1)) / math.sqrt(runs)
            off = float(full.mean()) - truths[estimator]
            row = {"law": name, "features": d, "n": rows, "runs": runs, "estimator": estimator}
            row |= {"truth": truths[estimator], "mean": float(full.mean()), "sd": float(full.std(ddof=1))}
            row |= {"stated_bias": -bias, "stated_bias_error": bias_error}
            row["within"] = bool(abs(off) <= 3.0 * error + abs(bias) + 1e-12)
            row["within_own_error"] = bool(abs(off) <= 3.0 * math.hypot(error, bias_error) + abs(bias) + 1e-12)
            row["within_one"] = bool(abs(off) <= 3.0 * float(full.std(ddof=1)) + abs(bias) + 1e-12)
            row["flags"] = {str(flag): count / runs for flag, count in flags.items()}
            out.append(row)
    return out


def _print_table() -> None:
    parser = argparse.ArgumentParser(description="Estimates beside closed forms.")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--features", type=int, default=1)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--law", default="", help="Only laws with this in their name.")
    arguments = parser.parse_args()
    found = table(arguments.features, arguments.runs, arguments.rows, arguments.law)
    RESULTS.mkdir(parents=True, exist_ok=True)
    with (RESULTS / "bench_divergences_table.jsonl").open("a", encoding="utf-8") as file:
        for row in found:
            flagged = max(row["flags"].values(), default=0.0) >= 0.5
            verdict = "within" if row["within_one"] else "flagged" if flagged else "OUTSIDE"
            verdict += "" if row["within"] else ", its mean not"
            file.write(json.dumps(row) + "\n")
            print(
                f"{row['law']:24} d={row['features']:<2} {row['estimator']:18} truth {row['truth']:8.4f} "
                f"mean {row['mean']:8.4f} sd {row['sd']:.4f} stated bias {row['stated_bias']:8.4f} "
                f"{verdict}"
            )


if __name__ == "__main__":
    if "--table" in sys.argv:
        _print_table()
    else:
        main("bench_divergences", _cases())
