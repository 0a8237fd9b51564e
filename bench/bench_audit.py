"""The main job on scalar scores: N(1, 1) for members against N(0, 1) for nonmembers, all defaults."""

from __future__ import annotations

from typing import Any

from bench.harness import Case, main

SIZES = (1_000, 10_000, 100_000)


def _scores(n: int) -> tuple[Any, Any]:
    import numpy as np

    rng = np.random.default_rng(0)
    return rng.normal(1.0, 1.0, n), rng.normal(0.0, 1.0, n)


def _case(name: str, n: int, smoke: bool = False, **settings: Any) -> Case:
    def run(scores: tuple[Any, Any]) -> Any:
        import mace_jax as mj

        return mj.audit(*scores, seed=0, **settings).certificate.epsilon

    parameters = {"members": n, "nonmembers": n, "features": 1, **settings}
    return Case(name, lambda: _scores(n), run, parameters, smoke)


CASES = [
    _case("smoke", 300, smoke=True, n_resamples=200),
    *(_case(f"scores_{n}", n) for n in SIZES),
]

if __name__ == "__main__":
    main("bench_audit", CASES)
