"""Metrics of membership inference: advantage, individual risk, ROC."""

from mace_jax.metrics._advantage import AdvantageEstimate, RuleCounts, optimal_membership_advantage
from mace_jax.metrics._curve import AdvantageCurve, CurvePoint, advantage_curve
from mace_jax.metrics._individual import IndividualRisk, RecordRisks
from mace_jax.metrics._linear_fractional import (
    LinearFractional,
    accuracy,
    balanced_accuracy,
    cost,
    f_beta,
    jaccard,
    precision,
)
from mace_jax.metrics._optimum import optimum, shift_prior
from mace_jax.metrics._reliability import Reliability, reliability
from mace_jax.metrics._risk import individual_privacy_risk
from mace_jax.metrics._roc import Roc, roc

__all__ = [
    "AdvantageCurve",
    "AdvantageEstimate",
    "CurvePoint",
    "IndividualRisk",
    "LinearFractional",
    "RecordRisks",
    "Reliability",
    "Roc",
    "RuleCounts",
    "accuracy",
    "advantage_curve",
    "balanced_accuracy",
    "cost",
    "f_beta",
    "individual_privacy_risk",
    "jaccard",
    "optimal_membership_advantage",
    "optimum",
    "precision",
    "reliability",
    "roc",
    "shift_prior",
]
