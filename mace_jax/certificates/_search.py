"""Epsilon from scores, with an exact correction for choosing the threshold."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from mace_jax import _validate
from mace_jax._types import Seed
from mace_jax.certificates._counts import error_of
from mace_jax.certificates._searches import ScoreData, Step, after_split, over_all, over_grid, over_ranks, walk

__all__ = ["ScoreBound", "epsilon_from_scores"]

Search = Literal["bonferroni", "dkw", "split", "fixed_sequence"]
_SEARCHES = ("bonferroni", "dkw", "split", "fixed_sequence")


@dataclasses.dataclass(frozen=True)
class ScoreBound:
    """A lower bound on epsilon, the rule it comes from, and how the choice of that rule was paid for.

    The rule guesses "member" where the score of column ``query`` exceeds ``threshold``. The counts are of the records
    that certify: all of them, or one half.
    """

    epsilon: float
    threshold: float
    query: int
    true_positives: int
    n_members: int
    false_positives: int
    n_nonmembers: int
    delta: float
    confidence_level: float
    method: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return dataclasses.asdict(self)

    def __repr__(self) -> str:
        return (
            f"ScoreBound(epsilon >= {self.epsilon:.4g}, score > {self.threshold:.6g}, delta={self.delta}, "
            f"confidence_level={self.confidence_level})"
        )


def epsilon_from_scores(
    member_scores: ArrayLike,
    nonmember_scores: ArrayLike,
    *,
    search: Search | float = "bonferroni",
    thresholds: Sequence[float] | None = None,
    targets: Sequence[float] | None = None,
    delta: float = 0.0,
    confidence_level: float = 0.95,
    seed: Seed = 0,
) -> ScoreBound:
    """Lower bound on epsilon from scores, higher = more member-like, with the threshold chosen by ``search``.

    A bare maximum over thresholds is no bound. Every choice here is paid for exactly, at every number of records and
    with ties:

    - a number: that threshold, fixed beforehand; Clopper-Pearson limits at the whole error.
    - "bonferroni": T thresholds at error / T each. ``thresholds`` must have been fixed without looking at these scores.
      Without it, thresholds are the k-th largest non-member scores for a list of k that the number of non-members
      alone fixes: the FPR above the k-th largest of m scores is at most Beta(k, m - k + 1) distributed, whose upper
      limit is the Clopper-Pearson limit of k - 1 false positives, and given the non-members a threshold is fixed as
      far as the members are concerned.
    - "dkw": any threshold; TPR and FPR deviate from their empirical values by at most sqrt(ln(2 / error) / (2 n)) at
      all thresholds at once. Weak at a low FPR.
    - "split": a random half chooses the threshold with the largest bound, the other half certifies it at the whole
      error.
    - "fixed_sequence": steps (threshold, target) in ascending order of target, the last without one. Each asks, at
      the whole error, whether epsilon exceeds its target; the first that falls short ends the sequence with what it
      does show. Only the step whose range of epsilon holds the truth can err, so nothing is divided. Steps are
      ``thresholds`` with ``targets`` fixed beforehand, or, without them, proposed by a random half.

    With scores of q queries, ``(n, q)``, "bonferroni" and "dkw" also divide the error by q; "split" and
    "fixed_sequence" choose the query on the first half. Scores of the opposite orientation are a query of their own:
    add the negated column.

    Args:
        member_scores: ``(n,)`` or ``(n, q)``, independent draws.
        nonmember_scores: ``(m,)`` or ``(m, q)``, independent draws.
        search: See above.
        thresholds: For "bonferroni" and "fixed_sequence", of a single query.
        targets: For "fixed_sequence", one fewer than ``thresholds``, ascending, at least 0.
        delta: Of (epsilon, delta)-differential privacy.
        confidence_level: One-sided: the bound exceeds the truth with probability at most 1 minus this.
        seed: Fixes the halves of "split" and "fixed_sequence".

    Raises:
        ValueError: scores that are not finite, too few records (one of each kind; two for halves), thresholds where
            they have no use, targets that do not ascend, delta outside [0, 1), confidence_level outside (0, 1).
        TypeError: scores that are not numbers, an unknown type of search.

    Memory: O((n + m) q) float64.

    References: Clopper and Pearson (1934); Massart (1990); Wilks (1941) for order statistics; Jagielski, Ullman and
    Oprea (2020).

    Example:
        >>> rng = np.random.default_rng(0)
        >>> epsilon_from_scores(rng.laplace(1.0, 1.0, 5000), rng.laplace(0.0, 1.0, 5000), search=0.5)
        ScoreBound(epsilon >= 0.7725, score > 0.5, delta=0.0, confidence_level=0.95)
    """
    members = _validate.finite(member_scores=_validate.as_records(member_scores=member_scores))
    nonmembers = _validate.finite(nonmember_scores=_validate.as_records(nonmember_scores=nonmember_scores))
    _validate.min_rows(1, member_scores=members)
    _validate.min_rows(1, nonmember_scores=nonmembers)
    _validate.same_features(member_scores=members, nonmember_scores=nonmembers)
    data = ScoreData(members, nonmembers, _validate.probability(delta=delta))
    error = error_of(confidence_level)
    given = _given(data, search, thresholds, targets)
    if isinstance(search, str):
        if search == "bonferroni":
            found = over_grid(data, given, error) if given else over_ranks(data, error)
        elif search == "dkw":
            found = over_all(data, error)
        elif search == "fixed_sequence" and given:
            found = (*walk(data, given, error), data, f"fixed sequence of {len(given)} given thresholds")
        else:
            found = after_split(data, error, seed, sequence=search == "fixed_sequence")
    else:
        found = (*walk(data, given, error), data, "one threshold fixed beforehand")
    epsilon, step, certifying, method = found
    hits, alarms = certifying.counts(step.query, [step.threshold])
    return ScoreBound(
        epsilon=epsilon,
        threshold=step.threshold,
        query=step.query,
        true_positives=int(hits[0]),
        n_members=len(certifying.members),
        false_positives=int(alarms[0]),
        n_nonmembers=len(certifying.nonmembers),
        delta=data.delta,
        confidence_level=confidence_level,
        method=method,
    )


def _given(data: ScoreData, search: Any, thresholds: Any, targets: Any) -> list[Step]:
    """Steps that the caller fixed; empty where the search finds its own."""
    if isinstance(search, str) and search not in _SEARCHES:
        raise ValueError(f"search={search!r} is not known; pass one of {', '.join(_SEARCHES)} or a threshold.")
    if not isinstance(search, str):
        if isinstance(search, bool) or not isinstance(search, int | float | np.floating | np.integer):
            raise TypeError(f"search={search!r} must be one of {', '.join(_SEARCHES)} or a number, the threshold.")
        if math.isnan(search):
            raise ValueError(f"search={search!r} is no threshold; pass a number.")
        if thresholds is not None:
            raise ValueError(f"thresholds={thresholds!r} beside the threshold search={search!r}; pass one of the two.")
        thresholds = [search]
    elif thresholds is not None and search not in ("bonferroni", "fixed_sequence"):
        raise ValueError(f"thresholds have no use with search={search!r}; leave them out, or use 'bonferroni'.")
    if targets is not None and (search != "fixed_sequence" or thresholds is None):
        raise ValueError("targets belong to the thresholds of search='fixed_sequence'; leave them out otherwise.")
    if thresholds is None:
        return []
    if data.members.shape[1] > 1:
        raise ValueError(
            f"a threshold fixed beforehand is of one query, but the scores have {data.members.shape[1]} columns; "
            "pass one column, or use 'bonferroni' without thresholds, 'dkw', 'split' or 'fixed_sequence'."
        )
    cuts = np.asarray(thresholds, np.float64)
    if cuts.ndim != 1 or not len(cuts) or np.isnan(cuts).any():
        raise ValueError(f"thresholds={thresholds!r} must be at least one number, in one dimension.")
    if search != "fixed_sequence":
        return [Step(0, float(cut)) for cut in cuts]
    ends = np.asarray([] if targets is None else targets, np.float64)
    if len(ends) != len(cuts) - 1 or not ((ends >= 0.0) & np.isfinite(ends)).all() or (np.diff(ends) < 0.0).any():
        raise ValueError(
            f"targets={targets!r} must be {len(cuts) - 1} ascending epsilons of at least 0, one for each of the "
            f"{len(cuts)} thresholds but the last."
        )
    return [Step(0, float(cut), float(end)) for cut, end in zip(cuts, np.append(ends, np.inf), strict=True)]
