"""``block_minima`` and ``block_counts``: per block of reference rows, the smallest dissimilarity or a count."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mace_jax_kernels._tiling import bucket, pad_rows
from mace_jax_kernels.mixed_knn import reference as oracle
from mace_jax_kernels.mixed_knn import xla

__all__ = ["BlockCounts", "Packed", "Terms", "block_counts", "block_minima", "pack"]

QUERY_ROWS = 64
TILE_BLOCKS = 512

Array = NDArray[Any]


class Terms(NamedTuple):
    """What a column adds, float32: per number column a cap, the value of a gap and a weight; per code column a weight.

    A number column adds ``min(|x - y|, caps)``, or ``missing`` where either is NaN (its weight is already in the
    numbers and serves only as its share of what was observed); a code column adds its weight where codes differ.
    """

    caps: Array
    missing: Array
    number_weights: Array
    code_weights: Array


class Packed(NamedTuple):
    """Reference rows laid out for the scan: ``numbers (T, block, a, w)``, ``codes (T, block, c, w)``, ``offsets``.

    Block ``b`` of the result holds rows ``b * block`` to ``(b + 1) * block - 1``; ``rows`` of them are real.
    """

    numbers: Array
    codes: Array
    offsets: Array
    rows: int

    @property
    def block(self) -> int:
        """Rows per block."""
        return self.offsets.shape[1]

    @property
    def n_blocks(self) -> int:
        """Blocks that hold a real row."""
        return -(-self.rows // self.block)


class BlockCounts(NamedTuple):
    """Rows with dissimilarity up to ``low``, and above it up to ``high``: int32 ``(n, blocks)`` each."""

    inside: Array
    near: Array


def pack(numbers: Array, codes: Array, block: int) -> Packed:
    """Lay out ``numbers (m, a)`` float32 and ``codes (m, c)`` int16 or int32 in blocks of ``block`` rows.

    Tiles hold up to 512 blocks and come in powers of two, so sizes in one bucket share compiled code.
    """
    if numbers.ndim != 2 or codes.ndim != 2 or len(numbers) != len(codes) or len(numbers) == 0:
        raise ValueError(f"numbers {numbers.shape} and codes {codes.shape} must be (m, a) and (m, c) with m > 0.")
    if block < 1:
        raise ValueError(f"block={block} must be at least 1.")
    m = len(numbers)
    width = min(TILE_BLOCKS, bucket(-(-m // block)))
    tiles = bucket(-(-m // (block * width)), 1)
    offsets = np.full(tiles * width * block, np.inf, np.float32)
    offsets[:m] = 0

    def laid_out(array: Array) -> Array:
        padded = np.asarray(pad_rows(array, tiles * width * block))
        return np.ascontiguousarray(padded.reshape(tiles, width, block, array.shape[1]).transpose(0, 2, 3, 1))

    return Packed(laid_out(numbers), laid_out(codes), laid_out(offsets[:, None])[:, :, 0], m)


def block_minima(
    numbers: Array,
    codes: Array,
    packed: Packed,
    terms: Terms,
    *,
    skip: bool = False,
    mean: bool = False,
    implementation: str | None = None,
) -> Array:
    """Smallest dissimilarity between each query and the rows of each block, ``(n, blocks)`` float32.

    The dissimilarity is the sum of the terms of all columns in float32, at most 1e30. Every entry is summed alone and
    all terms are nonnegative, so it differs from the exact sum of the given float32 operands by a relative
    ``(a + c + 2) 2^-24`` at most.

    Args:
        numbers: ``(n, a)`` float32, NaN where missing.
        codes: ``(n, c)`` integers of the dtype of the packed codes.
        packed: Reference rows from ``pack``.
        terms: Caps, fills and weights.
        skip: Negative codes and NaN are left out, and a pair with nothing in common is at 1e30.
        mean: With ``skip``, divide by the weight of the columns observed in both rows.
        implementation: ``"xla"`` (default) or ``"reference"`` (quadratic memory).

    Peak memory beyond operands: the result, ``4 n m / block`` bytes, twice; tiles are smaller than 1 MiB.

    Raises:
        ValueError: shapes or dtypes do not fit.
        NotImplementedError: unknown ``implementation``.

    Example:
        >>> import numpy as np
        >>> table = pack(np.float32([[0.0], [0.5], [2.0]]), np.int16([[1], [1], [2]]), 2)
        >>> one = Terms(np.float32([np.inf]), np.float32([0]), np.float32([1]), np.float32([1]))
        >>> block_minima(np.float32([[0.25]]), np.int16([[2]]), table, one).tolist()
        [[1.25, 1.75]]
    """
    if _use_reference(implementation, numbers, codes, packed, terms):
        values = oracle.matrix(numbers, codes, *_rows_of(packed), terms, skip=skip, mean=mean)
        return oracle.block_minima(values, packed.n_blocks, packed.block)
    queries, flags = _operands((numbers, codes), packed, terms, skip, mean)
    found = xla.minimum_blocks(queries, packed[:3], _n_tiles(packed), terms, **flags)
    return np.asarray(found)[: len(numbers), : packed.n_blocks]


def block_counts(
    numbers: Array,
    codes: Array,
    packed: Packed,
    terms: Terms,
    low: Array,
    high: Array,
    *,
    skip: bool = False,
    mean: bool = False,
    implementation: str | None = None,
) -> BlockCounts:
    """Rows of each block with dissimilarity up to ``low``, and above it up to ``high``; both ``(n,)`` float32.

    Arguments, memory (two results) and errors as in ``block_minima``.

    Example:
        >>> import numpy as np
        >>> table = pack(np.float32([[0.0], [0.5], [2.0]]), np.zeros((3, 0), np.int16), 2)
        >>> one = Terms(np.float32([np.inf]), np.float32([0]), np.float32([1]), np.float32([]))
        >>> block_counts(np.float32([[0.0]]), np.zeros((1, 0), np.int16), table, one, np.float32([0]), np.float32([1]))
        BlockCounts(inside=array([[1, 0]], dtype=int32), near=array([[1, 0]], dtype=int32))
    """
    if low.shape != (len(numbers),) or high.shape != (len(numbers),):
        raise ValueError(
            f"low {low.shape} and high {high.shape} must hold one value for each of {len(numbers)} queries."
        )
    if _use_reference(implementation, numbers, codes, packed, terms):
        values = oracle.matrix(numbers, codes, *_rows_of(packed), terms, skip=skip, mean=mean)
        return BlockCounts(*oracle.block_counts(values, low, high, packed.n_blocks, packed.block))
    queries, flags = _operands((numbers, codes, low, high), packed, terms, skip, mean)
    found = xla.count_blocks(queries, packed[:3], _n_tiles(packed), terms, **flags)
    return BlockCounts(*(np.asarray(part)[: len(numbers), : packed.n_blocks] for part in found))


def _n_tiles(packed: Packed) -> Any:
    return np.int32(-(-packed.n_blocks // packed.offsets.shape[2]))


def _rows_of(packed: Packed) -> tuple[Array, Array]:
    """The reference rows back in their order."""
    parts = (packed.numbers, packed.codes)
    numbers, codes = (
        part.transpose(0, 3, 1, 2).reshape(packed.offsets.size, part.shape[2])[: packed.rows] for part in parts
    )
    return numbers, codes


def _operands(queries: tuple[Array, ...], packed: Packed, terms: Terms, skip: bool, mean: bool):
    """Queries padded to a power-of-two number of tiles, and the flags that choose the compiled variant."""
    n = len(queries[0])
    query_rows = min(QUERY_ROWS, bucket(n))
    rows = query_rows * bucket(-(-n // query_rows), 1)
    gapped = bool(np.isnan(queries[0]).any() or np.isnan(packed.numbers).any())
    uniform = bool((terms.code_weights == terms.code_weights[:1]).all())
    flags = {
        "query_rows": query_rows,
        "clipped": bool(np.isfinite(terms.caps).any()),
        "gapped": gapped,
        "uniform": uniform,
        "skip": skip,
        "mean": mean,
    }
    return tuple(pad_rows(part, rows) for part in queries), flags


def _use_reference(implementation: str | None, numbers: Array, codes: Array, packed: Packed, terms: Terms) -> bool:
    """Check the operands and the name of the implementation."""
    widths = (packed.numbers.shape[2], packed.codes.shape[2])
    if numbers.ndim != 2 or codes.ndim != 2 or (numbers.shape[1], codes.shape[1]) != widths or len(numbers) == 0:
        raise ValueError(
            f"numbers {numbers.shape} and codes {codes.shape} must be (n, {widths[0]}) and (n, {widths[1]}) with n > 0."
        )
    if numbers.dtype != np.float32 or packed.numbers.dtype != np.float32 or codes.dtype != packed.codes.dtype:
        raise ValueError(f"numbers ({numbers.dtype}) must be float32 and codes ({codes.dtype}) {packed.codes.dtype}.")
    if tuple(len(part) for part in terms) != (widths[0],) * 3 + (widths[1],):
        raise ValueError(f"terms have lengths {tuple(map(len, terms))} for {widths[0]} numbers and {widths[1]} codes.")
    if implementation not in (None, "xla", "reference"):
        raise NotImplementedError(f"implementation={implementation!r} does not exist; use 'xla' or 'reference'.")
    return implementation == "reference"
