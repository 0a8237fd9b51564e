"""A model's samples in chunks: cut from an array, or drawn again from the seed whenever they are read."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Iterator
from typing import Any, final

import numpy as np

from mace_jax import _random, _validate
from mace_jax._types import FloatArray, SamplesRecords, Seed
from mace_jax.attacks._features import features_of
from mace_jax.attacks._inputs import finite_records

__all__ = ["AbstractSource", "Held", "Regenerated", "chunk_rows_of"]

_CHUNK_BYTES = 64 << 20
_FEWEST, _MOST = 256, 1 << 17


class AbstractSource(abc.ABC):
    """Samples of one model, in feature space, that can be read more than once."""

    @property
    @abc.abstractmethod
    def n(self) -> int:
        """How many samples there are."""

    @abc.abstractmethod
    def chunks(self) -> Iterator[FloatArray]:
        """All samples, the same ones on every call."""


@final
@dataclasses.dataclass(frozen=True, eq=False)
class Held(AbstractSource):
    """Samples in memory."""

    samples: FloatArray
    features: Any
    chunk_rows: int

    @property
    def n(self) -> int:
        return len(self.samples)

    def chunks(self) -> Iterator[FloatArray]:
        for start in range(0, self.n, self.chunk_rows):
            yield features_of(self.features, self.samples[start : start + self.chunk_rows], "synthetic")


@final
@dataclasses.dataclass(frozen=True, eq=False)
class Regenerated(AbstractSource):
    """Samples that exist one chunk at a time; chunk c is drawn with a seed made from the seed, the label and c."""

    sampler: SamplesRecords
    n_samples: int
    n_columns: int
    features: Any
    chunk_rows: int
    seed: Seed
    label: Any = None
    first_rows: dict[int, FloatArray] = dataclasses.field(default_factory=dict)

    @property
    def n(self) -> int:
        return self.n_samples

    def chunks(self) -> Iterator[FloatArray]:
        for start in range(0, self.n, self.chunk_rows):
            yield features_of(self.features, self._draw(start, min(self.chunk_rows, self.n - start)), "synthetic")

    def _draw(self, start: int, size: int) -> FloatArray:
        path = () if self.label is None else (str(self.label),)
        seed = int(_random.generator(self.seed, "monte carlo", *path, start).integers(2**62))
        condition = {} if self.label is None else {"labels": np.full(size, self.label)}
        drawn = finite_records("sampled records", self.sampler.sample(size, seed=seed, **condition))
        if drawn.shape != (size, self.n_columns):
            raise ValueError(
                f"{type(self.sampler).__name__}.sample({size}) returned shape {drawn.shape}; the records under audit "
                f"need ({size}, {self.n_columns})."
            )
        if not np.array_equal(self.first_rows.setdefault(start, drawn[0].copy()), drawn[0]):
            raise ValueError(
                f"{type(self.sampler).__name__}.sample gave other records for the same seed; samples are drawn twice, "
                "so they must depend on the seed alone."
            )
        return drawn


def chunk_rows_of(n_columns: int, chunk_rows: int | None) -> int:
    """The rows asked for, or a power of two of about 64 MiB in float64."""
    if chunk_rows is not None:
        return _validate.positive_int(chunk_rows=chunk_rows)
    rows = 1 << ((_CHUNK_BYTES // (8 * n_columns)) | 1).bit_length() - 1
    return min(max(rows, _FEWEST), _MOST)
