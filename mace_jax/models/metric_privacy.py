"""What a release of noisy latent codes guarantees, in numbers and in words."""

from __future__ import annotations

import dataclasses
import math
from typing import Literal, final

import numpy as np

from mace_jax.models.latent_noise import LatentLaplace, RandomizedResponse

__all__ = ["MetricPrivacy", "TrainingData"]

TrainingData = Literal["public", "private", "dp_sgd"]

_WEIGHTS = {
    "public": "The encoder and decoder were trained on other, public records, so that nothing else depends on the "
    "released ones.",
    "private": "This holds for given encoder and decoder only. They were trained on private records, perhaps on these, "
    "and no guarantee covers what the weights and the scaling reveal about them: train on disjoint public records, or "
    "with DP-SGD.",
    "dp_sgd": "This holds for given encoder and decoder. They were trained by DP-SGD: a record used for both spends "
    "that guarantee's epsilon and delta on top.",
}


@final
@dataclasses.dataclass(frozen=True)
class MetricPrivacy:
    """Guarantee of ``copies`` releases of each record: noise of ``epsilon`` on codes clipped to norm ``radius``.

    ``str`` of it says the same in words.

    Example:
        >>> MetricPrivacy(epsilon=0.5, radius=3.0, latent_dim=8, training_data="public").per_record
        3.0
    """

    epsilon: float
    radius: float
    latent_dim: int
    training_data: TrainingData
    copies: int = 1
    labels: RandomizedResponse | None = None
    labels_released: bool = False

    @property
    def per_distance(self) -> float:
        """Privacy loss per unit of distance between clipped codes: copies times epsilon."""
        return self.copies * self.epsilon

    @property
    def per_record(self) -> float:
        """Local differential privacy of the features of one record: 2 radius copies epsilon."""
        return 2.0 * self.radius * self.per_distance

    @property
    def with_label(self) -> float:
        """Local differential privacy of a record with its label; infinite if labels are released as they are."""
        if not self.labels_released:
            return self.per_record
        return self.per_record + self.labels.exact_epsilon if self.labels else math.inf

    @property
    def typical(self) -> float:
        """Privacy loss between two codes at the root-mean-square distance sqrt(2 n) of standard normal ones."""
        return self.per_distance * math.sqrt(2.0 * self.latent_dim)

    @property
    def noise(self) -> LatentLaplace:
        """Law of the noise of one copy."""
        return LatentLaplace(self.latent_dim, self.epsilon)

    def between(self, first: np.ndarray, second: np.ndarray) -> float:
        """Privacy loss between two codes of norm at most ``radius``.

        Raises:
            ValueError: a code is longer than the radius or of another length.
        """
        codes = [np.asarray(code, np.float64) for code in (first, second)]
        for name, code in zip(("first", "second"), codes, strict=True):
            if code.shape != (self.latent_dim,) or not np.linalg.norm(code) <= self.radius * (1.0 + 1e-12):
                raise ValueError(
                    f"{name}={code.tolist()!r} must be {self.latent_dim} numbers of norm {self.radius} or less."
                )
        return self.per_distance * float(np.linalg.norm(codes[0] - codes[1]))

    def __str__(self) -> str:
        copies = "" if self.copies == 1 else f" times {self.copies} copies"
        parts = [
            f"Two records whose latent codes, clipped to norm {self.radius:g}, lie d apart are released under laws "
            f"whose densities differ by a factor of at most exp({self.per_distance:g} d) "
            f"(epsilon {self.epsilon:g}{copies}).",
            f"No two clipped codes are more than {2 * self.radius:g} apart, so that one record's features have "
            f"{self.per_record:g}-local differential privacy.",
            "The distance is that of the latent space: near records may have far codes.",
            _WEIGHTS[self.training_data],
            self._label_words(),
            "The bound is on real numbers: samplers in floating point can leak more to one who knows their rounding. "
            "Whoever knows the seed can subtract the noise.",
        ]
        return " ".join(parts)

    def _label_words(self) -> str:
        if not self.labels_released:
            return "No labels are released."
        if self.labels is None:
            return "Labels are released as they are: they have no protection, and the release depends on them."
        return (
            f"Labels are released by randomized response with epsilon {self.labels.exact_epsilon:g}, once for all "
            f"copies: record and label together have {self.with_label:g}-local differential privacy."
        )
