"""The top-n rule: call the n records with the highest scores members, where n is their true number."""

from __future__ import annotations

import dataclasses
from typing import Any, final

import numpy as np
from jaxtyping import Float

from mace_jax import _validate
from mace_jax._binomial import clopper_pearson_lower, clopper_pearson_upper
from mace_jax._random import as_seed, generator
from mace_jax._types import FloatArray, Seed

__all__ = ["TopN", "excess_ratio", "top_n_accuracy"]


@final
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class TopN:
    """Share of members among the n records with the highest scores.

    Attributes:
        value: The share; precision and recall of the rule are equal.
        low: Lower confidence limit, for another draw of records under the same model.
        high: Upper confidence limit.
        confidence_level: Of both limits together.
        chance: What scores without information reach: ``n / (n + m)``.
        n_members: n.
        n_nonmembers: m.
        replicates: The share in each bootstrap resample, ``(n_resamples,)``.
    """

    value: float
    low: float
    high: float
    confidence_level: float
    chance: float
    n_members: int
    n_nonmembers: int
    replicates: Float[FloatArray, " n_resamples"]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON, without the replicates."""
        plain = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        del plain["replicates"]
        return plain

    def __repr__(self) -> str:
        return f"TopN({self.value:.4f} [{self.low:.4f}, {self.high:.4f}], chance={self.chance:.4f})"


def top_n_accuracy(
    member_scores: Any, nonmember_scores: Any, *, confidence_level: float = 0.95, n_resamples: int = 1000, seed: Seed
) -> TopN:
    """Share of members among the n highest of n + m scores, with a bootstrap interval.

    Called "accuracy" where the white-box attack on generative models was proposed. Of records that tie at the cut, as
    many count as there are places left, in proportion. Its chance level is the share of members among all records,
    so figures of different shares cannot be compared; the advantage of a balanced rule can.

    Members and non-members are drawn with replacement, each among themselves, and the cut is found anew in every
    resample. Where resamples cannot vary, because the scores separate the groups, the limits are those of a
    binomial count of n. Memory is ``8 (n + m)`` bytes times six, time ``O(n_resamples (n + m))``.

    Args:
        member_scores: One score per member, ``(n,)``, higher = more member-like.
        nonmember_scores: One score per non-member, ``(m,)``.
        confidence_level: Of the interval, in (0, 1).
        n_resamples: Bootstrap resamples.
        seed: Seeds the resamples; two scores of the same records get the same ones, so that results are paired.

    Returns:
        The share with its interval, the chance level and the replicates.

    Raises:
        TypeError: scores are not numeric.
        ValueError: NaN, no scores, or not one per record.

    References:
        Hayes et al. (2019), LOGAN: Membership inference attacks against generative models.

    Example:
        >>> top_n_accuracy([3.0, 2.0, 0.5], [1.0, 0.0, -1.0, -2.0], seed=0).value
        0.6666666666666666
    """
    members, nonmembers = (
        _validate.scores(member_scores=member_scores),
        _validate.scores(nonmember_scores=nonmember_scores),
    )
    level = _validate.in_open_unit(confidence_level=confidence_level)
    n_resamples, seed = _validate.positive_int(n_resamples=n_resamples), as_seed(seed)
    n, m = len(members), len(nonmembers)
    levels, place = np.unique(-np.concatenate([members, nonmembers]), return_inverse=True)
    own, other = place[:n], place[n:]

    def share(chosen: np.ndarray, others: np.ndarray) -> float:
        inside = np.bincount(chosen, minlength=len(levels))
        together = inside + np.bincount(others, minlength=len(levels))
        reached = np.cumsum(together)
        cut = int(np.searchsorted(reached, n))
        before = int(reached[cut]) - int(together[cut])
        return float((inside[:cut].sum() + inside[cut] * (n - before) / together[cut]) / n)

    value = share(own, other)
    draws = generator(seed, "top n")
    replicates = np.array(
        [share(own[draws.integers(n, size=n)], other[draws.integers(m, size=m)]) for _ in range(n_resamples)]
    )
    error = (1.0 - level) / 2.0
    low, high = np.quantile(replicates, [error, 1.0 - error])
    if replicates.min() == replicates.max():
        low, high = clopper_pearson_lower(value * n, n, error), clopper_pearson_upper(value * n, n, error)
    return TopN(value, float(low), float(high), level, n / (n + m), n, m, replicates)


def excess_ratio(defended: TopN, plain: TopN) -> tuple[float, float, float]:
    """How much of an attack's excess over chance is left: ``(a - chance) / (b - chance)``, with its interval.

    Args:
        defended: The attack on the defended model.
        plain: The attack on the plain model, of the same records, seed and number of resamples: then the resamples
            are the same too and the interval is that of paired differences.

    Returns:
        The ratio, and its lower and upper limit at the level of ``defended``.

    Raises:
        ValueError: the two are of different records or resamples, or the plain attack does not exceed chance.

    Example:
        >>> strong = top_n_accuracy([3.0, 2.0, 1.5], [1.0, 0.0, -1.0], seed=0)
        >>> weak = top_n_accuracy([3.0, 2.0, 0.5], [1.0, 0.0, -1.0], seed=0)
        >>> round(excess_ratio(weak, strong)[0], 3)
        0.333
    """
    sizes = [(found.n_members, found.n_nonmembers, len(found.replicates)) for found in (defended, plain)]
    if sizes[0] != sizes[1]:
        raise ValueError(
            f"defended and plain are of different records or resamples ({sizes[0]} and {sizes[1]}); "
            "score the same records with the same seed."
        )
    if plain.value <= plain.chance:
        raise ValueError(f"plain={plain!r} does not exceed chance, so there is no excess to compare with.")
    floor = 1.0 / plain.n_members
    ratios = (defended.replicates - defended.chance) / np.maximum(plain.replicates - plain.chance, floor)
    error = (1.0 - defended.confidence_level) / 2.0
    low, high = np.quantile(ratios, [error, 1.0 - error])
    return (defended.value - defended.chance) / (plain.value - plain.chance), float(low), float(high)
