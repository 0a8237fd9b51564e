"""Kullback-Leibler divergence from neighbor radii: the two-sample form and the common-radius form."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy.special import digamma

from mace_jax._types import FloatArray
from mace_jax.divergences._pair import Pair
from mace_jax.divergences._radii import CommonRadius, common_radius, log_radius_ratio, ratio_at_q

__all__ = ["RadiusTerms", "common_radius_terms", "near_k", "radius_kl", "two_sample_terms"]

_CLEAR = 4
_COPIES = 0.01


class RadiusTerms(NamedTuple):
    """``ln p/q`` of every P row, whose mean is the estimate, and ``p/q`` of every Q row, if these were looked up."""

    log_ratio: FloatArray
    ratio: FloatArray | None

    @property
    def value(self) -> float:
        return float(self.log_ratio.mean())

    @property
    def influence(self) -> tuple[FloatArray, FloatArray] | None:
        """``ln r(x)`` and ``1 - r(y)``, not centered; None without the Q rows."""
        return None if self.ratio is None else (self.log_ratio, 1.0 - self.ratio)


def two_sample_terms(pair: Pair, k: int) -> FloatArray:
    """``d ln(nu / rho) + ln(m / (n - 1))`` per P row."""
    return log_radius_ratio(pair, k) + math.log(pair.m / (pair.n - 1))


def common_radius_terms(pair: Pair, k: int, counts: CommonRadius | None = None) -> FloatArray:
    """Digamma of both counts at the common radius: ``psi(c)`` for the one row on the sphere, ``psi(c + 1)`` else."""
    found = common_radius(pair, k) if counts is None else counts
    alone = found.on_sphere_p + found.on_sphere_q == 1
    a = found.among_p + 1 - (alone & (found.on_sphere_p == 1))
    b = found.among_q + 1 - (alone & (found.on_sphere_q == 1))
    return digamma(a) - digamma(b) + math.log(pair.m / (pair.n - 1))


def radius_kl(pair: Pair, k: int, *, form: str) -> RadiusTerms:
    """Either form, for records without atoms."""
    terms = two_sample_terms(pair, k) if form == "knn" else common_radius_terms(pair, k)
    return RadiusTerms(terms, ratio_at_q(pair, k) if pair.at_q else None)


def near_k(pair: Pair, k: int, counts: CommonRadius) -> bool:
    """Whether over 1 % of the P rows are copies whose number is neither 1 nor far above k."""
    copied = pair.copied[: pair.n]
    clear = (counts.radius == 0.0) & (np.minimum(counts.among_p, counts.among_q) >= _CLEAR * k)
    return bool((copied & ~clear).mean() > _COPIES)
