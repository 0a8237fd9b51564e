"""Nearest rows of tables with numbers and labels: float32 block minima propose, float64 sums decide."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mace_jax import _validate
from mace_jax._status import Status
from mace_jax._types import FloatArray, IntArray, pytree, static_field
from mace_jax.neighbors._exact import ExactBackend
from mace_jax.neighbors._gower import Gower, Measure, Term
from mace_jax.neighbors._mixed_encode import Column, encode
from mace_jax.neighbors._pairs import row_chunks
from mace_jax.neighbors._threads import in_threads
from mace_jax_kernels.mixed_knn import Packed, Terms, block_counts, block_minima, pack
from mace_jax_kernels.mixed_knn.xla import LARGE

__all__ = ["MixedNeighbors", "mixed_knn", "mixed_radius_count"]

_ROUNDOFF = 2.0**-24
_RESULT_BYTES = 16 << 20
_PAIR_BYTES = 8 << 20
_CHUNK_ROWS = 512
_MOST_BLOCK_ROWS = 64


@pytree
class MixedNeighbors:
    """The k nearest reference rows of each query, ordered by (distance, id); all exact.

    Attributes:
        distances: ``(n, k)`` float64, ascending; NaN last.
        indices: ``(n, k)`` int64 rows of the reference.
        status: ``Status`` flags as an integer.
        metric: Name of the metric.
    """

    distances: Any
    indices: Any
    status: Any
    metric: str = static_field()


def mixed_knn(
    queries: Any,
    reference: Any,
    k: int,
    *,
    metric: Gower | str = "gower",
    exclude_self: bool = False,
    categorical: Collection[Any] | None = None,
) -> MixedNeighbors:
    """The exact ``k`` nearest reference rows of each query in tables with numbers, dates and labels.

    Distances are float64 sums over columns, each pair computed alone, ordered by (distance, row id). Ranges are worked
    out once over all queries, so batches inside a call change nothing.

    Args:
        queries: Mapping of column names to arrays, structured or 2-D array, pandas, polars or pyarrow table.
        reference: The same columns, of the same kinds, in any order.
        k: Number of neighbors, at most the reference rows (one less where a row is left out for itself).
        metric: A ``Gower``; ``"gower"`` for ``Gower()``; ``"manhattan"``: ``|x - y|`` unscaled plus 1 for every label
            that differs; ``"cosine"``: 1 - cosine of records whose labels are one-hot encoded. The last two refuse
            missing numbers; a missing label is a label of its own.
        exclude_self: Leave out row ``i`` for query ``i``, instead of the metric's own rule.
        categorical: Names or numbers of the columns that hold labels. Without it numbers, dates and durations (the last
            two in seconds) are numeric and all else, truth values included, are labels.

    Returns:
        ``MixedNeighbors`` of NumPy arrays.

    Peak memory beyond inputs and result, in bytes: ``(16 d + 4 a + 2 c) m`` and as much per query for the encoded
    tables of ``d`` columns (``a`` numeric, ``c`` categorical, 4 c beyond 32764 levels), per thread 16 MiB of block
    minima plus the larger of 8 MiB and ``48 m`` where whole blocks tie. Cosine: ``8 w (n + m)`` for ``w`` numeric
    columns and levels, then as ``knn``.

    Raises:
        TypeError: a table is none, column kinds differ, or ``k`` is not an integer.
        ValueError: columns differ, a value is infinite, missing values are refused, or ``k`` does not fit.

    Source: Gower (1971), A general coefficient of similarity and some of its properties, Biometrics 27.

    Example:
        >>> people = {"age": [20.0, 30.0, 60.0], "city": ["Bonn", "Bonn", "Rome"]}
        >>> found = mixed_knn({"age": [22.0], "city": ["Rome"]}, people, 2)
        >>> found.indices.tolist(), found.distances.round(3).tolist()
        ([[2, 0]], [[0.475, 0.525]])
    """
    k = _validate.positive_int(k=k)
    gower, name = _metric(metric)
    columns = encode(queries, reference, categorical)
    n, m = len(columns[0].x), len(columns[0].y)
    rule = _self_rule(gower, columns, exclude_self, queries is reference)
    available = m - (rule == "exclude")
    if k > available:
        others = " other than the query itself" if rule == "exclude" else ""
        raise ValueError(f"k={k} is more than the {available} reference rows{others}; pass a smaller k or more rows.")
    if gower is None:
        x, y = _embedded(columns)
        found = ExactBackend().search(x, y, k, exclude_ids=np.arange(n) if rule == "exclude" else None)
        return _result(found.squared_distances / 2, found.indices, name)
    search = _Search.prepare(Measure.prepare(gower, columns), rule, _block_rows(m, k))
    distances, indices = np.empty((n, k)), np.empty((n, k), np.int64)

    def work(part: slice) -> None:
        distances[part], indices[part] = search.nearest(part, k)

    in_threads(work, search.chunks())
    return _result(distances, indices, name)


def mixed_radius_count(
    queries: Any,
    reference: Any,
    radius: Any,
    *,
    metric: Gower | str = "gower",
    exclude_self: bool = False,
    categorical: Collection[Any] | None = None,
) -> IntArray:
    """Number of reference rows within ``radius`` of each query, boundary included.

    A distance returned by ``mixed_knn`` of the same tables used as the radius includes the neighbor it came from.

    Args:
        queries: as in ``mixed_knn``.
        reference: as in ``mixed_knn``.
        radius: Scalar or one value per query, at least 0.
        metric: A ``Gower``, ``"gower"`` or ``"manhattan"``.
        exclude_self: Leave out row ``i`` for query ``i``.
        categorical: as in ``mixed_knn``.

    Returns:
        ``(n,)`` int64 counts; a distance of NaN is never within a radius.

    Peak memory beyond inputs: as for ``mixed_knn``.

    Raises:
        TypeError: as ``mixed_knn``, or the radius is not numeric.
        ValueError: as ``mixed_knn``, a radius is negative or not finite, or the metric is cosine.

    Example:
        >>> people = {"age": [20.0, 30.0, 60.0], "city": ["Bonn", "Bonn", "Rome"]}
        >>> mixed_radius_count({"age": [22.0], "city": ["Rome"]}, people, 0.5).tolist()
        [1]
    """
    gower, _ = _metric(metric)
    if gower is None:
        raise ValueError("metric='cosine' has no radius count; pass a Gower, 'gower' or 'manhattan'.")
    columns = encode(queries, reference, categorical)
    n, m = len(columns[0].x), len(columns[0].y)
    radii = np.asarray(radius)
    if radii.dtype.kind not in "iuf":
        raise TypeError(f"radius has dtype {radii.dtype}; pass a number or one number per query.")
    if radii.shape not in ((), (n,)):
        raise ValueError(f"radius has shape {radii.shape}; pass a number or one number for each of {n} queries.")
    radii = np.broadcast_to(radii.astype(np.float64), n)
    bad = ~((radii >= 0) & np.isfinite(radii))
    if bad.any():
        raise ValueError(f"radius must be finite and at least 0, got {radii[bad][0]} (entry {int(np.argmax(bad))}).")
    rule = _self_rule(gower, columns, exclude_self, queries is reference)
    search = _Search.prepare(Measure.prepare(gower, columns), rule, _block_rows(m, 1))
    counts = np.empty(n, np.int64)

    def work(part: slice) -> None:
        counts[part] = search.within(part, radii[part])

    in_threads(work, search.chunks())
    return counts


def _metric(metric: Gower | str) -> tuple[Gower | None, str]:
    """The Gower behind a metric, None for cosine, and the word for the result."""
    if isinstance(metric, Gower):
        return metric, "gower"
    if metric == "gower":
        return Gower(), "gower"
    if metric == "manhattan":
        given = Gower(
            ranges="given", given_ranges=1.0, numeric_missing="refuse", categorical_missing="level", aggregate="sum"
        )
        return given, "manhattan"
    if metric == "cosine":
        return None, "cosine"
    raise ValueError(f"metric={metric!r} must be a Gower, 'gower', 'manhattan' or 'cosine'.")


def _self_rule(gower: Gower | None, columns: list[Column], exclude_self: bool, one_table: bool) -> str:
    """What happens to row i of query i in this call."""
    if exclude_self:
        n, m = len(columns[0].x), len(columns[0].y)
        if n != m:
            raise ValueError(
                f"exclude_self=True needs queries and reference to be the same records, got {n} and {m} rows."
            )
        return "exclude"
    if gower is None or gower.self_rule == "none":
        return "none"
    if gower.self_rule == "add_one":
        equal = all(
            np.array_equal(column.x, column.y) and (column.numeric or not (column.x < 0).any()) for column in columns
        )
        return "add_one" if equal else "none"
    return gower.self_rule if one_table else "none"


def _result(distances: FloatArray, indices: IntArray, name: str) -> MixedNeighbors:
    status = Status.ZERO_DISTANCE if (distances[:, 0] == 0).any() else Status.OK
    return MixedNeighbors(distances, indices, int(status), name)


def _block_rows(m: int, k: int) -> int:
    """Rows per block, a power of two: few blocks to look at for small k, few rows to measure for large k."""
    block = _MOST_BLOCK_ROWS
    while block > 4 and block * block * 2 * k > m:
        block //= 2
    return block


@dataclasses.dataclass(frozen=True, eq=False)
class _Search:
    """Filter operands on a common scale, and what rounding them can have changed.

    A filter value ``f`` and the measured distance ``d`` obey ``|f - scale * d| <= slack + relative * f``.
    """

    measure: Measure
    rule: str
    numbers: NDArray[np.float32]
    codes: NDArray[Any]
    packed: Packed
    terms: Terms
    scale: float
    slack: FloatArray
    relative: float

    @classmethod
    def prepare(cls, measure: Measure, rule: str, block: int) -> _Search:
        """Center and round the numbers, narrow the codes, fold weights and denominators into them."""
        gower = measure.gower
        operands = _Operands.of(measure)
        numbers, codes = operands.numbers, operands.codes
        skip = gower.skips
        mean = skip and gower.aggregate != "sum"
        least = min((term.weight for term in measure.terms), default=1.0)
        slack = operands.slack / (least if mean and gower.aggregate == "weighted" else 1.0)
        relative = 4 * (len(measure.terms) + 12) * _ROUNDOFF * (2 if gower.dtype == "float32" else 1)
        scale = operands.unit * (1.0 if skip else measure.denominator)
        if mean and gower.aggregate == "weighted":
            shares = np.array([term.weight for term in measure.terms if term.numeric], np.float32)
        else:
            shares = np.ones(len(operands.caps), np.float32)
        terms = Terms(operands.caps, operands.missing, shares, operands.code_weights)
        n = len(measure.terms[0].x)
        return cls(
            measure, rule, numbers[:n], codes[:n], pack(numbers[n:], codes[n:], block), terms, scale, slack, relative
        )

    def chunks(self) -> list[slice]:
        """Queries whose block results fit a budget."""
        n = len(self.numbers)
        rows = min(_CHUNK_ROWS, max(8, _RESULT_BYTES // (8 * self.packed.n_blocks)), max(64, -(-n // 4)))
        return row_chunks(n, 1, rows)

    @property
    def _skip(self) -> bool:
        return self.measure.gower.skips

    @property
    def _mean(self) -> bool:
        return self.measure.gower.skips and self.measure.gower.aggregate != "sum"

    def nearest(self, part: slice, k: int) -> tuple[FloatArray, IntArray]:
        """The k nearest of some queries: blocks whose minimum cannot be ruled out are measured whole."""
        minima = block_minima(
            self.numbers[part], self.codes[part], self.packed, self.terms, skip=self._skip, mean=self._mean
        )
        # The own row may be among those below the k-th minimum: one block more makes up for it.
        needed = k + (self.rule != "none")
        n_blocks = minima.shape[1]
        if needed <= n_blocks and not self.measure.nowhere:
            kth = np.partition(minima, needed - 1, axis=1)[:, needed - 1].astype(np.float64)
        else:
            kth = np.full(len(minima), np.inf)
        slack = self.slack[part]
        limit = (kth * (1 + 2 * self.relative) + 2 * slack) * (1 + 2 * self.relative) + 1e-37
        found = (np.empty((len(minima), k)), np.empty((len(minima), k), np.int64))
        rows, blocks = np.nonzero(minima <= limit[:, None].astype(np.float32) * np.float32(1 + 2.0**-22))
        starts = np.searchsorted(rows, np.arange(len(minima) + 1))
        # Whole queries at a time, as many as keep the measured pairs within a budget.
        first = 0
        while first < len(minima):
            budget = starts[first] + _PAIR_BYTES // (8 * self.packed.block)
            last = max(first + 1, int(np.searchsorted(starts, budget, side="right")) - 1)
            here = slice(starts[first], starts[last])
            self._finish(part.start, first, last, rows[here], blocks[here], limit, k, found)
            first = last
        return found

    def _finish(self, start, first, last, rows, blocks, limit, k, found) -> None:
        """Measure the blocks of queries ``first`` to ``last``, keep what can matter, order it."""
        values, ids = self._measured(start, rows, blocks)
        # With a limit on filter values comes one on distances; rows at infinity or NaN stay if they may be needed.
        allowed = np.where(limit[rows] >= LARGE / 2, np.inf, limit[rows] * (1 + 1e-6) / self.scale)
        keep = (ids < self.packed.rows) & ~(values > allowed[:, None])
        if self.rule == "exclude":
            keep &= ids != (start + rows)[:, None]
        at, column = np.nonzero(keep)
        values, ids, rows = values[at, column], ids[at, column], rows[at] - first
        order = np.lexsort((ids, np.where(np.isnan(values), np.inf, values), rows))
        take = order[np.searchsorted(rows[order], np.arange(last - first))[:, None] + np.arange(k)]
        found[0][first:last], found[1][first:last] = values[take], ids[take]

    def _measured(self, start, rows, blocks) -> tuple[FloatArray, IntArray]:
        """Distances of all rows of some blocks, with the rule for a row and itself."""
        ids = blocks[:, None] * self.packed.block + np.arange(self.packed.block)
        inside = np.minimum(ids, self.packed.rows - 1)
        values = np.empty(ids.shape)
        for piece in row_chunks(len(rows), 8 * self.packed.block, _PAIR_BYTES // 16):
            values[piece] = self.measure.distances(start + rows[piece], inside[piece])
        if self.rule in ("add_one", "constant"):
            own = ids == (start + rows)[:, None]
            values[own] = values[own] + 1.0 if self.rule == "add_one" else self.measure.gower.self_distance
        return values, ids

    def within(self, part: slice, radius: FloatArray) -> IntArray:
        """Closed balls: blocks with a pair too close to the boundary are measured whole."""
        n = part.stop - part.start
        if self.measure.nowhere:
            return np.zeros(n, np.int64)
        edge = np.minimum(radius * self.scale, LARGE / 4)
        slack = self.slack[part]
        low = np.maximum(edge - slack, -1) * (1 - self.relative * np.sign(edge - slack)) - 1e-37
        high = (edge + slack) * (1 + 2 * self.relative) + 1e-37
        low, high = np.nextafter(low.astype(np.float32), -np.inf), np.nextafter(high.astype(np.float32), np.inf)
        inside, near = block_counts(
            self.numbers[part], self.codes[part], self.packed, self.terms, low, high, skip=self._skip, mean=self._mean
        )
        unclear = near > 0
        if self.rule != "none":  # the own row's block is measured, whatever the filter says of it
            unclear[np.arange(n), np.arange(part.start, part.stop) // self.packed.block] = True
        counts = np.where(unclear, 0, inside).sum(axis=1, dtype=np.int64)
        all_rows, all_blocks = np.nonzero(unclear)
        for piece in row_chunks(len(all_rows), 8 * self.packed.block):
            rows, blocks = all_rows[piece], all_blocks[piece]
            values, ids = self._measured(part.start, rows, blocks)
            close = (ids < self.packed.rows) & (values <= radius[rows][:, None])
            if self.rule == "exclude":
                close &= ids != (part.start + rows)[:, None]
            counts += np.bincount(rows, close.sum(axis=1), n).astype(np.int64)
        return counts


@dataclasses.dataclass(frozen=True, eq=False)
class _Operands:
    """Filter operands of queries and reference stacked: numbers on a common unit, narrow codes, their terms."""

    numbers: NDArray[np.float32]
    codes: NDArray[Any]
    caps: NDArray[np.float32]
    missing: NDArray[np.float32]
    code_weights: NDArray[np.float32]
    slack: FloatArray
    unit: float

    @classmethod
    def of(cls, measure: Measure) -> _Operands:
        gower, terms = measure.gower, measure.terms
        n = len(terms[0].x)
        prepared = [_centered(term, gower.clip) for term in terms if term.numeric]
        largest = max([1.0, *(float(np.nanmax(np.abs(column[0]), initial=0.0)) for column in prepared)])
        unit = 1.0 if gower.skips else float(np.ldexp(1.0, -max(0, int(np.frexp(largest)[1]) - 10)))
        if largest * unit > LARGE / 2**40:
            raise ValueError("a column spans too many of its given ranges; pass larger ranges or rescale it.")
        numbers = np.zeros((n + len(terms[0].y), len(prepared)), np.float32)
        caps = np.full(len(prepared), np.inf, np.float32)
        missing = np.zeros(len(prepared), np.float32)
        slack = np.zeros(n)
        codes, weights = [], []
        for j, (term, (column, magnitude)) in enumerate(zip([t for t in terms if t.numeric], prepared, strict=True)):
            weight = term.weight * unit
            numbers[:, j] = column * weight
            if term.indicator or (gower.clip and np.nanmax(np.abs(column), initial=0.0) > 0.5):
                caps[j] = weight
            if not term.indicator:
                own = 4 * _ROUNDOFF * np.abs(column) + 2.0**-49 * magnitude
                slack += weight * (np.nan_to_num(own[:n]) + np.nanmax(own[n:], initial=0.0))
            gaps = np.isnan(column)
            if gaps.any():
                rule = gower.numeric_missing
                missing[j] = {"one_if_both": weight, "nan": LARGE}.get(rule, 0.0)
                if rule in ("mismatch", "one_if_both"):
                    codes.append(gaps.astype(np.int32))
                    weights.append(weight if rule == "mismatch" else LARGE)
        for term in terms:
            if not term.numeric:
                y = np.where(term.y < 0, -2, term.y) if gower.categorical_missing == "differs" else term.y
                codes.append(np.concatenate((term.x, y)))
                weights.append(term.weight * unit)
        stacked = np.stack(codes, axis=1) if codes else np.zeros((len(numbers), 0), np.int32)
        if stacked.size == 0 or stacked.max() < np.iinfo(np.int16).max - 2:
            stacked = stacked.astype(np.int16)
        if gower.skips and gower.categorical_missing != "skip":
            stacked = stacked + stacked.dtype.type(2)  # a missing label is a label here, not a gap
        return cls(numbers, stacked, caps, missing, np.array(weights, np.float32), slack, unit)


def _centered(term: Term, clip: bool) -> tuple[FloatArray, FloatArray]:
    """A scaled column of queries and reference with the reference's middle at 0, and the magnitudes it came from."""
    pooled = np.concatenate((term.x, term.y))
    if term.indicator:  # ranks: neighbors differ by 1, which the cap turns into an indicator
        gaps = np.isnan(pooled)
        ranks = np.unique(pooled, return_inverse=True)[1].astype(np.float64)
        return np.where(gaps, np.nan, ranks), np.zeros(len(pooled))
    seen = term.y[~np.isnan(term.y)]
    if not len(seen):
        seen = np.zeros(1)
    low, high = float(seen.min()), float(seen.max())
    middle = low / 2 + high / 2
    with np.errstate(over="ignore"):
        moved = (pooled - middle) / term.divisor
        reach = (high - low) / term.divisor / 2 + 1.5
        magnitude = np.minimum(np.abs(pooled) / term.divisor, 2 * LARGE)
    if clip:  # farther out every contribution is 1 anyway
        moved = np.clip(moved, -reach, reach)
    return moved, magnitude


def _embedded(columns: list[Column]) -> tuple[FloatArray, FloatArray]:
    """Unit vectors of numbers and one-hot labels: half their squared distance is 1 - cosine."""
    sides = []
    for argument in ("queries", "reference"):
        parts = []
        for column in columns:
            values = column.x if argument == "queries" else column.y
            if column.numeric:
                if np.isnan(values).any():
                    raise ValueError(f"column {column.name!r} of {argument} has missing values, which cosine refuses.")
                parts.append(values[:, None])
            else:
                levels = int(max(column.x.max(), column.y.max())) + 2
                parts.append(np.eye(levels)[values + 1])
        rows = np.concatenate(parts, axis=1)
        rows = rows / np.maximum(np.abs(rows).max(axis=1, keepdims=True), np.finfo(np.float64).tiny)
        length = np.sqrt((rows**2).sum(axis=1, keepdims=True))
        if (length == 0).any():
            raise ValueError(f"row {int(np.argmax(length == 0))} of {argument} is all zeros and has no direction.")
        sides.append(rows / length)
    return sides[0], sides[1]
