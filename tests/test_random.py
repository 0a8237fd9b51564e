"""Seeds: integers and keys of any size, one independent stream per purpose."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from mace_jax._random import as_seed, generator, key


@pytest.mark.parametrize("seed", [0, 7, 2**31, 2**32, 2**32 + 7, 2**64 + 1, 2**127])
def test_any_seed_serves_both_generators(seed):
    assert generator(seed, "a").integers(2**62) == generator(seed, "a").integers(2**62)
    assert generator(seed, "a").integers(2**62) != generator(seed, "b").integers(2**62)
    bits = [np.asarray(jax.random.bits(key(seed, path))) for path in ("a", "a", "b")]
    assert bits[0] == bits[1] != bits[2]


def test_large_seeds_differ():
    seeds = (7, 2**32 + 7, 2**64 + 7, 2**64 + 2**32 + 7)
    assert len({int(jax.random.bits(key(seed))) for seed in seeds}) == len(seeds)
    assert len({int(generator(seed).integers(2**62)) for seed in seeds}) == len(seeds)


def test_jax_keys_are_seeds():
    for made in (jax.random.key(5), jax.random.PRNGKey(5)):
        assert as_seed(made) == 5
    assert as_seed(jax.random.split(jax.random.key(5))[0]) > 2**32
    assert as_seed(np.int64(3)) == 3


def test_bad_seeds_are_named():
    for bad in ("one", 1.5, True, None):
        with pytest.raises(TypeError, match="seed must be a non-negative integer or a JAX key"):
            as_seed(bad)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="seed=-1 must be at least 0"):
        as_seed(-1)
