"""audit: the main job in one call, from records or query outputs to a report."""

from __future__ import annotations

import contextlib
import datetime
import importlib.metadata
import math
import time
import warnings as python_warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import numpy as np

from mace_jax import _validate
from mace_jax._audit_control import run_control
from mace_jax._audit_query import EvaluatedQuery, Settings, audit_query, fit_query
from mace_jax._progress import Stages, open_stages
from mace_jax._random import as_seed
from mace_jax._types import FloatArray, SamplesRecords, Seed
from mace_jax.certificates._api import certify_crossfits
from mace_jax.data import MembershipSample, count_shared_rows, duplicated_share
from mace_jax.metrics import LinearFractional
from mace_jax.metrics._linear_fractional import named_metric
from mace_jax.metrics._risk import risk_of_crossfit
from mace_jax.queries import AbstractQuery, default_queries
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
        n_permutations: Permutations behind each null and p-value; at least 39 at a confidence level of 0.95.
        n_synthetic: Records drawn from ``model`` when ``synthetic`` is not given and the model can sample.
        seed: Fixes everything random.
        progress: True shows a progress bar on a terminal; a function is called with (stage, fraction done).
        column_names: Names of the query columns in reports.

    Returns:
        The report; write it with ``to_json`` and ``to_html``, read it with ``summary``.

    Raises:
        TypeError: input that is not numeric, or a query that is none.
        ValueError: fewer than 2 rows, NaN or infinity, different widths, prior or levels outside (0, 1).

    Memory: the inputs as float64, about 150 bytes per record and scalar query, 2.5 kB per record and vector query.

    Example:
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
    first, second = _records(members=members), _records(nonmembers=nonmembers)
    _validate.same_features(members=first, nonmembers=second)
    notes: list[str] = []
    with open_stages(progress) as stages, _collected_warnings(notes):
        if synthetic is None and model is None and isinstance(queries, str):
            mode, synthetic_records, reference_records = "query outputs", None, None
            if reference is not None:
                raise ValueError("reference= calibrates queries of records; pass synthetic= or model= with it.")
            evaluated = _columns(first, second, column_names, settings)
        else:
            mode = "records"
            synthetic_records, reference_records = _side_records(
                first, synthetic, reference, model, n_synthetic, settings, stages
            )
            evaluated = _run_queries(
                first, second, queries, synthetic_records, reference_records, model, settings, stages, notes
            )
        shared = _look_for_duplicates(first, second, mode, notes)
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
    leak = is_leak(results, settings.confidence_level)
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


def _as_metrics(metrics: Sequence[LinearFractional | str]) -> Sequence[LinearFractional | str]:
    chosen = (metrics,) if isinstance(metrics, str | LinearFractional) else tuple(metrics)
    if not chosen:
        raise ValueError("metrics=() is empty; pass at least one, for example metrics=('balanced_accuracy',).")
    return chosen


def _records(**argument: Any) -> FloatArray:
    ((name, value),) = argument.items()
    return _validate.finite(**{name: _validate.min_rows(2, **{name: _validate.as_records(**{name: value})})})


def _columns(
    members: FloatArray, nonmembers: FloatArray, names: Sequence[str] | None, settings: Settings
) -> list[EvaluatedQuery]:
    """Every column as a scalar query, and all of them together."""
    width = members.shape[1]
    titles = [f"column {column}" for column in range(width)] if names is None else [str(name) for name in names]
    if names is None and width == 1:
        titles = ["score"]
    if len(titles) != width:
        raise ValueError(f"column_names has {len(titles)} names for {width} columns; pass one name per column.")
    if len(set(titles)) != width:
        repeated = next(name for name in titles if titles.count(name) > 1)
        raise ValueError(f"column_names has {repeated!r} more than once; give every column its own name.")
    found = [
        EvaluatedQuery(
            title,
            "Scores supplied by the user; higher is read as more member-like.",
            MembershipSample(members[:, [column]], nonmembers[:, [column]]),
        )
        for column, title in enumerate(titles)
    ]
    if width > 1:
        together = "all columns together"
        while together in titles:
            together += " "
        found.append(
            EvaluatedQuery(together, "All supplied scores as one vector.", MembershipSample(members, nonmembers))
        )
    return found


def _side_records(
    members: FloatArray,
    synthetic: Any,
    reference: Any,
    model: Any,
    n_synthetic: int,
    settings: Settings,
    stages: Stages,
) -> tuple[FloatArray | None, FloatArray | None]:
    """Checked synthetic and reference records; synthetic ones are drawn if the model can."""
    if synthetic is None and isinstance(model, SamplesRecords):
        n_synthetic = _validate.positive_int(n_synthetic=n_synthetic)
        with stages.stage("drawing synthetic records"):
            synthetic = model.sample(n_synthetic, seed=settings.seed)
    checked: list[FloatArray | None] = []
    for name, value in (("synthetic", synthetic), ("reference", reference)):
        if value is None:
            checked.append(None)
            continue
        records = _records(**{name: value})
        _validate.same_features(**{name: records, "members": members})
        checked.append(records)
    return checked[0], checked[1]


def _run_queries(
    members: FloatArray,
    nonmembers: FloatArray,
    queries: Literal["auto"] | Sequence[AbstractQuery],
    synthetic: FloatArray | None,
    reference: FloatArray | None,
    model: Any,
    settings: Settings,
    stages: Stages,
    notes: list[str],
) -> list[EvaluatedQuery]:
    if isinstance(queries, str):
        if queries != "auto":
            raise ValueError(f"queries={queries!r} is not known; pass 'auto' or a sequence of query objects.")
        chosen = default_queries(synthetic=synthetic, reference=reference, model=model)
    else:
        chosen = tuple(queries)
        if not chosen:
            raise ValueError("queries=() is empty; pass at least one query or 'auto'.")
        for query in chosen:
            if not isinstance(query, AbstractQuery):
                raise TypeError(f"queries holds {query!r}, which is no query; see mace_jax.queries.")
    names = [query.name for query in chosen]
    if len(set(names)) != len(names):
        repeated = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"queries has two named {repeated!r}; give every query its own name.")
    found = []
    for query in stages.each(chosen, "query", lambda one: one.name):
        outputs = [query(records, seed=settings.seed) for records in (members, nonmembers)]
        found.append(EvaluatedQuery(query.name, f"{query.description} ({query.source})", MembershipSample(*outputs)))
    return found


def _look_for_duplicates(members: FloatArray, nonmembers: FloatArray, mode: str, notes: list[str]) -> int:
    """Count members that occur among the non-members; equal scores alone are nothing unusual."""
    shared = count_shared_rows(members, nonmembers)
    suspicious = mode == "records" or max(duplicated_share(members), duplicated_share(nonmembers)) < 0.01
    if shared and suspicious:
        notes.append(
            f"{shared} of {len(members)} members also occur among the non-members. This voids the comparison, which "
            "assumes that non-members were not trained on: remove them from one of the two files and run again."
        )
    if mode == "records":
        for column in np.flatnonzero((np.ptp(members, axis=0) == 0) & (np.ptp(nonmembers, axis=0) == 0))[:1]:
            constant = int(((np.ptp(members, axis=0) == 0) & (np.ptp(nonmembers, axis=0) == 0)).sum())
            notes.append(
                f"{constant} of {members.shape[1]} record columns are constant (first: column {column}); "
                "they were kept and carry no information."
            )
    return shared


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
