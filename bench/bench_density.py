"""Kernel log densities beside what one would use instead, in one run: scikit-learn's tree, SciPy's distances and sums.

Every case compares each contender with float64 differences first: ours and SciPy's must agree; the largest error of
scikit-learn's tree, which refines bounds by subtraction, is recorded. Then all are timed in alternating order. The
others are slower by so much that they answer only the first queries (``queries`` of the row says how many); what is
compared is microseconds per query. Fitting scikit-learn's tree is not timed; ours has nothing to fit.
"""

from __future__ import annotations

from typing import Any

from bench.harness import Case, Contender, Contenders, main


def _truth(x: Any, y: Any, widths: Any) -> Any:
    """Log densities by float64 differences, row by row."""
    import numpy as np
    from scipy.special import logsumexp

    d = y.shape[1]
    squared = np.array([((row - y) ** 2).sum(axis=1) for row in x])
    sums = np.array([logsumexp(-squared / (2 * h**2), axis=1) for h in widths])
    return sums - np.log(len(y)) - (d * np.log(widths) + d / 2 * np.log(2 * np.pi))[:, None]


def _case(name: str, n: int, m: int, d: int, b: int, few: int, *, smoke: bool = False) -> Case:
    """Log densities at ``n`` queries with ``b`` bandwidths; the others answer the first ``few``."""

    def prepare() -> Any:
        import numpy as np

        x = np.random.default_rng(0).standard_normal((n, d))
        y = np.random.default_rng(1).standard_normal((m, d))
        scott = m ** (-1 / (d + 4))
        return x, y, scott * np.geomspace(0.5, 2, b) if b > 1 else np.array([scott])

    def ours(inputs: Any) -> Any:
        from mace_jax.neighbors import log_kde

        return log_kde(*inputs)

    def beside(inputs: Any) -> Contenders:
        import numpy as np
        from scipy.spatial.distance import cdist
        from scipy.special import logsumexp
        from sklearn.neighbors import KernelDensity

        from mace_jax.neighbors import log_kde

        x, y, widths = inputs
        constant = np.log(m) + d * np.log(widths) + d / 2 * np.log(2 * np.pi)
        fitted = [KernelDensity(bandwidth=h, algorithm="kd_tree").fit(y) for h in widths]

        def brute() -> Any:
            sums = np.empty((b, few))
            for start in range(0, few, 16):
                part = slice(start, min(start + 16, few))
                squared = cdist(x[part], y, "sqeuclidean")
                for i, h in enumerate(widths):
                    sums[i, part] = logsumexp(squared / (-2 * h**2), axis=1)
            return sums - constant[:, None]

        contenders = {
            "mace_jax": Contender(lambda: ours(inputs), n),
            "mace_jax_few": Contender(lambda: log_kde(x[:few], y, widths), few),
            "sklearn_kd_tree": Contender(lambda: np.array([model.score_samples(x[:few]) for model in fitted]), few),
            "scipy_cdist_logsumexp": Contender(brute, few),
        }
        truth = _truth(x[:8], y, widths)
        for contender, entry in contenders.items():
            if contender != "sklearn_kd_tree":
                np.testing.assert_allclose(entry.run()[:, :8], truth, rtol=1e-8, atol=1e-8, err_msg=contender)
        return contenders

    parameters = {"queries": n, "reference": m, "features": d, "bandwidths": b, "queries_of_others": few}
    return Case(name, prepare, ours, parameters, smoke, beside)


CASES = [
    _case("smoke", 200, 2_000, 8, 2, 50, smoke=True),
    _case("d8_b1", 10_000, 100_000, 8, 1, 200),
    _case("d8_b8", 10_000, 100_000, 8, 8, 40),
    _case("d64_b1", 10_000, 100_000, 64, 1, 100),
    _case("d64_b8", 10_000, 100_000, 64, 8, 20),
]

if __name__ == "__main__":
    main("bench_density", CASES)
