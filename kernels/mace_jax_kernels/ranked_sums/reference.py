"""The oracle: every pair compared, every threshold tried; float64, quadratic memory per replicate."""

from __future__ import annotations

import numpy as np

__all__ = ["ranked_sums"]


def ranked_sums(members, nonmembers, member_weights, nonmember_weights, false_positive_rates):
    """``(wins, hits, member_weight, nonmember_weight)`` from weights ``(B, n)`` and ``(B, m)``."""
    members, nonmembers = np.asarray(members, np.float64), np.asarray(nonmembers, np.float64)
    member_weights = np.asarray(member_weights, np.float64)
    nonmember_weights = np.asarray(nonmember_weights, np.float64)
    above = (members[:, None] > nonmembers) + 0.5 * (members[:, None] == nonmembers)
    wins = np.einsum("bi,ij,bj->b", member_weights, above, nonmember_weights)
    totals = nonmember_weights.sum(axis=1)
    hits = np.zeros((len(totals), len(false_positive_rates)))
    for threshold in np.unique(np.concatenate([members, nonmembers])):
        alarms = nonmember_weights[:, nonmembers >= threshold].sum(axis=1)
        caught = member_weights[:, members >= threshold].sum(axis=1)
        for place, rate in enumerate(false_positive_rates):
            allowed = alarms <= rate * totals + 1e-9
            hits[:, place] = np.maximum(hits[:, place], np.where(allowed, caught, 0.0))
    return wins, hits, member_weights.sum(axis=1), totals
