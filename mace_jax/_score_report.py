"""score_report: what one score gives away, as the literature reports it, for all records, by class and by slice."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, final

import numpy as np
from numpy.typing import ArrayLike
from scipy import special, stats

from mace_jax import _validate
from mace_jax._binomial import clopper_pearson_lower, clopper_pearson_upper
from mace_jax._random import as_seed
from mace_jax._types import FloatArray, Seed
from mace_jax.attacks._score_groups import groups_of
from mace_jax.bootstrap import bootstrap_roc
from mace_jax.certificates import epsilon_from_scores
from mace_jax.metrics import Roc, roc

__all__ = ["RateAtFpr", "ScoreReport", "ScoreRow", "score_report"]


@final
@dataclasses.dataclass(frozen=True)
class RateAtFpr:
    """The TPR at the largest realized FPR that does not exceed ``target``: no interpolation, ties decided together."""

    target: float
    realized_fpr: float
    n_false_positives: int
    tpr: float
    low: float  # Clopper-Pearson limits of the TPR at this threshold
    high: float
    fpr_low: float  # limits of the threshold's true FPR, for continuous scores
    fpr_high: float
    too_few: bool  # fewer than 1 / target non-members: this is the TPR at an FPR of 0
    precision: tuple[tuple[float, float, float], ...]  # (prior, PPV at the realized FPR, lower limit)


@final
@dataclasses.dataclass(frozen=True)
class ScoreRow:
    """One group of records."""

    group: str
    n_members: int
    n_nonmembers: int
    auc: float  # Mann-Whitney, ties one half; below one half where members score lower
    auc_low: float
    auc_high: float
    p_value: float  # of AUC > 1/2, one-sided, ties accounted for; not corrected for the number of groups
    advantage: float  # largest TPR - FPR on these same records: biased upwards
    rates: tuple[RateAtFpr, ...]


@final
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class ScoreReport:
    """Rows by group, "all" first; and for all records a bootstrap interval and a certificate."""

    rows: tuple[ScoreRow, ...]
    left_out: tuple[str, ...]  # groups without two records on each side
    auc_bootstrap: tuple[float, float]
    epsilon: float  # certified, the choice of the threshold paid for
    delta: float
    confidence_level: float

    def of(self, group: str) -> ScoreRow:
        """The row of one group: ``"all"``, ``"class 3"`` or the name of a slice."""
        for row in self.rows:
            if row.group == group:
                return row
        known = ", ".join(row.group for row in self.rows)
        raise KeyError(f"group={group!r} is not in this report; it has {known}.")

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return dataclasses.asdict(self)

    @property
    def summary(self) -> str:
        """A line per group."""
        lines = [f"{'group':<16} {'members':>8} {'others':>8} {'AUC':>6} {'':>16} {'p-value':>8}  TPR at FPR"]
        for row in self.rows:
            rates = ", ".join(f"{one.target:g}: {one.tpr:.4f}{'*' if one.too_few else ''}" for one in row.rates)
            limits = f"[{row.auc_low:.3f}, {row.auc_high:.3f}]"
            lines.append(
                f"{row.group:<16} {row.n_members:>8} {row.n_nonmembers:>8} {row.auc:>6.3f} {limits:>16} "
                f"{row.p_value:>8.2g}  {rates}"
            )
        if any(one.too_few for row in self.rows for one in row.rates):
            lines.append("* fewer non-members than 1 / FPR: the TPR at an FPR of 0")
        lines.append(f"certified at {self.confidence_level:g}: epsilon >= {self.epsilon:.4f} at delta = {self.delta:g}")
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"ScoreReport({len(self.rows)} groups, auc={self.rows[0].auc:.4f}, epsilon>={self.epsilon:.4f})"


def score_report(
    member_scores: ArrayLike,
    nonmember_scores: ArrayLike,
    *,
    targets: Sequence[float] = (0.01, 0.001, 0.0001),
    priors: Sequence[float] = (0.5, 0.1, 0.01),
    member_labels: ArrayLike | None = None,
    nonmember_labels: ArrayLike | None = None,
    slices: Mapping[str, tuple[ArrayLike, ArrayLike]] | None = None,
    delta: float = 0.0,
    confidence_level: float = 0.95,
    n_resamples: int = 2000,
    seed: Seed = 0,
) -> ScoreReport:
    """AUC, advantage, TPR at low FPR and precision at realistic priors of one score, with limits and a certificate.

    TPR at FPR alpha is the TPR at the largest realized FPR that does not exceed alpha; the realized FPR and the count
    behind it are given with it. Precision at a prior is ``TPR prior / (TPR prior + FPR (1 - prior))``; its lower limit
    takes the lower limit of the TPR and the upper one of the FPR, each at half the error, because a realized FPR of 0
    proves no precision of 1.

    Args:
        member_scores: ``(n,)``, higher = more member-like. A score of the opposite sign is not turned: its AUC lies
            below one half.
        nonmember_scores: ``(m,)``.
        targets: False positive rates, fractions in [0, 1).
        priors: Probabilities that a record is a member, in (0, 1).
        member_labels: Classes of the members, for rows by class; with ``nonmember_labels``.
        nonmember_labels: Classes of the non-members.
        slices: For each name a mask of the members and one of the non-members.
        delta: Of the certificate.
        confidence_level: Of every interval by itself, and of the certificate.
        n_resamples: Bootstrap replicates behind ``auc_bootstrap``.
        seed: Seeds the bootstrap.

    Returns:
        ``ScoreReport``; groups with fewer than two records on a side are listed in ``left_out``.

    Raises:
        TypeError: labels that are neither whole numbers nor strings, or some of either.
        ValueError: scores that are NaN or infinite, fewer than two on a side, a rate or prior out of range, or labels
            or masks that do not fit.

    References:
        DeLong, DeLong and Clarke-Pearson (1988); Mann and Whitney (1947); Carlini et al. (2022) for low FPRs; Jayaraman
        et al. (2021) for precision at realistic priors.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> found = score_report(rng.normal(1, 1, 400), rng.normal(0, 1, 400), targets=[0.1], n_resamples=200)
        >>> row = found.of("all")
        >>> row.auc_low < 0.7602 < row.auc_high, row.p_value < 1e-6, found.epsilon > 0.0
        (True, True, True)
    """
    scores = [
        _validate.scores(member_scores=np.asarray(member_scores)),
        _validate.scores(nonmember_scores=np.asarray(nonmember_scores)),
    ]
    for name, side in zip(("member_scores", "nonmember_scores"), scores, strict=True):
        if len(side) < 2 or not np.isfinite(side).all():
            raise ValueError(f"{name} holds {len(side)} scores; pass at least two, all of them finite.")
    level = _validate.in_open_unit(confidence_level=confidence_level)
    rates = [_validate.probability(target=target) for target in targets]
    known = [_validate.in_open_unit(prior=prior) for prior in priors]
    rows, left_out = [], []
    for group, (first, second) in groups_of(
        [len(side) for side in scores], member_labels, nonmember_labels, slices
    ).items():
        if min(first.sum(), second.sum()) < 2:
            left_out.append(group)
            continue
        rows.append(_row(group, scores[0][first], scores[1][second], rates, known, level))
    spread = bootstrap_roc(
        *scores, n_resamples=_validate.positive_int(n_resamples=n_resamples), confidence_level=level, seed=as_seed(seed)
    )
    bound = epsilon_from_scores(*scores, delta=delta, confidence_level=level)
    return ScoreReport(
        tuple(rows), tuple(left_out), (spread.auc.low, spread.auc.high), float(bound.epsilon), float(delta), level
    )


def _row(
    group: str,
    members: FloatArray,
    nonmembers: FloatArray,
    targets: Sequence[float],
    priors: Sequence[float],
    level: float,
) -> ScoreRow:
    curve = roc(members, nonmembers)
    if len(np.unique(np.concatenate([members, nonmembers]))) == 1:
        p_value = 1.0
    else:
        p_value = float(stats.mannwhitneyu(members, nonmembers, alternative="greater", method="asymptotic").pvalue)
    low, high = curve.auc_interval(level)
    rates = tuple(_rate(curve, target, priors, level) for target in targets)
    return ScoreRow(group, len(members), len(nonmembers), curve.auc, low, high, p_value, curve.advantage, rates)


def _rate(curve: Roc, target: float, priors: Sequence[float], level: float) -> RateAtFpr:
    found, m, tail = curve.tpr_at_fpr(target, confidence_level=level), curve.n_nonmembers, (1.0 - level) / 2.0
    false = round(found.realized_fpr * m)
    allowed = math.floor(target * m + 1e-9)
    # the threshold lies above the (allowed + 1)-th largest non-member, whose true FPR is Beta distributed
    fpr_low, fpr_high = special.betaincinv(allowed + 1, m - allowed, (tail, 1.0 - tail))
    # half of the error each, one-sided, and the count of this threshold
    least = float(clopper_pearson_lower(round(found.tpr * curve.n_members), curve.n_members, tail))
    most = float(max(clopper_pearson_upper(false, m, tail), fpr_high))
    precision = tuple((prior, _ppv(found.tpr, found.realized_fpr, prior), _ppv(least, most, prior)) for prior in priors)
    return RateAtFpr(
        target,
        found.realized_fpr,
        false,
        found.tpr,
        found.low,
        found.high,
        float(fpr_low),
        float(fpr_high),
        target * m < 1.0 - 1e-9,
        precision,
    )


def _ppv(tpr: float, fpr: float, prior: float) -> float:
    """Where nothing is flagged there is nothing to be right about: the prior."""
    flagged = tpr * prior + fpr * (1.0 - prior)
    return tpr * prior / flagged if flagged > 0.0 else prior
