"""The pytree decorator: classes are told apart, whatever their fields; static fields are part of the structure."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import pytest

from mace_jax._types import pytree, static_field
from mace_jax.metrics import accuracy, f_beta


@pytree
class Sum:
    first: jax.Array
    second: jax.Array

    def joined(self) -> jax.Array:
        return self.first + self.second


@pytree
class Product:
    first: jax.Array
    second: jax.Array

    def joined(self) -> jax.Array:
        return self.first * self.second


@pytree
class Power:
    base: jax.Array
    exponent: int = static_field(default=2)


def test_classes_with_the_same_fields_have_different_structures():
    """Were they equal, a function compiled for one would be used for the other whenever their hashes meet."""
    first, second = Sum(jnp.ones(2), jnp.ones(2)), Product(jnp.ones(2), jnp.ones(2))
    assert jax.tree.structure(first) != jax.tree.structure(second)
    assert jax.tree.structure(first) == jax.tree.structure(Sum(jnp.zeros(2), jnp.zeros(2)))
    with pytest.raises(ValueError, match="different types|[Mm]ismatch"):
        jax.tree.map(jnp.add, first, second)


def test_objectives_of_two_kinds_are_never_taken_for_each_other():
    linear, fractional = accuracy.objective(prior=0.1), f_beta(1.0).objective(prior=0.1)
    assert type(linear) is not type(fractional)
    assert len(jax.tree.leaves(linear)) == len(jax.tree.leaves(fractional))
    assert jax.tree.structure(linear) != jax.tree.structure(fractional)


def test_a_round_trip_keeps_class_and_fields_and_names_the_leaves():
    tree = Power(jnp.arange(3.0), 3)
    ((path, leaf),), structure = jax.tree_util.tree_flatten_with_path(tree)
    assert jax.tree_util.keystr(path) == ".base"
    again = jax.tree_util.tree_unflatten(structure, [leaf])
    assert type(again) is Power and again.exponent == 3 and again.base is leaf
    assert structure != jax.tree.structure(Power(jnp.arange(3.0), 2))


def test_jit_and_vmap_take_them():
    powers = jax.jit(jax.vmap(lambda tree: tree.base**tree.exponent))(Power(jnp.arange(3.0), 3))
    assert powers.tolist() == [0.0, 1.0, 8.0]
    joined = jax.jit(lambda tree: tree.joined())
    assert float(joined(Sum(jnp.float32(3), jnp.float32(4)))) == 7.0
    assert float(joined(Product(jnp.float32(3), jnp.float32(4)))) == 12.0
