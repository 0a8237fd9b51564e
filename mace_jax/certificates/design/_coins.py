"""Independent coins: every candidate is trained on or not by a coin of its own; one training is enough."""

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
from mace_jax.certificates.design._file import pack
from mace_jax.certificates.design._guesses import checked_scores, single_rules
from mace_jax.certificates.design._one_run import Coins, OneRunMethod, certify_coins

__all__ = ["FIXED_REST", "CoinDesign", "independent_coins"]

FIXED_REST = (
    "Whatever else went into training (other records, code, settings, early stopping, filtering) did not depend on the "
    "coins other than through the candidates they include."
)


@final
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class CoinDesign(AbstractDesign):
    """Which candidates are trained on, by independent coins; draw it with ``independent_coins``."""

    included: NDArray[np.bool_]  # (n_records,)
    inclusion_probability: float
    seed: int

    @property
    def n_records(self) -> int:
        """Number of candidates."""
        return len(self.included)

    def train_indices(self) -> NDArray[np.int64]:
        """Rows of the candidates to train on, ascending."""
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
        n_positive: int | None = None,
        n_negative: int | None = None,
        threshold: float | Sequence[float] | None = None,
        delta: float = 0.0,
        confidence_level: float = 0.95,
    ) -> Certificate:
        """A lower bound on the algorithm's epsilon for adding or removing one record.

        Guesses the coins from the scores and counts how many are right; under (epsilon, delta)-differential privacy
        that number is at most binomial with probability e^epsilon / (1 + e^epsilon), up to delta. Abstaining pays
        where a few candidates are much more exposed than the rest.

        Args:
            scores: One per candidate, in the order of the design, higher = looks more trained on; ``(n_records,)``.
            method: "one_run", or "one_run_fdp" for an algorithm that is known to be Gaussian.
            n_guesses: Candidates to guess about: the highest scores in, the lowest out, in proportion to the coins;
                all by default. Several numbers are all tried, and pay for it.
            n_positive: Instead: how many of the highest scores to guess in.
            n_negative: Instead: how many of the lowest scores to guess out.
            threshold: Instead: guess about all, in where the score exceeds it. Several pay for it.
            delta: Of (epsilon, delta)-differential privacy.
            confidence_level: The bound exceeds the truth with probability at most 1 minus this.

        Raises:
            TypeError: scores that are not numeric.
            ValueError: scores of another number than candidates, NaN, more guesses than candidates, delta > 0 or
                "one_run_fdp" where coins are not fair.

        References: Steinke, Nasr and Jagielski (2023); Mahloujifar, Melis and Chaudhuri (2024).

        Example:
            >>> coins = independent_coins(500, seed=0)
            >>> coins.certify(coins.included, n_guesses=100).epsilon.__round__(4)
            3.493
        """
        rules = single_rules(
            self.n_records,
            inclusion_probability=self.inclusion_probability,
            n_guesses=n_guesses,
            n_positive=n_positive,
            n_negative=n_negative,
            threshold=threshold,
        )
        checked = checked_scores(scores, (self.n_records,), "one score per candidate in the order of the design")
        return certify_coins(
            self._coins(), checked[None], rules, method=method, delta=delta, confidence_level=confidence_level
        )

    def _coins(self) -> Coins:
        drawn = (
            f"Each of the {self.n_records} candidates was included in training by its own independent coin with "
            f"probability {self.inclusion_probability:g}. The coins were drawn by this design before training, and "
            "training used exactly the candidates they include."
        )
        assumptions = (drawn, FIXED_REST)
        return Coins(
            self.included[None],
            self.n_records,
            self.inclusion_probability,
            "add or remove one record",
            assumptions,
            self.fingerprint,
        )

    def _payload(self) -> dict[str, Any]:
        return {
            "kind": "independent coins",
            "n_records": self.n_records,
            "inclusion_probability": self.inclusion_probability,
            "seed": self.seed,
            "included": pack(self.included),
        }

    def __repr__(self) -> str:
        return (
            f"CoinDesign(n_records={self.n_records}, included={int(self.included.sum())}, "
            f"inclusion_probability={self.inclusion_probability:g}, fingerprint={self.fingerprint[:8]})"
        )


def independent_coins(n_records: int, *, inclusion_probability: float = 0.5, seed: Seed) -> CoinDesign:
    """Draw for each candidate, independently, whether it is trained on.

    One training on the included candidates (and on any other fixed records) then supports a claim about the training
    algorithm, which a fixed split into members and non-members does not.

    Args:
        n_records: Candidates ("canaries"), in an order that stays fixed.
        inclusion_probability: Of each coin. 0.5 gives the sharpest bound, and the only one with delta.
        seed: Fixes the coins; whoever makes the scores must not know it.

    Raises:
        ValueError: no candidates, inclusion_probability outside (0, 1).

    References: Steinke, Nasr and Jagielski (2023).

    Example:
        >>> independent_coins(1000, seed=0).train_indices()[:5].tolist()
        [0, 1, 5, 6, 7]
    """
    n_records = _validate.positive_int(n_records=n_records)
    probability = _validate.in_open_unit(inclusion_probability=inclusion_probability)
    included = generator(seed, "design", "independent coins").random(n_records) < probability
    return CoinDesign(included, probability, as_seed(seed))
