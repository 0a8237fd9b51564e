"""Every attack on every reference model, small networks; and what stacking the attacks adds."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from mace_jax._types import FloatArray
from mace_jax.attacks import top_n_accuracy
from mace_jax.bootstrap import bootstrap_roc
from mace_jax.data import MembershipSample, split_records
from mace_jax.reproduce._area_row import area_row
from mace_jax.reproduce._every_attack import Budget, Side, Victim, every_attack
from mace_jax.reproduce._held_out import bounds, chosen, fixed
from mace_jax.reproduce._kept import digest, kept, slug
from mace_jax.reproduce._row import Row
from mace_jax.reproduce._run import Run

__all__ = ["attacks_digits", "attacks_fashion_mnist"]

_N_SYNTHETIC = 10_000
_STEPS, _CRITIC_STEPS, _LOCAL_STEPS = 4_000, 1_500, 3_000
_LATENT = 10
_FACTOR = 10.0  # of epsilon: noise of a tenth of the typical distance of two codes
_MODELS = ("GAN", "WGANGP", "VAE", "PrivGAN(2)", "PIGAN(2)", "MetricPrivateVAE")
_RECORDS = "records under this model"


class _Setting(NamedTuple):
    """What differs between data sets."""

    experiment: str
    dataset: str
    sizes: tuple[int, int, int]  # members, non-members, reference
    image_shape: tuple[int, int, int]
    hidden: int
    budget: Budget


_DIGITS = _Setting("attacks-digits", "digits", (300, 1_197, 300), (8, 8, 1), 128, Budget())
_FASHION = _Setting(
    "attacks-fashion-mnist",
    "fashion_mnist",
    (500, 1_000, 500),
    (28, 28, 1),
    256,
    Budget(n_queries=300, search_steps=100),
)


def attacks_digits(run: Run, seeds: tuple[int, ...]) -> Iterator[Row]:
    """8x8 digits, 300 of 1,797 members; the attacker has 300 other records and a model of the same kind of those."""
    return _rows(run, _DIGITS, seeds)


def attacks_fashion_mnist(run: Run, seeds: tuple[int, ...]) -> Iterator[Row]:
    """Fashion-MNIST, 500 members among 1,500 records; the attacker has 500 other records."""
    return _rows(run, _FASHION, seeds)


def _rows(run: Run, setting: _Setting, seeds: tuple[int, ...]) -> Iterator[Row]:
    dataset = run.dataset(setting.dataset)
    settings, values = _settings(setting.hidden), np.asarray(dataset.records, np.float64)
    for seed in seeds:
        parts = split_records(len(dataset), setting.sizes, seed=seed)
        members, nonmembers, reference = (values[rows] for rows in parts)
        side = Side(reference, setting.image_shape, settings["GAN"], run.steps(_LOCAL_STEPS))
        gains: list[tuple[float, float]] = []
        for name in _MODELS:
            steps = run.steps(_CRITIC_STEPS if name == "WGANGP" else _STEPS)
            label = f"{setting.experiment}-{slug(name)}"
            victim = _victim(run, name, label, settings[name], members, reference, steps, seed)
            base = Row(
                setting.experiment,
                setting.dataset,
                name if name != "MetricPrivateVAE" else f"MetricPrivateVAE, epsilon {_epsilon():.3g}",
                "",
                n_members=len(members),
                n_nonmembers=len(nonmembers),
                steps=steps,
                seed=seed,
                note=run.note,
            )
            records = np.concatenate([members, nonmembers])
            scores = every_attack(run, victim, side, records, budget=setting.budget, seed=seed)
            for attack, found in scores.items():
                yield from _figures(base, attack, found[: len(members)], found[len(members) :])
            yield from _compared(run, base, victim.name, scores, len(members), gains)
        yield from _bars(dataclasses.replace(base, model="all models"), gains)


def _settings(hidden: int) -> dict[str, Any]:
    from mace_jax.models import GAN, PIGAN, VAE, WGANGP, MetricPrivateVAE, PrivGAN

    widths: dict[str, Any] = {
        "latent_dim": 32,
        "generator_hidden": (hidden, hidden),
        "discriminator_hidden": (256, 128),
        "scaling": "common",
    }
    rates: dict[str, Any] = {"generator_learning_rate": 1e-3, "discriminator_learning_rate": 1e-3}
    vae = VAE(latent_dim=_LATENT, scaling="common")
    return {
        "GAN": GAN(**widths, **rates),
        "WGANGP": WGANGP(**widths, generator_learning_rate=5e-4, discriminator_learning_rate=5e-4),
        "VAE": vae,
        "PrivGAN(2)": PrivGAN(
            privacy_delay=600, privacy_pretraining=200, privacy_learning_rate=1e-3, real_target=0.95, **widths, **rates
        ),
        "PIGAN(2)": PIGAN(classifier_learning_rate=1e-3, classifier_pretraining=200, **widths, **rates),
        "MetricPrivateVAE": MetricPrivateVAE(vae, training_data="private"),
    }


def _epsilon() -> float:
    return _FACTOR * math.sqrt(_LATENT / 2)


def _victim(
    run: Run, name: str, label: str, settings: Any, members: FloatArray, reference: FloatArray, steps: int, seed: int
) -> Victim:
    """The model of the members and, from another seed, the one of the reference records."""
    own = run.fitted(label, settings, members, steps=steps, seed=seed)
    other = run.fitted(f"{label}-reference", settings, reference, steps=steps, seed=seed + 1_000)
    if name == "MetricPrivateVAE":  # releases a record for each record it was given; nothing else is to be had
        own, other = (
            model.release(records, epsilon=_epsilon(), seed=seed).records
            for model, records in ((own, members), (other, reference))
        )
        return Victim(label, None, own, None, other)
    samples = (model.sample(_N_SYNTHETIC, seed=seed) for model in (own, other))
    first, second = samples
    return Victim(label, own, first, other, second)


def _figures(base: Row, attack: str, members: FloatArray, nonmembers: FloatArray) -> Iterator[Row]:
    """Area under the ROC curve and top-n accuracy."""
    seed = base.seed or 0
    area = bootstrap_roc(members, nonmembers, n_resamples=1000, seed=seed)
    yield area_row(base, f"{attack}: AUC", area, interval=_RECORDS)
    top = top_n_accuracy(members, nonmembers, seed=seed)
    yield dataclasses.replace(
        base,
        quantity=f"{attack}: top-n",
        value=top.value,
        low=top.low,
        high=top.high,
        interval=_RECORDS,
        chance=top.chance,
    )


def _compared(
    run: Run, base: Row, label: str, scores: dict[str, FloatArray], n: int, gains: list[tuple[float, float]]
) -> Iterator[Row]:
    """What the best stack reaches beyond the best single attack, both chosen on records that do not judge them."""
    seed, names = base.seed or 0, tuple(scores)
    outputs = np.stack(list(scores.values()), axis=1)
    found = kept(
        run,
        f"{label} seed {seed} best stack",
        digest(outputs, n, names, seed),
        lambda: _stack_against_single(MembershipSample(outputs[:n], outputs[n:]), names, seed),
    )
    gains.append((float(found["stack"][1]), float(found["single"][1])))
    words = {
        "stack": ("advantage of the best stack of attacks", "by half: {}"),
        "single": ("advantage of the best single attack", "by half: {}"),
        "difference": ("best stack minus best single attack, paired", ""),
        "afterwards": ("largest advantage of a single attack, known afterwards", f"{{}}; chosen among {len(names)}"),
    }
    for which, (quantity, remark) in words.items():
        value, low, high = map(float, found[which])
        chose = "; ".join(found.get(f"{which} names", np.array([])).tolist())
        yield dataclasses.replace(
            base,
            quantity=quantity,
            value=value,
            low=low,
            high=high,
            interval=_RECORDS,
            chance=0.0,
            note="; ".join(filter(None, (base.note, remark.format(chose)))),
        )


def _stack_against_single(sample: MembershipSample, names: tuple[str, ...], seed: int) -> dict[str, Any]:
    """Advantages with limits, and what was chosen."""
    stacked, single = chosen(sample, names, seed=seed)
    found = bounds(stacked, single, seed=seed)
    each = (fixed(sample, column, names, seed=seed) for column in range(len(names)))
    best = max(each, key=lambda one: one.advantage)
    return {
        "stack": found.stacked,
        "single": found.single,
        "difference": found.difference,
        "afterwards": bounds(best, single, seed=seed).stacked,
        "stack names": stacked.names,
        "single names": single.names,
        "afterwards names": best.names[:1],
    }


def _bars(base: Row, gains: list[tuple[float, float]]) -> Iterator[Row]:
    """Lower limits of stacks against lower limits of single attacks, over the models."""
    differences = np.array([stack - single for stack, single in gains])
    yield dataclasses.replace(
        base,
        quantity="share of models on which the stack's lower limit is at least the single attack's",
        value=float((differences >= 0.0).mean()),
        accepted=(0.75, None),
    )
    yield dataclasses.replace(
        base,
        quantity="smallest lower limit of a stack minus that of the single attack",
        value=float(differences.min()),
        accepted=(-0.02, None),
    )
