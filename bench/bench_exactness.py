"""Where float32 distances go wrong: ours and ``faiss.knn`` against float64 differences, on data chosen to be hard.

There are enough queries for FAISS to take its matrix-product path. Each row holds, per contender, the share of queries
with a wrong neighbor set and the largest relative error of a squared distance (absolute where the true one is 0).
"""

from __future__ import annotations

from typing import Any

from bench.harness import Case, main

N, K = 4_000, 10


def _translated(rng: Any, d: int) -> Any:
    return rng.standard_normal((N, d)) + 1e4


def _near_duplicates(rng: Any, d: int) -> Any:
    """Pairs, triples ... of rows 1e-6 apart."""
    import numpy as np

    centers = rng.standard_normal((N // 8, d))
    return np.repeat(centers, 8, axis=0) + 1e-6 * rng.standard_normal((N, d))


def _duplicates(rng: Any, d: int) -> Any:
    """Every row about five times, away from the origin."""
    return (rng.standard_normal((N // 5, d)) + 30)[rng.integers(N // 5, size=N)]


def _compared(make: Any, d: int) -> dict[str, Any]:
    import faiss
    import numpy as np
    from scipy.spatial.distance import cdist

    from mace_jax.neighbors import knn
    from mace_jax.neighbors._threads import processors

    faiss.omp_set_num_threads(processors())
    rows = make(np.random.default_rng(0), d).astype(np.float32)
    queries = rows
    wide = rows.astype(np.float64)
    truth = cdist(wide, wide, "sqeuclidean")  # sums of squared differences: no cancellation
    order = np.argsort(truth, axis=1, kind="stable")[:, :K]
    nearest = np.take_along_axis(truth, order, axis=1)

    def judge(squared: Any, ids: Any) -> dict[str, float]:
        actual = np.take_along_axis(truth, ids, axis=1)
        wrong = (np.sort(actual, axis=1) > nearest).any(axis=1)
        error = np.abs(squared - actual) / np.where(actual > 0, actual, 1.0)
        return {"queries_with_a_wrong_neighbor": float(wrong.mean()), "largest_error": float(error.max())}

    ours = knn(queries, rows, K, backend="exact")
    assert np.array_equal(ours.indices, order)
    squared, ids = faiss.knn(queries, rows, K)
    return {
        "mace_jax": judge(np.asarray(ours.squared_distances), np.asarray(ours.indices)),
        "faiss.knn": judge(squared.astype(np.float64), ids),
    }


def _case(name: str, make: Any, d: int) -> Case:
    def prepare() -> Any:
        import numpy as np

        rows = make(np.random.default_rng(0), d).astype(np.float32)
        return rows, rows

    def run(inputs: Any) -> Any:
        from mace_jax.neighbors import knn

        queries, rows = inputs
        return knn(queries, rows, K, backend="exact").indices

    parameters = {"reference": N, "queries": N, "features": d, "k": K}
    return Case(name, prepare, run, parameters, name == "translated_d40", facts=lambda: _compared(make, d))


CASES = [
    _case(f"{make.__name__.strip('_')}_d{d}", make, d)
    for make in (_translated, _near_duplicates, _duplicates)
    for d in (40, 128)
]

if __name__ == "__main__":
    main("bench_exactness", CASES)
