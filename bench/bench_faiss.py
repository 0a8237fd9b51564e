"""Approximate search against our own exact one, and the memory of streaming.

Approximate cases time the search of an index that was built and tuned before; building, tuning, one exact run on the
same data, the ratio and the recall over all queries are in the row's parameters. ``clustered`` records lie near a
curved 12-dimensional sheet of 500 clumps in 64 columns; ``noise`` is uniform, where no index can tell cells apart.
Streaming cases read a float32 file block by block; the row compares its memory with the formula of ``knn_stream``.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bench.harness import Case, main

D, K, ASKED = 64, 10, 0.99


def _records(kind: str, n: int, seed: int) -> Any:
    import numpy as np

    rng = np.random.default_rng(seed)
    if kind == "noise":
        return rng.random((n, D), dtype=np.float32).astype(np.float64)
    fixed = np.random.default_rng(1)
    centers = 2 * fixed.standard_normal((500, 12))
    inner, outer = fixed.standard_normal((12, 128)) / 12**0.5, fixed.standard_normal((128, D)) / 128**0.5
    out = np.empty((n, D))
    for start in range(0, n, 50_000):
        size = min(50_000, n - start)
        latent = centers[rng.integers(500, size=size)] + 0.5 * rng.standard_normal((size, 12))
        out[start : start + size] = np.tanh(latent @ inner) @ outer + 0.02 * rng.standard_normal((size, D))
    return out


def _seconds(work: Callable[[], Any]) -> tuple[Any, float]:
    start = time.perf_counter()
    result = work()
    return result, time.perf_counter() - start


def _approximate(name: str, index: str, kind: str, n: int, m: int, smoke: bool = False, **settings: Any) -> Case:
    parameters = {"index": index, "data": kind, "queries": n, "reference": m, "features": D, "k": K, "asked": ASKED}
    parameters |= settings

    def prepare() -> Any:
        from mace_jax.neighbors import ExactBackend, FaissBackend, knn

        x, y = _records(kind, n, 3), _records(kind, m, 2)
        knn(x[: n // 2], y, K, backend=ExactBackend())  # compiles
        exact, exact_s = _seconds(lambda: knn(x, y, K, backend=ExactBackend()))
        backend = FaissBackend(index=index, recall=ASKED, **settings)
        built, build_s = _seconds(lambda: backend.build(y))
        tuned, tune_s = _seconds(lambda: built.tune(K, x))
        found, search_s = _seconds(lambda: tuned.search(x, K))
        parameters.update(
            exact_s=exact_s,
            build_s=build_s,
            tune_s=tune_s,
            search_over_exact=exact_s / search_s,
            all_steps_over_exact=exact_s / (build_s + tune_s + search_s),
            recall_on_probes=found.recall,
            recall_on_all_queries=float((found.squared_distances <= exact.squared_distances[:, -1:]).mean()),
            breadth=tuned.breadth,
            refine=tuned.refine,
        )
        return tuned, x

    return Case(name, prepare, lambda given: given[0].search(given[1], K).squared_distances, parameters, smoke)


def _flat(name: str, n: int, m: int, smoke: bool = False) -> Case:
    def run(given: Any) -> Any:
        from mace_jax.neighbors import knn

        return knn(given[0], given[1], K, backend="faiss").squared_distances

    parameters = {"index": "flat", "data": "clustered", "queries": n, "reference": m, "features": D, "k": K}
    return Case(name, lambda: (_records("clustered", n, 3), _records("clustered", m, 2)), run, parameters, smoke)


def _streamed(name: str, n: int, m: int, block_rows: int, smoke: bool = False) -> Case:
    formula = 9 * D * (block_rows + n) + 48 * n * K + (8 << 20)
    parameters = {"queries": n, "reference": m, "features": D, "k": K, "block_rows": block_rows, "backend": "faiss"}
    parameters |= {
        "formula_mib": formula / 2**20,
        "flat_backend_mib": 256 + (4 * n * D + 24 * n * (2 * K + 16)) / 2**20,
    }

    def prepare() -> Any:
        import numpy as np

        folder = tempfile.TemporaryDirectory()
        path = Path(folder.name) / "reference.f32"
        rng = np.random.default_rng(0)
        with path.open("wb") as file:
            for start in range(0, m, block_rows):
                rng.standard_normal((min(block_rows, m - start), D), dtype=np.float32).tofile(file)
        return folder, path, rng.standard_normal((n, D))

    def run(given: Any) -> Any:
        import numpy as np

        from mace_jax.neighbors import knn_stream

        _, path, x = given

        def blocks() -> Iterator[Any]:
            with path.open("rb") as file:
                while len(block := np.fromfile(file, np.float32, block_rows * D)):
                    yield block.reshape(-1, D)

        return [found.squared_distances for found in knn_stream(x, blocks, K, backend="faiss")]

    return Case(name, prepare, run, parameters, smoke)


CASES = [
    _approximate("smoke", "ivf", "clustered", 1_000, 10_000, smoke=True),
    _streamed("smoke_stream", 100, 4_000, 1_000, smoke=True),
    _approximate("ivf_tenth", "ivf", "clustered", 1_000, 100_000),
    _approximate("ivfpq_tenth", "ivfpq", "clustered", 1_000, 100_000),
    _approximate("hnsw_tenth", "hnsw", "clustered", 1_000, 100_000),
    _approximate("ivf_noise_tenth", "ivf", "noise", 1_000, 100_000),
    _approximate("ivf_full", "ivf", "clustered", 10_000, 1_000_000),
    _flat("flat_tenth", 1_000, 100_000),
    _streamed("stream_250k", 500, 250_000, 50_000),
    _streamed("stream_1m", 500, 1_000_000, 50_000),
]

if __name__ == "__main__":
    main("bench_faiss", CASES)
