"""Lower bounds on leakage that hold at a stated level: advantage and epsilon."""

from mace_jax.certificates._api import certify
from mace_jax.certificates._certificate import Certificate
from mace_jax.certificates._epsilon import advantage_from_epsilon, epsilon_from_advantage, epsilon_from_counts

__all__ = [
    "Certificate",
    "advantage_from_epsilon",
    "certify",
    "epsilon_from_advantage",
    "epsilon_from_counts",
]
