"""Guess rules: which candidates are called included or left out, from scores alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from mace_jax import _validate
from mace_jax._types import FloatArray

__all__ = ["GuessRule", "Guessed", "checked_scores", "ranked_pairs", "several", "single_rules"]


class Guessed(NamedTuple):
    """What one rule guessed and how often it was right."""

    n_positive: int
    n_negative: int
    n_correct: int


class GuessRule(Protocol):
    """Guesses from the scores alone, then counts against the coins, ``(models, candidates)`` each."""

    def __call__(self, scores: FloatArray, included: NDArray[np.bool_]) -> Guessed: ...


@dataclasses.dataclass(frozen=True)
class _Ranked:
    """The highest scores of each model in, the lowest out; equal scores in the order of the design."""

    n_positive: int
    n_negative: int

    def __call__(self, scores: FloatArray, included: NDArray[np.bool_]) -> Guessed:
        order = np.argsort(-scores, axis=1, kind="stable")
        sorted_coins = np.take_along_axis(included, order, axis=1)
        right = int(sorted_coins[:, : self.n_positive].sum())
        right += int((~sorted_coins[:, scores.shape[1] - self.n_negative :]).sum()) if self.n_negative else 0
        return Guessed(len(scores) * self.n_positive, len(scores) * self.n_negative, right)

    def __str__(self) -> str:
        return f"the {self.n_positive} highest scores guessed in, the {self.n_negative} lowest out"


@dataclasses.dataclass(frozen=True)
class _Above:
    """Scores above a threshold in, all others out."""

    threshold: float

    def __call__(self, scores: FloatArray, included: NDArray[np.bool_]) -> Guessed:
        guessed = scores > self.threshold
        positive = int(guessed.sum())
        return Guessed(positive, guessed.size - positive, int((guessed == included).sum()))

    def __str__(self) -> str:
        return f"scores above {self.threshold:.6g} guessed in, all others out"


@dataclasses.dataclass(frozen=True)
class _Pairs:
    """Of each pair the record with the higher score, in the pairs where the scores differ most."""

    n_guesses: int

    def __call__(self, scores: FloatArray, included: NDArray[np.bool_]) -> Guessed:
        with np.errstate(invalid="ignore"):
            gap = np.where(scores[:, 0] == scores[:, 1], 0.0, scores[:, 0] - scores[:, 1])
        chosen = np.argsort(-np.abs(gap), kind="stable")[: self.n_guesses]
        right = int(((gap[chosen] > 0.0) == included[chosen, 0]).sum())
        return Guessed(self.n_guesses, 0, right)

    def __str__(self) -> str:
        return f"the higher score of a pair guessed in, for the {self.n_guesses} pairs whose scores differ most"


def several(value: Any) -> list[Any]:
    """A single choice or several as a list."""
    return list(value) if isinstance(value, Iterable) and not isinstance(value, str) else [value]


def single_rules(
    n: int,
    *,
    inclusion_probability: float,
    n_guesses: int | Sequence[int] | None,
    n_positive: int | None,
    n_negative: int | None,
    threshold: float | Sequence[float] | None,
) -> list[GuessRule]:
    """The rules asked for, by default one that guesses about every candidate."""
    given = [n_guesses is not None, n_positive is not None or n_negative is not None, threshold is not None]
    if sum(given) > 1:
        raise ValueError("pass only one of n_guesses, threshold, and n_positive with n_negative: each is a rule.")
    if threshold is not None:
        rules: list[GuessRule] = [_Above(_threshold(value)) for value in several(threshold)]
    elif given[1]:
        counts = [_validate.positive_int(minimum=0, n_positive=n_positive or 0)]
        counts.append(_validate.positive_int(minimum=0, n_negative=n_negative or 0))
        _no_more_than(n, "candidates", **{"n_positive + n_negative": sum(counts)})
        rules = [_Ranked(*counts)]
    else:
        totals = [_guesses(value, n, "candidates") for value in several(n if n_guesses is None else n_guesses)]
        inside = [min(total, int(np.floor(total * inclusion_probability + 0.5))) for total in totals]
        rules = [_Ranked(count, total - count) for count, total in zip(inside, totals, strict=True)]
    if not rules:
        raise ValueError("n_guesses and threshold must hold at least one choice.")
    return rules


def ranked_pairs(n: int, n_guesses: int | Sequence[int] | None) -> list[GuessRule]:
    """Rules for pairs, by default one that guesses about every pair."""
    rules: list[GuessRule] = [
        _Pairs(_guesses(value, n, "pairs")) for value in several(n if n_guesses is None else n_guesses)
    ]
    if not rules:
        raise ValueError("n_guesses must hold at least one number.")
    return rules


def _guesses(value: Any, n: int, what: str) -> int:
    number = _validate.positive_int(n_guesses=value)
    _no_more_than(n, what, n_guesses=number)
    return number


def _no_more_than(n: int, what: str, **count: int) -> None:
    ((name, value),) = count.items()
    if value > n:
        raise ValueError(f"{name}={value} exceeds the {n} {what} of the design.")
    if value == 0:
        raise ValueError(f"{name}=0: at least one guess is needed.")


def _threshold(value: Any) -> float:
    number = float(value)
    if np.isnan(number):
        raise ValueError(f"threshold={value!r} must be a number.")
    return number


def checked_scores(scores: Any, shape: tuple[int, ...], order: str) -> FloatArray:
    """Scores as float64 in the shape of the design; infinities rank, NaN does not."""
    if hasattr(scores, "members") and hasattr(scores, "nonmembers"):
        raise TypeError(f"scores is a MembershipSample; with a design pass the scores themselves, {order}.")
    if not hasattr(scores, "__array__") and hasattr(scores, "__dlpack__"):
        scores = np.from_dlpack(scores)
    array = np.asarray(scores)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"scores has dtype {array.dtype}, which is not numeric.")
    total = int(np.prod(shape, dtype=np.int64))
    if array.shape not in (shape, (total,), (total, 1)):
        raise ValueError(f"scores has shape {array.shape}; the design needs {shape}, {order}.")
    array = array.astype(np.float64).reshape(shape)
    if np.isnan(array).any():
        place = ", ".join(str(axis) for axis in np.argwhere(np.isnan(array))[0])
        raise ValueError(f"scores has NaN at {place}; give every candidate a score.")
    return array
