"""Log densities of records by a normalizing flow."""

from __future__ import annotations

import dataclasses
from typing import Any, final

from mace_jax import _validate
from mace_jax._random import as_seed
from mace_jax._types import Seed
from mace_jax.attacks._densities import AbstractDensity, LogDensity
from mace_jax.attacks._inputs import finite_records

__all__ = ["FlowDensity"]


@final
@dataclasses.dataclass(frozen=True)
class FlowDensity(AbstractDensity):
    """Density of the records by a normalizing flow, ``log p(x) = log N(f(x); 0, I) + log |det df/dx|``.

    It follows curved and multimodal laws that kernels of one width cannot, from a few thousand records on. By default
    training records are blurred by Scott's factor ``n**(-1 / (d + 4))``, in standard deviations of each column, as
    kernels blur them: with few records a flow would otherwise pile up mass on each.

    Args:
        flow: Settings of a ``models.Flow``; None for its defaults with that blur.
        steps: Training steps, whatever the likelihood: no record is set aside to stop earlier.
        seed: Seeds the training.

    Raises:
        TypeError: ``flow`` cannot be fitted.
        ValueError: ``steps`` is below 1; on fitting, fewer than 2 records or a constant column.

    References:
        van Breugel et al. (2023), Membership inference attacks against synthetic data through overfitting detection.
        They use block neural autoregressive flows.

    Example:
        >>> FlowDensity(steps=2).fit([[0.0, 1.0], [2.0, 0.0], [1.0, 2.0]]).log_density([[1.0, 1.0]]).shape
        (1,)
    """

    flow: Any = None
    steps: int = 2_000
    seed: Seed = 0

    def __post_init__(self) -> None:
        _validate.positive_int(steps=self.steps)
        as_seed(self.seed)
        if self.flow is not None and not callable(getattr(self.flow, "fit", None)):
            raise TypeError(f"flow={self.flow!r} has no fit(records, *, steps, seed); pass settings of models.Flow.")

    def fit(self, records: Any) -> LogDensity:
        values = finite_records("records", records)
        return self._settings(*values.shape).fit(values, steps=self.steps, seed=self.seed)

    def _settings(self, n: int, d: int) -> Any:
        """Those given, or a flow of n records in d columns."""
        from mace_jax.models.flow import Flow

        return Flow(noise_sd=n ** (-1.0 / (d + 4))) if self.flow is None else self.flow
