"""Neighbor search beside what one would use instead, in one run: FAISS, scikit-learn, SciPy, and the product alone.

Every contender is checked against float64 differences before all are timed in alternating order, so that a busy machine
slows all alike. ``sgemm`` is the matrix product alone, without selection, in blocks as FAISS takes them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bench.harness import Case, Contender, Contenders, main

GATE_ROWS = 64


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


def _pair(n: int, m: int, d: int, itself: bool) -> tuple[Any, Any]:
    y = _normal(m, d, 1)
    return (y, y) if itself else (_normal(n, d, 0), y)


def _gate(contenders: Contenders, rows: Any, truth: Any) -> None:
    """Ours to the last digits, the others to what float32 distances allow; in place of trust."""
    import numpy as np

    for name, contender in contenders.items():
        if name != "sgemm":
            found = np.asarray(contender.run())[rows]
            np.testing.assert_allclose(found, truth, rtol=1e-12 if name == "mace_jax" else 1e-3, err_msg=name)


def _search(
    name: str, n: int, m: int, d: int, k: int, *, itself: bool = False, trees: bool = False, smoke: bool = False
):
    """Distances of the k nearest rows, per contender."""

    def ours(inputs: Any) -> Any:
        from mace_jax.neighbors import knn

        x, y = inputs
        return knn(x, y, k, exclude_self=itself).distances

    def beside(inputs: Any) -> Contenders:
        import faiss
        import numpy as np
        from scipy.spatial import cKDTree  # type: ignore[attr-defined]
        from sklearn.neighbors import NearestNeighbors

        workers, own = _threads(), int(itself)
        x, y = inputs

        def sklearn(algorithm: str) -> Callable[[], Any]:
            def run() -> Any:
                index = NearestNeighbors(n_neighbors=k, algorithm=algorithm, n_jobs=workers).fit(y)
                return index.kneighbors(None if itself else x)[0]

            return run

        def tree() -> Any:
            return cKDTree(y).query(x, k=k + own, workers=workers)[0][:, own:]

        contenders = {"mace_jax": Contender(lambda: ours(inputs))}
        if trees:
            contenders |= {"cKDTree": Contender(tree), "sklearn_kd_tree": Contender(sklearn("kd_tree"))}
        else:
            contenders |= {
                "faiss.knn": Contender(lambda: np.sqrt(faiss.knn(x, y, k + own)[0][:, own:])),
                "sklearn_brute": Contender(sklearn("brute")),
                "sgemm": Contender(_product(x, y)),
            }
        rows = np.linspace(0, len(x) - 1, GATE_ROWS).astype(int)
        _gate(contenders, rows, _oracle(x[rows], y, k, own))
        return contenders

    parameters = {"queries": n, "reference": m, "features": d, "k": k, "itself": itself}
    return Case(name, lambda: _pair(n, m, d, itself), ours, parameters, smoke, beside)


def _paired(name: str, n: int, d: int, k: int) -> Case:
    """Lists per label, beside one search among all rows together."""

    def prepare() -> Any:
        from mace_jax.data import MembershipSample

        return MembershipSample(_normal(n, d, 0), _normal(n, d, 1))

    def ours(sample: Any) -> Any:
        from mace_jax.neighbors import paired_knn

        return paired_knn(sample, k)

    def beside(sample: Any) -> Contenders:
        import numpy as np

        from mace_jax.neighbors import knn

        pooled = np.concatenate([sample.members, sample.nonmembers])
        rows = np.linspace(0, n - 1, GATE_ROWS).astype(int)
        found = ours(sample)
        np.testing.assert_allclose(
            found.to_members.distances[rows], _oracle(pooled[rows], sample.members, k, 1), rtol=1e-12
        )
        np.testing.assert_allclose(
            found.to_nonmembers.distances[rows], _oracle(pooled[rows], sample.nonmembers, k), rtol=1e-12
        )
        return {
            "mace_jax": Contender(lambda: ours(sample)),
            "one_pooled_search": Contender(lambda: knn(pooled, pooled, k, exclude_self=True)),
        }

    return Case(name, prepare, ours, {"rows_per_label": n, "features": d, "k": k}, beside=beside)


def _counts(name: str, n: int, m: int, d: int, radius: float) -> Case:
    """Rows within a radius."""

    def ours(inputs: Any) -> Any:
        from mace_jax.neighbors import radius_count

        x, y = inputs
        return radius_count(x, y, radius)

    def beside(inputs: Any) -> Contenders:
        import faiss
        import numpy as np

        _threads()
        x, y = inputs
        index = faiss.IndexFlatL2(d)
        index.add(y)

        def ranges() -> Any:
            parts = [index.range_search(x[i : i + 1000], radius**2)[0] for i in range(0, n, 1000)]
            return np.concatenate([np.diff(part.astype(np.int64)) for part in parts])

        truth = [int((np.sqrt(((row.astype(np.float64) - y) ** 2).sum(1)) <= radius).sum()) for row in x[:GATE_ROWS]]
        assert ours(inputs)[:GATE_ROWS].tolist() == truth
        np.testing.assert_allclose(ranges()[:GATE_ROWS], truth, rtol=1e-2, atol=2)
        return {
            "mace_jax": Contender(lambda: ours(inputs)),
            "faiss.range_search": Contender(ranges),
            "sgemm": Contender(_product(x, y)),
        }

    parameters = {"queries": n, "reference": m, "features": d, "radius": radius}
    return Case(name, lambda: _pair(n, m, d, False), ours, parameters, beside=beside)


CASES = [
    _search("smoke", 200, 2_000, 64, 5, smoke=True),
    _search("d64_k5", 10_000, 100_000, 64, 5),
    _search("d64_k50", 10_000, 100_000, 64, 50),
    _search("d784_k5", 10_000, 100_000, 784, 5),
    _search("d1_self_k10", 1_000_000, 1_000_000, 1, 10, itself=True, trees=True),
    _search("d3_self_k5", 100_000, 100_000, 3, 5, itself=True, trees=True),
    _paired("paired_d16_k20", 50_000, 16, 20),
    _counts("counts_d40", 10_000, 1_000_000, 40, 5.75),
]

if __name__ == "__main__":
    main("bench_knn", CASES)
