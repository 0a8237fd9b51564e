"""Bootstrap: replicates of means against SciPy's, rates from counts, and memory."""

from __future__ import annotations

from typing import Any

from bench.harness import Case, Contender, Contenders, main

N_RESAMPLES = 10_000
COLUMNS = 16
SCIPY_RESAMPLES = 100  # SciPy would need minutes for all of them; replicates per second are compared
CHECK_RESAMPLES = 400


def _values(n: int, columns: int = COLUMNS) -> Any:
    import numpy as np

    rng = np.random.default_rng(0)
    values = rng.normal(size=(n, columns))
    values += rng.exponential(size=(n, 1))  # in place: peaks of memory are measured after this
    return values


def _limits(values: Any, n_resamples: int) -> Any:
    """Percentile limits of the mean of every column."""
    import mace_jax

    interval = mace_jax.bootstrap(values, n_resamples=n_resamples, method="percentile", seed=0)
    return interval.low, interval.high


def _scipy_limits(values: Any, n_resamples: int) -> Any:
    """The same from SciPy, rows drawn with replacement; one replicate at a time is its fastest way at these sizes."""
    import numpy as np
    from scipy import stats

    found = stats.bootstrap(
        (values,),
        np.mean,
        axis=-1,
        n_resamples=n_resamples,
        batch=1,
        vectorized=True,
        method="percentile",
        rng=np.random.default_rng(0),
    )
    return found.confidence_interval.low, found.confidence_interval.high


def _check(ours: Any, theirs: Any, standard_error: Any, n_resamples: int) -> None:
    """Limits agree within five Monte Carlo errors: a .025 quantile of B normal replicates errs by 2.67 se / sqrt(B)."""
    import numpy as np

    tolerance = 5 * 2.67 * np.asarray(standard_error) * np.sqrt(1 / n_resamples + 1 / N_RESAMPLES)
    for mine, other in zip(ours, theirs, strict=True):
        if (np.abs(np.asarray(mine) - other) > tolerance).any():
            raise SystemExit(f"limits differ by more than Monte Carlo error: {mine} against {other}")


def _means(name: str, n: int, n_resamples: int = N_RESAMPLES, smoke: bool = False, scipy: bool = True) -> Case:
    def beside(values: Any) -> Contenders:
        import numpy as np

        flipped = np.ascontiguousarray(values.T)
        error = values.std(axis=0) / np.sqrt(n)
        _check(_limits(values, N_RESAMPLES), _scipy_limits(flipped, CHECK_RESAMPLES), error, CHECK_RESAMPLES)
        return {
            "mace_jax": Contender(lambda: _limits(values, n_resamples), queries=n_resamples),
            "scipy": Contender(lambda: _scipy_limits(flipped, SCIPY_RESAMPLES), queries=SCIPY_RESAMPLES),
        }

    parameters = {"n": n, "statistics": COLUMNS, "n_resamples": n_resamples, "weights": "poisson"}
    return Case(
        name,
        lambda: _values(n),
        lambda values: _limits(values, n_resamples),
        parameters,
        smoke,
        beside=beside if scipy else None,
    )


def _rate(name: str, n: int, n_resamples: int = N_RESAMPLES) -> Case:
    """A share of records, from its count."""

    def prepare() -> Any:
        import numpy as np

        return (np.random.default_rng(0).random(n) < 0.3).astype(float)

    def limits(hits: int) -> Any:
        import numpy as np

        from mace_jax._random import generator
        from mace_jax.bootstrap._cells import resample_rate

        drawn = resample_rate(hits, n, n_resamples, weights="multinomial", rng=generator(0, "rate"))
        return np.quantile(drawn, (0.025, 0.975))

    def beside(values: Any) -> Contenders:
        hits = int(values.sum())
        error = values.std() / n**0.5
        _check(limits(hits), _scipy_limits(values, CHECK_RESAMPLES), error, CHECK_RESAMPLES)
        return {
            "mace_jax": Contender(lambda: limits(hits), queries=n_resamples),
            "scipy": Contender(lambda: _scipy_limits(values, SCIPY_RESAMPLES), queries=SCIPY_RESAMPLES),
        }

    parameters = {"n": n, "n_resamples": n_resamples, "weights": "multinomial"}
    return Case(name, prepare, lambda values: limits(int(values.sum())), parameters, beside=beside)


def _weights(kind: Any) -> Case:
    """Sums alone, by kind of weights."""

    def run(values: Any) -> Any:
        from mace_jax.bootstrap._sums import replicate_sums

        return replicate_sums(values, n_resamples=N_RESAMPLES, weights=kind, seed=0, purpose="bench")

    parameters = {"n": 100_000, "columns": COLUMNS, "n_resamples": N_RESAMPLES, "weights": kind}
    return Case(f"sums_{kind}", lambda: _values(100_000), run, parameters)


CASES = [
    _means("smoke", 1000, n_resamples=200, smoke=True, scipy=False),
    _means("means_100000x16", 100_000),
    _rate("rate_1000000", 1_000_000),
    _means("memory_1000000x16", 1_000_000, scipy=False),
    *(_weights(kind) for kind in ("poisson", "double_or_nothing", "bayesian", "multinomial")),
]

if __name__ == "__main__":
    main("bench_bootstrap", CASES)
