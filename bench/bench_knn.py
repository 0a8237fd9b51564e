"""Neighbor search beside what one would use instead, in one run: FAISS, scikit-learn, SciPy, and the product alone.

Every case checks each contender against float64 first, then times all of them in alternating order, so that a busy
machine slows all alike. ``REPORT`` of a case is printed after the harness row; ratios are to our own median.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from typing import Any

from bench.harness import RESULTS, Case, main

ROUNDS = 5
Contenders = dict[str, Callable[[], Any]]


def _normal(n: int, d: int, seed: int) -> Any:
    import numpy as np

    return np.random.default_rng(seed).standard_normal((n, d), dtype=np.float32)


def _threads() -> int:
    import faiss

    from mace_jax.neighbors._threads import processors

    faiss.omp_set_num_threads(processors())
    return processors()


def _oracle(x: Any, y: Any, k: int, leave_out: int = 0) -> Any:
    """Distances of the first queries by float64 differences; ``leave_out`` closest rows are dropped."""
    import numpy as np

    found = [np.sort(((row.astype(np.float64) - y) ** 2).sum(1))[leave_out : leave_out + k] for row in x]
    return np.sqrt(np.array(found))


def _product(x: Any, y: Any) -> Callable[[], None]:
    """The matrix product alone, in blocks as FAISS takes them, by NumPy's BLAS."""
    import numpy as np

    block = np.empty((len(x), 1024), np.float32)

    def run() -> None:
        for start in range(0, len(y), 1024):
            part = y[start : start + 1024]
            np.matmul(x, part.T, out=block[:, : len(part)])

    return run


def _search(n: int, m: int, d: int, k: int, *, itself: bool = False, trees: bool = False) -> Contenders:
    """Distances of the k nearest rows, per contender."""
    import faiss
    import numpy as np
    from scipy.spatial import cKDTree  # type: ignore[attr-defined]
    from sklearn.neighbors import NearestNeighbors

    from mace_jax.neighbors import knn

    workers = _threads()
    y = _normal(m, d, 1)
    x = y if itself else _normal(n, d, 0)
    own = int(itself)

    def sklearn(algorithm: str) -> Callable[[], Any]:
        def run() -> Any:
            index = NearestNeighbors(n_neighbors=k, algorithm=algorithm, n_jobs=workers).fit(y)
            return index.kneighbors(None if itself else x)[0]

        return run

    def tree() -> Any:
        return cKDTree(y).query(x, k=k + own, workers=workers)[0][:, own:]

    contenders: Contenders = {"mace_jax": lambda: knn(x, y, k, exclude_self=itself).distances}
    if trees:
        contenders |= {"cKDTree": tree, "sklearn_kd_tree": sklearn("kd_tree")}
    else:
        contenders |= {
            "faiss.knn": lambda: np.sqrt(faiss.knn(x, y, k + own)[0][:, own:]),
            "sklearn_brute": sklearn("brute"),
            "sgemm": _product(x, y),
        }
    some = np.linspace(0, len(x) - 1, 8).astype(int)
    truth = _oracle(x[some], y, k, own)
    for name, run in contenders.items():
        if name != "sgemm":
            exact = name == "mace_jax"
            np.testing.assert_allclose(run()[some], truth, rtol=1e-12 if exact else 1e-3, err_msg=name)
    return contenders


def _paired(n: int, d: int, k: int) -> Contenders:
    from mace_jax.data import MembershipSample
    from mace_jax.neighbors import knn, paired_knn

    sample = MembershipSample(_normal(n, d, 0), _normal(n, d, 1))
    import numpy as np

    pooled = np.concatenate([sample.members, sample.nonmembers])
    return {
        "mace_jax": lambda: paired_knn(sample, k).to_members.distances,
        "one_pooled_search": lambda: knn(pooled, pooled, k, exclude_self=True).distances,
    }


def _counts(n: int, m: int, d: int, radius: float) -> Contenders:
    import faiss
    import numpy as np

    from mace_jax.neighbors import radius_count

    _threads()
    x, y = _normal(n, d, 0), _normal(m, d, 1)
    index = faiss.IndexFlatL2(d)
    index.add(y)

    def ranges() -> Any:
        parts = [index.range_search(x[i : i + 1000], radius**2)[0] for i in range(0, n, 1000)]
        return np.concatenate([np.diff(part.astype(np.int64)) for part in parts])

    some = slice(0, 8)
    truth = [int((np.sqrt(((row.astype(np.float64) - y) ** 2).sum(1)) <= radius).sum()) for row in x[some]]
    assert radius_count(x, y, radius)[some].tolist() == truth
    return {"mace_jax": lambda: radius_count(x, y, radius), "faiss.range_search": ranges, "sgemm": _product(x, y)}


def _alternating(name: str, contenders: Contenders) -> dict[str, Any]:
    """Medians of ``ROUNDS`` rounds, every other round backwards; recorded beside the harness's own rows."""
    seconds: dict[str, list[float]] = {contender: [] for contender in contenders}
    for turn in range(ROUNDS):
        for contender in list(contenders)[:: 1 if turn % 2 == 0 else -1]:
            start = time.perf_counter()
            contenders[contender]()
            seconds[contender].append(time.perf_counter() - start)
    medians = {contender: statistics.median(times) for contender, times in seconds.items()}
    row = {
        "bench": "bench_knn",
        "case": f"{name}_side_by_side",
        "median_s": medians,
        "range_s": {contender: [min(times), max(times)] for contender, times in seconds.items()},
        "ratio_to_mace_jax": {contender: median / medians["mace_jax"] for contender, median in medians.items()},
    }
    return row


def _ours(name: str, prepare: Callable[[], Contenders], parameters: dict[str, Any], smoke: bool = False) -> Case:
    """The harness times our call; the comparison runs first, in the same process, on the same arrays."""

    def compared() -> Contenders:
        contenders = prepare()
        row = _alternating(name, contenders) | {"parameters": parameters}
        text = json.dumps(row)
        print(text, flush=True)
        if not smoke:
            RESULTS.mkdir(parents=True, exist_ok=True)
            with (RESULTS / "bench_knn.jsonl").open("a", encoding="utf-8") as file:
                file.write(text + "\n")
        return contenders

    return Case(name, compared, lambda contenders: contenders["mace_jax"](), parameters, smoke)


def _knn(name: str, n: int, m: int, d: int, k: int, *, smoke: bool = False, **settings: bool) -> Case:
    parameters = {"queries": n, "reference": m, "features": d, "k": k, **settings}
    return _ours(name, lambda: _search(n, m, d, k, **settings), parameters, smoke)


CASES = [
    _knn("smoke", 200, 2_000, 64, 5, smoke=True),
    _knn("d64_k5", 10_000, 100_000, 64, 5),
    _knn("d64_k50", 10_000, 100_000, 64, 50),
    _knn("d784_k5", 10_000, 100_000, 784, 5),
    _knn("d1_self_k10", 1_000_000, 1_000_000, 1, 10, itself=True, trees=True),
    _knn("d3_self_k5", 100_000, 100_000, 3, 5, itself=True, trees=True),
    _ours("paired_d16_k20", lambda: _paired(50_000, 16, 20), {"rows_per_label": 50_000, "features": 16, "k": 20}),
    _ours(
        "counts_d40",
        lambda: _counts(10_000, 1_000_000, 40, 5.75),
        {"queries": 10_000, "reference": 1_000_000, "features": 40, "radius": 5.75},
    ),
]

if __name__ == "__main__":
    main("bench_knn", CASES)
