"""Records released through noisy latent codes: what they reveal and what they are good for, against epsilon."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy.special import logsumexp

from mace_jax.bootstrap import bootstrap_roc
from mace_jax.data import split_records
from mace_jax.queries import NearestSynthetic
from mace_jax.reproduce._area_row import area_row
from mace_jax.reproduce._row import Row
from mace_jax.reproduce._run import Run
from mace_jax.utility._downstream import fit_classifier

__all__ = ["metric_private_vae"]

_LATENT, _STEPS, _SIZES = 10, 3_000, (800, 400, 597)
_FACTORS = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)


def metric_private_vae(run: Run, seeds: tuple[int, ...]) -> Iterator[Row]:
    """Digits: an autoencoder of 800 public ones, one synthetic record for each of 400 members.

    Epsilon runs through multiples of ``sqrt(latent_dim / 2)``, where the noise is as long as the typical distance of
    two codes. Attacked are the released records, by the distance of an original record to the nearest of them, and a
    classifier trained on them, by its confidence in the original record's label.
    """
    from mace_jax.models import VAE, MetricPrivateVAE

    dataset = run.dataset("digits")
    settings = MetricPrivateVAE(VAE(latent_dim=_LATENT, scaling="common"), training_data="public")
    for seed in seeds:
        parts = split_records(len(dataset), _SIZES, seed=seed)
        public, members, nonmembers = (dataset.records[rows] for rows in parts)
        labels, others = dataset.labels[parts[1]], dataset.labels[parts[2]]
        fitted = run.fitted("digits-metric-private-vae", settings, public, steps=run.steps(_STEPS), seed=seed)
        for factor in _FACTORS:
            epsilon = factor * math.sqrt(_LATENT / 2)
            released = fitted.release(members, labels, epsilon=epsilon, seed=seed)
            base = Row(
                "metric-private-vae",
                "digits",
                f"MetricPrivateVAE, epsilon {epsilon:.3g} per unit of latent distance",
                "",
                n_members=len(members),
                n_nonmembers=len(nonmembers),
                steps=fitted.steps,
                seed=seed,
                note=run.note or "autoencoder trained on other records; labels released as they are",
            )
            nearest = NearestSynthetic(released.records)
            yield _area(
                base,
                "AUC of the distance to the nearest released record",
                nearest(members, seed=seed)[:, 0],
                nearest(nonmembers, seed=seed)[:, 0],
            )
            classifier = fit_classifier("mlp", released.records, released.labels, seed)
            yield _area(
                base,
                "AUC of the confidence of a classifier trained on released records",
                _confidence(classifier, members, labels),
                _confidence(classifier, nonmembers, others),
            )
            yield dataclasses.replace(
                base,
                quantity="downstream accuracy",
                value=float(classifier.score(nonmembers, others)),
                chance=float(np.bincount(others).max() / len(others)),
            )


def _area(base: Row, quantity: str, members: np.ndarray, nonmembers: np.ndarray) -> Row:
    found = bootstrap_roc(members, nonmembers, n_resamples=1000, seed=base.seed or 0)
    return area_row(base, quantity, found, interval="records under this model")


def _confidence(classifier: Any, records: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Logit of each record's own label against all others, from the network's outputs: nothing is rounded to 1."""
    scaler, network = classifier.steps[0][1], classifier.steps[1][1]
    (first, second), (hidden, last) = network.coefs_, network.intercepts_
    outputs = np.maximum(scaler.transform(records) @ first + hidden, 0.0) @ second + last
    own = np.equal.outer(labels, network.classes_)
    others = np.where(own, -np.inf, outputs)
    return np.where(own.any(axis=1), np.where(own, outputs, 0.0).sum(axis=1), outputs.min(axis=1)) - logsumexp(
        others, axis=1
    )
