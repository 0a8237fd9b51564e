"""Noise that makes latent codes private in their Euclidean metric, and labels private by randomized response."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, final

import numpy as np
from jaxtyping import Float, Int

from mace_jax import _random, _validate
from mace_jax._types import FloatArray, Seed
from mace_jax.models import _settings

__all__ = ["LatentLaplace", "RandomizedResponse", "clip_norm"]


@final
@dataclasses.dataclass(frozen=True)
class LatentLaplace:
    """Laplace noise in n dimensions: density C exp(-epsilon |eta|) with the Euclidean norm.

    C = epsilon^n Gamma(n / 2) / (2 pi^(n / 2) Gamma(n)). For codes v and v' the densities of v + eta and v' + eta
    differ nowhere by more than the factor exp(epsilon |v - v'|), by the triangle inequality. The norm of the noise
    follows Gamma(n, 1 / epsilon) and its direction is uniform, so that in many dimensions the noise lies on a shell
    of radius n / epsilon whose relative width is 1 / sqrt(n).

    The sampler works in float64 and is not safe against an attacker who uses rounding: floating-point noise cannot
    take every value, and which values it takes depends on the code. The bound is one on real numbers.

    Args:
        dim: Number n of dimensions.
        epsilon: Privacy loss per unit of Euclidean distance.

    Raises:
        TypeError: ``dim`` is not an integer.
        ValueError: an argument is not above 0.

    References:
        Chatzikokolakis, Andres, Bordenabe and Palamidessi (2013), Broadening the scope of differential privacy using
        metrics. Mironov (2012), On significance of the least significant bits for differential privacy.

    Example:
        >>> law = LatentLaplace(dim=10, epsilon=2.0)
        >>> law.mean_norm, law.sample(3, seed=0).shape
        (5.0, (3, 10))
    """

    dim: int
    epsilon: float

    def __post_init__(self) -> None:
        """Check both numbers."""
        _validate.positive_int(dim=self.dim)
        _settings.positive(epsilon=self.epsilon)

    @property
    def log_constant(self) -> float:
        """Logarithm of C."""
        n = self.dim
        surface = math.log(2.0) + 0.5 * n * math.log(math.pi) - math.lgamma(0.5 * n)
        return n * math.log(self.epsilon) - surface - math.lgamma(n)

    @property
    def mean_norm(self) -> float:
        """Expected norm of the noise, n / epsilon."""
        return self.dim / self.epsilon

    @property
    def sd_norm(self) -> float:
        """Standard deviation of the norm, sqrt(n) / epsilon."""
        return math.sqrt(self.dim) / self.epsilon

    @property
    def coordinate_variance(self) -> float:
        """Variance of each coordinate, (n + 1) / epsilon^2; coordinates are uncorrelated but not independent."""
        return (self.dim + 1) / self.epsilon**2

    def log_density(self, noise: Any) -> Float[np.ndarray, " rows"]:
        """Log-density of each row.

        Args:
            noise: Rows of ``dim`` numbers.

        Returns:
            Array ``(rows,)`` in nats.

        Raises:
            ValueError: NaN or another number of columns.
        """
        values = _settings.model_records(noise, self.dim) if self.dim > 1 else _validate.as_records(records=noise)
        return self.log_constant - self.epsilon * np.linalg.norm(values, axis=1)

    def sample(self, n: int, *, seed: Seed) -> Float[np.ndarray, "n dim"]:
        """Draw the noise of ``n`` records.

        Args:
            n: Number of rows.
            seed: Seeds radii and directions; row i depends on the seed and on i alone. The same seed gives the same
                directions at every epsilon, so never use one seed for two releases of the same records.

        Returns:
            Array ``(n, dim)``.

        Raises:
            ValueError: ``n`` is below 1.
        """
        n = _validate.positive_int(n=n)
        radius = _random.generator(seed, "latent noise", "radius").standard_gamma(self.dim, size=n) / self.epsilon
        normal = _random.generator(seed, "latent noise", "direction").standard_normal((n, self.dim))
        return radius[:, None] * normal / np.linalg.norm(normal, axis=1, keepdims=True)


@final
@dataclasses.dataclass(frozen=True)
class RandomizedResponse:
    """Keeps a label or replaces it by one of the others, uniformly: the label's own privacy.

    The label is replaced with probability f = (k - 1) / (exp(epsilon) + k - 1), rounded up to a multiple of 2^-53 so
    that the sampler realizes it exactly. Every answer is then at most exp(``exact_epsilon``) times as likely under
    one label as under another, and ``exact_epsilon`` exceeds ``epsilon`` by rounding at most.

    Args:
        n_labels: Number k of possible labels, 2 or more.
        epsilon: Privacy loss of the label; 0 answers at random.

    Raises:
        TypeError: ``n_labels`` is not an integer.
        ValueError: fewer than 2 labels, or a negative epsilon.

    References:
        Warner (1965), Randomized response. Kairouz, Bonawitz and Ramage (2016), Discrete distribution estimation
        under local privacy.

    Example:
        >>> round(RandomizedResponse(10, epsilon=2.0).keep, 3)
        0.451
    """

    n_labels: int
    epsilon: float

    def __post_init__(self) -> None:
        """Check both numbers."""
        _validate.positive_int(n_labels=self.n_labels, minimum=2)
        _validate.non_negative(epsilon=self.epsilon)

    @property
    def replace(self) -> float:
        """Probability that another label is given, a multiple of 2^-53."""
        others = self.n_labels - 1
        exact = others * math.exp(-self.epsilon) / (1.0 + others * math.exp(-self.epsilon))
        return max(math.ceil(math.ldexp(exact, 53)), 1) * 2.0**-53

    @property
    def keep(self) -> float:
        """Probability that the label is given."""
        return 1.0 - self.replace

    @property
    def exact_epsilon(self) -> float:
        """Privacy loss that the probabilities of this sampler really have."""
        return abs(math.log1p(-self.replace) + math.log(self.n_labels - 1) - math.log(self.replace))

    def apply(self, places: Int[np.ndarray, " n"], *, seed: Seed) -> Int[np.ndarray, " n"]:
        """Answers to the given label positions.

        Args:
            places: Positions of the true labels, from 0 to ``n_labels`` - 1.
            seed: Seeds the answers; answer i depends on the seed, on i and on label i alone.

        Returns:
            Positions of the answers.

        Raises:
            ValueError: a position is out of range.
        """
        truth = np.asarray(places)
        if (
            truth.dtype.kind not in "iu"
            or truth.ndim != 1
            or (len(truth) and not 0 <= truth.min() <= truth.max() < self.n_labels)
        ):
            raise ValueError(f"places={places!r} must be integers from 0 to {self.n_labels - 1}, one per record.")
        replaced = _random.generator(seed, "labels", "replaced").random(len(truth)) < self.replace
        shift = 1 + _random.generator(seed, "labels", "other").integers(self.n_labels - 1, size=len(truth))
        return np.where(replaced, (truth + shift) % self.n_labels, truth)


def clip_norm(codes: FloatArray, radius: float) -> FloatArray:
    """Codes farther than ``radius`` from the origin, pulled back to it."""
    norms = np.linalg.norm(codes, axis=1, keepdims=True)
    return codes * np.minimum(1.0, radius / np.maximum(norms, np.finfo(np.float64).tiny))
