"""Bootstrap of the area and of the TPR at three FPRs: ours in one call, jax-privacy's auditor in the four it needs.

Both resample members and non-members and give limits; ours are the default ones, jax-privacy's are bias-corrected.
The rival would take minutes per round at 10,000 resamples, so that it runs a twentieth of them (a 200th at 50,000
scores): it works replicate by replicate, and times are per resample. Its TPR lies on the curve between two thresholds,
ours at a threshold; limits are compared loosely before anything is timed.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.harness import Case, Contender, main

RATES = (0.001, 0.01, 0.1)
RESAMPLES = 10_000


def _scores(n: int) -> Any:
    rng = np.random.default_rng(0)
    return rng.normal(1.0, 1.0, n), rng.normal(0.0, 1.0, n)


def _ours(scores: Any) -> Any:
    from mace_jax.bootstrap._roc import bootstrap_roc

    return bootstrap_roc(*scores, false_positive_rates=RATES, n_resamples=RESAMPLES, seed=0)


def _theirs(scores: Any, n_resamples: int) -> list[Any]:
    from jax_privacy import auditing

    auditor = auditing.CanaryScoreAuditor(*scores)
    settings = auditing.BootstrapParams(num_samples=n_resamples, seed=0)
    return [
        auditor.attack_auroc(bootstrap_params=settings),
        *(auditor.tpr_at_given_fpr(rate, bootstrap_params=settings) for rate in RATES),
    ]


def _case(name: str, n: int, share: int, smoke: bool = False) -> Case:
    def beside(scores: Any) -> dict[str, Contender]:
        ours, theirs = _ours(scores), _theirs(scores, RESAMPLES // share)
        reach = 0.4 + 6.0 * (share / RESAMPLES) ** 0.5  # in standard errors; few resamples make rough limits
        for result, limits in zip((ours.auc, ours.tpr[-1]), (theirs[0], theirs[-1]), strict=True):
            np.testing.assert_allclose((result.low, result.high), limits, atol=reach * result.standard_error)
        return {
            "mace_jax": Contender(lambda: _ours(scores), RESAMPLES),
            f"jax_privacy, {RESAMPLES // share} resamples": Contender(
                lambda: _theirs(scores, RESAMPLES // share), RESAMPLES // share
            ),
        }

    parameters = {
        "members": n,
        "nonmembers": n,
        "false_positive_rates": RATES,
        "n_resamples": RESAMPLES,
        "share_of_resamples_of_jax_privacy": 1 / share,
    }
    return Case(name, lambda: _scores(n), _ours, parameters, smoke, beside)


CASES = [
    _case("smoke", 500, 20, smoke=True),
    _case("scores_10000", 10_000, 20),
    _case("scores_50000", 50_000, 200),
]

if __name__ == "__main__":
    main("bench_roc_bootstrap", CASES)
