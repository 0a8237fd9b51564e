"""The arguments of ``fit``, checked and encoded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from mace_jax import _random, _validate
from mace_jax._types import FloatArray, Seed
from mace_jax.models.encoding import Labels, Scaling, ScalingKind

__all__ = ["TrainingData", "training_data"]


class TrainingData(NamedTuple):
    """Records in the unit cube and one-hot labels, with what undoes both."""

    unit: np.ndarray
    one_hot: np.ndarray
    scaling: Scaling
    labels: Labels
    steps: int
    seed: int


def training_data(
    records: Any,
    labels: Any,
    *,
    scaling: ScalingKind | Callable[[FloatArray], Scaling],
    check_width: Callable[[int], Any],
    steps: int,
    seed: Seed,
    min_records: int = 2,
) -> TrainingData:
    """Check the arguments of ``fit`` and encode the records; ``check_width`` refuses widths the networks do not fit.

    ``scaling`` is a kind, or what makes the scaling of checked records.
    """
    values = _validate.min_rows(min_records, records=_validate.as_records(records=records))
    values = _validate.finite(records=values)
    steps, seed = _validate.positive_int(steps=steps), _random.as_seed(seed)
    check_width(values.shape[1])
    coding, one_hot = Labels.fit(labels, len(values))
    scale = scaling(values) if callable(scaling) else Scaling.fit(values, scaling)
    return TrainingData(scale.to_unit(values), one_hot, scale, coding, steps, seed)
