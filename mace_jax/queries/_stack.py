"""Several queries as one vector query."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any, final

import numpy as np

from mace_jax._types import FloatArray, Seed
from mace_jax.queries._base import AbstractQuery

__all__ = ["Stack"]


@final
@dataclasses.dataclass(frozen=True, eq=False, init=False)
class Stack(AbstractQuery):
    """The outputs of several queries side by side: what an adversary sees who asks all of them.

    Args:
        queries: The queries, in the order of the output columns.

    Raises:
        TypeError: an element is not a query.
        ValueError: no query was given.

    Example:
        >>> from mace_jax.queries import MonteCarlo, NearestSynthetic
        >>> synthetic = [[0.0], [1.0]]
        >>> Stack([NearestSynthetic(synthetic), MonteCarlo(synthetic, radius=1.0)])([[0.0]], seed=0).tolist()
        [[0.0, 1.0]]
    """

    queries: tuple[AbstractQuery, ...]

    def __init__(self, queries: Iterable[AbstractQuery]) -> None:
        parts = tuple(queries)
        if not parts:
            raise ValueError("queries is empty; pass at least one query to stack.")
        for part in parts:
            if not isinstance(part, AbstractQuery):
                raise TypeError(f"queries holds {part!r}, which is not a query; pass objects from mace_jax.queries.")
        object.__setattr__(self, "queries", parts)

    @property
    def name(self) -> str:
        return " + ".join(part.name for part in self.queries)

    @property
    def description(self) -> str:
        return "Several measurements of the record taken together: " + ", ".join(p.name for p in self.queries) + "."

    @property
    def source(self) -> str:
        return "; ".join(dict.fromkeys(part.source for part in self.queries))

    def __call__(self, records: Any, *, seed: Seed) -> FloatArray:
        return np.concatenate([part(records, seed=seed) for part in self.queries], axis=1)
