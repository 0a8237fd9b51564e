"""What estimates P(member | query output): strategies, passed as ``estimator=``."""

from mace_jax.estimators._base import AbstractEstimator, FoldOutcome, Objective
from mace_jax.estimators._classifier import Classifier
from mace_jax.estimators._discrete import Discrete
from mace_jax.estimators._discrete_bounds import DiscreteBounds, discrete_bounds
from mace_jax.estimators._dkw import DKWBound, dkw_bound
from mace_jax.estimators._every_k import KNNPosteriors, knn_posteriors
from mace_jax.estimators._folds import plan_folds
from mace_jax.estimators._histogram import Histogram
from mace_jax.estimators._kde import KDE
from mace_jax.estimators._knn import KNN
from mace_jax.estimators._one_nn import OneNNBracket, one_nn_bracket
from mace_jax.estimators._threshold import Threshold

__all__ = [
    "KDE",
    "KNN",
    "AbstractEstimator",
    "Classifier",
    "DKWBound",
    "Discrete",
    "DiscreteBounds",
    "FoldOutcome",
    "Histogram",
    "KNNPosteriors",
    "Objective",
    "OneNNBracket",
    "Threshold",
    "discrete_bounds",
    "dkw_bound",
    "knn_posteriors",
    "one_nn_bracket",
    "plan_folds",
]
