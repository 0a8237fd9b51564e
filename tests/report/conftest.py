"""A report made from small real computations: scores N(1, 1) against N(0, 1), one noise query, a control."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import stats

from mace_jax.certificates import Certificate, epsilon_from_counts
from mace_jax.metrics import IndividualRisk, RecordRisks
from mace_jax.report import (
    SCHEMA_VERSION,
    AdvantageResult,
    ControlResult,
    DataSummary,
    Histogram,
    OperatingPoint,
    QueryResult,
    Report,
    RocResult,
)

LEVEL = 0.95


def best_gap(members: np.ndarray, nonmembers: np.ndarray) -> tuple[float, float]:
    """The largest TPR - FPR over all thresholds, and the threshold that reaches it."""
    cuts = np.unique(np.concatenate([members, nonmembers]))
    gaps = share_from(members, cuts) - share_from(nonmembers, cuts)
    place = int(np.argmax(gaps))
    return float(gaps[place]), float(cuts[place])


def share_from(scores: np.ndarray, cuts: np.ndarray) -> np.ndarray:
    return 1.0 - np.searchsorted(np.sort(scores), cuts, side="left") / len(scores)


def limits(count: int, n: int, miss: float) -> tuple[float, float]:
    low = stats.beta.ppf(miss, count, n - count + 1) if count else 0.0
    high = stats.beta.isf(miss, count + 1, n - count) if count < n else 1.0
    return float(low), float(high)


def advantage(members: np.ndarray, nonmembers: np.ndarray, estimator: str, rng: np.random.Generator) -> AdvantageResult:
    plug_in, _ = best_gap(members, nonmembers)
    cut = best_gap(members[::2], nonmembers[::2])[1]
    tpr, fpr = float(np.mean(members[1::2] >= cut)), float(np.mean(nonmembers[1::2] >= cut))
    spread = float(np.sqrt(tpr * (1 - tpr) / len(members[1::2]) + fpr * (1 - fpr) / len(nonmembers[1::2])))
    pooled = np.concatenate([members, nonmembers])
    null = []
    for _ in range(39):
        mixed = rng.permutation(pooled)
        a, b = mixed[: len(members)], mixed[len(members) :]
        cut0 = best_gap(a[::2], b[::2])[1]
        null.append(float(np.mean(a[1::2] >= cut0) - np.mean(b[1::2] >= cut0)))
    value = tpr - fpr
    return AdvantageResult(
        estimator=estimator,
        metric="balanced_accuracy",
        prior=0.5,
        value=(1.0 + value) / 2.0,
        advantage=value,
        plug_in=plug_in,
        low=value - 1.96 * spread,
        high=value + 1.96 * spread,
        confidence_level=LEVEL,
        null_mean=float(np.mean(null)),
        null_high=float(np.quantile(null, LEVEL)),
        p_value=(1 + sum(entry >= value for entry in null)) / (len(null) + 1),
        n_permutations=len(null),
        true_positive_rate=tpr,
        false_positive_rate=fpr,
        covers="the advantage of the rule fitted on one half, over new records like those of the other half",
        status=() if len(members) >= 200 else ("Fewer than 200 records: intervals are wide.",),
    )


def roc(members: np.ndarray, nonmembers: np.ndarray) -> RocResult:
    cuts = np.unique(np.concatenate([members, nonmembers]))[::-1]
    fpr = np.concatenate([[0.0], share_from(nonmembers, cuts)])
    tpr = np.concatenate([[0.0], share_from(members, cuts)])
    points = []
    for target in (0.01, 0.001):
        place = int(np.flatnonzero(fpr <= target)[-1])
        low, high = limits(round(tpr[place] * len(members)), len(members), 0.025)
        points.append(OperatingPoint(target, float(fpr[place]), float(tpr[place]), low, high))
    auc = float(np.sum(np.diff(fpr) * (tpr[1:] + tpr[:-1]) / 2.0))
    keep = np.unique(np.linspace(0, len(fpr) - 1, min(len(fpr), 256)).astype(int))
    spread = 1.96 * float(np.sqrt(auc * (1 - auc) / min(len(members), len(nonmembers))))
    return RocResult(
        score="the query output",
        auc=auc,
        auc_low=max(0.0, auc - spread),
        auc_high=min(1.0, auc + spread),
        false_positive_rate=tuple(fpr[keep].tolist()),
        true_positive_rate=tuple(tpr[keep].tolist()),
        tpr_at_fpr=tuple(points),
    )


def certificate(named: list[tuple[str, np.ndarray, np.ndarray]]) -> Certificate:
    counts, advantage_bound, epsilon_bound = [], 0.0, 0.0
    miss = (1 - LEVEL) / (2 * len(named))
    for name, members, nonmembers in named:
        cut = best_gap(members[::2], nonmembers[::2])[1]
        hits, alarms = int(np.sum(members[1::2] >= cut)), int(np.sum(nonmembers[1::2] >= cut))
        low = limits(hits, len(members[1::2]), miss)[0]
        high = limits(alarms, len(nonmembers[1::2]), miss)[1]
        counts.append(
            {
                "query": name,
                "rule": f"score >= {cut:.4g}",
                "true_positives": hits,
                "members": len(members[1::2]),
                "false_positives": alarms,
                "nonmembers": len(nonmembers[1::2]),
            }
        )
        advantage_bound = max(advantage_bound, low - high)
        epsilon_bound = max(
            epsilon_bound,
            epsilon_from_counts(hits, len(members[1::2]), alarms, len(nonmembers[1::2]), confidence_level=1 - 2 * miss),
        )
    return Certificate(
        epsilon=epsilon_bound,
        advantage=advantage_bound,
        confidence_level=LEVEL,
        delta=0.0,
        claim="this model",
        method="Clopper-Pearson limits on held-out counts; error probability shared equally by all rules (Bonferroni)",
        assumptions=(
            "The evaluated members are a uniform random part of the training records.",
            "The non-members are independent draws from the same population and were never trained on.",
            "Each rule was fixed on records that were not counted.",
        ),
        counts=tuple(counts),
        fingerprint="9f2c61d0a4b7",
    )


def query(name: str, members: np.ndarray, nonmembers: np.ndarray, rng: np.random.Generator) -> QueryResult:
    edges = np.histogram_bin_edges(np.concatenate([members, nonmembers]), bins=30)
    return QueryResult(
        name=name,
        description="How close the record lies to what the model produces.",
        kind="scalar",
        n_outputs=1,
        advantages=(
            advantage(members, nonmembers, "KNN", rng),
            advantage(members[::-1], nonmembers[::-1], "Threshold", rng),
        ),
        roc=roc(members, nonmembers),
        histogram=Histogram(
            label="score (higher = more member-like)",
            edges=tuple(edges.tolist()),
            members=tuple(int(count) for count in np.histogram(members, edges)[0]),
            nonmembers=tuple(int(count) for count in np.histogram(nonmembers, edges)[0]),
        ),
        certificate=certificate([(name, members, nonmembers)]),
    )


def risks(outputs: np.ndarray, members: np.ndarray, nonmembers: np.ndarray, k: int = 45) -> RecordRisks:
    pooled = np.concatenate([members, nonmembers])
    nearest = np.argsort(np.abs(outputs[:, None] - pooled[None, :]), axis=1)[:, :k]
    k1 = np.sum(nearest < len(members), axis=1)
    low, high = np.array([limits(int(hits), k, 0.025) for hits in k1]).T
    return RecordRisks(
        posterior=k1 / k,
        log_ratio=np.log((k1 + 0.5) / (k - k1 + 0.5)),
        low=low,
        high=high,
        q_value=stats.false_discovery_control(stats.binom.sf(k1 - 1, k, len(members) / len(pooled))),
    )


def build(names: tuple[str, ...] = ("nearest synthetic distance", "noise"), n: int = 240, seed: int = 0) -> Report:
    """A report whose even queries are shifted by one standard deviation and whose odd ones are noise."""
    rng = np.random.default_rng(seed)
    queries, controls, named = [], [], []
    members = nonmembers = np.zeros(0)
    for place, name in enumerate(names):
        scores = (rng.normal(1.0 - place % 2, 1.0, n), rng.normal(0.0, 1.0, n))
        members, nonmembers = scores if place == 0 else (members, nonmembers)
        queries.append(query(name, *scores, rng))
        controls.append((name, *np.split(scores[1], 2)))
        named.append((name, *scores))
    return Report(
        schema_version=SCHEMA_VERSION,
        verdict="The model leaks membership: the best query tells members from non-members far better than chance.",
        leak_detected=True,
        queries=tuple(queries),
        certificate=certificate(named),
        individual_risk=IndividualRisk(
            members=risks(members, members, nonmembers),
            nonmembers=risks(nonmembers, members, nonmembers),
            prior=0.5,
            confidence_level=LEVEL,
            n_neighbors=45,
        ),
        individual_risk_query=names[0],
        control=ControlResult(
            passed=True,
            sentence="Nothing was found between two halves of the non-members, as it should be.",
            n_members=n // 2,
            n_nonmembers=n - n // 2,
            queries=tuple((name, advantage(a, b, "KNN", rng)) for name, a, b in controls),
            certificate=certificate(controls),
        ),
        control_skipped=None,
        data=DataSummary("records", n, n, 64, 2 * n, 0, 0),
        warnings=("Column 'zip' is constant; it was kept.",),
        settings={"metrics": ("balanced_accuracy",), "prior": 0.5, "delta": 0.0, "n_resamples": 1000, "model": None},
        seed=seed,
        versions={"mace-jax": "0.1.0", "jax": "0.10.2", "python": "3.11.2"},
        device="cpu (2 cores)",
        created="2026-01-02T03:04:05+00:00",
        elapsed_seconds=12.5,
    )


@pytest.fixture(scope="session")
def report() -> Report:
    return build()


@pytest.fixture(scope="session")
def make_report() -> Callable[..., Report]:
    """A function: names of the queries and changed fields in, report out."""

    def make(names: tuple[str, ...] = ("nearest synthetic distance",), **changes: Any) -> Report:
        return dataclasses.replace(build(names, n=120), **changes)

    return make
