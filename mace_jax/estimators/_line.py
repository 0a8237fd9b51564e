"""Neighbor counts for scalar outputs: one sort, windows for every candidate k, ties shared."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from mace_jax._types import FloatArray, pytree
from mace_jax.estimators._base import running_total
from mace_jax.estimators._walk import shares, walk_windows
from mace_jax_kernels.sorted_window import sorted_window

__all__ = ["LineCounts", "LinePlan", "plan_line"]


@pytree
class LineCounts:
    """For K candidate numbers of neighbors and m queries, where the neighbors lie in sorted training order."""

    closed_low: Int[Array, "K m"]
    open_low: Int[Array, "K m"]
    open_high: Int[Array, "K m"]
    closed_high: Int[Array, "K m"]
    share: Float[Array, "K m"]  # of the tied shell: its expected part among the k nearest
    own: Int[Array, " m"]  # the query's own place in sorted training order, -1 if it is not a training record
    k: Int[Array, " K"]

    def where(self, queries: np.ndarray) -> LineCounts:
        """The same for some of the queries."""

        def pick(rows: Array) -> Array:
            return jnp.asarray(np.asarray(rows)[..., queries])  # on the host: nothing to compile

        return LineCounts(
            pick(self.closed_low),
            pick(self.open_low),
            pick(self.open_high),
            pick(self.closed_high),
            pick(self.share),
            pick(self.own),
            self.k,
        )

    def at(self, choice: Array) -> LineCounts:
        """The same for one candidate, kept as a leading axis of length 1."""

        def pick(rows: Array) -> Array:
            return jax.lax.dynamic_slice_in_dim(rows, choice, 1, axis=0)

        return LineCounts(
            pick(self.closed_low),
            pick(self.open_low),
            pick(self.open_high),
            pick(self.closed_high),
            pick(self.share),
            self.own,
            pick(self.k),
        )

    def members(self, labels: Int[Array, " s"]) -> Float[Array, "K m"]:
        """Expected members among the k nearest other records; ``labels`` in sorted training order."""
        below = jnp.concatenate([jnp.zeros(1, jnp.int32), running_total(labels)])

        def up_to(index: Array) -> Array:
            return below.at[index].get(mode="promise_in_bounds")

        inside = up_to(self.open_high) - up_to(self.open_low)
        shell = up_to(self.closed_high) - up_to(self.closed_low) - inside
        itself = jnp.where(self.own >= 0, labels.at[jnp.maximum(self.own, 0)].get(mode="promise_in_bounds"), 0)
        itself_inside = self.open_high > self.open_low
        inside = inside - jnp.where(itself_inside, itself, 0)
        shell = shell - jnp.where(itself_inside, 0, itself)
        return inside + self.share * shell


@pytree
class LinePlan:
    """One fold of scalar outputs; ``probe`` are the training records on which k is chosen."""

    order: Int[Array, " s"]  # training records in ascending order of their output
    place: Int[Array, " s"]  # its inverse
    probe: LineCounts
    inner: LineCounts
    outer: LineCounts

    def arrange(self, labels: Int[Array, " s"]) -> Int[Array, " s"]:
        return labels.at[self.order].get(mode="promise_in_bounds")


def plan_line(train: FloatArray, test: FloatArray, k: np.ndarray, probe: np.ndarray) -> LinePlan:
    """Plan one fold; ``probe`` are row numbers of ``train``. Memory: about ``24 K (s + t)`` bytes.

    Consecutive candidates are counted by one walk outwards, others by a binary search each.
    """
    train, test = _out_of_underflow(train[:, 0], test[:, 0])
    order = np.argsort(train, kind="stable").astype(np.int32)
    place = np.empty_like(order)
    place[order] = np.arange(len(order), dtype=np.int32)
    values = train[order]
    # every distance is a difference of the float64 outputs: two different outputs never become a tie
    inner = _counts(values, train, k, place)
    return LinePlan(
        jnp.asarray(order),
        jnp.asarray(place),
        inner.where(probe),
        inner,
        _counts(values, test, k, np.full(len(test), -1, np.int32)),
    )


def _out_of_underflow(train: FloatArray, test: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Scale by a power of two, which changes no comparison, where a device would flush differences to zero."""
    exponent = int(np.frexp(max(np.abs(train).max(), np.abs(test).max()))[1])
    return (np.ldexp(train, -exponent), np.ldexp(test, -exponent)) if exponent < -512 else (train, test)


def _counts(values: FloatArray, queries: FloatArray, k: np.ndarray, own: np.ndarray) -> LineCounts:
    itself = int(own.size > 0 and own[0] >= 0)  # training records find themselves first: look for one more
    with jax.enable_x64(True):
        line, at = jnp.asarray(values), jnp.asarray(queries)
        if len(k) > 1 and (np.diff(k) == 1).all():
            windows = walk_windows(line, at, first=int(k[0]) + itself, last=int(k[-1]) + itself)
        else:
            windows = sorted_window(line, at, jnp.asarray(k + itself))
        share = shares(windows, jnp.asarray(k), itself=bool(itself))
    return LineCounts(
        windows.closed_low,
        windows.open_low,
        windows.open_high,
        windows.closed_high,
        share,
        jnp.asarray(own),
        jnp.asarray(k, dtype=jnp.int32),
    )
