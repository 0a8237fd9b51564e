"""Designs that turn scores of trained models into claims about the training algorithm.

The coins that decide who is trained on are drawn before training and kept; afterwards the scores are read against them.

>>> import numpy as np
>>> from mace_jax.certificates import design
>>> coins = design.independent_coins(1000, seed=0)      # 1. draw, save
>>> rows = coins.train_indices()                        # 2. train on these candidates and on whatever else is fixed
>>> scores = coins.included + np.random.default_rng(0).laplace(size=1000)  # 3. score all candidates, in order
>>> certificate = coins.certify(scores)                 # 4. a lower bound on the algorithm's epsilon, here 1
>>> certificate.claim, bool(0.3 < certificate.epsilon < 1.0)
('the training algorithm', True)
"""

from mace_jax.certificates.design._coins import CoinDesign, independent_coins
from mace_jax.certificates.design._load import load_design
from mace_jax.certificates.design._paired import PairedDesign, paired_coins
from mace_jax.certificates.design._retrainings import RetrainingDesign, retrainings

__all__ = [
    "CoinDesign",
    "PairedDesign",
    "RetrainingDesign",
    "independent_coins",
    "load_design",
    "paired_coins",
    "retrainings",
]
