"""The integral of ``p^order q^(1 - order)``, by distances, by cells, or by both where records have copies."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from mace_jax._status import Status
from mace_jax._types import FloatArray
from mace_jax.divergences import _cells
from mace_jax.divergences._alpha import heavy_tailed, jackknifed_log, noiseless, power_terms, power_terms_at_q
from mace_jax.divergences._atoms import atoms_and_rest_power
from mace_jax.divergences._estimate import Resampling
from mace_jax.divergences._pair import Pair, checked_pair
from mace_jax.divergences._radii import ratio_at_q, winsorized

__all__ = ["Integral", "cell_integral", "integral"]


class Integral(NamedTuple):
    """``J = int p^order q^(1 - order)`` and the logarithm that is free of the bias of a log of a mean."""

    value: float
    log: float
    influence: tuple[FloatArray, FloatArray]
    method: str
    status: Status
    resampling: Resampling
    details: dict[str, Any]


def integral(pair: Pair, k: int, order: float) -> Integral:
    """On existing lists; copies are cells."""
    needed = max(order, 1.0 - order) if order < 1.0 else order - 1.0
    if k <= needed:
        raise ValueError(f"order={order} needs k > {needed}, got k={k}; pass a larger k.")
    status, details, method = pair.status(), {}, "knn"
    if pair.has_atoms(k):
        terms, ratio, bias, cells = atoms_and_rest_power(pair, k, order)
        status |= Status.ATOMS | cells.status
        value, method = float(terms.mean()) - bias, "cells and knn"
        log = math.log(max(value, np.finfo(float).tiny))
        details["bias_removed"] = bias
        influence = order * terms, (1.0 - order) * winsorized(ratio**order)
    elif order < 1.0:
        terms = power_terms(pair, k, order)
        influence = order * terms, (1.0 - order) * power_terms_at_q(pair, k, order)
        value, log = float(influence[0].mean() + influence[1].mean()), jackknifed_log(*influence)
    else:
        terms = power_terms(pair, k, order)
        at_q = ratio_at_q(pair, k) ** order
        influence = order * terms, (1.0 - order) * noiseless(winsorized(at_q), k, order)
        value, log = float(terms.mean()), jackknifed_log(terms, np.zeros(2))
        # Past this share the integral lies where Q has hardly a record: for normal laws 2 apart, not for 1 apart.
        status |= Status.HEAVY_TAIL if heavy_tailed(at_q, 0.5) else Status.OK
    if order > 1.0 and (heavy_tailed(terms) or k <= 2.0 * (order - 1.0)):
        status |= Status.HEAVY_TAIL
    return Integral(value, log, influence, method, status, "influence", details)


def cell_integral(p_samples: Any, q_samples: Any, order: float) -> Integral:
    """Cells only."""
    cells = _cells.count_cells(*checked_pair(p_samples, q_samples))
    found = _cells.evaluate(cells, _cells.power(order))
    value = found.plug_in - found.bias
    details = {"plug_in": found.plug_in, "bias_removed": found.bias, "n_cells": float(len(cells.in_p))}
    status = cells.status
    if order > 1.0 and (cells.in_q[cells.in_p > 5] == 0).any():
        status |= Status.SUPPORT_MISMATCH
    log = math.log(max(value, np.finfo(float).tiny))
    return Integral(value, log, found.influence, "cells", status, "cells", details)
