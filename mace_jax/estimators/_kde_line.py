"""Kernel sums on a line: linear binning on a grid and a fast Fourier transform."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from mace_jax._types import FloatArray, pytree

__all__ = ["GridPlan", "plan_grid"]

_FEWEST = 2048
_MOST = 65536
_PER_BANDWIDTH = 4  # grid steps per smallest bandwidth


@pytree
class GridPlan:
    """One fold of scalar outputs: where records lie between grid points, and the kernels' transforms."""

    cell: Int[Array, " s"]
    part: Float[Array, " s"]  # of the way to the next grid point
    test_cell: Int[Array, " t"]
    test_part: Float[Array, " t"]
    spectrum: Float[Array, "C g"]  # of the kernel around grid point 0, exp(-(i step / h)^2 / 2), on twice the grid
    next: Float[Array, " C"]  # the kernel one step away
    total: Float[Array, "C G"]  # kernel sums of all training records, at the grid points
    floor: Float[Array, " C"]  # records added at every output, above the rounding errors of the transform
    probe: Int[Array, " p"]

    def smooth(self, labels: Int[Array, " s"], candidates: Array | slice = slice(None)) -> Float[Array, "K G"]:
        """Kernel sums of the members at the grid points."""
        n_grid = self.total.shape[1]
        weight = labels.astype(jnp.float32)
        up = weight * self.part
        counts = jnp.zeros(n_grid, jnp.float32).at[self.cell].add(weight - up).at[self.cell + 1].add(up)
        product = jnp.fft.rfft(counts, 2 * n_grid) * self.spectrum[candidates]
        return jnp.fft.irfft(product, 2 * n_grid, axis=-1)[:, :n_grid]

    def train_sums(
        self, members: Float[Array, "K G"], labels: Int[Array, " s"], rows: Array | slice, candidates: Array | slice
    ) -> tuple[Float[Array, "K r"], Float[Array, "K r"]]:
        """Members and others around training records, themselves included; see ``itself``."""
        return self._at(members, self.cell[rows], self.part[rows], candidates)

    def test_sums(self, members: Float[Array, "K G"], candidates: Array) -> tuple[Array, Array]:
        """Members and others around unseen records."""
        return self._at(members, self.test_cell, self.test_part, candidates)

    def itself(self, rows: Array | slice, candidates: Array | slice) -> Float[Array, "K r"]:
        """What a training record contributes to its own sum, after binning and interpolation."""
        part = self.part[rows]
        mixed = 2.0 * part * (1.0 - part)
        return 1.0 - mixed + mixed * self.next[candidates][:, None]

    def _at(self, members: Array, cell: Array, part: Array, candidates: Array | slice) -> tuple[Array, Array]:
        def interpolate(rows: Array) -> Array:
            low, high = (rows.at[:, place].get(mode="promise_in_bounds") for place in (cell, cell + 1))
            return low + part * (high - low)

        everybody = interpolate(self.total[candidates])
        found = jnp.clip(interpolate(members), 0.0, everybody)
        return found, everybody - found


def plan_grid(train: FloatArray, test: FloatArray, bandwidths: FloatArray, probe: np.ndarray) -> GridPlan:
    """Plan one fold of scalars; ``bandwidths`` ``(C,)`` in the unit of the outputs.

    The grid has 4 steps per smallest bandwidth, between 2048 and 65536 points. If that is not enough for the whole
    range, outputs further out than the grid around the median reaches are moved to its ends. Memory: ``16 (s + t)``
    bytes and ``12 C G`` bytes for G grid points.
    """
    middle = float(np.median(train))
    low, high = float(train.min()), float(train.max())
    step = bandwidths.min() / _PER_BANDWIDTH
    n_grid = _FEWEST
    while n_grid < _MOST and (n_grid - 1) * step < high - low:
        n_grid *= 2
    reach = (n_grid - 1) * step
    if reach < high - low:
        low, high = max(low, middle - reach / 2), min(high, middle + reach / 2)
    step = max((high - low) / (n_grid - 1), np.finfo(np.float64).tiny)

    def locate(values: FloatArray) -> tuple[np.ndarray, np.ndarray]:
        place = (np.clip(values, low, high) - low) / step
        cell = np.clip(np.floor(place), 0, n_grid - 2).astype(np.int32)
        return cell, np.clip(place - cell, 0.0, 1.0)

    cell, part = locate(train)
    test_cell, test_part = locate(test)
    counts = np.bincount(cell, 1.0 - part, n_grid) + np.bincount(cell + 1, part, n_grid)
    distance = step * np.minimum(np.arange(2 * n_grid), 2 * n_grid - np.arange(2 * n_grid))
    kernels = np.exp(-0.5 * (distance / bandwidths[:, None]) ** 2)
    spectrum = np.fft.rfft(kernels).real  # real, since the kernel is symmetric
    total = np.fft.irfft(np.fft.rfft(counts, 2 * n_grid) * spectrum, 2 * n_grid)[:, :n_grid]
    return GridPlan(
        jnp.asarray(cell),
        jnp.asarray(part, dtype=jnp.float32),
        jnp.asarray(test_cell),
        jnp.asarray(test_part, dtype=jnp.float32),
        jnp.asarray(spectrum, dtype=jnp.float32),
        jnp.asarray(kernels[:, 1], dtype=jnp.float32),
        jnp.asarray(np.maximum(total, 0.0), dtype=jnp.float32),
        jnp.asarray(1e-3 + 1e-6 * total.max(axis=1), dtype=jnp.float32),
        jnp.asarray(probe, dtype=jnp.int32),
    )
