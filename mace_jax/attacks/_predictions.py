"""Predictions: what one model said of some records, as metric attacks take it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from mace_jax import _validate
from mace_jax._types import FloatArray
from mace_jax.attacks import signals
from mace_jax.attacks._groups import as_groups
from mace_jax.attacks._score import score
from mace_jax.attacks._signal_inputs import as_outputs

__all__ = ["Predictions"]


@final
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Predictions:
    """Outputs of one model for n records, with their labels: arrays only, checked once and never changed.

    Args:
        labels: Column number of the true class, ``(n,)``.
        probabilities: ``(n, C)``, rows summing to 1; or
        logits: ``(n, C)``, finite; better where a model is confident, since nothing has been rounded.
        groups: What class-dependent thresholds go by, ``(n,)`` whole numbers or strings; the labels by default.
        scores: Of further attacks, for example a trained one, by name: ``(n,)`` each, higher = more member-like. They
            are compared beside the metric attacks.

    Raises:
        TypeError: an array is not of the kind stated.
        ValueError: both or neither of probabilities and logits, or values that do not fit; the message names them.

    Example:
        >>> Predictions([0, 1], probabilities=[[0.9, 0.1], [0.8, 0.2]])
        Predictions(2 records, 2 classes, probabilities, accuracy=0.5000)
    """

    labels: Any  # once made: int64 (n,)
    probabilities: Any = None  # as given, or None
    logits: Any = None
    groups: Any = None  # once made: int64 or strings (n,)
    scores: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        checked = as_outputs(self.labels, self.probabilities, self.logits)
        assert checked.labels is not None
        n = len(checked.values)
        object.__setattr__(self, "logits" if checked.are_logits else "probabilities", checked.values)
        object.__setattr__(self, "labels", checked.labels)
        groups = checked.labels if self.groups is None else as_groups("groups", self.groups, n)
        object.__setattr__(self, "groups", groups)
        further = {name: _validate.scores(**{f"scores[{name!r}]": each}) for name, each in self.scores.items()}
        for name, each in further.items():
            if len(each) != n:
                raise ValueError(f"scores[{name!r}] has {len(each)} entries for {n} records; pass one per record.")
        object.__setattr__(self, "scores", further)

    @classmethod
    def averaged(cls, queries: Sequence[Predictions]) -> Predictions:
        """Mean probabilities over repeated queries of the same records.

        What an attacker does who knows that a defense adds noise to every answer.

        Args:
            queries: Predictions of one model for the same records in the same order. Groups are those of the first;
                further scores are averaged.

        Raises:
            ValueError: no queries, or queries of other records, classes or further scores.
        """
        if not queries:
            raise ValueError("queries is empty; pass at least one set of predictions.")
        first = queries[0]
        for place, query in enumerate(queries):
            same = query.n_classes == first.n_classes and np.array_equal(query.labels, first.labels)
            if not same or set(query.scores) != set(first.scores):
                raise ValueError(f"queries[{place}] is not of the same records, classes and scores as queries[0].")
        mean = sum(query._as_probabilities() for query in queries) / len(queries)
        further = {name: sum(query.scores[name] for query in queries) / len(queries) for name in first.scores}
        return cls(first.labels, probabilities=mean, groups=first.groups, scores=further)

    @property
    def n_classes(self) -> int:
        """Number of columns."""
        return int(self._values.shape[1])

    @property
    def accuracy(self) -> float:
        """Share of right predictions."""
        return float(self.correct.mean())

    @property
    def correct(self) -> NDArray[np.bool_]:
        """Whether each prediction is right, ``(n,)``."""
        return signals.correctness(self.labels, **self._outputs) == 1.0

    def score(self, signal: Any) -> FloatArray:
        """``attacks.score`` of these predictions, or the further scores of that name."""
        if isinstance(signal, str) and signal in self.scores:
            return self.scores[signal]
        return score(signal, self.labels, **self._outputs)

    def take(self, rows: Any) -> Predictions:
        """The predictions of some records, by row numbers or one truth value each; groups and scores go along."""
        chosen = np.asarray(rows)
        if chosen.ndim != 1 or chosen.dtype.kind not in "iub" or len(chosen) == 0:
            raise TypeError(f"rows must be one row number each, got {chosen.dtype} of shape {chosen.shape}.")
        return Predictions(
            self.labels[chosen],
            groups=self.groups[chosen],
            scores={name: each[chosen] for name, each in self.scores.items()},
            **{name: values[chosen] for name, values in self._outputs.items()},
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        (kind,) = self._outputs
        further = f", scores={list(self.scores)}" if self.scores else ""
        return (
            f"Predictions({len(self)} records, {self.n_classes} classes, {kind}, accuracy={self.accuracy:.4f}{further})"
        )

    @property
    def _values(self) -> NDArray[Any]:
        (values,) = self._outputs.values()
        return values

    @property
    def _outputs(self) -> dict[str, Any]:
        return {"probabilities": self.probabilities} if self.logits is None else {"logits": self.logits}

    def _as_probabilities(self) -> FloatArray:
        values = self._values.astype(np.float64)
        if self.logits is None:
            return values
        powers = np.exp(values - values.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True)
