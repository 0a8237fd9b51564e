"""Reconstruction and Monte Carlo attacks on a conditional variational autoencoder, single records and sets."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np

from mace_jax.attacks import PrincipalComponents, monte_carlo, set_accuracy
from mace_jax.data import split_records
from mace_jax.reproduce._kept import digest, kept
from mace_jax.reproduce._row import Row
from mace_jax.reproduce._run import Run

__all__ = ["cvae_fashion_mnist"]

_N_TRAIN, _N_MEMBERS, _N_ASKED = 60_000, 6_000, 2_000
_STEPS = 14_000  # 300 epochs of 6,000 records in batches of 128
_N_COMPONENTS, _PER_CLASS, _N_DRAWS = 40, 90_000, 300
_SIZE, _N_SETS = 100, 100
_NOTE = (
    "published figures are for MNIST: single 70.1 (reconstruction), 57.0 (Monte Carlo, as many samples of each "
    "class), Hilprecht et al. (2019), recomputed from the authors' raw results"
)


def cvae_fashion_mnist(run: Run, seeds: tuple[int, ...]) -> Iterator[Row]:
    """Fashion-MNIST: the published conditional autoencoder on a tenth of the training images.

    Monte Carlo compares each record with samples of its own class, in 40 principal components of the test images. With
    the median heuristic half of the records of an experiment have no sample in the ball, so its single decisions, and
    the majority of a set, are those of the distance to the nearest sample cut at its median: that distance is scored.
    """
    from mace_jax.models import published_cvae

    dataset = run.dataset("fashion_mnist")
    steps = run.steps(_STEPS)
    train, test = np.arange(_N_TRAIN), np.arange(_N_TRAIN, len(dataset))
    features = PrincipalComponents.fit(dataset.records[test], _N_COMPONENTS)
    for seed in seeds:
        parts = split_records(_N_TRAIN, (_N_MEMBERS, _N_TRAIN - _N_MEMBERS), seed=seed)
        members, nonmembers = (train[rows] for rows in parts)
        model = run.fitted(
            "cvae-fashion-mnist",
            published_cvae(),
            dataset.records[members],
            labels=dataset.labels[members],
            steps=steps,
            seed=seed,
        )
        draws = np.random.default_rng((seed, 7))
        asked = np.concatenate([draws.choice(rows, _N_ASKED, replace=False) for rows in (members, nonmembers)])
        records, labels = dataset.records[asked], dataset.labels[asked]
        base = Row(
            "cvae-fashion-mnist",
            "fashion_mnist",
            "conditional VAE, 10 % members",
            "",
            n_members=_N_MEMBERS,
            n_nonmembers=_N_ASKED,
            steps=steps,
            seed=seed,
            note="; ".join(filter(None, (run.note, f"experiments draw from {_N_ASKED:,} of the members", _NOTE))),
        )
        scores = _scores(run, model, records, labels, features, steps, seed)
        for attack, values in scores.items():
            yield from _figures(base, attack, values)


def _scores(
    run: Run, model: Any, records: np.ndarray, labels: np.ndarray, features: Any, steps: int, seed: int
) -> dict[str, np.ndarray]:
    """Both attacks; Monte Carlo class by class, each kept on file."""
    inputs = digest(records, labels, steps, _N_DRAWS, _PER_CLASS, features.directions, seed)
    reconstruction = kept(
        run,
        f"cvae-fashion-mnist seed {seed} reconstruction",
        inputs,
        lambda: {"scores": -model.reconstruction_error(records, labels=labels, seed=seed, n_draws=_N_DRAWS)},
    )["scores"]
    near = np.empty(len(records))
    for label in np.unique(labels).tolist():
        rows = np.flatnonzero(labels == label)
        near[rows] = kept(
            run,
            f"cvae-fashion-mnist seed {seed} Monte Carlo class {label}",
            inputs,
            lambda rows=rows: {
                "scores": monte_carlo(
                    records[rows],
                    model,
                    kind="nearest",
                    features=features,
                    labels=labels[rows],
                    n_samples=_PER_CLASS,
                    seed=seed,
                )
            },
        )["scores"]
    return {
        "reconstruction": reconstruction,
        f"Monte Carlo, PCA {_N_COMPONENTS}, median, {_PER_CLASS:,} samples of each class": near,
    }


def _figures(base: Row, attack: str, scores: np.ndarray) -> Iterator[Row]:
    """Single and set accuracy of experiments with 100 members and 100 non-members, chance one half."""
    found = set_accuracy(
        scores[:_N_ASKED], scores[_N_ASKED:], size=_SIZE, rule="majority", n_sets=_N_SETS, seed=base.seed or 0
    )
    for kind, value, error in (
        ("single", found.single, found.single_standard_error),
        ("set, majority", found.value, found.standard_error),
    ):
        yield dataclasses.replace(
            base,
            quantity=f"{attack}: accuracy, {kind}",
            value=value,
            low=max(0.0, value - 1.96 * error),
            high=min(1.0, value + 1.96 * error),
            interval=f"{_N_SETS} experiments of {_SIZE} + {_SIZE} records under this model",
            chance=0.5,
        )
