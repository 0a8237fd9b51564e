"""The plug-in: the optimum over estimated posteriors, for many metrics and priors from one sort."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mace_jax._types import FloatArray
from mace_jax.metrics._linear_fractional import LinearFractional

__all__ = ["plug_ins"]


def plug_ins(half: np.ndarray, labels: np.ndarray, pairs: Sequence[tuple[LinearFractional, float]]) -> FloatArray:
    """Normalized optimum per (metric, prior), ``(J,)``, over posteriors at prior one half; from 0 to 1.

    Outputs are guessed "member" in descending order of posterior, which is the order at every prior: the best corner of
    that path is the optimum. Members weigh prior / n in it and non-members (1 - prior) / m.
    """
    half, n = np.asarray(half, np.float64), int(np.count_nonzero(labels))
    order = np.argsort(-half, kind="stable")
    half, member = half[order], np.asarray(labels)[order] == 1
    paths: dict[float, tuple[FloatArray, FloatArray]] = {}
    result = np.empty(len(pairs))
    for place, (metric, prior) in enumerate(pairs):
        if prior not in paths:
            weights = np.where(member, prior / n, (1.0 - prior) / (len(half) - n))
            posterior = prior * half / (prior * half + (1.0 - prior) * (1.0 - half))
            paths[prior] = np.append(0.0, np.cumsum(weights)), np.append(0.0, np.cumsum(posterior * weights))
        # where no neighbor is a non-member, small priors make the estimated members more than there are
        result[place] = metric.normalize(metric.best_on_path(*paths[prior], prior=prior), prior=prior)
    return np.clip(result, 0.0, 1.0)
