from __future__ import annotations

import numpy as np
import pytest

import mace_jax as mj
from mace_jax.attacks import AttackQuery, domias, gan_leaks, logan_black_box, monte_carlo
from mace_jax.queries import AbstractQuery, Stack


@pytest.fixture(scope="module")
def parts():
    """Members, non-members, reference and synthetic records that copy the members."""
    rng = np.random.default_rng(1)
    members, nonmembers, reference = rng.normal(size=(3, 80, 3))
    return members, nonmembers, reference, members[rng.integers(80, size=800)] + 0.1 * rng.normal(size=(800, 3))


def queries(parts):
    _, _, reference, synthetic = parts
    radius = -float(np.median(monte_carlo(reference, synthetic, kind="nearest")))
    return [
        AttackQuery(domias, synthetic=synthetic, reference=reference),
        AttackQuery(gan_leaks, synthetic=synthetic),
        AttackQuery(monte_carlo, synthetic=synthetic, radius=radius, kind=("count", "log")),
        AttackQuery(
            logan_black_box, synthetic=synthetic, setting="discriminative", known_nonmembers=reference, hidden=(8,),
            steps=20, seed=4,
        ),
    ]  # fmt: skip


def test_attacks_are_queries_that_treat_each_record_alone(parts):
    members = parts[0]
    for query in queries(parts):
        assert isinstance(query, AbstractQuery) and query.description and query.source
        whole = query(members, seed=0)
        assert whole.shape == (80, 2 if "count" in query.name else 1)
        np.testing.assert_allclose(query(members[5:6], seed=0), whole[5:6], rtol=1e-6, atol=1e-9)
    assert [query.name for query in queries(parts)] == [
        "domias", "gan leaks", "monte carlo count+log", "logan black box discriminative",
    ]  # fmt: skip


def test_a_stack_of_attacks_is_estimated_like_any_query(parts):
    members, nonmembers, _, _ = parts
    stack = Stack(queries(parts)[:3])
    sample = mj.MembershipSample(stack(members, seed=0), stack(nonmembers, seed=0))
    assert sample.members.shape == (80, 4)
    assert mj.optimal_membership_advantage(sample, seed=0).value > 0.7


def test_bad_arguments_are_named(parts):
    synthetic = parts[3]
    with pytest.raises(TypeError, match="not one of domias, gan_leaks"):
        AttackQuery(np.mean, synthetic=synthetic)
    with pytest.raises(ValueError, match="domias needs reference"):
        AttackQuery(domias, synthetic=synthetic)
    for settings in ({}, {"radius": "median"}, {"radius": 1.0, "quantile": 0.1}):
        with pytest.raises(ValueError, match="radius is a number"):
            AttackQuery(monte_carlo, synthetic=synthetic, **settings)
    assert AttackQuery(monte_carlo, synthetic=synthetic, kind="nearest").name == "monte carlo nearest"
