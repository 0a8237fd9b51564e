"""A threshold for every class, or for any other groups of records."""

from __future__ import annotations

import dataclasses
from typing import Any, final, get_args

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray

from mace_jax import _validate
from mace_jax._types import FloatArray
from mace_jax.attacks._groups import Groups, as_groups, look_up, numbered, plain, same_kind
from mace_jax.attacks._thresholds import ThresholdKind, best_thresholds

__all__ = ["ClassThresholds"]


@final
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class ClassThresholds:
    """For every class c the threshold ``t_c`` that maximizes ``(P[member >= t | c] + P[nonmember < t | c]) / 2``.

    Classes may be any groups, named by whole numbers or strings. A class that has no members or no non-members to
    choose from gets the global threshold, and is listed in ``absent``; so does a class that comes up only later, see
    ``unseen``. Build it with ``fit``.

    Attributes:
        classes: Labels that occurred, ascending, ``(k,)``.
        thresholds: Of each class, ``(k,)``.
        global_threshold: Of all records together; report its accuracy beside that of the class thresholds.
        counts: Members and non-members of each class, ``(k, 2)``.
        kind: ``"observed"`` or ``"midpoint"``.

    Example:
        >>> fitted = ClassThresholds.fit([0.9, 0.8, 0.3], [0, 0, 1], [0.5, 0.1, 0.2], [0, 1, 1])
        >>> fitted
        ClassThresholds(2 classes, global_threshold=0.8, thresholds='observed')
        >>> fitted.predict([0.4, 0.4], [0, 1]).tolist()
        [False, True]
    """

    classes: Groups
    thresholds: Float[FloatArray, " k"]
    global_threshold: float
    counts: Int[NDArray[np.int64], "k 2"]
    kind: ThresholdKind

    @classmethod
    def fit(
        cls,
        member_scores: Any,
        member_labels: Any,
        nonmember_scores: Any,
        nonmember_labels: Any,
        *,
        thresholds: ThresholdKind = "observed",
    ) -> ClassThresholds:
        """Choose thresholds on records that will not be attacked, those of a shadow model or a part set aside.

        Takes O(n log n) whatever the number of classes. Of equally good thresholds of a class the highest is taken; the
        order of the records plays no part.

        Args:
            member_scores: ``(n,)``, higher = more member-like.
            member_labels: Class of each, ``(n,)``, whole numbers or strings.
            nonmember_scores: ``(m,)``.
            nonmember_labels: ``(m,)``.
            thresholds: ``"observed"`` or ``"midpoint"``, as in ``best_threshold``.

        Raises:
            TypeError: scores that are not numeric, labels that are neither whole numbers nor strings, or numbers for
                one side and strings for the other.
            ValueError: no scores on a side, NaN, not one label per score, or an unknown kind of threshold.

        References: Song and Mittal (2021), Systematic evaluation of privacy risks of machine learning models.
        """
        members, own = _scores_and_labels("member", member_scores, member_labels)
        nonmembers, other = _scores_and_labels("nonmember", nonmember_scores, nonmember_labels)
        same_kind(member_labels=own, nonmember_labels=other)
        kind = _validate.one_of(get_args(ThresholdKind), thresholds=thresholds)
        classes, place = numbered(np.concatenate([own, other]))
        overall, found, counts = best_thresholds(members, nonmembers, place, len(classes), kind)
        return cls(classes, np.where(counts.all(axis=1), found, overall), overall, counts, kind)

    @property
    def absent(self) -> tuple[int | str, ...]:
        """Classes without members or without non-members to choose from; they have the global threshold."""
        return tuple(plain(self.classes[~self.counts.all(axis=1)]))

    def unseen(self, labels: Any) -> tuple[int | str, ...]:
        """Classes among ``labels`` that did not occur when thresholds were chosen; they get the global threshold."""
        groups = self._groups("labels", labels, np.size(labels))
        return tuple(plain(np.unique(groups[~look_up(groups, self.classes)[1]])))

    def at(self, labels: Any) -> Float[FloatArray, " n"]:
        """The threshold of every record."""
        groups = self._groups("labels", labels, np.size(labels))
        place, known = look_up(groups, self.classes)
        return np.where(known, self.thresholds[place], self.global_threshold)

    def predict(self, scores: Any, labels: Any) -> Bool[NDArray[np.bool_], " n"]:
        """Whether each record is guessed to be a member: its score is at least the threshold of its class.

        Args:
            scores: ``(n,)``.
            labels: ``(n,)``; of classes not seen before the global threshold is used.

        Raises:
            TypeError: labels of another kind than those the thresholds were chosen with.
            ValueError: NaN, or not one label per score.
        """
        checked = _validate.scores(scores=scores)
        return checked >= self.at(self._groups("labels", labels, len(checked)))

    def balanced_accuracy(
        self, member_scores: Any, member_labels: Any, nonmember_scores: Any, nonmember_labels: Any
    ) -> float:
        """``(share of members found + share of non-members left alone) / 2`` over all classes together.

        Args and errors as in ``fit``. Pass records that took no part in ``fit``.
        """
        members, own = _scores_and_labels("member", member_scores, member_labels)
        nonmembers, other = _scores_and_labels("nonmember", nonmember_scores, nonmember_labels)
        return float(0.5 * (self.predict(members, own).mean() + (~self.predict(nonmembers, other)).mean()))

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {
            "classes": plain(self.classes),
            "thresholds": self.thresholds.tolist(),
            "global_threshold": self.global_threshold,
            "members": self.counts[:, 0].tolist(),
            "nonmembers": self.counts[:, 1].tolist(),
            "absent": list(self.absent),
            "kind": self.kind,
        }

    def __repr__(self) -> str:
        absent = self.absent
        shown = ", ".join(map(repr, absent[:5])) + (", ..." if len(absent) > 5 else "")
        return (
            f"ClassThresholds({len(self.classes)} classes, global_threshold={self.global_threshold:.6g}, "
            f"thresholds={self.kind!r}{f', absent: {shown}' if absent else ''})"
        )

    def _groups(self, name: str, labels: Any, n: int) -> Groups:
        groups = as_groups(name, labels, n)
        same_kind(**{name: groups, "the labels in fit": self.classes})
        return groups


def _scores_and_labels(side: str, scores: Any, labels: Any) -> tuple[FloatArray, Groups]:
    values = _validate.scores(**{f"{side}_scores": scores})
    return values, as_groups(f"{side}_labels", labels, len(values))
