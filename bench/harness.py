"""One way to measure: fresh process per case, compile apart from run, medians with ranges, peak memory, ceilings.

A benchmark file builds a list of ``Case`` and calls ``main``. Each case runs in a process of its own and becomes one
JSON row in ``bench/results``; the contenders of a case run beside it in a second process, so that its peak memory is
its own. Numbers are recorded, never asserted; answers are checked before anything is timed.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "bench" / "results"
PACKAGES = ("mace-jax", "jax", "jaxlib", "numpy", "scipy", "faiss-cpu", "scikit-learn")
MIN_RUNS = 5
_REST = 0.1
"""Seconds before each contender: threads of the one before, which wait for more work in a loop, give up by then."""
_MARK = "bench-row "
_COMPILE_EVENTS = {
    "/jax/core/compile/jaxpr_trace_duration": "trace",
    "/jax/core/compile/jaxpr_to_mlir_module_duration": "lower",
    "/jax/core/compile/backend_compile_duration": "compile",
}


@dataclasses.dataclass(frozen=True)
class Contender:
    """A call, and how many queries it answers where contenders answer different numbers of them."""

    run: Callable[[], Any]
    queries: int = 1


Contenders = dict[str, Contender]


@dataclasses.dataclass(frozen=True)
class Case:
    """One measurement: ``prepare`` makes the inputs (not timed), ``run`` is the timed work on them."""

    name: str
    prepare: Callable[[], Any]
    run: Callable[[Any], Any]
    parameters: dict[str, Any]
    smoke: bool = False  # small enough for the gate
    beside: Callable[[Any], Contenders] | None = None  # from the inputs, once answers are checked; the first is ours
    facts: Callable[[], dict[str, Any]] | None = None  # what else belongs in the row, worked out after timing


def main(bench: str, cases: list[Case]) -> None:
    """Command line of a benchmark file; ``bench`` names its module and its result file."""
    parser = argparse.ArgumentParser(description=f"Benchmark {bench}; rows go to bench/results/{bench}.jsonl.")
    parser.add_argument("--smoke", action="store_true", help="only the smallest cases, nothing is recorded")
    parser.add_argument("--case", help="only the case of this name")
    parser.add_argument("--runs", type=int, default=MIN_RUNS, help="timed runs per case (default: %(default)s)")
    parser.add_argument("--alone", action="store_true", help="without the contenders")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--beside", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    by_name = {case.name: case for case in cases}
    if arguments.worker:
        measure = _side_by_side if arguments.beside else _measure
        print(_MARK + json.dumps(measure(by_name[arguments.worker], arguments.runs)))
        return
    if arguments.case and arguments.case not in by_name:
        parser.error(f"--case {arguments.case} is not one of: {', '.join(by_name)}")
    chosen = [case for case in cases if (case.smoke or not arguments.smoke) and arguments.case in (None, case.name)]
    common = {"bench": bench, **_surroundings(), "ceilings": _ceilings(size=256 if arguments.smoke else 2048)}
    for case in chosen:
        row = {**common, **_in_fresh_process(bench, case.name, arguments.runs)}
        if case.beside and not arguments.alone:
            row["side_by_side"] = _in_fresh_process(bench, case.name, arguments.runs, "--beside")
        if not arguments.smoke:
            RESULTS.mkdir(parents=True, exist_ok=True)
            with (RESULTS / f"{bench}.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
        print(_line(row), flush=True)


def _measure(case: Case, runs: int) -> dict[str, Any]:
    """Inside the fresh process: one cold call, then the timed ones."""
    spent = {"trace": 0.0, "lower": 0.0, "compile": 0.0}

    import jax

    def listen(event: str, duration_secs: float, **kwargs: Any) -> None:
        if event in _COMPILE_EVENTS:
            spent[_COMPILE_EVENTS[event]] += duration_secs

    jax.monitoring.register_event_duration_secs_listener(listen)
    inputs = case.prepare()
    before = _peak_rss()
    first = _timed(case, inputs)
    seconds = [_timed(case, inputs) for _ in range(max(runs, MIN_RUNS))]
    return {
        "case": case.name,
        "parameters": case.parameters,
        "first_call_s": first,
        **{f"jax_{stage}_s": value for stage, value in spent.items()},
        "run_median_s": statistics.median(seconds),
        "run_min_s": min(seconds),
        "run_max_s": max(seconds),
        "runs": len(seconds),
        "rss_before_mib": before,
        "peak_rss_mib": (peak := _peak_rss()),
        "added_rss_mib": peak - before,
        **({"facts": case.facts()} if case.facts else {}),
        "device": str(jax.devices()[0].device_kind),
        "backend": jax.default_backend(),
    }


def _side_by_side(case: Case, runs: int) -> dict[str, Any]:
    """Inside a fresh process: medians of alternating rounds, every other one backwards."""
    assert case.beside is not None
    contenders = case.beside(case.prepare())
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(max(runs, MIN_RUNS)):
        for name in list(contenders)[:: 1 if turn % 2 == 0 else -1]:
            time.sleep(_REST)
            start = time.perf_counter()
            contenders[name].run()
            seconds[name].append((time.perf_counter() - start) / contenders[name].queries)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    ours = next(iter(medians.values()))
    per_query = any(contender.queries > 1 for contender in contenders.values())
    return {
        "unit": "s per query" if per_query else "s",
        "median": medians,
        "range": {name: [min(times), max(times)] for name, times in seconds.items()},
        "ratio_to_ours": {name: median / ours for name, median in medians.items()},
    }


def _timed(case: Case, inputs: Any) -> float:
    import jax

    start = time.perf_counter()
    jax.block_until_ready(case.run(inputs))
    return time.perf_counter() - start


def _in_fresh_process(bench: str, name: str, runs: int, *flags: str) -> dict[str, Any]:
    command = [sys.executable, "-m", f"bench.{bench}", "--worker", name, "--runs", str(runs), *flags]
    path = os.pathsep.join([str(ROOT), str(ROOT / "kernels"), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "PYTHONPATH": path}, stdout=subprocess.PIPE, text=True, check=False
    )
    rows = [line for line in done.stdout.splitlines() if line.startswith(_MARK)]
    if done.returncode or not rows:
        raise SystemExit(f"case {name} of {bench} ended with exit code {done.returncode}; its messages are above.")
    return json.loads(rows[-1].removeprefix(_MARK))


def _peak_rss() -> float:
    """Largest resident memory of this process so far, MiB."""
    status = Path("/proc/self/status")
    if status.exists():  # ru_maxrss of a child starts at its parent's peak, VmHWM does not
        for line in status.read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024**2 if sys.platform == "darwin" else 1024)


def _surroundings() -> dict[str, Any]:
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "threads": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "versions": {name: _version(name) for name in PACKAGES},
    }


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _commit() -> str | None:
    try:
        command = ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    return done.stdout.strip() or None


def _ceilings(size: int) -> dict[str, float]:
    """What this machine can do at best: float32 matrix product and memory copy, best of five."""
    import numpy as np

    a = np.ones((size, size), np.float32)
    source = np.ones(size * size * 8, np.float32)
    target = np.empty_like(source)
    return {
        "sgemm_gflops": 2 * size**3 / _best(lambda: a @ a) / 1e9,
        "copy_gb_per_s": 2 * source.nbytes / _best(lambda: np.copyto(target, source)) / 1e9,
    }


def _best(work: Callable[[], Any], repeats: int = 5) -> float:
    work()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def _line(row: dict[str, Any]) -> str:
    beside = "".join(
        f"\n    {name}: {row['side_by_side']['median'][name]:.4g} {row['side_by_side']['unit']}, {ratio:.2f} x ours"
        for name, ratio in row.get("side_by_side", {}).get("ratio_to_ours", {}).items()
    )
    return (
        f"{row['bench']} {row['case']}: first call {row['first_call_s']:.2f} s (XLA compile "
        f"{row['jax_compile_s']:.2f} s), then median {row['run_median_s']:.3f} s "
        f"[{row['run_min_s']:.3f}, {row['run_max_s']:.3f}] of {row['runs']}, "
        f"peak memory {row['peak_rss_mib']:.0f} MiB, "
        f"of which {row['added_rss_mib']:.0f} MiB came after the inputs{beside}"
    )
