"""How well the model reconstructs the record."""

from __future__ import annotations

import dataclasses
from typing import Any, final

from mace_jax._types import FloatArray, ReconstructionErrors, Seed
from mace_jax.queries._base import AbstractQuery, model_output, query_records

__all__ = ["ReconstructionError"]


@final
@dataclasses.dataclass(frozen=True, eq=False)
class ReconstructionError(AbstractQuery):
    """Minus the model's reconstruction error of the record.

    Args:
        model: Any object with ``reconstruction_error(records, *, seed)`` that returns one number per record, or one row
            of numbers; each record must be reconstructed alone.

    Raises:
        TypeError: the model has no such method.

    References:
        Hilprecht et al. (2019), Monte Carlo and reconstruction membership inference attacks against generative models.

    Example:
        >>> class Model:
        ...     def reconstruction_error(self, records, *, seed):
        ...         return records.sum(axis=1)
        >>> ReconstructionError(Model())([[1.0, 2.0]], seed=0).tolist()
        [[-3.0]]
    """

    model: ReconstructionErrors

    def __post_init__(self) -> None:
        """Check the capability."""
        if not isinstance(self.model, ReconstructionErrors):
            raise TypeError(
                f"model is a {type(self.model).__name__} without reconstruction_error(records, *, seed); "
                "pass a model that has it or leave this query out."
            )

    @property
    def name(self) -> str:
        return "reconstruction error"

    @property
    def description(self) -> str:
        return "How faithfully the model can encode the record and decode it again."

    @property
    def source(self) -> str:
        return "Hilprecht et al. (2019)"

    def __call__(self, records: Any, *, seed: Seed) -> FloatArray:
        values = query_records(records)
        errors = self.model.reconstruction_error(values, seed=seed)
        return 0.0 - model_output(errors, len(values), self.model, "reconstruction_error")
