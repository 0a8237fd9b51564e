"""Replicates of weighted sums: weights by counter times values, chain of rows by chain of rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args

import jax
import numpy as np

from mace_jax import _validate
from mace_jax._random import key
from mace_jax._types import FloatArray, Seed
from mace_jax.bootstrap._clusters import cluster_places, cluster_sums
from mace_jax.neighbors._threads import in_threads, processors
from mace_jax_kernels.weighted_sums import (
    CHAIN_ROWS,
    chained_size,
    draws_block,
    replicate_blocks,
    replicates_in_memory,
    sums_block,
)

__all__ = ["ResampleWeights", "SumsAccumulator", "replicate_sums"]

ResampleWeights = Literal["poisson", "multinomial", "bayesian", "double_or_nothing"]
Progress = Callable[[float], None]
_BLOCK = 64
_GROUPED_BYTES = 16 << 20
_DRAWN_BYTES = 96 << 20  # of rows that share one pass through all draws


def replicate_sums(
    values: FloatArray,
    *,
    n_resamples: int,
    weights: ResampleWeights = "poisson",
    seed: Seed,
    purpose: str,
    center: FloatArray | None = None,
    clusters: Any = None,
    devices: Sequence[Any] | None = None,
    replicate_batch: int | None = None,
    on_progress: Progress | None = None,
) -> tuple[FloatArray, FloatArray]:
    """Sums of weight times value ``(n_resamples, c)`` and total weights ``(n_resamples,)``, float64.

    Replicate b is ``sum_i w_bi v_i`` and ``sum_i w_bi`` with weights of mean and variance 1. ``w_bi`` is a function of
    (seed, purpose, b, i) alone: batches, devices and threads change results by rounding only, and two calls of the same
    seed and purpose have the same weights.

    Args:
        values: ``(n, c)``; centered, because products add up in float32.
        n_resamples: Replicates.
        weights: "poisson", "multinomial" (draws with replacement), "bayesian" (exponential), "double_or_nothing".
        seed: Fixes the weights, together with ``purpose``.
        purpose: What the replicates are for; another purpose has independent weights.
        center: ``(c,)``, subtracted from every row part by part, which saves the memory of a centered copy.
        clusters: ``(n,)`` ids; rows of one cluster share a weight. Clusters are numbered in sorted order.
        devices: Devices that share the replicates; by default JAX's default device.
        replicate_batch: Replicates computed at a time on a device, rounded up to a multiple of 64.
        on_progress: Called with the fraction done after every round of batches; what it raises ends the work.

    Raises:
        ValueError: shapes or numbers do not fit.

    Peak memory beyond the values: ``16 n_resamples (c + 1)`` bytes for results, per worker about 6 MiB of weights and
    ``32 replicate_batch (c + 1)``, ``4 * 65,536 (c + 2)`` per device, and ``24 n + 16 MiB`` for clusters. Multinomial
    weights need ``5 n (c + 1)`` per device, at most 120 MiB (more rows take more passes through the draws), and 16 MiB
    per worker, and ``8 (c + 1)`` bytes per cluster. Time ``O(n n_resamples c)``, or clusters in place of ``n`` where
    their sums fit into 16 MiB.
    """
    values = np.asarray(values, np.float64)
    if values.ndim != 2 or len(values) == 0:
        raise ValueError(f"values has shape {values.shape}; it must be (n, c) with at least one row.")
    c = values.shape[1]
    places = None if clusters is None else cluster_places(clusters, len(values))
    grouped = places is not None and (
        weights == "multinomial" or 8 * (c + 1) * (int(places.max()) + 1) <= _GROUPED_BYTES
    )
    if grouped:  # a cluster is as good as the sum of its rows, and fewer weights are drawn
        values, center, places = cluster_sums(values, places, center), None, None
    total = SumsAccumulator(
        values.shape[1],
        n_resamples=n_resamples,
        weights=weights,
        seed=seed,
        purpose=purpose,
        n_total=len(values),
        center=center,
        devices=devices,
        replicate_batch=replicate_batch,
        on_progress=on_progress,
    )
    sums, totals = total.add(values, clusters=places).result()
    return (sums[:, :c], sums[:, c]) if grouped else (sums, totals)


class SumsAccumulator:
    """Replicates of weighted sums over rows that come in parts, in any order and layout.

    The parts of a sample may be added one after the other, or to accumulators of the same settings that are merged:
    the result differs by rounding only. Memory does not grow with the number of rows.

    Args:
        n_columns: Columns of the values.
        n_resamples: Replicates.
        weights: As in ``replicate_sums``.
        seed: Fixes the weights, together with ``purpose``.
        purpose: What the replicates are for.
        n_total: Rows of all parts together; needed for multinomial weights, whose parts each go through all draws.
        center: ``(n_columns,)``, subtracted from every row.
        devices: Devices that share the replicates.
        replicate_batch: Replicates computed at a time on a device.
        on_progress: Called with the fraction of a part that is done.
    """

    def __init__(
        self,
        n_columns: int,
        *,
        n_resamples: int,
        weights: ResampleWeights = "poisson",
        seed: Seed,
        purpose: str,
        n_total: int | None = None,
        center: FloatArray | None = None,
        devices: Sequence[Any] | None = None,
        replicate_batch: int | None = None,
        on_progress: Progress | None = None,
    ) -> None:
        _validate.one_of(get_args(ResampleWeights), weights=weights)
        if weights == "multinomial" and n_total is None:
            raise ValueError("n_total=None, but multinomial weights need the number of rows of all parts; pass it.")
        self.n_resamples = _validate.positive_int(n_resamples=n_resamples)
        self._n_columns = _validate.positive_int(minimum=0, n_columns=n_columns)
        self._weights: ResampleWeights = weights
        self._n_total = n_total
        self._center = np.zeros(n_columns) if center is None else np.asarray(center, np.float64)
        if self._center.shape != (n_columns,):
            raise ValueError(f"center has shape {self._center.shape}; it must be ({n_columns},), one per column.")
        self._key = np.asarray(jax.random.key_data(key(seed, "bootstrap", purpose)), np.uint32)
        self._devices = [*devices] if devices is not None else [_default_device()]
        if not self._devices:
            raise ValueError("devices is empty; pass at least one device, or None for the default one.")
        self._batch = None if replicate_batch is None else _validate.positive_int(replicate_batch=replicate_batch)
        self._report = on_progress or (lambda fraction: None)
        self._sums = np.zeros((self.n_resamples, n_columns + 1))

    def add(self, values: FloatArray, first_row: int = 0, *, clusters: Any = None) -> SumsAccumulator:
        """Add rows ``first_row`` and on; ``clusters`` are integer ids from 0 to 2^32 - 1, the same in every part."""
        values = np.asarray(values, np.float64)
        if values.ndim != 2 or values.shape[1] != self._n_columns:
            raise ValueError(f"values has shape {values.shape}; it must have {self._n_columns} columns.")
        if len(values) == 0:
            return self
        if first_row < 0 or first_row + len(values) > (2**32 if self._n_total is None else self._n_total):
            raise ValueError(
                f"first_row={first_row} and {len(values)} rows do not fit into n_total={self._n_total} (or 2^32) rows."
            )
        if self._weights == "multinomial":
            if clusters is not None:
                raise NotImplementedError("multinomial weights take no clusters in parts; pass all rows to bootstrap.")
            most = max(1, _DRAWN_BYTES // (4 * (self._n_columns + 1) * CHAIN_ROWS)) * CHAIN_ROWS
            starts = range(0, len(values), most)
            for done, start in enumerate(starts):
                part = values[start : start + most]
                self._add_draws(part, first_row + start, done / len(starts), 1.0 / len(starts))
            return self
        ids = None if clusters is None else _ids(clusters, len(values))
        starts = range(0, len(values), CHAIN_ROWS)
        for done, start in enumerate(starts):
            chain = values[start : start + CHAIN_ROWS]
            if ids is None:
                rows = (first_row + start + np.arange(len(chain), dtype=np.int64)).astype(np.uint32)
            else:
                rows = ids[start : start + CHAIN_ROWS]
            self._add_chain(chain, rows, done / len(starts), 1.0 / len(starts))
        return self

    def merge(self, other: SumsAccumulator) -> SumsAccumulator:
        """Add the rows of another accumulator of the same settings."""
        if self._settings() != other._settings():
            raise ValueError("accumulators of other weights, seed, purpose or sizes do not add up; use the same.")
        self._sums += other._sums
        return self

    def result(self) -> tuple[FloatArray, FloatArray]:
        """Sums ``(n_resamples, c)`` and total weights ``(n_resamples,)`` so far."""
        return self._sums[:, :-1].copy(), self._sums[:, -1].copy()

    def _settings(self) -> tuple[Any, ...]:
        return (self._key.tolist(), self._weights, self._sums.shape, self._n_total, self._center.tolist())

    def _workers(self) -> int:
        """One thread per device, and one per processor where they are what computes."""
        on_host = self._devices[0].platform == "cpu"
        return max(len(self._devices), processors() if on_host else 1)

    def _add_chain(self, values: FloatArray, rows: Any, done: float, share: float) -> None:
        """Add at most ``CHAIN_ROWS`` rows to all replicates."""
        assert self._weights != "multinomial"
        n, platform, kind = len(values), self._devices[0].platform, self._weights
        workers = self._workers()
        if self._batch is None:
            n_blocks = replicate_blocks(self.n_resamples, kind, workers, platform=platform)
        else:
            n_blocks = -(-self._batch // _BLOCK)
        padded, exponents = self._padded(values, chained_size(n))
        ids = np.zeros(len(padded), np.uint32)
        ids[:n] = rows
        here = [jax.device_put((self._key, padded, ids), device) for device in self._devices]

        def work(batch: int) -> None:
            words, values, ids = here[batch % len(here)]
            found = sums_block(words, batch * n_blocks, values, ids, n, n_blocks=n_blocks, kind=kind, platform=platform)
            self._keep(batch * n_blocks * _BLOCK, np.asarray(found, np.float64), exponents)

        self._in_rounds(work, -(-self.n_resamples // (n_blocks * _BLOCK)), workers, done, share)

    def _add_draws(self, values: FloatArray, first_row: int, done: float, share: float) -> None:
        """Add rows, going through the draws of all rows."""
        n = len(values)
        padded, exponents = self._padded(values, chained_size(n))
        here = [jax.device_put((self._key, padded), device) for device in self._devices]
        workers = self._workers()
        step = replicates_in_memory(len(padded), -(-self.n_resamples // workers))
        if self._batch is not None:
            step = min(step, max(2, self._batch))
        total = self._n_total

        def work(batch: int) -> None:
            words, values = here[batch % len(here)]
            found = draws_block(words, batch * step, values, n, first_row, total, n_replicates=step)
            self._keep(batch * step, np.asarray(found, np.float64), exponents)

        self._in_rounds(work, -(-self.n_resamples // step), workers, done, share)

    def _padded(self, values: FloatArray, size: int) -> tuple[Any, Any]:
        """The values and a column of ones, in float32, with rows of zeros; columns are scaled by powers of two."""
        exponents = np.zeros(self._n_columns + 1, np.int32)
        largest = np.maximum(values.max(axis=0) - self._center, self._center - values.min(axis=0))
        exponents[:-1] = np.frexp(largest)[1]
        padded = _aligned_zeros(size, self._n_columns + 1)
        for start in range(0, len(values), CHAIN_ROWS):
            part = values[start : start + CHAIN_ROWS] - self._center
            padded[start : start + len(part), :-1] = np.ldexp(part, -exponents[:-1])
        padded[: len(values), -1] = 1.0
        return padded, exponents

    def _keep(self, first: int, found: FloatArray, exponents: Any) -> None:
        """Add a batch of replicates in float64; no two batches share a row."""
        kept = self._sums[first : first + len(found)]
        kept += np.ldexp(found[: len(kept)], exponents)

    def _in_rounds(self, work: Callable[[int], None], n_batches: int, workers: int, done: float, share: float) -> None:
        """Batches in rounds of one per worker, so that work can be watched and interrupted."""
        for start in range(0, n_batches, workers):
            stop = min(start + workers, n_batches)
            in_threads(work, range(start, stop), workers)
            self._report(done + share * stop / n_batches)


def _aligned_zeros(rows: int, columns: int) -> Any:
    """Zeros, float32, from an address that JAX on a processor takes without a copy."""
    size = 4 * rows * columns
    raw = np.zeros(size + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + size].view(np.float32).reshape(rows, columns)


def _default_device() -> Any:
    """Where JAX would put an array now."""
    chosen = jax.config.jax_default_device  # type: ignore[attr-defined]
    return chosen if isinstance(chosen, jax.Device) else jax.local_devices()[0]


def _ids(clusters: Any, n: int) -> Any:
    """Integer cluster ids as uint32."""
    ids = np.asarray(clusters)
    if ids.shape != (n,) or ids.dtype.kind not in "iu":
        raise ValueError(f"clusters has shape {ids.shape} and dtype {ids.dtype}; pass {n} integer ids.")
    if n and (ids.min() < 0 or ids.max() >= 2**32):
        raise ValueError("clusters must lie between 0 and 2^32 - 1.")
    return ids.astype(np.uint32)
