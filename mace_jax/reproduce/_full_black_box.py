"""How the full black-box attack fades as a model has more training records, with and without calibration."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np

from mace_jax.attacks import gan_leaks
from mace_jax.bootstrap import bootstrap_roc
from mace_jax.data import split_records
from mace_jax.reproduce._area_row import area_row
from mace_jax.reproduce._kept import digest, kept
from mace_jax.reproduce._row import Row
from mace_jax.reproduce._run import Run

__all__ = ["full_black_box_fashion_mnist"]

_MEMBERS = (64, 256, 1_024, 4_096)
_N_NONMEMBERS, _MOST_MEMBERS = 1_000, 1_000
_STEPS, _N_SYNTHETIC, _N_RESAMPLES = 5_000, 20_000, 2_000
_RECORDS = "records under these models"
_KINDS = ("", ", calibrated by a model of as many records", ", calibrated by a model of most records")


def full_black_box_fashion_mnist(run: Run, seeds: tuple[int, ...]) -> Iterator[Row]:
    """Fashion-MNIST: an autoencoder of 64 to 4,096 members, and others to calibrate by.

    A reference model has as many other records as the model under attack has members, or 4,096 of them, which tells
    better how hard a record is. The member sets are nested, and so are the reference sets; the non-members are the
    same for all. All models train for the same number of steps, so fewer members are seen more often each.
    """
    from mace_jax.models import VAE

    settings = VAE(latent_dim=16, encoder_hidden=(256, 128), decoder_hidden=(128, 256), noise_sd=0.1, scaling="common")
    dataset = run.dataset("fashion_mnist")
    steps, most = run.steps(_STEPS), max(_MEMBERS)
    for seed in seeds:
        parts = split_records(len(dataset), (most, most, _N_NONMEMBERS), seed=seed)
        shuffled = [np.random.default_rng((seed, place)).permutation(rows) for place, rows in enumerate(parts)]
        nonmembers = dataset.records[shuffled[2]]
        areas: dict[str, list[float]] = {kind: [] for kind in _KINDS}
        references = {
            n: run.fitted(
                f"full-black-box-{n}-reference", settings, dataset.records[shuffled[1][:n]], steps=steps, seed=seed
            )
            for n in _MEMBERS
        }
        for n in _MEMBERS:
            members = dataset.records[shuffled[0][:n]]
            model = run.fitted(f"full-black-box-{n}", settings, members, steps=steps, seed=seed)
            models = [model, references[n], references[most]]
            asked = np.concatenate([members[:_MOST_MEMBERS], nonmembers])
            found = kept(
                run,
                f"full-black-box {n} seed {seed}",
                digest(asked, shuffled[1], settings, steps, _MEMBERS, _N_SYNTHETIC, seed),
                lambda models=models, asked=asked, seed=seed: _scores(models, asked, seed),
            )
            base = Row(
                "full-black-box-fashion-mnist",
                "fashion_mnist",
                f"VAE of {n:,} members",
                "",
                n_members=n,
                n_nonmembers=len(nonmembers),
                steps=steps,
                seed=seed,
                note="; ".join(filter(None, (run.note, f"at most {_MOST_MEMBERS:,} of the members are asked about"))),
            )
            yield from _figures(base, found, areas, n)
        for kind, values in areas.items():
            yield dataclasses.replace(
                base,
                model="VAE",
                quantity=f"full black box{kind}: largest rise of the AUC from one member count to the next",
                value=float(np.max(np.diff(values))),
                accepted=(None, 0.0),
            )


def _scores(models: list, asked: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """Plain scores, and calibrated ones by as many samples of each reference model."""
    plain, *others = (gan_leaks(asked, synthetic=model.sample(_N_SYNTHETIC, seed=seed)) for model in models)
    return dict(zip(_KINDS, [plain, *(plain - other for other in others)], strict=True))


def _figures(base: Row, scores: dict[str, np.ndarray], areas: dict[str, list[float]], n: int) -> Iterator[Row]:
    """Both areas, and their difference by resamples that weigh every record alike in both."""
    size, seed = min(n, _MOST_MEMBERS), base.seed or 0
    replicates = []
    for kind, values in areas.items():
        found = bootstrap_roc(scores[kind][:size], scores[kind][size:], n_resamples=_N_RESAMPLES, seed=seed)
        values.append(found.auc_estimate)
        replicates.append(found.auc.distribution)
        claimed = (0.95, None) if n == min(_MEMBERS) else None
        yield area_row(base, f"full black box{kind}: AUC", found, interval=_RECORDS, accepted=claimed)
    for place, kind in enumerate(_KINDS[1:], start=1):
        low, high = np.quantile(replicates[place] - replicates[0], [0.025, 0.975])
        yield dataclasses.replace(
            base,
            quantity=f"full black box{kind}: AUC minus that without",
            value=areas[kind][-1] - areas[_KINDS[0]][-1],
            low=float(low),
            high=float(high),
            interval=f"{_RECORDS}, paired bootstrap",
            chance=0.0,
            accepted=(0.0, None),
        )
