"""Results of metric attacks: one row per attack and kind of threshold, and the row chosen beforehand."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal, final

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from mace_jax.attacks._class_thresholds import ClassThresholds
from mace_jax.attacks._wilson import wilson
from mace_jax.metrics import Roc

__all__ = ["MetricAttack", "MetricAttacks", "balanced_interval", "permutation_p_value"]

Rule = Literal["none", "global", "class"]


@final
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class MetricAttack:
    """One attack, its threshold chosen on calibration records, on records that took no part in that.

    Attributes:
        attack: Name.
        thresholds: ``"none"`` (correctness has none), ``"global"`` or ``"class"``.
        balanced_accuracy: ``(TPR + 1 - FPR) / 2`` on the attacked records; one half is guessing.
        low: Lower limit, for other records under the same model and thresholds.
        high: Upper limit.
        true_positive_rate: Share of the attacked members that were found.
        false_positive_rate: Share of the attacked non-members that were accused.
        p_value: Probability of at least as many members found if membership were assigned at random among the attacked
            records, with as many accused: exact, one-sided.
        calibration_accuracy: On the calibration records, cross-fitted: by this the attack is chosen.
        auc: Mann-Whitney, of the score; with class thresholds, of the score minus the threshold of its class.
        auc_low: Lower DeLong limit.
        auc_high: Upper DeLong limit.
        roc: The curve behind it, for the TPR at low FPR.
        fitted: The thresholds; None for correctness.
        member_decisions: Whether each attacked member was found.
        nonmember_decisions: Whether each attacked non-member was accused.
    """

    attack: str
    thresholds: Rule
    balanced_accuracy: float
    low: float
    high: float
    true_positive_rate: float
    false_positive_rate: float
    p_value: float
    calibration_accuracy: float
    auc: float
    auc_low: float
    auc_high: float
    roc: Roc
    fitted: ClassThresholds | None
    member_decisions: NDArray[np.bool_]
    nonmember_decisions: NDArray[np.bool_]

    @property
    def advantage(self) -> float:
        """``TPR - FPR``, signed: below 0 where members are accused less often."""
        return self.true_positive_rate - self.false_positive_rate

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON, without single records and the curve."""
        left_out = {"roc", "fitted", "member_decisions", "nonmember_decisions"}
        plain = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        plain = {name: value for name, value in plain.items() if name not in left_out}
        plain["advantage"] = self.advantage
        plain["fitted"] = None if self.fitted is None else self.fitted.to_dict()
        return plain

    def __repr__(self) -> str:
        return (
            f"MetricAttack({self.attack!r}, thresholds={self.thresholds!r}, balanced_accuracy="
            f"{self.balanced_accuracy:.4f} [{self.low:.4f}, {self.high:.4f}], auc={self.auc:.4f})"
        )


@final
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class MetricAttacks:
    """All metric attacks on one model.

    Attributes:
        rows: One per attack and kind of threshold.
        chosen: The row with the highest ``calibration_accuracy``, the first of equal ones; its ``balanced_accuracy`` is
            on attacked records and so not inflated by the choice, as the largest of all rows would be.
        protocol: ``"partial knowledge"`` or ``"shadow"``.
        member_rows: Row numbers of the attacked members, in the order of every row's ``member_decisions``.
        nonmember_rows: The same for non-members.
        n_calibration: Members and non-members that thresholds and attack were chosen on.
        train_accuracy: Of the model on all members.
        test_accuracy: Of the model on all non-members.
        confidence_level: Of every interval.
    """

    rows: tuple[MetricAttack, ...]
    chosen: MetricAttack
    protocol: str
    member_rows: NDArray[np.int64]
    nonmember_rows: NDArray[np.int64]
    n_calibration: tuple[int, int]
    train_accuracy: float
    test_accuracy: float
    confidence_level: float

    def row(self, attack: str, thresholds: Rule = "global") -> MetricAttack:
        """One of the rows; ``"correctness"`` has the thresholds ``"none"``."""
        for row in self.rows:
            if (row.attack, row.thresholds) == (attack, thresholds):
                return row
        known = ", ".join(f"({row.attack!r}, {row.thresholds!r})" for row in self.rows)
        raise ValueError(f"there is no row ({attack!r}, {thresholds!r}); there are {known}.")

    def summary(self) -> str:
        """A table; the chosen row is marked."""
        lines = [
            f"Metric attacks ({self.protocol}): {len(self.member_rows):,} members and {len(self.nonmember_rows):,} "
            f"non-members attacked, {self.n_calibration[0]:,} and {self.n_calibration[1]:,} for calibration",
            f"Model: accuracy {self.train_accuracy:.4f} on members, {self.test_accuracy:.4f} on non-members",
            f"  {'attack':<20} {'thresholds':<10} {'balanced accuracy':<26} {'p':>8}  {'AUC':<24} TPR at 1% FPR",
        ]
        for row in self.rows:
            mark = "*" if row is self.chosen else " "
            at = row.roc.tpr_at_fpr(0.01, confidence_level=self.confidence_level)
            lines.append(
                f"{mark} {row.attack:<20} {row.thresholds:<10} {row.balanced_accuracy:.4f} [{row.low:.4f}, "
                f"{row.high:.4f}]    {row.p_value:>8.2g}  {row.auc:.4f} [{row.auc_low:.4f}, {row.auc_high:.4f}]  "
                f"{at.tpr:.4f} (FPR {at.realized_fpr:.4f})"
            )
        lines.append("* chosen on the calibration records; one half is guessing")
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON, without single records and curves."""
        return {
            "rows": [row.to_dict() for row in self.rows],
            "chosen": self.chosen.to_dict(),
            "protocol": self.protocol,
            "n_attacked": [len(self.member_rows), len(self.nonmember_rows)],
            "n_calibration": list(self.n_calibration),
            "train_accuracy": self.train_accuracy,
            "test_accuracy": self.test_accuracy,
            "confidence_level": self.confidence_level,
        }

    def __repr__(self) -> str:
        return f"MetricAttacks({len(self.rows)} rows, {self.protocol}, chosen={self.chosen!r})"


def balanced_interval(hits: int, n: int, spared: int, m: int, level: float) -> tuple[float, float]:
    """Limits of ``(hits / n + spared / m) / 2`` for two independent binomial counts.

    Newcombe's hybrid score method: the distances from each rate to its Wilson limit add up in squares. At 95 % it holds
    between 90 and 99.5 % of the time from 12 records of a kind on, between 94 and 97 % from 60 on, by enumeration.
    """
    totals = np.array([n, m])
    rates = np.array([hits, spared]) / totals
    lower, upper = wilson([hits, spared], totals, level)
    value = rates.mean()
    low, high = value - 0.5 * np.linalg.norm(rates - lower), value + 0.5 * np.linalg.norm(upper - rates)
    return float(max(low, 0.0)), float(min(high, 1.0))


def permutation_p_value(hits: int, n: int, accused: int, m: int) -> float:
    """Fisher's exact one-sided p-value: decisions stand, membership is dealt out anew."""
    return float(min(1.0, stats.hypergeom.sf(hits - 1, n + m, n, hits + accused)))
