"""Pairs of distributions with exact leakage: what an estimate must find and a certificate must not exceed.

P is the law of a member's query output, Q that of a nonmember's. ``hockey_stick(e)`` is the largest
``P(S) - exp(e) Q(S)`` over all sets S; total variation is its value at 0.
"""

from __future__ import annotations

import abc
import dataclasses
import math
from typing import final

import numpy as np
from scipy.special import entr, expit, log_ndtr, ndtr

from mace_jax import _validate
from mace_jax._random import generator
from mace_jax._types import FloatArray, Seed
from mace_jax.data import MembershipSample

__all__ = [
    "AbstractClosedForm",
    "Atoms",
    "GaussianShift",
    "LaplaceShift",
    "RandomizedResponse",
    "UniformShift",
]


class AbstractClosedForm(abc.ABC):
    """Member law P and nonmember law Q; higher outputs are more member-like."""

    epsilon: float
    """Largest absolute log ratio of P and Q: the smallest epsilon of pure differential privacy."""

    @property
    @abc.abstractmethod
    def kl(self) -> float:
        """Kullback-Leibler divergence of P from Q, in nats."""

    @property
    @abc.abstractmethod
    def auc(self) -> float:
        """Area under the ROC curve of the likelihood ratio, ties counted one half."""

    @abc.abstractmethod
    def hockey_stick(self, epsilon: float) -> float:
        """Largest ``P(S) - exp(epsilon) Q(S)``: the delta that goes with this epsilon."""

    @abc.abstractmethod
    def _members(self, random: np.random.Generator, n: int) -> FloatArray:
        """Draw n outputs from P."""

    @abc.abstractmethod
    def _nonmembers(self, random: np.random.Generator, n: int) -> FloatArray:
        """Draw n outputs from Q."""

    @property
    def total_variation(self) -> float:
        """Total variation distance of P and Q."""
        return self.hockey_stick(0.0)

    @property
    def optimal_advantage(self) -> float:
        """Largest TPR - FPR of any rule: the normalized optimum of balanced accuracy."""
        return self.total_variation

    def optimal_accuracy(self, prior: float) -> float:
        """Accuracy of the Bayes rule when a record is a member with probability ``prior``."""
        prior = _validate.in_open_unit(prior=prior)
        return (1.0 - prior) + prior * self.hockey_stick(math.log1p(-prior) - math.log(prior))

    def draw(self, n_members: int, n_nonmembers: int, *, seed: Seed) -> MembershipSample:
        """Independent outputs of ``n_members`` members and ``n_nonmembers`` nonmembers."""
        n_members = _validate.positive_int(minimum=2, n_members=n_members)
        n_nonmembers = _validate.positive_int(minimum=2, n_nonmembers=n_nonmembers)
        return MembershipSample(
            self._members(generator(seed, "closed form", "members"), n_members),
            self._nonmembers(generator(seed, "closed form", "nonmembers"), n_nonmembers),
        )


@final
@dataclasses.dataclass(frozen=True)
class GaussianShift(AbstractClosedForm):
    """N(mean, scale^2 I) against N(0, scale^2 I), the means ``shift`` apart in Euclidean distance.

    The hockey-stick form is Balle and Wang (2018), theorem 5 (analytic Gaussian mechanism).

    Example:
        >>> round(GaussianShift(shift=1.0).optimal_advantage, 4)
        0.3829
    """

    shift: float = 1.0
    scale: float = 1.0
    n_outputs: int = 1

    def __post_init__(self) -> None:
        _validate.non_negative(shift=self.shift)
        _positive(scale=self.scale)
        _validate.positive_int(n_outputs=self.n_outputs)

    @property
    def _mu(self) -> float:
        return self.shift / self.scale

    @property
    def epsilon(self) -> float:  # type: ignore[override]
        return math.inf if self.shift > 0 else 0.0

    @property
    def kl(self) -> float:
        return 0.5 * self._mu**2

    @property
    def auc(self) -> float:
        return float(ndtr(self._mu / math.sqrt(2.0)))

    def hockey_stick(self, epsilon: float) -> float:
        if self._mu == 0.0:
            return max(0.0, -math.expm1(epsilon))
        half, tilt = self._mu / 2.0, epsilon / self._mu
        return max(0.0, float(ndtr(half - tilt) - np.exp(epsilon + log_ndtr(-half - tilt))))

    def _members(self, random: np.random.Generator, n: int) -> FloatArray:
        return self._nonmembers(random, n) + self.shift / math.sqrt(self.n_outputs)

    def _nonmembers(self, random: np.random.Generator, n: int) -> FloatArray:
        return self.scale * random.standard_normal((n, self.n_outputs))


@final
@dataclasses.dataclass(frozen=True)
class LaplaceShift(AbstractClosedForm):
    """Laplace(shift, scale) against Laplace(0, scale): the Laplace mechanism at its sensitivity.

    Example:
        >>> LaplaceShift(shift=1.0, scale=2.0).epsilon
        0.5
    """

    shift: float = 1.0
    scale: float = 1.0

    def __post_init__(self) -> None:
        _validate.non_negative(shift=self.shift)
        _positive(scale=self.scale)

    @property
    def epsilon(self) -> float:  # type: ignore[override]
        return self.shift / self.scale

    @property
    def kl(self) -> float:
        return self.epsilon + math.expm1(-self.epsilon)

    @property
    def auc(self) -> float:
        return 1.0 - 0.5 * math.exp(-self.epsilon) * (1.0 + 0.5 * self.epsilon)

    def hockey_stick(self, epsilon: float) -> float:
        if epsilon <= -self.epsilon:
            return -math.expm1(epsilon)
        return max(0.0, -math.expm1(0.5 * (epsilon - self.epsilon)))

    def _members(self, random: np.random.Generator, n: int) -> FloatArray:
        return random.laplace(self.shift, self.scale, size=(n, 1))

    def _nonmembers(self, random: np.random.Generator, n: int) -> FloatArray:
        return random.laplace(0.0, self.scale, size=(n, 1))


@final
@dataclasses.dataclass(frozen=True)
class RandomizedResponse(AbstractClosedForm):
    """The membership bit told truthfully with probability ``exp(epsilon) / (1 + exp(epsilon))`` (Warner 1965).

    No (epsilon, 0)-private mechanism leaks more about one bit.

    Example:
        >>> round(RandomizedResponse(epsilon=1.0).optimal_advantage, 4)
        0.4621
    """

    epsilon: float = 1.0

    def __post_init__(self) -> None:
        _validate.non_negative(epsilon=self.epsilon)

    @property
    def kl(self) -> float:
        return self.epsilon * math.tanh(0.5 * self.epsilon)

    @property
    def auc(self) -> float:
        return float(expit(self.epsilon))

    def hockey_stick(self, epsilon: float) -> float:
        return _atoms_hockey_stick(*self._laws(), epsilon)

    def _laws(self) -> tuple[FloatArray, FloatArray]:
        truthful, lie = expit(self.epsilon), expit(-self.epsilon)
        return np.array([lie, truthful]), np.array([truthful, lie])

    def _members(self, random: np.random.Generator, n: int) -> FloatArray:
        return (random.random((n, 1)) < expit(self.epsilon)).astype(np.float64)

    def _nonmembers(self, random: np.random.Generator, n: int) -> FloatArray:
        return (random.random((n, 1)) < expit(-self.epsilon)).astype(np.float64)


@final
@dataclasses.dataclass(frozen=True)
class UniformShift(AbstractClosedForm):
    """Uniform on [shift, 1 + shift] against uniform on [0, 1]; supports differ unless shift = 0.

    Example:
        >>> UniformShift(shift=0.25).total_variation
        0.25
    """

    shift: float = 0.25

    def __post_init__(self) -> None:
        if _validate.non_negative(shift=self.shift) > 1.0:
            raise ValueError(f"shift={self.shift!r} must be at most 1.")

    @property
    def epsilon(self) -> float:  # type: ignore[override]
        return math.inf if self.shift > 0 else 0.0

    @property
    def kl(self) -> float:
        return math.inf if self.shift > 0 else 0.0

    @property
    def auc(self) -> float:
        return 1.0 - 0.5 * (1.0 - self.shift) ** 2

    def hockey_stick(self, epsilon: float) -> float:
        return self.shift + (1.0 - self.shift) * max(0.0, -math.expm1(epsilon))

    def _members(self, random: np.random.Generator, n: int) -> FloatArray:
        return self.shift + random.random((n, 1))

    def _nonmembers(self, random: np.random.Generator, n: int) -> FloatArray:
        return random.random((n, 1))


@final
@dataclasses.dataclass(frozen=True)
class Atoms(AbstractClosedForm):
    """Two laws on the same atoms 0, 1, 2, ...: heavy ties and any likelihood ratio.

    Args:
        members: Probability of each atom under P.
        nonmembers: Probability of each atom under Q.

    The truths belong to the best rule; "higher is more member-like" holds if the ratios ascend.

    Example:
        >>> round(Atoms(members=(0.25, 0.75), nonmembers=(0.5, 0.5)).total_variation, 12)
        0.25
    """

    members: tuple[float, ...] = (0.25, 0.25, 0.5)
    nonmembers: tuple[float, ...] = (0.5, 0.25, 0.25)

    def __post_init__(self) -> None:
        if len(self.members) != len(self.nonmembers):
            raise ValueError(
                f"members has {len(self.members)} atoms but nonmembers has {len(self.nonmembers)}; give both the same."
            )
        for name, law in (("members", self.members), ("nonmembers", self.nonmembers)):
            if min(law, default=-1.0) < 0.0 or not math.isclose(math.fsum(law), 1.0, rel_tol=0.0, abs_tol=1e-9):
                raise ValueError(f"{name}={law!r} must be probabilities that add up to 1.")

    def _laws(self) -> tuple[FloatArray, FloatArray]:
        return np.asarray(self.members, dtype=np.float64), np.asarray(self.nonmembers, dtype=np.float64)

    @property
    def epsilon(self) -> float:  # type: ignore[override]
        p, q = self._laws()
        p, q = p[p + q > 0], q[p + q > 0]
        if np.any((p == 0) | (q == 0)):
            return math.inf
        return float(np.max(np.abs(np.log(p) - np.log(q))))

    @property
    def kl(self) -> float:
        p, q = self._laws()
        if np.any((q == 0) & (p > 0)):
            return math.inf
        both = p > 0
        return float(-np.sum(entr(p[both])) - np.sum(p[both] * np.log(q[both])))

    @property
    def auc(self) -> float:
        p, q = self._laws()
        above = p[:, None] * q[None, :] - q[:, None] * p[None, :]  # sign: atom i is more member-like than atom j
        return float(np.sum(np.where(above > 0, 1.0, np.where(above == 0, 0.5, 0.0)) * p[:, None] * q[None, :]))

    def hockey_stick(self, epsilon: float) -> float:
        return _atoms_hockey_stick(*self._laws(), epsilon)

    def _members(self, random: np.random.Generator, n: int) -> FloatArray:
        return random.choice(len(self.members), size=(n, 1), p=self._laws()[0]).astype(np.float64)

    def _nonmembers(self, random: np.random.Generator, n: int) -> FloatArray:
        return random.choice(len(self.nonmembers), size=(n, 1), p=self._laws()[1]).astype(np.float64)


def _atoms_hockey_stick(p: FloatArray, q: FloatArray, epsilon: float) -> float:
    """Sum of the positive parts of ``p - exp(epsilon) q``."""
    return float(np.sum(np.maximum(p - np.exp(epsilon) * q, 0.0)))


def _positive(**argument: float) -> None:
    ((name, value),) = argument.items()
    if not (math.isfinite(value) and value > 0.0):
        raise ValueError(f"{name}={value!r} must be a finite number above 0.")
