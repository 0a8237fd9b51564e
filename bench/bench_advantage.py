"""Metrics: the whole table of advantages, with its permutation null, from one 10-fold cross-fit."""

from __future__ import annotations

from typing import Any

from bench.harness import Case, main

METRICS = ("balanced_accuracy", "accuracy", "f_1", "jaccard", "precision")
PRIORS = (0.5, 0.1, 0.01, 0.001)


def _sample(n: int, features: int) -> Any:
    import numpy as np

    import mace_jax as mj

    rng = np.random.default_rng(0)
    members, nonmembers = rng.normal(size=(n, features)), rng.normal(size=(n, features))
    members[:, 0] += 1.0
    return mj.MembershipSample(members, nonmembers)


def _curve(
    name: str, n: int, features: int, n_permutations: int, n_folds: int = 10, largest_k: int = 200, smoke: bool = False
) -> Case:
    def run(sample: Any) -> Any:
        import mace_jax as mj

        metrics = (*METRICS, mj.metrics.f_beta(2.0), mj.metrics.cost(1.0, 3.0))
        curve = mj.metrics.advantage_curve(
            sample,
            estimator=mj.estimators.KNN(k=range(1, largest_k + 1)),
            metrics=metrics,
            priors=PRIORS,
            n_permutations=n_permutations,
            n_folds=n_folds,
            permute_choice=False,
            seed=0,
        )
        return curve.points[0].advantage

    parameters = {
        "members": n,
        "nonmembers": n,
        "features": features,
        "metrics": len(METRICS) + 2,
        "priors": len(PRIORS),
        "candidates": largest_k,
        "folds": n_folds,
        "permutations": n_permutations,
    }
    return Case(name, lambda: _sample(n, features), run, parameters, smoke)


CASES = [
    _curve("smoke", 200, 1, 20, n_folds=2, largest_k=20, smoke=True),
    _curve("scores_20000", 20_000, 1, 1_000),
    _curve("vectors_20000x8", 20_000, 8, 1_000),
]

if __name__ == "__main__":
    main("bench_advantage", CASES)
