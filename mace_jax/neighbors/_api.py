"""The public verbs: check everything here, then let a backend compute."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mace_jax import _validate
from mace_jax._types import IntArray
from mace_jax.neighbors._base import AbstractNeighborBackend, Neighbors
from mace_jax.neighbors._blocks import checked_records
from mace_jax.neighbors._choose import resolve
from mace_jax.neighbors._stream import count_mapped, knn_mapped

__all__ = ["knn", "radius_count"]

AnyFloats = NDArray[np.floating[Any]]

_MOST_ROWS = 2**31 - 1


def knn(
    queries: Any,
    reference: Any,
    k: int,
    *,
    exclude_self: bool = False,
    backend: str | AbstractNeighborBackend = "auto",
) -> Neighbors:
    """The exact ``k`` nearest reference rows of each query under the Euclidean distance.

    Neighbors are ordered by (squared distance, id), so ties go to the lower id; squared distances are
    ``sum((x - y)**2)`` in float64 whatever backend found the rows, and do not depend on the other queries.

    Args:
        queries: ``(n, d)`` finite numbers, any unit; one dimension means one column.
        reference: ``(m, d)``.
        k: Number of neighbors, at most ``m`` (``m - 1`` with ``exclude_self``).
        exclude_self: Leave out row ``i`` for query ``i``; both arguments are then the same records. Other rows equal
            to it stay.
        backend: ``"auto"``, ``"exact"`` (tiled matrix products), ``"tree"`` (k-d tree), ``"sorted"`` (one column),
            ``"faiss"`` (flat FAISS search, every row proven or searched again) or a backend object. The choice is
            recorded in the result. Only a ``FaissBackend`` object with another index is approximate, and its result
            says so.

    Returns:
        ``Neighbors`` of NumPy arrays.

    Peak memory beyond inputs and result (``16 n k`` bytes): sorted ``48 (n + m)`` bytes plus 16 MiB per processor;
    tree ``16 m d + 8 n`` bytes plus 4 MiB per processor, 64 MiB where many rows tie; exact the mapped reference, up to
    384 MiB (64 MiB at a time beyond that), about 16 MiB per processor and ``40 m`` bytes. A ``numpy.memmap`` of any
    numeric type on either side is read in blocks as by ``knn_stream`` and never held whole: its peak is that of one
    pair of blocks.

    Raises:
        TypeError: an array is not numeric or ``k`` is not an integer.
        ValueError: an array is empty, has NaN, infinity or entries beyond 1e150, widths differ, ``k`` does not fit,
            or ``backend`` is unknown.

    Example:
        >>> found = knn([[0.0], [5.0]], [[1.0], [4.0], [9.0]], 2)
        >>> found.indices.tolist(), found.distances.tolist(), found.backend
        ([[0, 1], [1, 0]], [[1.0, 4.0], [1.0, 4.0]], 'sorted')
    """
    k = _validate.positive_int(k=k)
    if isinstance(queries, np.memmap) or isinstance(reference, np.memmap):
        return knn_mapped(queries, reference, k, exclude_self=exclude_self, backend=backend)
    x, y = _records(queries, reference)
    exclude_ids = None
    if exclude_self:
        if len(x) != len(y):
            raise ValueError(
                f"exclude_self=True needs queries and reference to be the same records, got {len(x)} and {len(y)} rows."
            )
        exclude_ids = np.arange(len(x))
    available = len(y) - bool(exclude_self)
    if k > available:
        others = " other than the query itself" if exclude_self else ""
        raise ValueError(f"k={k} is more than the {available} reference rows{others}; pass a smaller k or more rows.")
    chosen = resolve(backend, len(x), len(y), x.shape[1], k)
    return chosen.search(*_operands(chosen, x, y), k, exclude_ids=exclude_ids)


def radius_count(
    queries: Any, reference: Any, radius: Any, *, backend: str | AbstractNeighborBackend = "auto"
) -> IntArray:
    """Number of reference rows within ``radius`` of each query, boundary included.

    Counts rows with ``sqrt(sum((x - y)**2)) <= radius`` in float64, so a distance returned by ``knn`` used as the
    radius includes the neighbor it came from.

    Args:
        queries: ``(n, d)`` finite numbers.
        reference: ``(m, d)``.
        radius: Scalar or one value per query, at least 0, in the units of the features.
        backend: as in ``knn``.

    Returns:
        ``(n,)`` int64 counts.

    Peak memory beyond inputs: as for ``knn`` with 64 candidates per query.

    Raises:
        TypeError: an array is not numeric.
        ValueError: an array is empty, has NaN or infinity, widths differ, or a radius is negative or not a number.

    Example:
        >>> radius_count([[0.0], [5.0]], [[1.0], [4.0], [9.0]], 4.0).tolist()
        [2, 3]
    """
    mapped = isinstance(queries, np.memmap) or isinstance(reference, np.memmap)
    x, y = (queries, reference) if mapped else _records(queries, reference)
    radii = np.asarray(radius)
    if radii.dtype.kind not in "iuf":
        raise TypeError(f"radius has dtype {radii.dtype}; pass a number or one number per query.")
    if radii.shape not in ((), (len(x),)):
        raise ValueError(f"radius has shape {radii.shape}; pass a number or one number for each of {len(x)} queries.")
    radii = np.broadcast_to(radii.astype(np.float64), len(x))
    bad = ~((radii >= 0) & np.isfinite(radii))
    if bad.any():
        raise ValueError(f"radius must be finite and at least 0, got {radii[bad][0]} (entry {int(np.argmax(bad))}).")
    radii = np.minimum(radii, 1e154)
    if mapped:
        return count_mapped(x, y, radii, backend=backend)
    chosen = resolve(backend, len(x), len(y), x.shape[1], 1)
    return chosen.count_within(*_operands(chosen, x, y), radii)


def _operands(backend: AbstractNeighborBackend, x: AnyFloats, y: AnyFloats) -> tuple[Any, Any]:
    """Both arrays in the type that the backend takes."""
    if backend.keeps_float32 and x.dtype == y.dtype:
        return x, y
    return x.astype(np.float64, copy=False), y.astype(np.float64, copy=False)


def _records(queries: Any, reference: Any) -> tuple[AnyFloats, AnyFloats]:
    """Both arrays as finite records of one width; float32 stays float32."""
    x, y = _checked("queries", queries), _checked("reference", reference)
    for name, array in (("queries", x), ("reference", y)):
        if len(array) > _MOST_ROWS:
            raise ValueError(f"{name} has {len(array)} rows; at most {_MOST_ROWS} can be searched at once.")
    _validate.same_features(queries=x, reference=y)
    return x, y


def _checked(name: str, value: Any) -> AnyFloats:
    """Finite records, C-contiguous."""
    if getattr(value, "dtype", None) == np.float32 and hasattr(value, "__array__"):
        array = np.asarray(value)
        if array.ndim and array.size:
            array = np.ascontiguousarray(array.reshape(len(array), -1))
            if np.isfinite(array.min()) and np.isfinite(array.max()):
                return array
    return checked_records(name, value)
