"""defense_benchmark: does a defense beat early stopping, against attackers who know it?"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal, final, get_args

import numpy as np

from mace_jax import _validate
from mace_jax._random import as_seed
from mace_jax._types import FloatArray, Seed
from mace_jax.attacks._metric_attacks import attack_rows, check_alike, split_rows
from mace_jax.attacks._metric_rows import MetricAttacks
from mace_jax.attacks._predictions import Predictions
from mace_jax.attacks._thresholds import ThresholdKind
from mace_jax.bootstrap import replicate_sums
from mace_jax.bootstrap._intervals import limit

__all__ = ["AttackedModel", "DefenseBenchmark", "DefenseStatus", "defense_benchmark"]

DefenseStatus = Literal["helps", "not shown to help", "worse", "no comparator"]
_NONE = 9.0  # stands for "no comparator" among gains, which lie in [-1, 1]


@final
@dataclasses.dataclass(frozen=True, eq=False)
class AttackedModel:
    """What one model, defended or not, says of the records under audit.

    Args:
        member: Predictions for records it was trained on.
        nonmember: Predictions for records it was not trained on.
        shadow: Predictions of a shadow model, trained and defended in the same way on other records, for its own
            members and non-members; without it, half of the records calibrate the attacks.
    """

    member: Predictions
    nonmember: Predictions
    shadow: tuple[Predictions, Predictions] | None = None


@final
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class DefenseBenchmark:
    """A defended model beside every epoch of undefended training.

    Attributes:
        defended: All attacks on the defended model; ``defended.chosen`` is the one that counts.
        epochs: All attacks on each epoch.
        names: Of the epochs.
        gain: Attack accuracy of the comparator minus that of the defended model: above 0 the defense is better than
            early stopping. None without a comparator.
        low: Lower limit of the gain; None without a comparator.
        high: Upper limit; infinite if no epoch compares in a sizable part of the resamples.
        comparator: Name of the epoch with the lowest attack accuracy among those at least as accurate on non-members
            as the defended model; None if there is none.
        no_comparator_share: Share of the resamples without such an epoch.
        status: ``"helps"``, ``"not shown to help"``, ``"worse"`` or ``"no comparator"``.
        verdict: One sentence.
        confidence_level: Of the intervals.
    """

    defended: MetricAttacks
    epochs: tuple[MetricAttacks, ...]
    names: tuple[Any, ...]
    gain: float | None
    low: float | None
    high: float | None
    comparator: Any
    no_comparator_share: float
    status: DefenseStatus
    verdict: str
    confidence_level: float

    def curve(self) -> dict[str, Any]:
        """Plain arrays of the plot: keyword arguments of ``report.defense_plot``."""
        best = self.defended.chosen
        return {
            "test_accuracy": np.array([epoch.test_accuracy for epoch in self.epochs]),
            "attack_accuracy": np.array([epoch.chosen.balanced_accuracy for epoch in self.epochs]),
            "epochs": tuple(map(str, self.names)),
            "defended": (self.defended.test_accuracy, best.balanced_accuracy),
            "defended_limits": (best.low, best.high),
        }

    def summary(self) -> str:
        """The verdict and a table: accuracies and the chosen attack of the defended model and of every epoch."""
        lines = [self.verdict, f"{'model':<12} {'train':>7} {'test':>7}  attack accuracy             attack"]
        for name, found in (("defended", self.defended), *zip(self.names, self.epochs, strict=True)):
            row = found.chosen
            lines.append(
                f"{name!s:<12} {found.train_accuracy:>7.4f} {found.test_accuracy:>7.4f}  {row.balanced_accuracy:.4f} "
                f"[{row.low:.4f}, {row.high:.4f}]    {row.attack} ({row.thresholds})"
            )
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON; an infinite limit is None."""
        return {
            "status": self.status,
            "verdict": self.verdict,
            "gain": self.gain,
            "low": self.low,
            "high": None if self.high is None or np.isinf(self.high) else self.high,
            "comparator": self.comparator,
            "no_comparator_share": self.no_comparator_share,
            "confidence_level": self.confidence_level,
            "defended": self.defended.to_dict(),
            "epochs": [{"name": name} | found.to_dict() for name, found in zip(self.names, self.epochs, strict=True)],
        }

    def __repr__(self) -> str:
        gain = "" if self.gain is None else f", gain={self.gain:.4f} [{self.low:.4f}, {self.high:.4f}]"
        return f"DefenseBenchmark({self.status!r}{gain}, {len(self.epochs)} epochs)"


def defense_benchmark(
    defended: AttackedModel,
    epochs: Sequence[AttackedModel] | Mapping[Any, AttackedModel],
    *,
    thresholds: ThresholdKind = "observed",
    n_resamples: int = 2000,
    confidence_level: float = 0.95,
    seed: Seed = 0,
) -> DefenseBenchmark:
    """Compare a defended model with early stopping at equal test accuracy.

    Every model meets all metric attacks, and trained ones passed as ``Predictions.scores``; the attack that counts is
    chosen on calibration records and scored on attacked ones, by model. The same records are attacked in all models.
    With A the attack accuracy (balanced) and e over the epochs of undefended training,

        ``gain = min {A_e : test accuracy of e >= that of the defended model} - A_defended``.

    Its interval is a bias-corrected bootstrap over records: members, and non-members, are drawn with replacement, the
    same ones for all models; comparator and gain are found anew, thresholds and choices of attacks stay. A resample
    without a comparator counts as a gain above every number.

    Args:
        defended: The defended model. Where a defense randomizes outputs, pass ``Predictions.averaged`` of repeated
            queries, and a shadow model must be defended in the same way.
        epochs: The undefended model after every epoch, on the same records in the same order; a mapping names them,
            otherwise they are 1, 2, ...
        thresholds: ``"observed"`` or ``"midpoint"``, as in ``best_threshold``.
        n_resamples: Bootstrap resamples.
        confidence_level: Of every interval.
        seed: Draws halves, folds and resamples.

    Returns:
        Gain with interval, status, verdict and all attacks; draw ``report.defense_plot(**found.curve())``.

    Raises:
        TypeError: something else than predictions.
        ValueError: no epochs, other records than those of the defended model, a shadow model for some only, or as in
            ``metric_attacks``.

    References: Song and Mittal (2021), Systematic evaluation of privacy risks of machine learning models, for early
    stopping as the baseline; Efron (1987) for the bias correction.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> def model(a, b):
        ...     return AttackedModel(*(Predictions([0] * 90, logits=rng.normal([s, 0], 1.0, (90, 2))) for s in (a, b)))
        >>> defense_benchmark(model(1.5, 1.5), [model(1, 1), model(4, 1.6)]).comparator
        2
    """
    _validate.one_of(get_args(ThresholdKind), thresholds=thresholds)
    level = _validate.in_open_unit(confidence_level=confidence_level)
    n_resamples = _validate.positive_int(minimum=100, n_resamples=n_resamples)
    named = dict(epochs) if isinstance(epochs, Mapping) else dict(enumerate(epochs, start=1))
    _check(defended, named)
    seed = as_seed(seed)
    split = None if defended.shadow else split_rows(defended.member, defended.nonmember, seed)
    every = [*named.values(), defended]
    found = [
        attack_rows(each.member, each.nonmember, split, each.shadow, kind=thresholds, level=level, seed=seed)
        for each in every
    ]
    *undefended, own = found
    attack = np.array([each.chosen.balanced_accuracy for each in found])
    test = np.array([each.test_accuracy for each in found])
    gain, place = _gain(attack[None], test[None])
    replicates = _gain(*_resampled(every, found, n_resamples, seed))[0]
    low, high = (
        limit(tail, float(gain[0]), replicates, method="bca") for tail in ((1.0 - level) / 2.0, (1.0 + level) / 2.0)
    )
    limits = (low, float(np.inf) if high > 1.0 else high)
    comparable = bool(gain[0] < _NONE)
    status: DefenseStatus = "no comparator"
    if comparable:
        status = "helps" if low > 0.0 else "worse" if limits[1] < 0.0 else "not shown to help"
    names = tuple(named)
    return DefenseBenchmark(
        defended=own,
        epochs=tuple(undefended),
        names=names,
        gain=float(gain[0]) if comparable else None,
        low=limits[0] if comparable else None,
        high=limits[1] if comparable else None,
        comparator=names[place[0]] if comparable else None,
        no_comparator_share=float((replicates >= _NONE).mean()),
        status=status,
        verdict=_verdict(status, own, undefended, names, int(place[0]), float(gain[0]), limits),
        confidence_level=level,
    )


def _check(defended: AttackedModel, epochs: dict[Any, AttackedModel]) -> None:
    """The same records in all models, alike in everything that attacks need."""
    if not epochs:
        raise ValueError("epochs is empty; pass predictions of the undefended model after at least one epoch.")
    parts: dict[str, Predictions] = {}
    for name, each in {"defended": defended, **{f"epochs[{name!r}]": each for name, each in epochs.items()}}.items():
        if not isinstance(each, AttackedModel):
            raise TypeError(f"{name} is a {type(each).__name__}; pass AttackedModel(member, nonmember).")
        if (each.shadow is None) != (defended.shadow is None):
            raise ValueError(f"{name} and defended must both have a shadow model, or neither.")
        parts |= {f"{name}.member": each.member, f"{name}.nonmember": each.nonmember}
        if each.shadow is not None:
            parts |= {f"{name}.shadow[{place}]": part for place, part in enumerate(each.shadow)}
    check_alike(parts, at_least=4 if defended.shadow is None else 2)
    for name, each in epochs.items():
        for side in ("member", "nonmember"):
            if not np.array_equal(getattr(each, side).labels, getattr(defended, side).labels):
                raise ValueError(
                    f"epochs[{name!r}].{side} is not of the same records in the same order as defended.{side}: their "
                    "labels differ."
                )


def _gain(attack: FloatArray, test: FloatArray) -> tuple[FloatArray, np.ndarray]:
    """Gains ``(b,)`` and places of the comparators; the last column is the defended model."""
    comparable = test[:, :-1] >= test[:, -1:]
    accuracy = np.where(comparable, attack[:, :-1], _NONE + 1.0)
    place = accuracy.argmin(axis=1)
    gain = np.where(comparable.any(axis=1), accuracy.min(axis=1) - attack[:, -1], _NONE)
    return gain, place


def _resampled(
    models: Sequence[AttackedModel], found: Sequence[MetricAttacks], n_resamples: int, seed: int
) -> tuple[FloatArray, FloatArray]:
    """Attack and test accuracies in every resample, ``(n_resamples, models)`` each."""
    rows = found[0].nonmember_rows
    rest = np.setdiff1d(np.arange(len(models[0].nonmember)), rows)
    correct = np.stack([each.nonmember.correct for each in models], axis=1)
    hits = np.stack([each.chosen.member_decisions for each in found], axis=1)
    spared = np.stack([~each.chosen.nonmember_decisions for each in found], axis=1)

    def counts(values: np.ndarray, purpose: str) -> FloatArray:
        values = values.astype(np.float64)
        center = values.mean(axis=0)
        sums, totals = replicate_sums(
            values, n_resamples=n_resamples, weights="multinomial", seed=seed, purpose=purpose, center=center
        )
        return np.round(sums + totals[:, None] * center)  # whole numbers: equal models stay equal

    attacked = counts(np.concatenate([spared, correct[rows]], axis=1), "defense: attacked non-members")
    spared_counts, right = np.split(attacked, 2, axis=1)
    if len(rest):
        right = right + counts(correct[rest], "defense: calibrating non-members")
    attack = 0.5 * (counts(hits, "defense: members") / len(hits) + spared_counts / len(spared))
    return attack, right / len(correct)


def _verdict(
    status: DefenseStatus,
    own: MetricAttacks,
    epochs: Sequence[MetricAttacks],
    names: Sequence[Any],
    place: int,
    gain: float,
    limits: tuple[float, float],
) -> str:
    best = own.chosen
    at = f"At its test accuracy of {own.test_accuracy:.3f}, the best attack on the defended model reaches "
    at += f"{best.balanced_accuracy:.3f} ({best.attack}; 0.5 is guessing)"
    if status == "no comparator":
        most = max(range(len(epochs)), key=lambda one: epochs[one].test_accuracy)
        return (
            f"No comparator: no epoch of undefended training reaches the defended model's test accuracy; the most is "
            f"{epochs[most].test_accuracy:.3f} at epoch {names[most]}. {at}."
        )
    words = {
        "helps": "The defense beats early stopping.",
        "not shown to help": "The defense is not shown to beat early stopping.",
        "worse": "Early stopping is better than the defense.",
    }[status]
    return (
        f"{words} {at}, that on epoch {names[place]} of undefended training, as accurate or more, "
        f"{epochs[place].chosen.balanced_accuracy:.3f}: a gain of {gain:.3f} [{limits[0]:.3f}, {limits[1]:.3f}]."
    )
