"""The public verbs: check everything here, then let a backend compute."""

from __future__ import annotations

from typing import Any

import numpy as np

from mace_jax import _validate
from mace_jax._types import FloatArray
from mace_jax.neighbors._base import AbstractNeighborBackend, IntArray, Neighbors
from mace_jax.neighbors._choose import resolve

__all__ = ["knn", "radius_count"]

_LARGEST = 1e150
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
        backend: ``"auto"``, ``"exact"`` (tiled matrix products), ``"tree"`` (k-d tree), ``"sorted"`` (one column) or a
            backend object. The choice is recorded in the result.

    Returns:
        ``Neighbors`` of NumPy arrays.

    Peak memory beyond inputs and result (``16 n k`` bytes): sorted ``48 (n + m)`` bytes plus 64 MiB; tree
    ``16 m d`` bytes plus 64 MiB; exact about 64 MiB of reference rows, six 16 MiB tiles, ``12 n (k + max(16, k / 2))``
    bytes and ``40 m`` bytes.

    Raises:
        TypeError: an array is not numeric or ``k`` is not an integer.
        ValueError: an array is empty, has NaN, infinity or entries beyond 1e150, widths differ, ``k`` does not fit,
            or ``backend`` is unknown.

    Example:
        >>> found = knn([[0.0], [5.0]], [[1.0], [4.0], [9.0]], 2)
        >>> found.indices.tolist(), found.distances.tolist(), found.backend
        ([[0, 1], [1, 0]], [[1.0, 4.0], [1.0, 4.0]], 'sorted')
    """
    x, y = _records(queries, reference)
    k = _validate.positive_int(k=k)
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
    return resolve(backend, len(x), len(y), x.shape[1], k).search(x, y, k, exclude_ids=exclude_ids)


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
    x, y = _records(queries, reference)
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
    return resolve(backend, len(x), len(y), x.shape[1], 1).count_within(x, y, radii)


def _records(queries: Any, reference: Any) -> tuple[FloatArray, FloatArray]:
    """Both arrays as finite float64 records of one width."""
    arrays = {}
    for name, value in (("queries", queries), ("reference", reference)):
        array = _validate.min_rows(1, **{name: _validate.as_records(**{name: value})})
        _validate.finite(**{name: array})
        if max(array.max(), -array.min()) > _LARGEST:
            raise ValueError(f"{name} has entries beyond {_LARGEST:g}, whose squares overflow; rescale the features.")
        if len(array) > _MOST_ROWS:
            raise ValueError(f"{name} has {len(array)} rows; at most {_MOST_ROWS} can be searched at once.")
        arrays[name] = array
    _validate.same_features(**arrays)
    return arrays["queries"], arrays["reference"]
