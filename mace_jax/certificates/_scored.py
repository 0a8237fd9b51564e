"""Certificates of scalar scores whose threshold was searched on all records, with an exact correction."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from mace_jax._binomial import clopper_pearson_lower, clopper_pearson_upper
from mace_jax._types import FloatArray
from mace_jax.certificates._certificate import Certificate
from mace_jax.certificates._cuts import counts_above, rank_grid
from mace_jax.certificates._search import epsilon_from_scores
from mace_jax.data import MembershipSample

__all__ = ["WHOLE_SEARCHES", "WholeSearch", "certify_scores"]

WholeSearch = Literal["bonferroni", "dkw", "fixed_sequence"]
WHOLE_SEARCHES: tuple[str, ...] = ("bonferroni", "dkw", "fixed_sequence")


def certify_scores(
    sample: MembershipSample,
    *,
    search: WholeSearch,
    delta: float,
    confidence_level: float,
    epsilons: Sequence[float],
    assumptions: tuple[str, ...],
    seed: int,
) -> Certificate:
    """Epsilon by ``epsilon_from_scores``; advantage and profile from limits that hold together with it.

    "bonferroni" and "dkw" have limits at all thresholds at once, which serve everything. A fixed sequence has none, so
    half of the error goes to it and half to DKW bands.
    """
    sequence = search == "fixed_sequence"
    error = (1.0 - confidence_level) / (2.0 if sequence else 1.0)
    members, nonmembers = sample.members[:, 0], sample.nonmembers[:, 0]
    found = epsilon_from_scores(
        members, nonmembers, search=search, delta=delta, confidence_level=1.0 - error, seed=seed
    )
    low, high = (_rank_limits if search == "bonferroni" else _band_limits)(members, nonmembers, error)
    advantage = max(0.0, float(np.max(low - high)))
    bound = {
        "query": "query",
        "purpose": "epsilon",
        "rule": f"score above {found.threshold:.6g}",
        "true_positives": found.true_positives,
        "members": found.n_members,
        "false_positives": found.false_positives,
        "nonmembers": found.n_nonmembers,
        "advantage": advantage,
        "epsilon": found.epsilon,
    }
    profile = []
    for epsilon in epsilons:
        grown = math.exp(min(epsilon, 700.0))
        both = np.maximum(low - grown * high, (1.0 - high) - grown * (1.0 - low))
        profile.append((epsilon, max(0.0, float(both.max()))))
    settings: list[Any] = [bound, search, delta, confidence_level, list(epsilons), seed]
    digest = hashlib.sha256(sample.members.tobytes() + sample.nonmembers.tobytes())
    digest.update(json.dumps(settings, sort_keys=True).encode())
    half = "; advantage from DKW bands, half of the error each" if sequence else ""
    return Certificate(
        epsilon=found.epsilon,
        advantage=advantage,
        confidence_level=confidence_level,
        delta=delta,
        claim="this model",
        method=found.method + half,
        assumptions=assumptions,
        counts=(bound,),
        fingerprint=digest.hexdigest(),
        profile=tuple(profile),
    )


def _rank_limits(members: FloatArray, nonmembers: FloatArray, error: float) -> tuple[FloatArray, FloatArray]:
    """Clopper-Pearson limits at the ranks of the non-members that "bonferroni" tries."""
    ranks = rank_grid(len(nonmembers))
    hits = counts_above(members, -np.sort(-nonmembers)[ranks - 1])
    share = error / len(ranks)
    return (
        clopper_pearson_lower(hits, len(members), share / 2.0),
        clopper_pearson_upper(ranks - 1, len(nonmembers), share / 2.0),
    )


def _band_limits(members: FloatArray, nonmembers: FloatArray, error: float) -> tuple[FloatArray, FloatArray]:
    """Massart's limits at all thresholds at once."""
    cuts = np.unique(np.concatenate([members, nonmembers]))
    wide, wide_non = (math.sqrt(math.log(2.0 / error) / (2.0 * len(scores))) for scores in (members, nonmembers))
    low = np.maximum(0.0, counts_above(members, cuts) / len(members) - wide)
    return low, np.minimum(1.0, counts_above(nonmembers, cuts) / len(nonmembers) + wide_non)
