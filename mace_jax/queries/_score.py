"""The logit of the model's own discriminator."""

from __future__ import annotations

import dataclasses
from typing import Any, final

from mace_jax._types import DiscriminatorScores, FloatArray, Seed
from mace_jax.queries._base import AbstractQuery, model_output, query_records

__all__ = ["DiscriminatorScore"]


@final
@dataclasses.dataclass(frozen=True, eq=False)
class DiscriminatorScore(AbstractQuery):
    """What the model's discriminator makes of the record, higher = judged more real.

    Args:
        model: Any object with ``discriminator_score(records)`` that returns one number per record, or one row of
            numbers when the model has several discriminators; each record must be scored alone.

    Raises:
        TypeError: the model has no such method.

    References:
        Hayes et al. (2019), LOGAN: Membership inference attacks against generative models: the white-box attack.

    Example:
        >>> class Model:
        ...     def discriminator_score(self, records):
        ...         return records.sum(axis=1)
        >>> DiscriminatorScore(Model())([[1.0, 2.0]], seed=0).tolist()
        [[3.0]]
    """

    model: DiscriminatorScores

    def __post_init__(self) -> None:
        """Check the capability."""
        if not isinstance(self.model, DiscriminatorScores):
            raise TypeError(
                f"model is a {type(self.model).__name__} without discriminator_score(records); "
                "pass a model that has it or leave this query out."
            )

    @property
    def name(self) -> str:
        return "discriminator score"

    @property
    def description(self) -> str:
        return "How real the record looks to the part of the model that was trained to recognize the training records."

    @property
    def source(self) -> str:
        return "Hayes et al. (2019)"

    def __call__(self, records: Any, *, seed: Seed) -> FloatArray:
        values = query_records(records)
        return model_output(self.model.discriminator_score(values), len(values), self.model, "discriminator_score")
