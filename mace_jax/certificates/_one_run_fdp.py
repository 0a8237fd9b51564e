"""The one-run audit against a Gaussian family: one operating point extrapolated to the whole trade-off curve."""

from __future__ import annotations

import math
from statistics import NormalDist

from mace_jax.certificates._counts import error_of
from mace_jax.certificates._gdp import gdp_epsilon, positive_delta
from mace_jax.certificates._largest import largest_rejected
from mace_jax.certificates._one_run import checked_guesses

__all__ = ["epsilon_one_run_fdp", "mu_one_run_fdp"]

_quantile = NormalDist().inv_cdf
_SMALLEST = 5e-324


def _rejects(mu: float, canaries: int, guesses: int, correct: int, error: float) -> bool:
    """Whether so many right guesses have probability below ``error`` if the algorithm is mu-GDP.

    Recursion over how often at least i guesses are right: ``hit`` and ``miss`` are the shares of canaries guessed
    rightly and wrongly in runs with more than i right guesses, tied by the trade-off curve. Their sum never falls.
    """
    allowed = guesses / canaries
    miss, hit = error * (guesses - correct) / canaries, error * correct / canaries
    root = math.sqrt(2.0)
    for i in range(correct - 1, -1, -1):
        if miss + hit > allowed or hit >= 1.0:
            return True
        grown = 0.5 * math.erfc((mu - _quantile(max(hit, _SMALLEST))) / root)
        if grown <= miss:
            break  # neither share changes from here on
        hit += i / (guesses - i) * (grown - miss)
        miss = grown
    return miss + hit > allowed


def mu_one_run_fdp(n_canaries: int, n_guesses: int, n_correct: int, *, confidence_level: float = 0.95) -> float:
    """Lower bound on mu of a mu-GDP training algorithm from a single run.

    The largest mu at which so many right guesses would have probability below 1 - ``confidence_level``. The design and
    its assumptions are those of ``epsilon_one_run``; in addition the algorithm's trade-off curve must be Gaussian.
    Time: O(n_correct) per mu tried, about 50 of them.

    Raises:
        ValueError: more guesses than canaries, more correct than guesses, confidence_level outside (0, 1).
        TypeError: a count that is no integer.

    References: Mahloujifar, Melis and Chaudhuri (2024).

    Example:
        >>> mu_one_run_fdp(1000, 1000, 500)
        0.0
    """
    canaries, guesses, correct = checked_guesses(n_canaries, n_guesses, n_correct)
    error = error_of(confidence_level)
    if guesses == 0:
        return 0.0
    return largest_rejected(lambda mu: _rejects(mu, canaries, guesses, correct, error))


def epsilon_one_run_fdp(
    n_canaries: int, n_guesses: int, n_correct: int, *, delta: float, confidence_level: float = 0.95
) -> float:
    """Lower bound on the epsilon, at ``delta``, of a Gaussian training algorithm from a single run.

    ``mu_one_run_fdp`` converted by ``gdp_epsilon``. It is larger than ``epsilon_one_run`` because it assumes more: that
    the algorithm's trade-off curve is that of two unit normals. Where it is not, the bound can exceed the truth.

    Args:
        n_canaries: All records whose inclusion was drawn by a fair coin, those abstained from too.
        n_guesses: Canaries guessed about.
        n_correct: Guesses that were right.
        delta: At which epsilon is stated, in (0, 1).
        confidence_level: One-sided.

    Raises:
        ValueError: more guesses than canaries, more correct than guesses, delta outside (0, 1), confidence_level
            outside (0, 1).
        TypeError: a count that is no integer.

    References: Mahloujifar, Melis and Chaudhuri (2024).

    Example:
        >>> round(epsilon_one_run_fdp(1000, 1000, 600, delta=1e-5), 5)
        0.58354
    """
    delta = positive_delta(delta)
    return gdp_epsilon(mu_one_run_fdp(n_canaries, n_guesses, n_correct, confidence_level=confidence_level), delta)
