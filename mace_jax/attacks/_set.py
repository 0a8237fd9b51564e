"""Set membership: does a whole set of records, rather than one record, belong to the training data?"""

from __future__ import annotations

import dataclasses
from typing import Any, final

import numpy as np
from jaxtyping import Float

from mace_jax import _validate
from mace_jax._random import as_seed, generator
from mace_jax._types import FloatArray, Seed

__all__ = ["SetAccuracy", "set_accuracy"]


@final
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class SetAccuracy:
    """How often a set of members is told from a set of non-members; chance is one half.

    Attributes:
        value: Share of the experiments in which the member set was named; one half for those that could not be decided.
        standard_error: Of ``value`` over the experiments, as if each had records of its own.
        single: Share of members in the top half of the scores of both sets, averaged over the experiments: the balanced
            accuracy of single decisions.
        single_standard_error: Of ``single``, in the same sense.
        rule: ``"majority"`` or ``"sum"``.
        size: Records in each set.
        n_sets: Experiments.
        chance: One half, for both figures and both rules.
        outcomes: Of each experiment: 1 named, 0 missed, 0.5 undecided, ``(n_sets,)``.
        singles: Share of members in the top half, of each experiment.
    """

    value: float
    standard_error: float
    single: float
    single_standard_error: float
    rule: str
    size: int
    n_sets: int
    chance: float
    outcomes: Float[FloatArray, " n_sets"]
    singles: Float[FloatArray, " n_sets"]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON, without the single experiments."""
        plain = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {name: value for name, value in plain.items() if name not in ("outcomes", "singles")}

    def __repr__(self) -> str:
        return (
            f"SetAccuracy({self.value:.4f} +- {self.standard_error:.4f} by {self.rule}, "
            f"single={self.single:.4f} +- {self.single_standard_error:.4f}, size={self.size}, n_sets={self.n_sets})"
        )


def set_accuracy(
    member_scores: Any, nonmember_scores: Any, *, size: int, rule: str = "majority", n_sets: int = 100, seed: Seed
) -> SetAccuracy:
    """Accuracy of telling a set of members from a set of non-members of the same size.

    In each of ``n_sets`` experiments, ``size`` members and as many non-members are drawn without replacement. By the
    ``"majority"`` rule the attack succeeds if more than half of the ``size`` highest of the ``2 size`` scores are
    members', by the ``"sum"`` rule if the members' scores add up to more. Exactly half, or equal sums, counts one half;
    of records that tie at the cut, as many count as there are places left, in proportion. So scores without information
    reach one half by either rule, whatever the ties and the order of records. Name the rule: the two can differ widely.

    Args:
        member_scores: One score per member, higher = more member-like, ``(n,)``.
        nonmember_scores: One score per non-member, ``(m,)``.
        size: Records in each set, at most n and m. With all of them, every experiment is the same.
        rule: ``"majority"`` or ``"sum"``.
        n_sets: Experiments.
        seed: Seeds the sets; other scores of the same records meet the same ones, so that results are paired.

    Returns:
        Both accuracies with standard errors. These ignore that experiments share records, and so are too small where
        ``n_sets * size`` exceeds the records at hand.

    Raises:
        TypeError: scores are not numeric or a count is not an integer.
        ValueError: NaN, fewer records than ``size``, an unknown rule, or a count below 1.

    References:
        Hilprecht et al. (2019), Monte Carlo and reconstruction membership inference attacks against generative models.

    Example:
        >>> set_accuracy([3.0, 2.0, 0.0], [1.0, 0.5, -1.0], size=3, n_sets=10, seed=0)
        SetAccuracy(1.0000 +- 0.0000 by majority, single=0.6667 +- 0.0000, size=3, n_sets=10)
    """
    members, nonmembers = (
        _validate.scores(member_scores=member_scores),
        _validate.scores(nonmember_scores=nonmember_scores),
    )
    size, n_sets = _validate.positive_int(size=size), _validate.positive_int(n_sets=n_sets)
    _validate.one_of(("majority", "sum"), rule=rule)
    if size > min(len(members), len(nonmembers)):
        raise ValueError(
            f"size={size} exceeds the {len(members)} members or the {len(nonmembers)} non-members; "
            f"pass at most {min(len(members), len(nonmembers))}."
        )
    draws = generator(as_seed(seed), "set membership")
    outcomes, singles = np.empty(n_sets), np.empty(n_sets)
    for place in range(n_sets):
        own = members[draws.choice(len(members), size, replace=False)]
        other = nonmembers[draws.choice(len(nonmembers), size, replace=False)]
        top = _members_on_top(own, other)
        # Sorted, so that equal scores in another order have an equal sum.
        gap = top - size / 2 if rule == "majority" else float(np.sort(own).sum() - np.sort(other).sum())
        outcomes[place], singles[place] = 0.5 + 0.5 * np.sign(gap), top / size
    value, error = _mean_and_error(outcomes)
    return SetAccuracy(value, error, *_mean_and_error(singles), rule, size, n_sets, 0.5, outcomes, singles)


def _members_on_top(own: FloatArray, other: FloatArray) -> float:
    """Members among the highest half of both sets, ties at the cut in proportion."""
    both = np.concatenate([own, other])
    cut = np.partition(both, len(own))[len(own)]  # the lowest score in the top half
    left = len(own) - int((both > cut).sum())
    return float((own > cut).sum() + (own == cut).sum() * left / (both == cut).sum())


def _mean_and_error(values: FloatArray) -> tuple[float, float]:
    """Mean and its standard error; 0 for a single value, which shows no spread."""
    spread = float(values.std(ddof=1)) if len(values) > 1 else 0.0
    return float(values.mean()), spread / len(values) ** 0.5
