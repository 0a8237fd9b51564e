"""Attacks on trained models and what they achieve; every score is higher = more member-like."""

from __future__ import annotations

from mace_jax.attacks import signals
from mace_jax.attacks._class_thresholds import ClassThresholds
from mace_jax.attacks._defense_benchmark import AttackedModel, DefenseBenchmark, defense_benchmark
from mace_jax.attacks._densities import AbstractDensity, KernelDensity, NeighborDensity
from mace_jax.attacks._domias import domias
from mace_jax.attacks._features import OrientedGradients, PrincipalComponents
from mace_jax.attacks._flow_density import FlowDensity
from mace_jax.attacks._gan_leaks import gan_leaks
from mace_jax.attacks._lira import LiraScores, lira
from mace_jax.attacks._logan import logan_black_box, logan_local_model
from mace_jax.attacks._metric_attacks import metric_attacks
from mace_jax.attacks._metric_rows import MetricAttack, MetricAttacks
from mace_jax.attacks._monte_carlo import monte_carlo
from mace_jax.attacks._named import discriminator_score, nearest_synthetic, reconstruction_error
from mace_jax.attacks._population import PopulationAttack, population_attack
from mace_jax.attacks._predictions import Predictions
from mace_jax.attacks._quantile import FittedQuantiles, QuantileCalibration, fit_quantiles, quantile_attack
from mace_jax.attacks._query import AttackQuery
from mace_jax.attacks._risk_correlates import NeighborDistances, RankCorrelation, neighbor_distances, risk_correlates
from mace_jax.attacks._risk_limits import risk_interval
from mace_jax.attacks._risk_reports import RiskCalibration, risk_calibration
from mace_jax.attacks._risk_score import RiskScores, privacy_risk_score
from mace_jax.attacks._risk_tables import RiskRow, RiskTable, risk_table
from mace_jax.attacks._rmia import rmia, tune_a
from mace_jax.attacks._score import score
from mace_jax.attacks._set import SetAccuracy, set_accuracy
from mace_jax.attacks._tables import (
    domias_table,
    encode_tables,
    gan_leaks_table,
    monte_carlo_table,
    nearest_synthetic_table,
)
from mace_jax.attacks._thresholds import best_threshold, oracle_accuracy_null
from mace_jax.attacks._top_n import TopN, excess_ratio, top_n_accuracy
from mace_jax.metrics import Roc, roc

__all__ = [
    "AbstractDensity",
    "AttackQuery",
    "AttackedModel",
    "ClassThresholds",
    "DefenseBenchmark",
    "FittedQuantiles",
    "FlowDensity",
    "KernelDensity",
    "LiraScores",
    "MetricAttack",
    "MetricAttacks",
    "NeighborDensity",
    "NeighborDistances",
    "OrientedGradients",
    "PopulationAttack",
    "Predictions",
    "PrincipalComponents",
    "QuantileCalibration",
    "RankCorrelation",
    "RiskCalibration",
    "RiskRow",
    "RiskScores",
    "RiskTable",
    "Roc",
    "SetAccuracy",
    "TopN",
    "best_threshold",
    "defense_benchmark",
    "discriminator_score",
    "domias",
    "domias_table",
    "encode_tables",
    "excess_ratio",
    "fit_quantiles",
    "gan_leaks",
    "gan_leaks_table",
    "lira",
    "logan_black_box",
    "logan_local_model",
    "metric_attacks",
    "monte_carlo",
    "monte_carlo_table",
    "nearest_synthetic",
    "nearest_synthetic_table",
    "neighbor_distances",
    "oracle_accuracy_null",
    "population_attack",
    "privacy_risk_score",
    "quantile_attack",
    "reconstruction_error",
    "risk_calibration",
    "risk_correlates",
    "risk_interval",
    "risk_table",
    "rmia",
    "roc",
    "score",
    "set_accuracy",
    "signals",
    "top_n_accuracy",
    "tune_a",
]
