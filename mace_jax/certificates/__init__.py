"""Lower bounds on leakage that hold at a stated level: advantage and epsilon."""

from mace_jax.certificates._api import certify
from mace_jax.certificates._caps import (
    auc_from_epsilon,
    epsilon_from_auc,
    epsilon_from_metric,
    metric_from_epsilon,
    posterior_cap,
    tpr_cap,
)
from mace_jax.certificates._certificate import Certificate
from mace_jax.certificates._epsilon import (
    advantage_from_epsilon,
    epsilon_from_advantage,
    epsilon_from_counts,
    epsilon_from_rates,
)
from mace_jax.certificates._fdp import approximate_trade_off, f_dp_parameter, gaussian_trade_off, laplace_trade_off
from mace_jax.certificates._gdp import GaussianBound, epsilon_gdp, gdp_delta, gdp_epsilon
from mace_jax.certificates._joint_beta import EpsilonInterval, epsilon_joint_beta
from mace_jax.certificates._one_run import epsilon_one_run, epsilon_one_run_prior, one_run_p_value
from mace_jax.certificates._one_run_fdp import epsilon_one_run_fdp, mu_one_run_fdp
from mace_jax.certificates._profile import delta_from_mixture, privacy_profile_bound
from mace_jax.certificates._queries import QueryBounds, epsilon_over_queries, epsilon_p_value, holm
from mace_jax.certificates._search import ScoreBound, epsilon_from_scores

__all__ = [
    "advantage_from_epsilon",
    "approximate_trade_off",
    "auc_from_epsilon",
    "certify",
    "delta_from_mixture",
    "epsilon_from_advantage",
    "epsilon_from_auc",
    "epsilon_from_counts",
    "epsilon_from_metric",
    "epsilon_from_rates",
    "epsilon_from_scores",
    "epsilon_gdp",
    "epsilon_joint_beta",
    "epsilon_one_run",
    "epsilon_one_run_fdp",
    "epsilon_one_run_prior",
    "epsilon_over_queries",
    "epsilon_p_value",
    "f_dp_parameter",
    "gaussian_trade_off",
    "gdp_delta",
    "gdp_epsilon",
    "holm",
    "laplace_trade_off",
    "metric_from_epsilon",
    "mu_one_run_fdp",
    "one_run_p_value",
    "posterior_cap",
    "privacy_profile_bound",
    "tpr_cap",
    "Certificate",
    "EpsilonInterval",
    "GaussianBound",
    "QueryBounds",
    "ScoreBound",
]
