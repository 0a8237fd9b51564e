"""Utility: how useful synthetic records are, the other side of what they reveal."""

from mace_jax.utility._downstream import DownstreamAccuracy, downstream_accuracy
from mace_jax.utility._features import ClassifierFeatures
from mace_jax.utility._frechet import FrechetDistance, frechet_distance
from mace_jax.utility._manifold import PrecisionRecall, precision_recall_density_coverage

__all__ = [
    "ClassifierFeatures",
    "DownstreamAccuracy",
    "FrechetDistance",
    "PrecisionRecall",
    "downstream_accuracy",
    "frechet_distance",
    "precision_recall_density_coverage",
]
