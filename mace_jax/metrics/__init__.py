"""Metrics of membership inference: advantage, individual risk, ROC."""

from mace_jax.metrics._advantage import AdvantageEstimate, RuleCounts, optimal_membership_advantage
from mace_jax.metrics._individual import IndividualRisk, RecordRisks
from mace_jax.metrics._linear_fractional import (
    LinearFractional,
    accuracy,
    balanced_accuracy,
    cost,
    f_beta,
    jaccard,
)
from mace_jax.metrics._risk import individual_privacy_risk
from mace_jax.metrics._roc import Roc, roc

__all__ = [
    "AdvantageEstimate",
    "IndividualRisk",
    "LinearFractional",
    "RecordRisks",
    "Roc",
    "RuleCounts",
    "accuracy",
    "balanced_accuracy",
    "cost",
    "f_beta",
    "individual_privacy_risk",
    "jaccard",
    "optimal_membership_advantage",
    "roc",
]
