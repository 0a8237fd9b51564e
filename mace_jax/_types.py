"""House-wide types: the pytree decorator, array aliases and capability protocols; no logic."""

from __future__ import annotations

import dataclasses
from typing import Any, Protocol, TypeVar, runtime_checkable

import jax
import numpy as np
from numpy.typing import NDArray
from typing_extensions import dataclass_transform

__all__ = [
    "DecodesNoise",
    "DiscriminatorScores",
    "FloatArray",
    "IntArray",
    "ProgressBar",
    "ReconstructionErrors",
    "SamplesRecords",
    "Seed",
    "pytree",
    "static_field",
]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Seed = int | jax.Array
"""A non-negative integer or a JAX key (``jax.random.key(0)`` or ``jax.random.PRNGKey(0)``)."""

_T = TypeVar("_T")


def static_field(**kwargs: Any) -> Any:
    """Dataclass field that is part of the tree structure: hashable, not traced."""
    return dataclasses.field(metadata={"static": True}, **kwargs)


@dataclass_transform(frozen_default=True, field_specifiers=(dataclasses.field, static_field))
def pytree(cls: type[_T]) -> type[_T]:
    """Make ``cls`` a frozen dataclass that JAX can map over.

    Fields may hold tracers or placeholders while JAX unflattens, so constructors check nothing;
    validation belongs to the verbs. Equality is identity because arrays do not compare to a bool.

    ``jax.tree_util.register_dataclass`` would do, but the tree structures of two of its classes with the same fields
    compare equal (JAX 0.10.2): their hashes differ, so that a compiled function of one of them is used for the other
    now and then, when the hashes meet in a table.
    """
    cls.__no_type_check__ = True  # type: ignore[attr-defined]
    made = dataclasses.dataclass(frozen=True, eq=False)(cls)
    traced, static = [], []
    for field in dataclasses.fields(made):  # type: ignore[arg-type]
        (static if field.metadata.get("static") else traced).append(field.name)
    keys = tuple(jax.tree_util.GetAttrKey(name) for name in traced)

    def flatten(tree: Any) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        return tuple(getattr(tree, name) for name in traced), tuple(getattr(tree, name) for name in static)

    def flatten_with_keys(tree: Any) -> tuple[tuple[tuple[Any, Any], ...], tuple[Any, ...]]:
        children, values = flatten(tree)
        return tuple(zip(keys, children, strict=True)), values

    def unflatten(values: tuple[Any, ...], children: Any) -> Any:
        return made(**dict(zip(traced, children, strict=True)), **dict(zip(static, values, strict=True)))

    jax.tree_util.register_pytree_with_keys(made, flatten_with_keys, unflatten, flatten)
    return made


@runtime_checkable
class SamplesRecords(Protocol):
    """A generative model that draws synthetic records."""

    def sample(self, n: int, *, seed: Seed) -> Any: ...


@runtime_checkable
class DiscriminatorScores(Protocol):
    """A model whose critic or discriminator scores records, higher = judged more real."""

    def discriminator_score(self, records: Any) -> Any: ...


@runtime_checkable
class DecodesNoise(Protocol):
    """A generator as a function of standard normal noise: traceable and differentiable by JAX, each row alone."""

    @property
    def latent_dim(self) -> int: ...

    def decode_noise(self, noise: Any, *, label: Any = None) -> Any: ...


@runtime_checkable
class ReconstructionErrors(Protocol):
    """A model that encodes and decodes records; lower error = better known."""

    def reconstruction_error(self, records: Any, *, seed: Seed) -> Any: ...


class ProgressBar(Protocol):
    """What long work reports to: one step of a named task done."""

    def advance(self, steps: int = 1) -> None: ...
