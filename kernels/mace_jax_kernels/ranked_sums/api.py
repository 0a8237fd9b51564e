"""``ranked_sums``: what the Mann-Whitney area and the TPR at given FPRs are made of, for many weighted replicates."""

from __future__ import annotations

import functools
from typing import NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Integer, UInt32

from mace_jax_kernels._tiling import Rows, bucket
from mace_jax_kernels._weights import REPLICATE_BLOCK, WeightKind, in_order, weight_parts
from mace_jax_kernels.ranked_sums import reference as oracle
from mace_jax_kernels.ranked_sums import xla
from mace_jax_kernels.ranked_sums.plan import plan_ranks

__all__ = ["RankedSums", "ranked_sums"]

MAX_CHUNK = 32
MAX_ROWS = 1 << 24
_WIDEST = {"xla_cpu_prefer_vector_width": 512}  # where a processor has less, the compiler uses what it has

_ranked = functools.partial(jax.jit, static_argnames=("n_blocks", "chunk", "kind"))
_on_cpu = _ranked(xla.ranked_blocks, compiler_options=_WIDEST)
_elsewhere = _ranked(xla.ranked_blocks)


class RankedSums(NamedTuple):
    """float32: the area is ``wins / (member_weight * nonmember_weight)``, a TPR ``hits / member_weight``."""

    wins: Float[Array, " b"]
    hits: Float[Array, "b q"]
    member_weight: Float[Array, " b"]
    nonmember_weight: Float[Array, " b"]


def ranked_sums(
    members: Float[Rows, " n"],
    nonmembers: Float[Rows, " m"],
    false_positive_rates: tuple[float, ...],
    member_key: UInt32[Rows, " 2"],
    nonmember_key: UInt32[Rows, " 2"],
    n_replicates: int,
    *,
    kind: WeightKind = "poisson",
    member_ids: Integer[np.ndarray, " n"] | None = None,
    nonmember_ids: Integer[np.ndarray, " m"] | None = None,
    first_block: int = 0,
    implementation: str | None = None,
) -> RankedSums:
    """Replicates of weighted pair sums and of weighted hits at false positive rates.

    With weights ``u_i`` of members ``x_i`` and ``v_j`` of non-members ``y_j``:
    ``wins = sum u_i v_j (1{x_i > y_j} + 1{x_i = y_j} / 2)``, and ``hits`` for rate ``f`` is the largest
    ``sum u_i 1{x_i >= t}`` over thresholds ``t`` with ``sum v_j 1{y_j >= t} <= f sum v_j``.

    The weight of a row depends on (key, replicate, row id) alone, so results do not depend on the order of the rows,
    on how equal scores are sorted or on how many replicates are asked for at once. Sums of whole weights are exact;
    ``wins`` is then rounded once per tile of 64 rows with the errors added back.

    Args:
        members: ``(n,)`` finite scores, host array, at most ``2**24`` rows in each group; sorted here.
        nonmembers: ``(m,)``.
        false_positive_rates: Rates in [0, 1).
        member_key: Two uint32 words.
        nonmember_key: Two uint32 words; other words unless ids are meant to be shared by both groups.
        n_replicates: How many, from replicate ``64 * first_block`` on.
        kind: "poisson", "double_or_nothing" or "bayesian".
        member_ids: ``(n,)`` ids at least 0, default the row numbers; rows with one id share their weight.
        nonmember_ids: ``(m,)``.
        first_block: First block of 64 replicates.
        implementation: ``"xla"`` (default) or ``"reference"`` (every pair and every weight in memory).

    Time O(n_replicates * (n + m)); the top of the list is drawn twice, as far as the largest rate needs. Peak memory
    beyond the inputs: 64 bytes per record (16 of them kept on the device), ``8 MiB + 1 MiB * q`` for one tile of 2048
    replicates and ``4 * n_replicates * (q + 3)`` bytes of results.

    Raises:
        ValueError: empty or vector-valued groups, too many rows, no replicates.
        NotImplementedError: unknown ``implementation`` or ``kind``.

    Example:
        >>> import numpy as np
        >>> key, other = np.uint32([0, 1]), np.uint32([0, 2])
        >>> sums = ranked_sums(np.float64([3, 4]), np.float64([1, 2]), (0.5,), key, other, 64)
        >>> bool((sums.wins == sums.member_weight * sums.nonmember_weight).all())
        True
    """
    members, nonmembers = np.asarray(members), np.asarray(nonmembers)
    for name, group in (("members", members), ("nonmembers", nonmembers)):
        if group.ndim != 1 or not 0 < len(group) <= MAX_ROWS:
            raise ValueError(f"{name} has shape {group.shape}; pass one score per row, 1 to {MAX_ROWS} of them.")
    if kind not in get_args(WeightKind):
        raise NotImplementedError(
            f"weights of kind {kind!r} cannot be drawn by row; use one of {get_args(WeightKind)}."
        )
    if n_replicates < 1:
        raise ValueError(f"n_replicates={n_replicates} must be at least 1.")
    ids = [
        np.arange(len(group), dtype=np.uint32) if given is None else np.asarray(given).astype(np.uint32)
        for group, given in ((members, member_ids), (nonmembers, nonmember_ids))
    ]
    rates = tuple(float(rate) for rate in false_positive_rates)
    needed = -(-n_replicates // REPLICATE_BLOCK)
    if implementation == "reference":
        weights = [
            np.asarray(in_order(weight_parts(jnp.asarray(key), first_block, needed, jnp.asarray(rows), kind), needed))
            for key, rows in zip((member_key, nonmember_key), ids, strict=True)
        ]
        sums = oracle.ranked_sums(members, nonmembers, weights[0], weights[1], rates)
        return RankedSums(*(jnp.asarray(array[:n_replicates], jnp.float32) for array in sums))
    if implementation not in (None, "xla"):
        raise NotImplementedError(f"implementation={implementation!r} does not exist; use 'xla' or 'reference'.")
    chunk = min(MAX_CHUNK, bucket(needed, 1))
    sums = (_on_cpu if jax.default_backend() == "cpu" else _elsewhere)(
        plan_ranks(members, nonmembers, *ids),
        np.asarray(member_key, np.uint32),
        np.asarray(nonmember_key, np.uint32),
        np.asarray(rates + (0.0,) * (bucket(len(rates), 4) - len(rates)), np.float32),  # up to 4 rates share code
        np.uint32(first_block),
        n_blocks=-(-needed // chunk) * chunk,
        chunk=chunk,
        kind=kind,
    )
    wins, hits, member_weight, nonmember_weight = (jax.device_get(array)[:n_replicates] for array in sums)
    return RankedSums(wins, hits[:, : len(rates)], member_weight, nonmember_weight)
