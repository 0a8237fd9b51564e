"""Products of bytes with 32-bit sums, which newer CPUs add up four at a time."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jax import lax
from jax.core import ShapedArray
from jax.extend.core import Primitive
from jax.extend.mlir import ir
from jax.extend.mlir.dialects import stablehlo
from jax.interpreters import mlir
from jaxtyping import Array, Int8, Int32, UInt8

from mace_jax_kernels._tiling import Rows

__all__ = ["BYTE_DOT_WIDTH", "byte_dot", "compiles_to_bytes"]

BYTE_DOT_WIDTH = 1 << 13
"""Features up to which sums of ``byte_dot`` stay below 2^28 in absolute value."""
_LIBRARY_CALL = "__ynn"


def byte_dot(rows: UInt8[Rows, "m d"], others: Int8[Rows, "n d"]) -> Int32[Array, "m n"]:
    """``rows @ others.T``, exact; ``d`` is at most ``BYTE_DOT_WIDTH``.

    ``lax.dot_general`` of two types of bytes widens both to int32 first; this hands the bytes to the compiler.
    """
    return _byte_dot.bind(rows, others)


_byte_dot = Primitive("byte_dot")


@_byte_dot.def_abstract_eval
def _shape(rows, others):
    return ShapedArray((rows.shape[0], others.shape[0]), jnp.int32)


def _widened(rows, others):
    return lax.dot_general(rows.astype(jnp.int32), others.astype(jnp.int32), (((1,), (1,)), ((), ())))


def _as_bytes(context, rows, others):
    kind = ir.RankedTensorType.get(context.avals_out[0].shape, ir.IntegerType.get_signless(32))
    numbers = stablehlo.DotDimensionNumbers.get([], [], [1], [1])
    return [stablehlo.DotGeneralOp(kind, rows, others, numbers).result]


_byte_dot.def_impl(_widened)
mlir.register_lowering(_byte_dot, mlir.lower_fun(_widened, multiple_results=False))
mlir.register_lowering(_byte_dot, _as_bytes, platform="cpu")


@functools.cache
def compiles_to_bytes() -> bool:
    """Whether XLA hands ``byte_dot`` to a library that has instructions for it here; without one it is slow."""
    rows = jax.ShapeDtypeStruct((256, 64), jnp.uint8), jax.ShapeDtypeStruct((64, 64), jnp.int8)
    return _LIBRARY_CALL in str(jax.jit(byte_dot).lower(*rows).compile().as_text())
