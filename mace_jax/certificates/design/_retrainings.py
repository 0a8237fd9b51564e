"""Retrainings: the same algorithm run many times, each time with fresh coins."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal, final

import numpy as np
from numpy.typing import NDArray

from mace_jax import _validate
from mace_jax._random import as_seed, generator
from mace_jax._types import Seed
from mace_jax.certificates._certificate import Certificate
from mace_jax.certificates._counted import CountMethod
from mace_jax.certificates.design._base import AbstractDesign
from mace_jax.certificates.design._coins import FIXED_REST
from mace_jax.certificates.design._file import pack
from mace_jax.certificates.design._guesses import checked_scores, single_rules
from mace_jax.certificates.design._one_run import ONE_RUN_METHODS, Coins, OneRunMethod, certify_coins
from mace_jax.certificates.design._over_models import certify_candidates, certify_models

__all__ = ["RetrainingDesign", "retrainings"]


@final
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class RetrainingDesign(AbstractDesign):
    """Which candidates each of several models is trained on; draw it with ``retrainings``."""

    included: NDArray[np.bool_]  # (n_models, n_records)
    seed: int

    @property
    def n_models(self) -> int:
        """Number of trainings."""
        return self.included.shape[0]

    @property
    def n_records(self) -> int:
        """Number of candidates."""
        return self.included.shape[1]

    def train_indices(self, model: int) -> NDArray[np.int64]:
        """Rows of the candidates that one model is trained on, ascending."""
        return np.flatnonzero(self.included[self._checked(model)])

    def held_out_indices(self, model: int) -> NDArray[np.int64]:
        """Rows of the candidates to keep out of the training of one model, ascending."""
        return np.flatnonzero(~self.included[self._checked(model)])

    def _checked(self, model: int) -> int:
        if _validate.positive_int(minimum=0, model=model) >= self.n_models:
            raise ValueError(f"model={model} must be below the {self.n_models} models of the design.")
        return model

    def certify(
        self,
        scores: Any,
        *,
        method: OneRunMethod | CountMethod | Literal["models"] = "one_run",
        candidate: int | None = None,
        n_guesses: int | Sequence[int] | None = None,
        threshold: float | Sequence[float] | None = None,
        delta: float = 0.0,
        confidence_level: float = 0.95,
        epsilons: Sequence[float] = (),
    ) -> Certificate:
        """A lower bound on the algorithm's epsilon for adding or removing one record.

        - "one_run" and "one_run_fdp" guess all coins of all models, which are independent, and count right guesses.
        - "models" takes one number per model, the advantage (right - wrong) / candidates of its guesses, and bounds the
          mean over models. This certifies an advantage too: the average over candidates of TPR - FPR.
        - "clopper_pearson", "gdp" and the ratio methods look at one candidate: over models its scores with and without
          it are independent draws. Without ``candidate`` all candidates are tried, and pay for it. Without a threshold,
          the first half of the models chooses it and the second half is counted.

        Args:
            scores: ``(n_models, n_records)`` in the order of the design, higher = looks more trained on;
                ``(n_models,)`` for one candidate.
            method: See above.
            candidate: Row of the candidate, chosen before the scores were seen.
            n_guesses: Of the methods that guess: candidates per model to guess about, half of them in; all by default.
                Several numbers are all tried, and pay for it.
            threshold: A number chosen beforehand: in where the score exceeds it. Several pay for it.
            delta: Of (epsilon, delta)-differential privacy.
            confidence_level: The bound exceeds the truth with probability at most 1 minus this.
            epsilons: Of the methods that look at candidates: where to bound the privacy profile delta(epsilon) too.

        Raises:
            TypeError: scores that are not numeric.
            ValueError: scores of another shape than the design, NaN, an unknown method, arguments of another method.

        References: Steinke, Nasr and Jagielski (2023); Jagielski, Ullman and Oprea (2020); Waudby-Smith and Ramdas
        (2024) for the mean over models.

        Example:
            >>> coins = retrainings(50, 40, seed=0)
            >>> certificate = coins.certify(coins.included, method="models")
            >>> certificate.neighbors, bool(certificate.advantage > 0.7)
            ('add or remove one record', True)
        """
        if candidate is not None and _validate.positive_int(minimum=0, candidate=candidate) >= self.n_records:
            raise ValueError(f"candidate={candidate} must be below the {self.n_records} candidates of the design.")
        guesses = method in (*ONE_RUN_METHODS, "models")
        if guesses and (candidate is not None or len(epsilons)):
            raise ValueError(
                f"method={method!r} looks at all candidates together and gives no profile; for candidate= or epsilons= "
                "pass method='clopper_pearson'."
            )
        coins = self._coins()
        if not guesses:
            if n_guesses is not None:
                raise ValueError(f"n_guesses has no meaning for method={method!r}; pass threshold= or nothing.")
            shape = (self.n_models, self.n_records)
            if candidate is not None and np.shape(scores) in ((self.n_models,), (self.n_models, 1)):
                shape = (self.n_models, 1)
            checked = checked_scores(scores, shape, "one row per model")
            chosen = range(self.n_records) if candidate is None else [candidate]
            columns = {row: checked[:, 0 if shape[1] == 1 else row] for row in chosen}
            return certify_candidates(
                coins,
                columns,
                method=method,
                threshold=threshold,
                delta=delta,
                confidence_level=confidence_level,
                epsilons=epsilons,
            )
        rules = single_rules(
            self.n_records,
            inclusion_probability=0.5,
            n_guesses=n_guesses,
            n_positive=None,
            n_negative=None,
            threshold=threshold,
        )
        checked = checked_scores(scores, (self.n_models, self.n_records), "one row per model")
        certify = certify_models if method == "models" else certify_coins
        settings = {} if method == "models" else {"method": method}
        return certify(coins, checked, rules, delta=delta, confidence_level=confidence_level, **settings)

    def _coins(self) -> Coins:
        drawn = (
            f"The algorithm was run {self.n_models} times, independently, and in each run each of the "
            f"{self.n_records} candidates was included by its own independent fair coin. The coins were drawn by this "
            "design before training, and training used exactly the candidates they include."
        )
        total = self.n_models * self.n_records
        assumptions = (drawn, FIXED_REST)
        return Coins(self.included, total, 0.5, "add or remove one record", assumptions, self.fingerprint)

    def _payload(self) -> dict[str, Any]:
        return {
            "kind": "retrainings",
            "n_records": self.n_records,
            "n_models": self.n_models,
            "seed": self.seed,
            "included": pack(self.included),
        }

    def __repr__(self) -> str:
        return (
            f"RetrainingDesign(n_models={self.n_models}, n_records={self.n_records}, "
            f"fingerprint={self.fingerprint[:8]})"
        )


def retrainings(n_records: int, n_models: int, *, seed: Seed) -> RetrainingDesign:
    """Draw for several trainings, each time anew, which candidates are trained on.

    Args:
        n_records: Candidates, in an order that stays fixed.
        n_models: Trainings; each with its own randomness too.
        seed: Fixes the coins; whoever makes the scores must not know it.

    Raises:
        ValueError: no candidates, fewer than 2 models.

    Example:
        >>> retrainings(8, 3, seed=0).train_indices(2).tolist()
        [5, 7]
    """
    n_records = _validate.positive_int(n_records=n_records)
    n_models = _validate.positive_int(minimum=2, n_models=n_models)
    included = generator(seed, "design", "retrainings").random((n_models, n_records)) < 0.5
    return RetrainingDesign(included, as_seed(seed))
