"""What an audit starts from: checked records, the queries they allow, and what is odd about them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from mace_jax import _validate
from mace_jax._audit_query import EvaluatedQuery, Settings
from mace_jax._progress import Stages
from mace_jax._random import generator
from mace_jax._types import FloatArray, SamplesRecords
from mace_jax.data import MembershipSample, count_shared_rows, duplicated_share
from mace_jax.queries import AbstractQuery, default_queries

__all__ = ["checked_records", "column_queries", "note_duplicates", "run_queries", "side_records"]

_FEW_SYNTHETIC = 100


def checked_records(**argument: Any) -> FloatArray:
    """At least 2 finite rows, or a message that names the argument."""
    ((name, value),) = argument.items()
    return _validate.finite(**{name: _validate.min_rows(2, **{name: _validate.as_records(**{name: value})})})


def column_queries(members: FloatArray, nonmembers: FloatArray, names: Sequence[str] | None) -> list[EvaluatedQuery]:
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


def side_records(
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
        records = checked_records(**{name: value})
        _validate.same_features(**{name: records, "members": members})
        checked.append(records)
    return checked[0], checked[1]


def run_queries(
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
    """Evaluate every query on all records at once, in random order.

    A model whose answer depends on the batch or on the row number must not tell the groups apart by their order.
    """
    if isinstance(queries, str):
        if queries != "auto":
            raise ValueError(f"queries={queries!r} is not known; pass 'auto' or a sequence of query objects.")
        chosen = default_queries(synthetic=synthetic, reference=reference, model=model)
        if synthetic is not None and len(synthetic) < _FEW_SYNTHETIC:
            notes.append(
                f"There are only {len(synthetic)} synthetic records: distances to them say little, and queries that "
                "need more are left out. Draw more from the model."
            )
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
    pooled = np.concatenate([members, nonmembers])
    order = generator(settings.seed, "query order").permutation(len(pooled))
    found = []
    for query in stages.each(chosen, "query", lambda one: one.name):
        shuffled = query(pooled[order], seed=settings.seed)
        outputs = np.empty_like(shuffled)
        outputs[order] = shuffled
        sample = MembershipSample(outputs[: len(members)], outputs[len(members) :])
        found.append(EvaluatedQuery(query.name, f"{query.description} Source: {query.source}.", sample))
    return found


def note_duplicates(members: FloatArray, nonmembers: FloatArray, mode: str, notes: list[str]) -> int:
    """Count members that occur among the non-members; equal scores alone are nothing unusual."""
    shared = count_shared_rows(members, nonmembers)
    repeated = max(duplicated_share(members), duplicated_share(nonmembers))
    suspicious = mode == "records" or repeated < 0.01
    if shared and suspicious:
        notes.append(
            f"{shared} of {len(members)} members also occur among the non-members. This voids the comparison, which "
            "assumes that non-members were not trained on: remove them from one of the two files and run again."
        )
    if repeated >= 0.01 and (mode == "records" or members.shape[1] > 1):
        notes.append(
            f"Up to {repeated:.0%} of a group's rows equal another row of the same group. Equal by chance they do no "
            "harm; copies of one record, or several records of one person, are not independent: they look like a "
            "leak where there is none, and the negative control cannot see it. Keep one row of each."
        )
    if mode == "records":
        lowest = np.minimum(members.min(axis=0), nonmembers.min(axis=0))
        constant = np.flatnonzero(np.maximum(members.max(axis=0), nonmembers.max(axis=0)) == lowest)
        if len(constant):
            notes.append(
                f"{len(constant)} of {members.shape[1]} record columns are constant (first: column {constant[0]}); "
                "they were kept and carry no information."
            )
    return shared
