"""metric_attacks: every attack that needs no training, with global and class thresholds, under both protocols."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, final, get_args

import numpy as np
from numpy.typing import NDArray

from mace_jax import _validate
from mace_jax._random import as_seed, generator
from mace_jax._types import FloatArray, Seed
from mace_jax.attacks import signals
from mace_jax.attacks._class_thresholds import ClassThresholds
from mace_jax.attacks._groups import Groups
from mace_jax.attacks._metric_rows import MetricAttack, MetricAttacks, Rule, balanced_interval, permutation_p_value
from mace_jax.attacks._predictions import Predictions
from mace_jax.attacks._thresholds import ThresholdKind
from mace_jax.metrics import roc

__all__ = ["attack_rows", "check_alike", "metric_attacks", "split_rows"]

METRICS = {  # attack: signal; -loss ranks as the confidence does and does not round to 1
    "correctness": "correctness",
    "confidence": "loss",
    "entropy": "entropy",
    "modified_entropy": "modified_entropy",
}
_FOLDS = 5
Rows = NDArray[np.int64]


@final
@dataclasses.dataclass(frozen=True, eq=False)
class _Side:
    """Scores of every attack and groups, of members and of non-members."""

    member: dict[str, FloatArray]
    nonmember: dict[str, FloatArray]
    member_groups: Groups
    nonmember_groups: Groups

    @classmethod
    def of(cls, member: Predictions, nonmember: Predictions, floor: float | None = None) -> _Side:
        return cls(_scores(member, floor), _scores(nonmember, floor), member.groups, nonmember.groups)

    def take(self, member_rows: Rows, nonmember_rows: Rows) -> _Side:
        return _Side(
            {name: each[member_rows] for name, each in self.member.items()},
            {name: each[nonmember_rows] for name, each in self.nonmember.items()},
            self.member_groups[member_rows],
            self.nonmember_groups[nonmember_rows],
        )

    def fit(self, attack: str, kind: ThresholdKind) -> ClassThresholds:
        return ClassThresholds.fit(
            self.member[attack], self.member_groups, self.nonmember[attack], self.nonmember_groups, thresholds=kind
        )

    def thresholds(self, rule: Rule, fitted: ClassThresholds | None) -> tuple[Any, Any]:
        """What the scores of members and of non-members have to reach."""
        if fitted is None or rule == "none":
            return 1.0, 1.0  # right predictions
        if rule == "global":
            return fitted.global_threshold, fitted.global_threshold
        return fitted.at(self.member_groups), fitted.at(self.nonmember_groups)


def metric_attacks(
    member: Predictions,
    nonmember: Predictions,
    *,
    shadow: tuple[Predictions, Predictions] | None = None,
    thresholds: ThresholdKind = "observed",
    floor: float | None = None,
    confidence_level: float = 0.95,
    seed: Seed = 0,
) -> MetricAttacks:
    """Attack a classifier by correctness, confidence, entropy and modified entropy of its outputs.

    A record is called a member if its score reaches a threshold: one for all (``"global"``) or one for its class
    (``"class"``), each the best in balanced accuracy on calibration records. These are never attacked:

    - **partial knowledge** (no ``shadow``): half of the members and half of the non-members, drawn by ``seed``,
      calibrate; the other halves are attacked;
    - **shadow**: members and non-members of a model the attacker trained in the same way on other records calibrate;
      all records given are attacked. If the model under attack is defended, the attacker knows how: apply the defense
      to the shadow model and its outputs too, and average repeated answers (``Predictions.averaged``) where it is
      random.

    ``chosen`` is the attack with the highest accuracy on calibration records, in five-fold cross-fitting there (class
    thresholds gain more by fitting), scored on the attacked ones. Correctness has no threshold; over all records its
    balanced accuracy is ``(train accuracy + 1 - test accuracy) / 2``. Confidence is scored by ``ln p_y``.

    Args:
        member: The attacked model's predictions for records it was trained on; with ``scores``, further attacks.
        nonmember: The same for records it was not trained on.
        shadow: Predictions of the shadow model for its own members and non-members.
        thresholds: ``"observed"`` or ``"midpoint"``, as in ``best_threshold``.
        floor: Under the logarithms of entropy and modified entropy; 1e-30 for figures of the published code.
        confidence_level: Of every interval, pointwise.
        seed: Draws halves and folds. The draw goes by the scores of the records and not by their order.

    Returns:
        Rows with balanced accuracy (Newcombe's interval, given the thresholds), AUC (DeLong), p-value and decisions.

    Raises:
        ValueError: fewer than 4 records on a side (2 with a shadow model), numbers of classes or further scores that
            differ, an unknown kind of threshold, or a level outside (0, 1).
        TypeError: groups that are numbers in one place and strings in another.

    References: Song and Mittal (2021), Systematic evaluation of privacy risks of machine learning models; Yeom et al.
    (2018) for correctness and confidence; Newcombe (1998) for the interval.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> member, other = (Predictions([0] * 90, logits=rng.normal([shift, 0.0], 1.0, (90, 2))) for shift in (3, 0))
        >>> metric_attacks(member, other).row("correctness", "none").balanced_accuracy > 0.6
        True
    """
    _validate.one_of(get_args(ThresholdKind), thresholds=thresholds)
    seed = as_seed(seed)
    given = {"member": member, "nonmember": nonmember}
    if shadow is not None:
        given |= {"shadow[0]": shadow[0], "shadow[1]": shadow[1]}
    check_alike(given, at_least=4 if shadow is None else 2)
    return attack_rows(
        member,
        nonmember,
        split_rows(member, nonmember, seed) if shadow is None else None,
        shadow,
        kind=thresholds,
        floor=None if floor is None else _validate.in_open_unit(floor=floor),
        level=_validate.in_open_unit(confidence_level=confidence_level),
        seed=seed,
    )


def split_rows(member: Predictions, nonmember: Predictions, seed: int) -> tuple[tuple[Rows, Rows], tuple[Rows, Rows]]:
    """Row numbers of the calibrating and of the attacked halves, ``((members, non-members), ...)``."""
    side = _Side.of(member, nonmember)
    halves = [
        np.split(_shuffled(scores, groups, seed, name), [len(groups) // 2])
        for name, scores, groups in (
            ("members", side.member, side.member_groups),
            ("nonmembers", side.nonmember, side.nonmember_groups),
        )
    ]
    return (halves[0][0], halves[1][0]), (np.sort(halves[0][1]), np.sort(halves[1][1]))


def attack_rows(
    member: Predictions,
    nonmember: Predictions,
    split: tuple[tuple[Rows, Rows], tuple[Rows, Rows]] | None,
    shadow: tuple[Predictions, Predictions] | None,
    *,
    kind: ThresholdKind,
    level: float,
    seed: int,
    floor: float | None = None,
) -> MetricAttacks:
    """All attacks, calibrated on the rows given or on a shadow model."""
    everyone = _Side.of(member, nonmember, floor)
    if split is not None:
        calibration, attacked = everyone.take(*split[0]), everyone.take(*split[1])
        member_rows, nonmember_rows = split[1]
    else:
        assert shadow is not None
        calibration, attacked = _Side.of(*shadow, floor), everyone
        member_rows, nonmember_rows = np.arange(len(member)), np.arange(len(nonmember))
        calibration = calibration.take(
            _shuffled(calibration.member, calibration.member_groups, seed, "shadow members"),
            _shuffled(calibration.nonmember, calibration.nonmember_groups, seed, "shadow nonmembers"),
        )
    rows = []
    for attack in calibration.member:
        fitted = None if attack == "correctness" else calibration.fit(attack, kind)
        beforehand = _cross_fitted(calibration, attack, kind)
        for rule, accuracy in beforehand.items():
            rows.append(_row(attack, rule, attacked, fitted, accuracy, level))
    return MetricAttacks(
        rows=tuple(rows),
        chosen=max(rows, key=lambda row: row.calibration_accuracy),
        protocol="partial knowledge" if split is not None else "shadow",
        member_rows=member_rows,
        nonmember_rows=nonmember_rows,
        n_calibration=(len(calibration.member_groups), len(calibration.nonmember_groups)),
        train_accuracy=member.accuracy,
        test_accuracy=nonmember.accuracy,
        confidence_level=level,
    )


def check_alike(given: dict[str, Predictions], at_least: int) -> None:
    """Predictions that can be compared; thresholds of one class count say nothing about another."""
    (first, one), *_ = given.items()
    for name, each in given.items():
        if not isinstance(each, Predictions):
            raise TypeError(f"{name} is a {type(each).__name__}; pass Predictions(labels, probabilities=...).")
        if each.n_classes != one.n_classes:
            raise ValueError(f"{name} has {each.n_classes} classes but {first} has {one.n_classes}.")
        if set(each.scores) != set(one.scores):
            raise ValueError(f"{name} has the further scores {list(each.scores)} but {first} has {list(one.scores)}.")
        if len(each) < at_least:
            raise ValueError(f"{name} has {len(each)} records; at least {at_least} are needed.")


def _scores(predictions: Predictions, floor: float | None) -> dict[str, FloatArray]:
    """Oriented scores of the metric attacks, then of the further ones in the order of their names."""
    taken = set(predictions.scores) & set(METRICS)
    if taken:
        raise ValueError(f"scores has the names {sorted(taken)} of metric attacks; use other names.")
    found = {attack: predictions.score(signal) for attack, signal in METRICS.items()}
    if floor is not None:
        for signal in (signals.entropy, signals.modified_entropy):
            found[signal.__name__] = 0.0 - predictions.score(functools.partial(signal, floor=floor))
    return found | {name: predictions.scores[name] for name in sorted(predictions.scores)}


def _shuffled(scores: dict[str, FloatArray], groups: Groups, seed: int, purpose: str) -> Rows:
    """Row numbers at random by the seed, whatever the order the records come in."""
    order = np.lexsort((groups, *scores.values()))
    return order[generator(seed, "metric attacks", purpose).permutation(len(order))]


def _cross_fitted(side: _Side, attack: str, kind: ThresholdKind) -> dict[Rule, float]:
    """Balanced accuracy per kind of threshold, each record decided by thresholds fitted without it."""
    n, m = len(side.member_groups), len(side.nonmember_groups)
    if attack == "correctness":
        return {"none": float(0.5 * (side.member[attack].mean() + 1.0 - side.nonmember[attack].mean()))}
    folds = min(_FOLDS, n, m)
    right: dict[Rule, FloatArray] = {"global": np.zeros(2), "class": np.zeros(2)}
    for fold in range(folds):
        out, other_out = np.arange(n) % folds == fold, np.arange(m) % folds == fold
        fitted = side.take(np.flatnonzero(~out), np.flatnonzero(~other_out)).fit(attack, kind)
        held_out = side.take(np.flatnonzero(out), np.flatnonzero(other_out))
        for rule in right:
            ours, theirs = held_out.thresholds(rule, fitted)
            right[rule] += (held_out.member[attack] >= ours).sum(), (held_out.nonmember[attack] < theirs).sum()
    return {rule: float(0.5 * (hits / n + spared / m)) for rule, (hits, spared) in right.items()}


def _row(
    attack: str, rule: Rule, attacked: _Side, fitted: ClassThresholds | None, calibration_accuracy: float, level: float
) -> MetricAttack:
    ours, theirs = attacked.member[attack], attacked.nonmember[attack]
    limit, other_limit = attacked.thresholds(rule, fitted)
    curve = roc(ours - limit, theirs - other_limit) if rule == "class" else roc(ours, theirs)
    found, accused = ours >= limit, theirs >= other_limit
    n, m, hits, alarms = len(found), len(accused), int(found.sum()), int(accused.sum())
    low, high = balanced_interval(hits, n, m - alarms, m, level)
    auc_low, auc_high = curve.auc_interval(level)
    return MetricAttack(
        attack=attack,
        thresholds=rule,
        balanced_accuracy=0.5 * (hits / n + (m - alarms) / m),
        low=low,
        high=high,
        true_positive_rate=hits / n,
        false_positive_rate=alarms / m,
        p_value=permutation_p_value(hits, n, alarms, m),
        calibration_accuracy=calibration_accuracy,
        auc=curve.auc,
        auc_low=auc_low,
        auc_high=auc_high,
        roc=curve,
        fitted=fitted,
        member_decisions=found,
        nonmember_decisions=accused,
    )
