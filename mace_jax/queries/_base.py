"""What a query is, and the checks all queries share."""

from __future__ import annotations

import abc
from typing import Any

import numpy as np

from mace_jax import _validate
from mace_jax._types import FloatArray, Seed

__all__ = ["AbstractQuery", "fixed_records", "model_output", "query_records"]


class AbstractQuery(abc.ABC):
    """Something an adversary can compute from a model for one record.

    A query holds what is fixed (a model, synthetic records, a reference set) and turns records into outputs. The output
    of a record depends on that record and on what is fixed, never on the other records: otherwise members and
    non-members would be compared with different yardsticks. One output per record is a score: higher = more
    member-like.
    """

    @property
    @abc.abstractmethod
    def name(self) -> str:
        """Short name for tables."""

    @property
    @abc.abstractmethod
    def description(self) -> str:
        """What it measures, one sentence for a reader who is not a specialist."""

    @property
    @abc.abstractmethod
    def source(self) -> str:
        """Where the query was proposed: author and year."""

    @abc.abstractmethod
    def __call__(self, records: Any, *, seed: Seed) -> FloatArray:
        """Evaluate every record on its own.

        Args:
            records: Records under audit, ``(n, d)``.
            seed: Seeds queries that draw random numbers; the others ignore it.

        Returns:
            Outputs ``(n, q)``.

        Raises:
            TypeError: records are not numeric.
            ValueError: NaN, no rows, or another number of columns than the fixed records have.
        """


def fixed_records(name: str, value: Any, *, minimum: int = 1) -> FloatArray:
    """A checked set of records that a query keeps."""
    array = _validate.min_rows(minimum, **{name: _validate.as_records(**{name: value})})
    return _validate.finite(**{name: array})


def query_records(records: Any, **fixed: FloatArray) -> FloatArray:
    """Checked records with the columns of the fixed ones."""
    values = _validate.finite(records=_validate.min_rows(1, records=_validate.as_records(records=records)))
    for name, array in fixed.items():
        _validate.same_features(**{"records": values, name: array})
    return values


def model_output(output: Any, n_records: int, model: Any, method: str) -> FloatArray:
    """What a model's method returned, as ``(n, q)``; a wrong shape or NaN names the method."""
    called = f"{type(model).__name__}.{method}"
    try:
        values = _validate.as_records(output=output)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{called} did not return numbers, one per record: {error}") from error
    if len(values) != n_records:
        raise ValueError(
            f"{called} returned {len(values)} rows for {n_records} records; it must return one per record."
        )
    if not np.isfinite(values).all():
        bad = int((~np.isfinite(values).all(axis=1)).sum())
        raise ValueError(f"{called} returned NaN or infinity for {bad} of {n_records} records; return finite numbers.")
    return values
