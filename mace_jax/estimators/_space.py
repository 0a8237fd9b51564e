"""Neighbor counts for vector outputs: lists over distinct rows, multiplicities as weights, ties shared."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from mace_jax._types import FloatArray, pytree
from mace_jax.estimators._lists import FOR_TIES, edges, search

__all__ = ["SPACE_PROBE", "SpaceCounts", "SpacePlan", "plan_space", "space_counts", "standardized"]

SPACE_PROBE = 1024  # training records on which k is chosen, per fold


@pytree
class SpaceCounts:
    """For K candidate numbers of neighbors and u distinct queries, lists of L distinct training rows."""

    lists: Int[Array, "L u"]  # distinct training rows, nearest first
    near: Int[Array, "K u"]  # entries strictly nearer than the k-th neighbor
    tied: Int[Array, "K u"]  # entries at most as far
    share: Float[Array, "K u"]  # of the tied shell: its expected part among the k nearest
    row: Int[Array, " m"]  # the distinct query of each record
    own: Int[Array, " m"]  # the record's training row, -1 if it is not a training record
    k: Int[Array, " K"]

    def where(self, records: np.ndarray) -> SpaceCounts:
        """The same for some of the records."""
        used, row = np.unique(np.asarray(self.row)[records], return_inverse=True)
        used = np.resize(used, _bucket(len(used), len(records)))  # repeats that no record refers to

        def pick(rows: Array, places: np.ndarray) -> Array:
            return jnp.asarray(np.asarray(rows)[..., places])  # on the host: nothing to compile

        return SpaceCounts(
            pick(self.lists, used),
            pick(self.near, used),
            pick(self.tied, used),
            pick(self.share, used),
            jnp.asarray(row, dtype=jnp.int32),
            pick(self.own, records),
            self.k,
        )

    def at(self, choice: Array) -> SpaceCounts:
        """The same for one candidate, kept as a leading axis of length 1."""

        def pick(rows: Array) -> Array:
            return jax.lax.dynamic_slice_in_dim(rows, choice, 1, axis=0)

        return SpaceCounts(
            self.lists, pick(self.near), pick(self.tied), pick(self.share), self.row, self.own, pick(self.k)
        )

    def members(self, atoms: Int[Array, " a"], labels: Int[Array, " s"]) -> Float[Array, "K m"]:
        """Expected members among the k nearest other records, given member counts per distinct training row."""
        none = jnp.zeros(self.lists.shape[1], jnp.int32)
        listed = atoms.at[self.lists].get(mode="promise_in_bounds")
        # a scan over the short axis: three times as fast as cumsum on a CPU
        _, up_to = jax.lax.scan(lambda total, row: (total + row, total + row), none, listed)
        up_to = jnp.concatenate([none[None], up_to])
        inside = jnp.take_along_axis(up_to, self.near, axis=0)
        shell = jnp.take_along_axis(up_to, self.tied, axis=0) - inside
        itself = jnp.where(self.own >= 0, labels.at[jnp.maximum(self.own, 0)].get(mode="promise_in_bounds"), 0)
        inside_of, shell_of, share_of, near_of = (
            rows.at[:, self.row].get(mode="promise_in_bounds") for rows in (inside, shell, self.share, self.near)
        )
        itself_inside = near_of > 0  # a record's own row is the first of its list
        inside_of = inside_of - jnp.where(itself_inside, itself, 0)
        shell_of = shell_of - jnp.where(itself_inside, 0, itself)
        return inside_of + share_of * shell_of


@pytree
class SpacePlan:
    """One fold of vector outputs; ``probe`` are the training records on which k is chosen."""

    atom: Int[Array, " s"]  # distinct row of every training record
    distinct: Int[Array, " a"]  # placeholder of the right length
    probe: SpaceCounts
    inner: SpaceCounts
    outer: SpaceCounts

    def count_atoms(self, labels: Int[Array, " s"]) -> Int[Array, " a"]:
        """Members per distinct training row."""
        return jnp.zeros_like(self.distinct).at[self.atom].add(labels)


def plan_space(train: FloatArray, test: FloatArray, k: np.ndarray, probe: np.ndarray, *, scale: bool) -> SpacePlan:
    """Plan one fold. Memory: about ``4 (max(k) + 32) (s + t)`` bytes for the lists, as much again while counting.

    Equal rows are one list entry with a multiplicity. Of more than 32 distinct rows tied with the k-th neighbor (points
    of a lattice) those first in lexicographic order are counted, whatever their labels.
    """
    if scale:
        train, test = standardized(train, test)
    atoms, atom, multiplicity = np.unique(train, axis=0, return_inverse=True, return_counts=True)
    atom = atom.reshape(-1).astype(np.int32)
    inner = _counts(atoms, multiplicity, atoms, atom, np.arange(len(train), dtype=np.int32), k)
    queries, row = np.unique(test, axis=0, return_inverse=True)
    outer = _counts(atoms, multiplicity, queries, row.reshape(-1).astype(np.int32), np.full(len(test), -1, np.int32), k)
    distinct = jnp.zeros(_bucket(len(atoms), len(train)), jnp.int32)
    return SpacePlan(jnp.asarray(atom), distinct, inner.where(probe), inner, outer)


def _bucket(distinct: int, records: int) -> int:
    """Length of arrays over distinct rows: a multiple of an eighth of the records, so that few shapes compile."""
    step = -(-records // 8)
    return min(records, -(-distinct // step) * step)


def standardized(train: FloatArray, test: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Training mean 0 and standard deviation 1 per column; powers of two first, against over- and underflow."""
    exponent = np.frexp(np.abs(train).max(axis=0))[1]
    train, test = np.ldexp(train, -exponent), np.ldexp(test, -exponent)
    varies = np.ptp(train, axis=0) > 0  # the standard deviation of a constant column can round to more than 0
    center, spread = train.mean(axis=0), np.where(varies, train.std(axis=0), 1.0)
    return (train - center) / spread, (test - center) / spread


def _counts(
    atoms: FloatArray,
    multiplicity: np.ndarray,
    queries: FloatArray,
    row: np.ndarray,
    own: np.ndarray,
    k: np.ndarray,
) -> SpaceCounts:
    itself = bool(own.size and own[0] >= 0)
    length = min(len(atoms), int(k[-1]) + FOR_TIES)
    lists, first, end = search(queries, atoms, length)
    weight = multiplicity[lists]
    if itself:
        if not (lists[:, 0] == np.arange(len(lists))).all():
            raise RuntimeError("A distinct row is not its own nearest neighbor; its coordinates underflow.")
        weight[:, 0] -= 1
    near, tied, share = edges(weight, first, end, k)
    return space_counts(lists, near, tied, share, row, own, k, int(k[-1]) + FOR_TIES)


def space_counts(
    lists: np.ndarray,
    near: np.ndarray,
    tied: np.ndarray,
    share: np.ndarray,
    row: np.ndarray,
    own: np.ndarray,
    k: np.ndarray,
    length: int,
) -> SpaceCounts:
    """From lists ``(u, L)``, padded to ``length`` entries and to a number of queries that few shapes share."""
    missing = _bucket(len(lists), len(row)) - len(lists)
    columns, wide = ((0, 0), (0, missing)), ((0, length - lists.shape[1]), (0, missing))
    return SpaceCounts(
        jnp.asarray(np.pad(lists.T, wide)),
        jnp.asarray(np.pad(near.T, columns), dtype=jnp.int32),
        jnp.asarray(np.pad(tied.T, columns), dtype=jnp.int32),
        jnp.asarray(np.pad(share.T, columns), dtype=jnp.float32),
        jnp.asarray(row, dtype=jnp.int32),
        jnp.asarray(own),
        jnp.asarray(k, dtype=jnp.int32),
    )
