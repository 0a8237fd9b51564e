"""What a search returns and what a backend must offer."""

from __future__ import annotations

import abc
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from mace_jax._status import Status
from mace_jax._types import FloatArray, IntArray, pytree, static_field
from mace_jax.neighbors._pairs import row_chunks
from mace_jax.neighbors._threads import in_threads

__all__ = ["AbstractNeighborBackend", "Neighbors", "make_neighbors"]

_ROOT_BYTES = 2 << 20
"""Roots taken at a time, on all processors: getting the memory for them takes the time."""


@pytree
class Neighbors:
    """The k nearest reference rows of each query, ordered by (squared distance, id).

    Attributes:
        squared_distances: ``(n, k)`` ascending, squared units of the features.
        indices: ``(n, k)`` row of the reference; -1 where there is no neighbor, at distance infinity.
        certified: ``(n,)`` True where the list is proven exact.
        status: ``Status`` flags as an integer.
        backend: Name of the search that ran.
    """

    squared_distances: Any
    indices: Any
    certified: Any
    status: Any
    backend: str = static_field()

    @property
    def distances(self) -> FloatArray:
        """Euclidean distances ``(n, k)``, in the units of the features."""
        squared = np.asarray(self.squared_distances)
        result = np.empty_like(squared)
        in_threads(
            lambda part: np.sqrt(squared[part], out=result[part]),
            row_chunks(len(squared), squared[:1].nbytes, _ROOT_BYTES),
        )
        return result

    def __repr__(self) -> str:
        return f"Neighbors(shape={np.shape(self.indices)}, backend={self.backend!r}, status={self.status})"

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, ready for JSON."""
        return {
            "squared_distances": np.asarray(self.squared_distances).tolist(),
            "indices": np.asarray(self.indices).tolist(),
            "certified": np.asarray(self.certified).tolist(),
            "status": int(self.status),
            "backend": self.backend,
        }


class AbstractNeighborBackend(abc.ABC):
    """A search strategy: frozen settings, no data.

    The verbs check their arguments before they call a backend: arrays are finite float64 of equal width, and there
    are at least ``k`` rows to choose from.
    """

    reads_maps: ClassVar[bool] = False
    """Whether ``search`` takes a reference of any numeric type, such as a memory map, and reads it in pieces."""

    keeps_float32: ClassVar[bool] = False
    """Whether the backend takes queries and reference both in float32, which saves a float64 copy of them."""

    @property
    @abc.abstractmethod
    def name(self) -> str:
        """Word recorded in results."""

    @abc.abstractmethod
    def search(
        self, queries: FloatArray, reference: FloatArray, k: int, *, exclude_ids: IntArray | None = None
    ) -> Neighbors:
        """The ``k`` nearest rows per query, leaving out ``exclude_ids[i]`` for query ``i``."""

    @abc.abstractmethod
    def count_within(self, queries: FloatArray, reference: FloatArray, radius: FloatArray) -> IntArray:
        """Rows with ``sqrt(d2) <= radius[i]`` for query ``i``."""


def make_neighbors(
    squared: FloatArray, indices: IntArray, backend: str, *, certified: NDArray[np.bool_] | None = None
) -> Neighbors:
    """Result with its status worked out."""
    if certified is None:
        certified = np.ones(len(squared), dtype=bool)
    status = Status.OK
    if (squared[:, 0] == 0.0).any():
        status |= Status.ZERO_DISTANCE
    if not certified.all():
        status |= Status.UNCERTIFIED
    return Neighbors(squared, indices, certified, int(status), backend)
