"""Records larger than memory: blocks in, exact lists out, one block of queries at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from mace_jax import _validate
from mace_jax._types import FloatArray, IntArray
from mace_jax.neighbors._base import AbstractNeighborBackend, Neighbors, make_neighbors
from mace_jax.neighbors._blocks import Rows, checked_records, nearest_in_blocks
from mace_jax.neighbors._choose import resolve

__all__ = ["count_mapped", "knn_mapped", "knn_stream"]

Blocks = Callable[[], Iterator[FloatArray]]


def knn_stream(
    queries: Any,
    reference: Any,
    k: int,
    *,
    exclude_self: bool = False,
    backend: str | AbstractNeighborBackend = "auto",
    block_rows: int | None = None,
) -> Iterator[Neighbors]:
    """The lists of ``knn`` for records that need not fit in memory, one result per block of queries, in order.

    Each block of the reference is searched exactly and merged by (squared distance, id), so any way to cut either
    side into blocks gives the lists of a single search, bit for bit. Ids count through all blocks.

    Args:
        queries: An array or memory map, or an iterable of blocks ``(rows, d)``, or a function that returns one.
        reference: The same; it is read once per block of queries, so with more than one of these it must be readable
            again: an array, a memory map, a list of blocks or a function, not a bare iterator.
        k: Number of neighbors, at most the rows of the reference (less one with ``exclude_self``).
        exclude_self: Leave out row ``i`` for query ``i``; both sides then stream the same records.
        backend: As in ``knn``; it searches one block at a time.
        block_rows: Rows of one block cut from an array or memory map; by default 64 MiB of float64.

    Returns:
        Iterator of ``Neighbors``. Results are ordered as the queries; their indices are rows of the whole reference.

    Peak memory, with ``b`` and ``c`` rows in the largest reference and query block: ``9 b d + 9 c d`` bytes of checked
    float64 blocks, ``48 c k`` bytes of lists and 8 MiB while two are merged, and what the backend takes for one such
    pair (see ``knn``). Neither the length of the reference nor of the queries appears. Pages of a memory map that the
    system keeps resident are its cache and not counted.

    Raises:
        TypeError: a block is not numeric, or ``k`` is not an integer.
        ValueError: a block is empty, not finite or of another width, ``k`` does not fit, or a bare iterator would have
            to be read twice.

    Example:
        >>> blocks = [np.array([[1.0], [4.0]]), np.array([[9.0]])]
        >>> [found.indices.tolist() for found in knn_stream(np.array([[0.0], [8.0]]), blocks, 2)]
        [[[0, 1], [2, 1]]]
    """
    k = _validate.positive_int(k=k)
    if block_rows is not None:
        block_rows = _validate.positive_int(block_rows=block_rows)
    return _lists(
        _blocks_of("queries", queries, block_rows), _blocks_of("reference", reference, block_rows), k,
        exclude_self=exclude_self, backend=backend,
    )  # fmt: skip


def _lists(
    queries: Blocks, reference: Blocks, k: int, *, exclude_self: bool, backend: str | AbstractNeighborBackend
) -> Iterator[Neighbors]:
    """One pass over the reference for each block of queries."""
    names: list[str] = []

    def search(x: FloatArray, y: FloatArray, k: int, own: IntArray | None) -> Any:
        chosen = resolve(backend, len(x), len(y), x.shape[1], k)
        if chosen.name not in names:
            names.append(chosen.name)
        found = chosen.search(x, y, k, exclude_ids=own)
        return found.squared_distances, found.indices, found.certified

    start = 0
    for block in queries():
        names.clear()
        own = np.arange(start, start + len(block)) if exclude_self else None
        found, proven, seen = nearest_in_blocks(block, _of_width(block, reference()), k, search, own)
        start += len(block)
        if exclude_self and start > seen:
            raise ValueError(f"exclude_self=True needs the same records on both sides, got more queries than {seen}.")
        _fits(k, seen, exclude_self)
        yield make_neighbors(found.squared, found.ids, "+".join(names) or "direct", certified=proven)


def knn_mapped(
    queries: Any, reference: Any, k: int, *, exclude_self: bool, backend: str | AbstractNeighborBackend
) -> Neighbors:
    """``knn`` where a side is a memory map: the lists of every block of queries in one result."""
    x, y = Rows.of("queries", queries), Rows.of("reference", reference)
    _same_width(x, y)
    _fits(k, len(y), exclude_self)
    if exclude_self and len(x) != len(y):
        raise ValueError(
            f"exclude_self=True needs queries and reference to be the same records, got {len(x)} and {len(y)} rows."
        )
    chosen = resolve(backend, len(x), len(y), x.shape[1], k)
    if chosen.reads_maps:
        for _ in _checked("reference", y.blocks()):
            pass
        own = np.arange(len(x)) if exclude_self else None
        return chosen.search(checked_records("queries", queries), y.array, k, exclude_ids=own)
    squared, indices = np.empty((len(x), k)), np.empty((len(x), k), dtype=np.int64)
    certified, names, start = np.empty(len(x), dtype=bool), [], 0
    for found in knn_stream(queries, reference, k, exclude_self=exclude_self, backend=backend):
        part = slice(start, start + len(found.indices))
        squared[part], indices[part], certified[part] = found.squared_distances, found.indices, found.certified
        names += [found.backend] if found.backend not in names else []
        start = part.stop
    return make_neighbors(squared, indices, "+".join(names), certified=certified)


def count_mapped(
    queries: Any, reference: Any, radii: FloatArray, *, backend: str | AbstractNeighborBackend
) -> IntArray:
    """``radius_count`` where a side is a memory map: counts add up over blocks."""
    x, y = Rows.of("queries", queries), Rows.of("reference", reference)
    _same_width(x, y)
    counts, start = np.zeros(len(x), dtype=np.int64), 0
    for block in _checked("queries", x.blocks()):
        part = slice(start, start + len(block))
        for rows in _checked("reference", y.blocks()):
            chosen = resolve(backend, len(block), len(rows), x.shape[1], 1)
            counts[part] += chosen.count_within(block, rows, radii[part])
        start = part.stop
    return counts


def _blocks_of(name: str, source: Any, block_rows: int | None) -> Blocks:
    """A function that gives the checked blocks of any source from the start; a bare iterator only once."""
    if callable(source):
        made: Callable[[], Any] = source
        return lambda: _checked(name, made())
    if isinstance(source, Iterator):
        rest = [source]

        def once() -> Iterator[FloatArray]:
            if not rest:
                raise ValueError(
                    f"{name} is a bare iterator, but has to be read once per block of queries; "
                    "pass a function that returns a new iterator, a list of blocks or a memory map."
                )
            return _checked(name, rest.pop())

        return once
    if isinstance(source, list | tuple) and len(source) > 0 and np.ndim(source[0]) == 2:
        return lambda: _checked(name, source)
    if isinstance(source, Iterable) and not isinstance(source, list | tuple) and not hasattr(source, "__array__"):
        return lambda: _checked(name, iter(source))
    rows = Rows.of(name, source)
    return lambda: _checked(name, rows.blocks(block_rows))


def _checked(name: str, blocks: Iterable[Any]) -> Iterator[FloatArray]:
    """Each block checked; messages say where it starts."""
    start, width = 0, None
    for block in blocks:
        array = checked_records(f"{name} (block from row {start})", block)
        if width not in (None, array.shape[1]):
            raise ValueError(f"{name} has a block of {array.shape[1]} columns from row {start}, the first had {width}.")
        start, width = start + len(array), array.shape[1]
        yield array
    if width is None:
        raise ValueError(f"{name} has no blocks; at least one row is needed.")


def _of_width(queries: FloatArray, blocks: Iterator[FloatArray]) -> Iterator[FloatArray]:
    for block in blocks:
        _validate.same_features(queries=queries, reference=block)
        yield block


def _same_width(x: Rows, y: Rows) -> None:
    if x.shape[1] != y.shape[1]:
        raise ValueError(f"queries has {x.shape[1]} columns but reference has {y.shape[1]}; both need the same ones.")


def _fits(k: int, rows: int, exclude_self: bool) -> None:
    available = rows - bool(exclude_self)
    if k > available:
        others = " other than the query itself" if exclude_self else ""
        raise ValueError(f"k={k} is more than the {available} reference rows{others}; pass a smaller k or more rows.")
