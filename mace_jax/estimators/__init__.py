"""What estimates P(member | query output): strategies, passed as ``estimator=``."""

from mace_jax.estimators._base import AbstractEstimator, FoldOutcome, Objective
from mace_jax.estimators._knn import KNN
from mace_jax.estimators._threshold import Threshold

__all__ = ["KNN", "AbstractEstimator", "FoldOutcome", "Objective", "Threshold"]
