"""Synthetic versions of given records, from noisy latent codes."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple, final

import numpy as np
from jaxtyping import Int

from mace_jax import _random, _validate
from mace_jax._types import FloatArray, Seed
from mace_jax.models.encoding import Labels
from mace_jax.models.metric_privacy import MetricPrivacy
from mace_jax.models.vae import FittedVAE

__all__ = ["Publisher", "Release"]


class Release(NamedTuple):
    """Synthetic records, their labels (None without labels), and what their release guarantees."""

    records: FloatArray
    labels: np.ndarray | None
    privacy: MetricPrivacy


@final
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Publisher:
    """Clipped codes of given records, from which private synthetic records are drawn.

    Made by ``FittedMetricPrivateVAE.publisher``. It holds the codes and so is as private as the records: give away
    what it samples, not the publisher.
    """

    autoencoder: FittedVAE
    codes: FloatArray
    coding: Labels
    places: np.ndarray | None
    guarantee: MetricPrivacy

    def sample(self, n: int, *, seed: Seed) -> FloatArray:
        """Draw ``n`` synthetic records: each from one record, in random order, and all records before any again.

        Every call is a release of its own, whose privacy loss adds to that of earlier calls.

        Args:
            n: Number of synthetic records; the first rows of a larger draw are the rows of a smaller one.
            seed: Seeds order and noise; keep it secret.

        Returns:
            Array ``(n, d)`` in the units of the training records.

        Raises:
            ValueError: ``n`` is below 1.
        """
        n = _validate.positive_int(n=n)
        order = _random.generator(seed, "order of records").permutation(len(self.codes))
        return self.publish(order[np.arange(n) % len(order)], seed)[0]

    def privacy(self, n: int) -> MetricPrivacy:
        """What one call of ``sample`` with ``n`` guarantees.

        Raises:
            ValueError: ``n`` is below 1.
        """
        copies = -(-_validate.positive_int(n=n) // len(self.codes))
        return dataclasses.replace(self.guarantee, copies=copies)

    def publish(self, rows: Int[np.ndarray, " n"], seed: Seed) -> tuple[FloatArray, np.ndarray | None]:
        """One synthetic record per given row number, and the answer of each record of the publisher about its label.

        A record's label is answered once, however many synthetic records are made of it.
        """
        noisy = self.codes[rows] + self.guarantee.noise.sample(len(rows), seed=seed)
        answers = None
        if self.places is not None:
            response = self.guarantee.labels
            places = self.places if response is None else response.apply(self.places, seed=seed)
            answers = np.asarray(self.coding.values)[places]
        conditional = len(self.autoencoder.labels) > 0
        condition = answers[rows] if conditional and answers is not None else None
        return self.autoencoder.decode(noisy, condition), answers

    def __repr__(self) -> str:
        return f"Publisher(records={len(self.codes)}, epsilon={self.guarantee.epsilon:g})"
