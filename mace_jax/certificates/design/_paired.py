"""Paired coins: of every pair of records a fair coin decides which one is trained on."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from mace_jax import _validate
from mace_jax._random import as_seed, generator
from mace_jax._types import Seed
from mace_jax.certificates._certificate import Certificate
from mace_jax.certificates.design._base import AbstractDesign
from mace_jax.certificates.design._coins import FIXED_REST
from mace_jax.certificates.design._file import pack
from mace_jax.certificates.design._guesses import checked_scores, ranked_pairs
from mace_jax.certificates.design._one_run import Coins, OneRunMethod, certify_coins

__all__ = ["PairedDesign", "paired_coins"]


@final
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class PairedDesign(AbstractDesign):
    """Which record of every pair is trained on; draw it with ``paired_coins``.

    Pair i consists of rows 2 i and 2 i + 1 of the candidates.
    """

    included: NDArray[np.bool_]  # (n_pairs, 2), one True per row
    seed: int

    @property
    def n_pairs(self) -> int:
        """Number of pairs; the candidates are twice as many."""
        return len(self.included)

    def train_indices(self) -> NDArray[np.int64]:
        """Rows of the candidates to train on, ascending: exactly ``n_pairs``."""
        return np.flatnonzero(self.included)

    def held_out_indices(self) -> NDArray[np.int64]:
        """Rows of the candidates to keep out of training, ascending."""
        return np.flatnonzero(~self.included)

    def certify(
        self,
        scores: Any,
        *,
        method: OneRunMethod = "one_run",
        n_guesses: int | Sequence[int] | None = None,
        delta: float = 0.0,
        confidence_level: float = 0.95,
    ) -> Certificate:
        """A lower bound on the algorithm's epsilon for replacing one record.

        In each pair the record with the higher score is guessed in. The number of right guesses has the same bound as
        with independent coins.

        Args:
            scores: One per candidate, higher = looks more trained on; ``(n_pairs, 2)``, or flat in candidate order.
            method: "one_run", or "one_run_fdp" for an algorithm that is known to be Gaussian.
            n_guesses: Pairs to guess about, those whose scores differ most; all by default. Several numbers are all
                tried, and pay for it.
            delta: Of (epsilon, delta)-differential privacy.
            confidence_level: The bound exceeds the truth with probability at most 1 minus this.

        Raises:
            TypeError: scores that are not numeric.
            ValueError: scores of another number than candidates, NaN, more guesses than pairs.

        References: Steinke, Nasr and Jagielski (2023), with pairs in place of inclusion.

        Example:
            >>> pairs = paired_coins(100, seed=0)
            >>> pairs.certify(pairs.included).epsilon.__round__(4)
            3.493
        """
        rules = ranked_pairs(self.n_pairs, n_guesses)
        checked = checked_scores(scores, (self.n_pairs, 2), "two scores per pair in the order of the design")
        return certify_coins(
            self._coins(), checked, rules, method=method, delta=delta, confidence_level=confidence_level
        )

    def _coins(self) -> Coins:
        drawn = (
            f"In each of the {self.n_pairs} pairs an independent fair coin, drawn by this design before training, "
            "chose the record that was trained on; the other one was not. Which records form a pair, and their order "
            "in it, did not depend on the coins."
        )
        return Coins(self.included, self.n_pairs, 0.5, "replace one record", (drawn, FIXED_REST), self.fingerprint)

    def _payload(self) -> dict[str, Any]:
        return {"kind": "paired coins", "n_pairs": self.n_pairs, "seed": self.seed, "included": pack(self.included)}

    def __repr__(self) -> str:
        return f"PairedDesign(n_pairs={self.n_pairs}, fingerprint={self.fingerprint[:8]})"


def paired_coins(n_pairs: int, *, seed: Seed) -> PairedDesign:
    """Draw for each pair of candidates which of the two is trained on.

    The size of the training set is fixed and the design is exactly balanced; the claim is about replacing a record.

    Args:
        n_pairs: Pairs; pair i consists of candidates 2 i and 2 i + 1.
        seed: Fixes the coins; whoever makes the scores must not know it.

    Raises:
        ValueError: no pairs.

    Example:
        >>> paired_coins(4, seed=0).train_indices().tolist()
        [0, 3, 4, 6]
    """
    n_pairs = _validate.positive_int(n_pairs=n_pairs)
    first = generator(seed, "design", "paired coins").random(n_pairs) < 0.5
    return PairedDesign(np.stack([first, ~first], axis=1), as_seed(seed))
