"""Several devices share a batch: each takes an equal part, and gradients are summed over all of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Int

from mace_jax import _validate

__all__ = ["drawn_rows", "mesh_of", "on_every", "over_devices", "sharing"]

_MESH: ContextVar[Mesh | None] = ContextVar("mesh", default=None)


def mesh_of(devices: int) -> Mesh | None:
    """A line of the first ``devices`` local devices; None for one, which needs no sharing."""
    devices, known = _validate.positive_int(devices=devices), jax.local_devices()
    if devices > len(known):
        raise ValueError(f"devices={devices}, but JAX sees {len(known)} here; pass devices={len(known)} or fewer.")
    return None if devices == 1 else Mesh(np.array(known[:devices]), ("batch",))


@contextmanager
def sharing(mesh: Mesh | None) -> Iterator[None]:
    """While a step is traced, ``over_devices`` splits batches over this mesh."""
    token = _MESH.set(mesh)
    try:
        yield
    finally:
        _MESH.reset(token)


def over_devices(batch: Array, axis: int = 0) -> Array:
    """The same array, its rows divided among the devices of the run; a trainer calls this on its batch or row numbers.

    What is computed from it row by row is then divided too. The values do not depend on the number of devices, up to
    the order of floating-point sums; means over a batch, those of batch normalization included, stay means over all of
    it. ``axis`` is the one that counts the rows of a batch.
    """
    mesh = _MESH.get()
    if mesh is None:
        return batch
    size = batch.shape[axis]
    if size % mesh.size:
        raise ValueError(f"batch_size={size} cannot be shared by devices={mesh.size}; pass a multiple of it.")
    return lax.with_sharding_constraint(batch, NamedSharding(mesh, PartitionSpec(*(None,) * axis, "batch")))


def drawn_rows(key: Array, size: int, n_records: int) -> Int[Array, " size"]:
    """Numbers of a batch's records, drawn with replacement and divided among the devices of the run."""
    return over_devices(jax.random.randint(key, (size,), 0, n_records, jnp.int32))


def on_every(tree: Any, mesh: Mesh | None) -> Any:
    """A copy of all arrays on every device of the mesh, or on the default device."""
    return jax.device_put(tree, None if mesh is None else NamedSharding(mesh, PartitionSpec()))
