"""Kernel sums in a few dimensions: tiles of queries against all training records."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from mace_jax._types import FloatArray, pytree

__all__ = ["TilePlan", "plan_tiles"]

_TILE_BYTES = 8 << 20
_FLOOR = 1e-3


@pytree
class TilePlan:
    """One fold of vector outputs in standard deviations."""

    train: Float[Array, "s q"]
    test: Float[Array, "t q"]
    inverse: Float[Array, " C"]  # 1 / (2 h^2)
    floor: Float[Array, " C"]
    probe: Int[Array, " p"]

    def smooth(self, labels: Int[Array, " s"], candidates: Array | slice = slice(None)) -> Int[Array, " s"]:
        """Sums are formed where they are asked for."""
        return labels

    def train_sums(
        self, members: Int[Array, " s"], labels: Int[Array, " s"], rows: Array | slice, candidates: Array | slice
    ) -> tuple[Float[Array, "K r"], Float[Array, "K r"]]:
        """Members and others around training records, themselves included."""
        return self._sums(self.train[rows], members, candidates)

    def test_sums(self, members: Int[Array, " s"], candidates: Array) -> tuple[Array, Array]:
        """Members and others around unseen records."""
        return self._sums(self.test, members, candidates)

    def itself(self, rows: Array | slice, candidates: Array | slice) -> Float[Array, "K r"]:
        """What a training record contributes to its own sum."""
        return jnp.ones((self.inverse[candidates].shape[0], self.train[rows].shape[0]), jnp.float32)

    def _sums(self, queries: Array, labels: Array, candidates: Array | slice) -> tuple[Array, Array]:
        n, (m, width) = self.train.shape[0], queries.shape
        tile = max(1, min(m, _TILE_BYTES // (4 * n)))
        both = jnp.stack([labels, 1 - labels], axis=1).astype(jnp.float32)
        inverse = self.inverse[candidates]

        def of_tile(rows: Array) -> Array:
            squared = jnp.zeros((tile, n), jnp.float32)
            for column in range(width):
                squared += (rows[:, column, None] - self.train[None, :, column]) ** 2
            return jax.lax.map(lambda scale: jnp.exp(-scale * squared) @ both, inverse)

        tiles = jnp.pad(queries, ((0, -m % tile), (0, 0))).reshape(-1, tile, width)
        sums = jax.lax.map(of_tile, tiles)  # (tiles, K, rows, 2)
        sums = jnp.moveaxis(sums, 1, 0).reshape(inverse.shape[0], -1, 2)[:, :m]
        return sums[..., 0], sums[..., 1]


def plan_tiles(train: FloatArray, test: FloatArray, bandwidths: FloatArray, probe: np.ndarray) -> TilePlan:
    """Plan one fold of vectors; ``bandwidths`` ``(C,)`` in the unit of the outputs.

    Memory: ``4 (s + t) q`` bytes, and tiles of 8 MiB (one row of 4 s bytes if that is more), a few at a time.
    """
    return TilePlan(
        jnp.asarray(train, dtype=jnp.float32),
        jnp.asarray(test, dtype=jnp.float32),
        jnp.asarray(0.5 / bandwidths**2, dtype=jnp.float32),
        jnp.full(len(bandwidths), _FLOOR, jnp.float32),
        jnp.asarray(probe, dtype=jnp.int32),
    )
