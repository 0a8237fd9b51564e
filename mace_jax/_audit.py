"""audit: the main job in one call, from records or query outputs to a report."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import importlib.metadata
import math
import time
import warnings as python_warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

from mace_jax import _validate
from mace_jax._audit_control import run_control
from mace_jax._audit_inputs import checked_records, column_queries, note_duplicates, run_queries, side_records
from mace_jax._audit_query import Settings, audit_query, fit_query
from mace_jax._progress import open_stages
from mace_jax._random import as_seed
from mace_jax._types import Seed
from mace_jax.certificates._api import certify_crossfits
from mace_jax.metrics import LinearFractional
from mace_jax.metrics._linear_fractional import named_metric
from mace_jax.metrics._risk import risk_of_crossfit
from mace_jax.queries import AbstractQuery
from mace_jax.report import SCHEMA_VERSION, DataSummary, QueryResult, Report
from mace_jax.report._verdict import is_leak, verdict_sentence

__all__ = ["audit"]


def audit(
    members: Any,
    nonmembers: Any,
    *,
    synthetic: Any = None,
    reference: Any = None,
    model: Any = None,
    queries: Literal["auto"] | Sequence[AbstractQuery] = "auto",
    metrics: Sequence[LinearFractional | str] = ("balanced_accuracy",),
    prior: float = 0.5,
    delta: float = 0.0,
    confidence_level: float = 0.95,
    n_resamples: int = 10_000,
    n_permutations: int = 999,
    n_synthetic: int = 10_000,
    seed: Seed = 0,
    progress: bool | Callable[[str, float], None] = False,
    column_names: Sequence[str] | None = None,
) -> Report:
    """How much a generative model leaks about its training records, and how sure that is.

    Runs the queries, estimates for each the optimal membership advantage with interval and permutation null, certifies
    lower bounds on advantage and epsilon on held-out records (for each query alone, and over all of them), computes
    every record's privacy risk, and repeats the whole between two halves of the non-members as a negative control.

    Args:
        members: Records the model was trained on ``(n, d)``, or query outputs on them ``(n, q)`` when neither
            ``synthetic`` nor ``model`` nor ``queries`` is given: each column is then one query, higher = more
            member-like, and several columns are also tried together.
        nonmembers: Records from the same source it was not trained on ``(m, d)``, or query outputs on them.
        synthetic: Records drawn from the model ``(s, d)``.
        reference: Further records from the same source, in neither group; used to calibrate queries only.
        model: Anything with ``discriminator_score(records)``, ``reconstruction_error(records, seed=...)`` or
            ``sample(n, seed=...)``, such as a fitted model of ``mace_jax.models``.
        queries: "auto" for all that the inputs allow, or query objects of ``mace_jax.queries``.
        metrics: Metrics or their names; the first one is the headline.
        prior: Probability that a record is a member, as the adversary sees it.
        delta: Of the certified (epsilon, delta).
        confidence_level: Of intervals and certificates.
        n_resamples: Bootstrap replicates.
        n_permutations: Permutations behind each null and p-value; at least 39 at a confidence level of 0.95,
            and raised where the number of queries needs more.
        n_synthetic: Records drawn from ``model`` when ``synthetic`` is not given and the model can sample.
        seed: Fixes everything random.
        progress: True shows a progress bar on a terminal; a function is called with (stage, fraction done).
        column_names: Names of the query columns in reports.

    Returns:
        The report; write it with ``to_json`` and ``to_html``, read it with ``summary``.

    Raises:
        TypeError: input that is not numeric, or a query that is none.
        ValueError: fewer than 2 rows, NaN or infinity, different widths, prior or levels outside (0, 1).

    Memory: the inputs as float64, about 0.3 kB per record and scalar query and 2.5 kB per record and vector query, plus
    the larger of 0.2 GB and 4 kB per record of the largest query while its null is computed.

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> report = audit(rng.normal(1, 1, 400), rng.normal(0, 1, 400), n_permutations=99)
        >>> report.leak_detected
        True
    """
    started = time.monotonic()
    settings = Settings(
        metrics=tuple(named_metric(metric) for metric in _as_metrics(metrics)),
        prior=_validate.in_open_unit(prior=prior),
        delta=_validate.probability(delta=delta),
        confidence_level=_validate.in_open_unit(confidence_level=confidence_level),
        n_resamples=_validate.positive_int(minimum=100, n_resamples=n_resamples),
        n_permutations=_enough_permutations(n_permutations, confidence_level),
        seed=as_seed(seed),
    )
    first, second = checked_records(members=members), checked_records(nonmembers=nonmembers)
    _validate.same_features(members=first, nonmembers=second)
    notes: list[str] = []
    with open_stages(progress) as stages, _collected_warnings(notes):
        if synthetic is None and model is None and isinstance(queries, str):
            mode, synthetic_records, reference_records = "query outputs", None, None
            if reference is not None:
                raise ValueError("reference= calibrates queries of records; pass synthetic= or model= with it.")
            evaluated = column_queries(first, second, column_names)
        else:
            mode = "records"
            synthetic_records, reference_records = side_records(
                first, synthetic, reference, model, n_synthetic, settings, stages
            )
            evaluated = run_queries(
                first, second, queries, synthetic_records, reference_records, model, settings, stages, notes
            )
        settings = _enough_for_queries(settings, len(evaluated), notes)
        shared = note_duplicates(first, second, mode, notes)
        for query in evaluated:
            query.note_constants(notes)
        fits = {
            query.name: fit_query(query, settings)
            for query in stages.each(evaluated, "sorting and searching neighbors", lambda q: q.name)
        }
        results: list[QueryResult] = []
        for query in evaluated:
            with stages.stage(f"permutation null: {query.name}") as on_progress:
                results.append(audit_query(query, fits[query.name], settings, on_progress))
        certificate = certify_crossfits(
            {name: list(fitted.values()) for name, fitted in fits.items()},
            delta=settings.delta,
            confidence_level=settings.confidence_level,
            seed=settings.seed,
        )
        strongest = max(results, key=lambda result: (result.advantage.low, result.advantage.advantage))
        risk = risk_of_crossfit(
            fits[strongest.name]["KNN"],
            prior=settings.prior,
            confidence_level=settings.confidence_level,
            n_looks=len(results),
        )
        control, skipped = run_control(evaluated, settings, stages)
    leak = is_leak(results, certificate, settings.confidence_level)
    return Report(
        schema_version=SCHEMA_VERSION,
        verdict=verdict_sentence(results, certificate, leak, control),
        leak_detected=leak,
        queries=tuple(results),
        certificate=certificate,
        individual_risk=risk,
        individual_risk_query=strongest.name,
        control=control,
        control_skipped=skipped,
        data=DataSummary(
            mode=mode,
            n_members=len(first),
            n_nonmembers=len(second),
            n_features=first.shape[1],
            n_synthetic=0 if synthetic_records is None else len(synthetic_records),
            n_reference=0 if reference_records is None else len(reference_records),
            shared_rows=shared,
        ),
        warnings=tuple(dict.fromkeys(notes)),
        settings=settings.to_dict(),
        seed=settings.seed,
        versions=_versions(),
        device=_device(),
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        elapsed_seconds=round(time.monotonic() - started, 3),
    )


def _enough_permutations(n_permutations: int, confidence_level: float) -> int:
    """The smallest p-value, 1 / (n + 1), must be able to reject at the level of one interval limit."""
    n_permutations = _validate.positive_int(n_permutations=n_permutations)
    fewest = math.ceil(2.0 / (1.0 - confidence_level) - 1e-9) - 1
    if n_permutations < fewest:
        raise ValueError(
            f"n_permutations={n_permutations} cannot give a p-value small enough for confidence_level="
            f"{confidence_level}: with so few, no interval could exclude 0; pass at least {fewest}."
        )
    return n_permutations


def _enough_for_queries(settings: Settings, n_queries: int, notes: list[str]) -> Settings:
    """Holm's correction multiplies the smallest p-value by the number of queries; it must still be able to reject."""
    fewest = math.ceil(2.0 * n_queries / (1.0 - settings.confidence_level) - 1e-9) - 1
    if settings.n_permutations >= fewest:
        return settings
    notes.append(
        f"n_permutations was raised from {settings.n_permutations} to {fewest}: with fewer, {n_queries} queries at "
        f"confidence_level={settings.confidence_level} could never show a leak."
    )
    return dataclasses.replace(settings, n_permutations=fewest)


def _as_metrics(metrics: Sequence[LinearFractional | str]) -> Sequence[LinearFractional | str]:
    chosen = (metrics,) if isinstance(metrics, str | LinearFractional) else tuple(metrics)
    if not chosen:
        raise ValueError("metrics=() is empty; pass at least one, for example metrics=('balanced_accuracy',).")
    return chosen


@contextlib.contextmanager
def _collected_warnings(notes: list[str]) -> Iterator[None]:
    """What queries and models warn about belongs into the report."""
    with python_warnings.catch_warnings(record=True) as caught:
        python_warnings.simplefilter("always", UserWarning)
        yield
    for warning in caught:
        if issubclass(warning.category, UserWarning):
            notes.append(str(warning.message))
        else:
            python_warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)


def _versions() -> dict[str, str]:
    found = {}
    for name in ("mace-jax", "jax", "jaxlib", "numpy", "scipy", "flax", "optax"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def _device() -> str:
    import jax

    device = jax.devices()[0]
    return f"{device.platform} ({device.device_kind})"
