"""Epsilon of a training algorithm from one run, whose canaries were included by independent coins."""

from __future__ import annotations

import numpy as np
from scipy import special

from mace_jax import _validate
from mace_jax._types import FloatArray
from mace_jax.certificates._counts import checked_part, error_of
from mace_jax.certificates._largest import largest_rejected

__all__ = ["checked_guesses", "epsilon_one_run", "epsilon_one_run_prior", "one_run_p_value"]


def checked_guesses(n_canaries: int, n_guesses: int, n_correct: int) -> tuple[int, int, int]:
    """Canaries, guesses among them and correct ones among those."""
    n_canaries = _validate.positive_int(n_canaries=n_canaries)
    n_guesses = checked_part(total_name="n_canaries", total=n_canaries, n_guesses=n_guesses)
    return n_canaries, n_guesses, checked_part(total_name="n_guesses", total=n_guesses, n_correct=n_correct)


def _log_choose(n: int) -> FloatArray:
    """Ln of n over j for j = 0 .. n."""
    j = np.arange(n + 1.0)
    return special.gammaln(n + 1.0) - special.gammaln(j + 1.0) - special.gammaln(n - j + 1.0)


class _OneRun:
    """P-values of one outcome at many epsilon; the logarithms of the binomial coefficients are worked out once."""

    def __init__(self, canaries: int, guesses: int, correct: int, delta: float) -> None:
        self.guesses, self.correct = guesses, correct
        self.slack = 2.0 * canaries * delta
        if self.slack > 0.0 and correct > 0:
            self.places = np.arange(correct - 1, -1, -1.0)
            self.log_choose = _log_choose(guesses)[correct - 1 :: -1]
            self.width = np.arange(1.0, correct + 1.0)

    def p_value(self, epsilon: float) -> float:
        if self.correct == 0:
            return 1.0
        wrong = self.guesses - self.correct
        tail = float(special.betaincc(wrong + 1.0, self.correct, special.expit(-epsilon)))
        if self.slack == 0.0 or tail >= 1.0:
            return tail
        right, log_wrong = special.log_expit(epsilon), special.log_expit(-epsilon)
        atoms = np.exp(self.log_choose + self.places * right + (self.guesses - self.places) * log_wrong)
        return min(1.0, tail + self.slack * float(np.max(np.cumsum(atoms) / self.width)))


def one_run_p_value(n_canaries: int, n_guesses: int, n_correct: int, epsilon: float, *, delta: float = 0.0) -> float:
    """P-value of the hypothesis that the training algorithm is (epsilon, delta)-differentially private.

    With q = e^epsilon / (1 + e^epsilon), r guesses, v of them right and m canaries:
    beta = P(Bin(r, q) >= v), a = max over 1 <= i <= v of (P(Bin(r, q) >= v - i) - beta) / i, p = beta + 2 m delta a.
    See ``epsilon_one_run`` for the design and the assumptions. Memory: O(n_guesses) float64.

    Raises:
        ValueError: more guesses than canaries, more correct than guesses, epsilon negative, delta outside [0, 1).
        TypeError: a count that is no integer.

    References: Steinke, Nasr and Jagielski (2023), Theorem 5.2.

    Example:
        >>> round(one_run_p_value(100, 100, 75, 1.0), 6)
        0.382722
    """
    canaries, guesses, correct = checked_guesses(n_canaries, n_guesses, n_correct)
    epsilon, delta = _validate.non_negative(epsilon=epsilon), _validate.probability(delta=delta)
    return _OneRun(canaries, guesses, correct, delta).p_value(epsilon)


def epsilon_one_run(
    n_canaries: int, n_guesses: int, n_correct: int, *, delta: float = 0.0, confidence_level: float = 0.95
) -> float:
    """Lower bound on the epsilon of a training algorithm from a single run.

    The largest epsilon whose ``one_run_p_value`` is below 1 - ``confidence_level``. Without delta, and with all r
    guesses right, this is logit((1 - confidence_level)^(1 / r)).

    Assumes that each canary was included by its own fair coin, and that guesses were made from the outcome of the run
    without knowledge of the coins. Then it is a claim about the algorithm: epsilon for adding or removing one record,
    or, where each coin chose between two records of a pair, for replacing one. Which canaries to
    abstain from may depend on the outcome of the run. At delta = 0 so may ``n_guesses``, as long as nobody looked at
    which guesses are right; with delta > 0 fix it beforehand. A choice among several numbers of guesses by their bounds
    needs a correction for the choice. A split of fixed size, instead of coins, is not covered.

    Args:
        n_canaries: All records whose inclusion was drawn, those abstained from too.
        n_guesses: Canaries guessed about.
        n_correct: Guesses that were right.
        delta: Of (epsilon, delta)-differential privacy; it costs 2 n_canaries delta times a binomial slope.
        confidence_level: One-sided: the bound exceeds the truth with probability at most 1 minus this.

    Raises:
        ValueError: more guesses than canaries, more correct than guesses, delta outside [0, 1), confidence_level
            outside (0, 1).
        TypeError: a count that is no integer.

    References: Steinke, Nasr and Jagielski (2023).

    Example:
        >>> round(epsilon_one_run(1000, 100, 95, delta=1e-5), 6)
        2.165176
    """
    canaries, guesses, correct = checked_guesses(n_canaries, n_guesses, n_correct)
    run = _OneRun(canaries, guesses, correct, _validate.probability(delta=delta))
    error = error_of(confidence_level)
    return largest_rejected(lambda epsilon: run.p_value(epsilon) < error)


def epsilon_one_run_prior(
    n_positive_guesses: int,
    n_negative_guesses: int,
    n_correct: int,
    *,
    inclusion_probability: float,
    confidence_level: float = 0.95,
) -> float:
    """The same for canaries included with probability p instead of one half; pure epsilon only.

    The number of right guesses is stochastically at most Bin(r_in, s(p)) + Bin(r_out, s(1 - p)), with
    s(p) = p e^epsilon / (1 - p + p e^epsilon). The tail of the sum is exact. Memory: O(number of guesses) float64.

    Args:
        n_positive_guesses: Canaries guessed "included", r_in.
        n_negative_guesses: Canaries guessed "not included", r_out.
        n_correct: Guesses of either kind that were right.
        inclusion_probability: Of each canary's own coin, in (0, 1).
        confidence_level: One-sided.

    Raises:
        ValueError: more correct than guesses, inclusion_probability or confidence_level outside (0, 1).
        TypeError: a count that is no integer.

    References: Steinke, Nasr and Jagielski (2023) for a fair coin, of which this is the same argument at odds p.

    Example:
        >>> fair = epsilon_one_run_prior(60, 40, 75, inclusion_probability=0.5)
        >>> round(fair, 6) == round(epsilon_one_run(100, 100, 75), 6)
        True
    """
    inside = _validate.positive_int(minimum=0, n_positive_guesses=n_positive_guesses)
    outside = _validate.positive_int(minimum=0, n_negative_guesses=n_negative_guesses)
    correct = checked_part(total_name="all guesses", total=inside + outside, n_correct=n_correct)
    probability = _validate.in_open_unit(inclusion_probability=inclusion_probability)
    error = error_of(confidence_level)
    odds = float(special.logit(probability))
    coefficients = _log_choose(inside), _log_choose(outside)
    needed = correct - np.arange(inside + 1)  # right "out" guesses that complete each number of right "in" guesses

    def p_value(epsilon: float) -> float:
        first, second = (
            _atoms(log_choose, epsilon + sign * odds)
            for log_choose, sign in zip(coefficients, (1.0, -1.0), strict=True)
        )
        tail = np.append(np.cumsum(second[::-1])[::-1], 0.0)
        return float((first * np.where(needed <= 0, 1.0, tail[np.clip(needed, 0, outside + 1)])).sum())

    return 0.0 if correct == 0 else largest_rejected(lambda epsilon: p_value(epsilon) < error)


def _atoms(log_choose: FloatArray, logit: float) -> FloatArray:
    """Binomial probabilities at success probability expit(logit)."""
    j = np.arange(float(len(log_choose)))
    return np.exp(log_choose + j * special.log_expit(logit) + j[::-1] * special.log_expit(-logit))
