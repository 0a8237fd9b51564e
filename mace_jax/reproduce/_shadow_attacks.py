"""Shadow-model attacks on an overfit classifier, beside attacks that need no shadow model."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from mace_jax._random import generator
from mace_jax._types import FloatArray
from mace_jax.attacks._lira import lira
from mace_jax.attacks._population import population_attack
from mace_jax.attacks._quantile import quantile_attack
from mace_jax.attacks._rmia import rmia, tune_a
from mace_jax.bootstrap import bootstrap_roc
from mace_jax.data import split_records
from mace_jax.metrics import roc
from mace_jax.reproduce._area_row import area_row
from mace_jax.reproduce._row import Row
from mace_jax.reproduce._run import Run

__all__ = ["shadow_attacks_digits", "shadow_attacks_fashion_mnist"]

_LOSS, _LIRA = "loss, one threshold", "LiRA, online, fixed variance"
_RATES = (0.01, 0.001)
_LEAST_RATIO = 5.0
_TUNED_ON = 6  # reference models for RMIA's a


class _Setting(NamedTuple):
    """What differs between data sets."""

    experiment: str
    dataset: str
    n_pool: int
    n_population: int
    n_shadow: int
    n_targets: int
    settings: dict[str, Any]
    pooled: bool  # means of 2 x 2 pixels
    claimed: bool
    quantile_rate: float = 0.001  # that quantile regression aims at; it needs as many records as can tell it from 0


class _Audit(NamedTuple):
    """What all attacks look at: the signal and log probability of every model for the pool and the population."""

    signal: FloatArray  # (models, n), targets first
    logs: FloatArray
    population_signal: FloatArray
    population_logs: FloatArray
    included: np.ndarray
    features: FloatArray
    population_features: FloatArray
    labels: np.ndarray
    population_labels: np.ndarray


def shadow_attacks_fashion_mnist(run: Run, seeds: tuple[int, ...]) -> Iterator[Row]:
    """Fashion-MNIST in 14 x 14 pixels: 10,000 of 20,000 records, 64 shadow models, 4 targets, 20,000 others."""
    settings = {"hidden": (256,), "steps": 12_000, "batch_size": 64, "learning_rate": 2e-3, "scaling": "common"}
    setting = _Setting(
        "shadow-attacks-fashion-mnist", "fashion_mnist", 20_000, 20_000, 64, 4, settings, pooled=True, claimed=True
    )
    return _rows(run, setting, seeds)


def shadow_attacks_digits(run: Run, seeds: tuple[int, ...]) -> Iterator[Row]:
    """8x8 digits: 600 of 1,200 records, 64 shadow models, 4 targets, 597 others; too few for the smallest rate."""
    settings = {"hidden": (64,), "steps": 1_500, "batch_size": 32, "scaling": "common"}
    setting = _Setting(
        "shadow-attacks-digits", "digits", 1_200, 597, 64, 4, settings, pooled=False, claimed=False, quantile_rate=0.01
    )
    return _rows(run, setting, seeds)


def _rows(run: Run, setting: _Setting, seeds: tuple[int, ...]) -> Iterator[Row]:
    dataset = run.dataset(setting.dataset)
    records = np.asarray(dataset.records, np.float64)
    if setting.pooled:
        side = dataset.record_shape[0] // 2
        records = records.reshape(len(records), side, 2, side, 2).mean(axis=(2, 4)).reshape(len(records), -1)
    for seed in seeds:
        parts = split_records(len(records), (setting.n_pool, setting.n_population), seed=seed)
        fitted = _models(run, setting, records[parts[0]], dataset.labels[parts[0]], seed)
        audit = _audit(fitted, records, dataset.labels, parts)
        n_members = int(fitted.included[: setting.n_targets].sum())
        base = Row(
            setting.experiment,
            setting.dataset,
            f"perceptron {fitted.settings.hidden}, {setting.n_targets} targets",
            "",
            n_members=n_members,
            n_nonmembers=setting.n_targets * setting.n_pool - n_members,
            steps=fitted.settings.steps,
            seed=seed,
            note="; ".join(filter(None, (run.note, f"{setting.n_shadow} shadow models; members and non-members of all "
                                         "targets together"))),
        )  # fmt: skip
        yield from _accuracies(base, setting, fitted, records, dataset.labels, parts)
        scores = _scores(run, setting, audit, seed)
        for attack, found in scores.items():
            yield from _figures(base, setting, attack, found, audit.included[: setting.n_targets])
        yield _ratio(base, setting, scores, audit.included[: setting.n_targets])


def _models(run: Run, setting: _Setting, pool: FloatArray, labels: np.ndarray, seed: int) -> Any:
    """Targets with halves of their own, then the shadow models: no member of one is decided by another."""
    from mace_jax.models._shadow_design import balanced_membership
    from mace_jax.models.shadow import ShadowModels

    rng = generator(seed, "targets")
    halves = np.arange(setting.n_pool) < setting.n_pool // 2
    targets = np.stack([rng.permutation(halves) for _ in range(setting.n_targets)])
    shadows = balanced_membership(setting.n_shadow, setting.n_pool, 0.5, seed)
    steps = run.steps(setting.settings["steps"])
    settings = ShadowModels(**{**setting.settings, "steps": steps})
    run.announce(f"{setting.experiment}, seed {seed}: {setting.n_shadow + setting.n_targets} models, {steps} steps")
    return settings.fit(
        pool,
        labels,
        seed=seed,
        included=np.concatenate([targets, shadows]),
        progress=run.progress,
        checkpoint_dir=run.out / "models" / f"{setting.experiment}-seed{seed}",
    )


def _audit(fitted: Any, records: FloatArray, labels: np.ndarray, parts: Any) -> _Audit:
    pool, population = (records[rows] for rows in parts)
    own, others = (labels[rows] for rows in parts)
    classes = np.unique(labels)
    seen = [np.column_stack([x, 10.0 * np.equal.outer(y, classes)]) for x, y in ((pool, own), (population, others))]
    return _Audit(
        fitted.signal(pool, own),
        fitted.log_probability(pool, own),
        fitted.signal(population, others),
        fitted.log_probability(population, others),
        fitted.included,
        seen[0],
        seen[1],
        own,
        others,
    )


def _accuracies(
    base: Row, setting: _Setting, fitted: Any, records: FloatArray, labels: np.ndarray, parts: Any
) -> Iterator[Row]:
    """How overfit the targets are."""
    targets = fitted.select(list(range(setting.n_targets)))
    right = np.asarray(targets.labels.values)[targets.logits(records[parts[0]]).argmax(axis=2)] == labels[parts[0]]
    for quantity, mask in (("on members", targets.included), ("on non-members", ~targets.included)):
        yield dataclasses.replace(base, quantity=f"accuracy {quantity}", value=float(right[mask].mean()))


def _scores(run: Run, setting: _Setting, audit: _Audit, seed: int) -> dict[str, FloatArray]:
    """Every attack on every target, ``(targets, n)``."""
    first = setting.n_targets
    shadow, logs, population_logs = (array[first:] for array in (audit.signal, audit.logs, audit.population_logs))
    included = audit.included[first:]
    tuned = tune_a(logs[:_TUNED_ON], population_logs[:_TUNED_ON], included[:_TUNED_ON])
    found: dict[str, list[FloatArray]] = {}
    for target in range(first):
        run.announce(f"{setting.experiment}, seed {seed}: attacks on target {target}")
        own, population = audit.signal[target], audit.population_signal[target]
        check = {"target_included": audit.included[target]}
        given = audit.logs[target], logs, audit.population_logs[target], population_logs

        def by_lira(**options: Any) -> FloatArray:
            return lira(own, shadow, included, **check, **options).scores  # noqa: B023

        each = {
            _LOSS: own,
            "population attack, by class": -population_attack(
                own, population, labels=audit.labels, population_labels=audit.population_labels, min_count=1
            ).p_values,
            "quantile regression": quantile_attack(
                audit.features, own, audit.population_features, population, alpha=setting.quantile_rate, seed=seed
            ),
            _LIRA: by_lira(),
            "LiRA, online, variance per record": by_lira(variance="per_record"),
            "LiRA, offline, fixed variance": by_lira(mode="offline"),
            "LiRA, offline, variance per record": by_lira(mode="offline", variance="per_record"),
            "LiRA, offline density, fixed variance": by_lira(mode="offline", offline="density"),
            "RMIA, online": rmia(*given, mode="online", included=included, **check),
            "RMIA, offline, a tuned": rmia(*given, a=tuned, included=included, **check),
        }
        for name, scores in each.items():
            found.setdefault(name, []).append(scores)
    return {name: np.stack(scores) for name, scores in found.items()}


def _figures(base: Row, setting: _Setting, attack: str, scores: FloatArray, included: np.ndarray) -> Iterator[Row]:
    """Area and TPRs, all targets together; a record that several targets saw is one unit."""
    ids = np.broadcast_to(np.arange(included.shape[1]), included.shape)
    found = bootstrap_roc(
        scores[included],
        scores[~included],
        false_positive_rates=_RATES,
        n_resamples=1000,
        clusters=(ids[included], ids[~included]),
        seed=base.seed or 0,
    )
    row = dataclasses.replace(base, model=f"{attack}: {base.model}", interval="records under these targets")
    yield area_row(row, "AUC", found)
    for rate, value, result in zip(_RATES, found.tpr_estimates, found.tpr, strict=True):
        yield dataclasses.replace(
            row, quantity=f"TPR at FPR {rate:g}", value=value, low=result.low, high=result.high, chance=rate
        )


def _ratio(base: Row, setting: _Setting, scores: dict[str, FloatArray], included: np.ndarray) -> Row:
    """How many times more members LiRA finds than the loss attack at the smallest rate; records drawn in pairs."""
    rate, level = _RATES[-1], base.confidence_level
    tprs = [roc(scores[name][included], scores[name][~included]).tpr_at_fpr(rate).tpr for name in (_LIRA, _LOSS)]
    row = dataclasses.replace(
        base,
        quantity=f"TPR at FPR {rate:g} of LiRA over that of the loss attack",
        interval="records under these targets, drawn for both attacks together",
        accepted=(_LEAST_RATIO, None) if setting.claimed and not base.note.startswith("trained for") else None,
        chance=1.0,
    )
    if tprs[1] == 0.0:
        return dataclasses.replace(row, note=f"{row.note}; the loss attack finds no member, LiRA {tprs[0]:.4f} of them")
    pairs = np.stack([_resampled(scores[name], included, rate, base.seed or 0) for name in (_LIRA, _LOSS)])
    with np.errstate(divide="ignore"):
        ratios = np.sort(np.where(pairs[1] > 0.0, pairs[0] / np.where(pairs[1] > 0.0, pairs[1], 1.0), np.inf))
    low, high = (
        float(ratios[min(len(ratios) - 1, int(at * len(ratios)))]) for at in (0.5 - level / 2, 0.5 + level / 2)
    )
    return dataclasses.replace(row, value=tprs[0] / tprs[1], low=low, high=high if np.isfinite(high) else None)


def _resampled(
    scores: FloatArray, included: np.ndarray, rate: float, seed: int, n_resamples: int = 2_000
) -> FloatArray:
    """TPRs at the rate for Poisson weights of the records, the same for every attack."""
    ids = np.broadcast_to(np.arange(included.shape[1]), included.shape)
    others, members = scores[~included], scores[included]
    order = np.argsort(-others, kind="stable")
    others, other_ids = others[order], ids[~included][order]
    order = np.argsort(-members, kind="stable")
    members, member_ids = members[order], ids[included][order]
    rng, found = generator(seed, "ratio of rates"), np.empty(n_resamples)
    for place in range(n_resamples):
        weight = rng.poisson(1.0, included.shape[1]).astype(np.float64)
        alarms = np.cumsum(weight[other_ids])
        over = int(np.searchsorted(alarms, rate * alarms[-1] + 1e-9, side="right"))  # the first alarm too many
        hits = weight[member_ids]
        caught = np.searchsorted(-members, -others[min(over, len(others) - 1)], side="left")
        found[place] = hits[:caught].sum() / hits.sum()
    return found
