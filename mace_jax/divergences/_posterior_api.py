"""total_variation, jensen_shannon, hockey_stick and henze_penrose: functions of the membership posterior."""

from __future__ import annotations

from functools import partial
from typing import Any, Literal

import numpy as np

from mace_jax import _validate
from mace_jax._status import Status
from mace_jax._types import FloatArray
from mace_jax.divergences import _cells
from mace_jax.divergences._calibrate import HALF_SAMPLES, Calibration
from mace_jax.divergences._estimate import DivergenceEstimate, finish
from mace_jax.divergences._from_posterior import SMOOTH_K, checked_epsilon, default_k, like, posterior_divergence
from mace_jax.divergences._pair import Pair, checked_pair, known_method, searched_pair
from mace_jax.neighbors import PairedNeighbors

__all__ = [
    "PosteriorMethod",
    "henze_penrose",
    "hockey_stick",
    "jensen_shannon",
    "total_variation",
]

PosteriorMethod = Literal["decision", "plug_in", "cells"]
_METHODS = ("decision", "plug_in", "cells")
_CELL_LEVEL = 0.95


def total_variation(
    p_samples: Any,
    q_samples: Any,
    *,
    method: PosteriorMethod = "decision",
    k: int | None = None,
    neighbors: PairedNeighbors | None = None,
    half_samples: int = HALF_SAMPLES,
) -> DivergenceEstimate:
    """Total variation distance ``sup_A P(A) - Q(A) = E|2 eta - 1|``: what the best rule gains over guessing.

    eta is the share of P among the k nearest pooled records, the record itself left out, classes weighted by their
    sizes, ties by their expected share.

    Args:
        p_samples: ``(n, d)`` draws from P.
        q_samples: ``(m, d)`` draws from Q.
        method: "decision" is TPR - FPR of the rule eta > 1/2 on records left out of their own neighborhood, biased
            towards 0; "plug_in" is the mean of ``|2 eta - 1|``, biased upwards at small k (``details["null_mean"]`` is
            what it returns at P = Q) and downwards at large k; "cells" is for discrete records.
        k: Neighbors; by default about ``2 sqrt(n + m)``, odd, at most 101.
        neighbors: Lists from ``paired_knn`` of the same samples.
        half_samples: As in ``kl``; for "decision" only.

    Returns:
        ``DivergenceEstimate``; ``details`` has both forms and the null mean. With "cells" it has McDiarmid limits at
        level .95 for the law of the cells seen: "low" and "high", each missed with probability at most .025.

    The decision form describes; for a bound that holds at any n use ``mace_jax.certify``.

    Memory: ``32 (n + m) (k + 1)`` bytes of neighbor lists.

    Raises:
        ValueError: unknown method, k does not fit, lists of other records.

    References: Devroye, Gyorfi and Lugosi (1996); McDiarmid (1989).

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> bool(abs(total_variation(rng.normal(1, 1, 2000), rng.normal(0, 1, 2000)).value - 0.383) < 0.04)
        True
    """
    if known_method(method, _METHODS) == "cells":
        cells = _cells.count_cells(*checked_pair(p_samples, q_samples))
        found = _cells.evaluate(cells, _cells.TOTAL_VARIATION)
        limits = _cells.cell_total_variation_limits(cells, found.plug_in, _CELL_LEVEL)
        target = "total variation of the cell frequencies, biased upwards by at most bias_at_most"
        return _discrete("total_variation", found.plug_in, found.influence, cells, target, limits)
    chosen = k
    pair, k = _searched(p_samples, q_samples, k, neighbors)
    found = posterior_divergence(pair, k, "total_variation", method=method)
    alone = partial(total_variation, method=method, k=chosen, half_samples=0)
    return Calibration(pair.p, pair.q, k, half_samples)(found, k, alone)


def jensen_shannon(
    p_samples: Any,
    q_samples: Any,
    *,
    method: PosteriorMethod = "plug_in",
    k: int | None = None,
    neighbors: PairedNeighbors | None = None,
) -> DivergenceEstimate:
    """Jensen-Shannon divergence ``ln 2 - E h(eta)``, between 0 and ln 2 nats; h is the entropy of the posterior.

    Args:
        p_samples: ``(n, d)`` draws from P.
        q_samples: ``(m, d)`` draws from Q.
        method: "plug_in" averages the entropy of the k-neighbor posterior, corrected for the second-order shortfall of
            an entropy from k labels; "decision" is ln 2 minus the log loss of the left-out posterior, biased towards 0;
            "cells" is for discrete records, corrected likewise.
        k: Neighbors; by default about ``sqrt(n + m) / 2``, odd, from 15 to 101.
        neighbors: Lists from ``paired_knn`` of the same samples.

    Returns:
        ``DivergenceEstimate``.

    Biased towards 0 where k smooths over the difference, as in high dimension (flag HIGH_DIMENSION from five features
    on; 1000 + 1000 normals 1 apart: truth .111, mean .075 with five features, .058 with ten).

    Memory: ``32 (n + m) (k + 1)`` bytes of neighbor lists.

    Raises:
        ValueError: unknown method, k does not fit, lists of other records.

    References: Lin (1991); Miller (1955) for the correction.

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> bool(abs(jensen_shannon(rng.normal(1, 1, 2000), rng.normal(0, 1, 2000)).value - 0.111) < 0.02)
        True
    """
    if known_method(method, _METHODS) == "cells":
        cells = _cells.count_cells(*checked_pair(p_samples, q_samples))
        found = _cells.evaluate(cells, _cells.JENSEN_SHANNON)
        details = {"plug_in": found.plug_in, "bias_removed": found.bias}
        target = "Jensen-Shannon divergence of the cell frequencies, corrected for the upward bias of the plug-in"
        return _discrete("jensen_shannon", found.plug_in - found.bias, found.influence, cells, target, details)
    pair, k = _searched(p_samples, q_samples, k, neighbors, "jensen_shannon")
    return posterior_divergence(pair, k, "jensen_shannon", method=method)


def hockey_stick(
    p_samples: Any,
    q_samples: Any,
    *,
    epsilon: Any = 0.0,
    method: PosteriorMethod = "decision",
    k: int | None = None,
    neighbors: PairedNeighbors | None = None,
    half_samples: int = HALF_SAMPLES,
) -> DivergenceEstimate:
    """Hockey-stick divergence ``sup_A P(A) - exp(epsilon) Q(A)``: the delta that goes with an epsilon.

    One pass serves every epsilon, so an array gives a whole privacy profile. (epsilon, delta)-privacy of a pair of laws
    needs both directions: swap the samples for the other.

    Args:
        p_samples: ``(n, d)`` draws from P.
        q_samples: ``(m, d)`` draws from Q.
        epsilon: A number or an array of e of them, in nats.
        method: "decision" is ``TPR - exp(epsilon) FPR`` of the rule ``eta > exp(epsilon) / (1 + exp(epsilon))`` on
            records left out of their own neighborhood, biased towards 0 and below it where nothing is found;
            "plug_in" averages positive parts of the k-neighbor posterior, biased upwards; "cells" is for discrete
            records, biased upwards.
        k: Neighbors; by default about ``2 sqrt(n + m)``, odd, at most 101. Posteriors from k neighbors cannot resolve
            an epsilon beyond ln k (flag COARSE_POSTERIOR).
        neighbors: Lists from ``paired_knn`` of the same samples.
        half_samples: As in ``kl``; for "decision" only.

    Returns:
        ``DivergenceEstimate``; with an array, ``value`` is ``(e,)`` and the influence arrays ``(e, n)`` and ``(e, m)``.

    An estimate from one trained model: not a bound on the epsilon of an algorithm (see ``mace_jax.certificates``).

    Memory: ``32 (n + m) (k + 1)`` bytes of neighbor lists and ``16 e (n + m)`` bytes.

    Raises:
        ValueError: epsilon is not finite or not a number or one-dimensional array, unknown method, k does not fit.

    References: Balle, Barthe and Gaboardi (2018).

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> found = hockey_stick(rng.normal(1, 1, 4000), rng.normal(0, 1, 4000), epsilon=[0.0, 1.0])
        >>> found.value.shape, bool(np.all(abs(found.value - [0.383, 0.127]) < 0.04))
        ((2,), True)
    """
    grid = checked_epsilon(epsilon)
    if known_method(method, _METHODS) == "cells":
        cells = _cells.count_cells(*checked_pair(p_samples, q_samples))
        value, influence = _cells.cell_hockey_stick(cells, np.atleast_1d(grid))
        value, influence = like(grid, value, influence)
        target = "hockey-stick divergence of the cell frequencies, biased upwards"
        return _discrete("hockey_stick", value, influence, cells, target, {"epsilon": grid})
    chosen = k
    pair, k = _searched(p_samples, q_samples, k, neighbors)
    found = posterior_divergence(pair, k, "hockey_stick", method=method, epsilon=grid)
    alone = partial(hockey_stick, epsilon=grid, method=method, k=chosen, half_samples=0)
    return Calibration(pair.p, pair.q, k, half_samples)(found, k, alone)


def henze_penrose(
    p_samples: Any,
    q_samples: Any,
    *,
    method: Literal["knn", "cells"] = "knn",
    k: int = 1,
    neighbors: PairedNeighbors | None = None,
) -> DivergenceEstimate:
    """Henze-Penrose divergence ``1 - int p q / (pi p + (1 - pi) q)``, pi = n / (n + m); from 0 to 1.

    With C the neighbors of the other sample among the k nearest pooled records of every record,
    ``1 - C (n + m - 1) / (2 n m k)``: for k = 1 and n = m one minus twice the leave-one-out error of the
    nearest-neighbor rule. Its mean is exactly 0 at P = Q. Ties count by their expected share.

    Args:
        p_samples: ``(n, d)`` draws from P.
        q_samples: ``(m, d)`` draws from Q; the target depends on n / m ("cells": at pi = 1/2).
        method: "knn", or "cells" for discrete records.
        k: Neighbors; more than 1 lowers the variance and smooths.
        neighbors: Lists from ``paired_knn`` of the same samples.

    Returns:
        ``DivergenceEstimate``; ``details`` has the nearest-neighbor error and, from it, the interval that holds the
        error of the best rule asymptotically: "bayes_error_low" and "bayes_error_high".

    Biased towards 0, mildly: the nearest neighbor is not at distance 0. A minimum over several embeddings of the same
    records needs a correction for the choice.

    Memory: ``32 (n + m) (k + 1)`` bytes of neighbor lists, at least k = 25.

    Raises:
        ValueError: unknown method, k does not fit, lists of other records.

    References: Henze and Penrose (1999); Cover and Hart (1967).

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> bool(abs(henze_penrose(rng.normal(1, 1, 2000), rng.normal(0, 1, 2000)).value - 0.204) < 0.06)
        True
    """
    if known_method(method, ("knn", "cells")) == "cells":
        cells = _cells.count_cells(*checked_pair(p_samples, q_samples))
        found = _cells.evaluate(cells, _cells.HENZE_PENROSE)
        details = {"plug_in": found.plug_in, "bias_removed": found.bias}
        target = "Henze-Penrose divergence of the cell frequencies at prior one half, bias removed"
        return _discrete("henze_penrose", found.plug_in - found.bias, found.influence, cells, target, details)
    pair = searched_pair(p_samples, q_samples, k, neighbors=neighbors, wider=max(1, SMOOTH_K - k))
    return posterior_divergence(pair, k, "henze_penrose", method="knn")


def _searched(
    p: Any, q: Any, k: int | None, neighbors: PairedNeighbors | None, name: str = "total_variation"
) -> tuple[Pair, int]:
    p, q = checked_pair(p, q, minimum=3)
    if k is None:
        k = default_k(len(p), len(q), name)
        if neighbors is not None:
            k = min(k, np.shape(neighbors.to_members.squared_distances)[1])
    return searched_pair(p, q, k, neighbors=neighbors, wider=1), _validate.positive_int(k=k)


def _discrete(
    name: str,
    value: Any,
    influence: tuple[FloatArray, FloatArray],
    cells: _cells.CellCounts,
    target: str,
    details: dict[str, Any],
) -> DivergenceEstimate:
    status = cells.status
    if min(len(cells.of_p), len(cells.of_q)) < 30:
        status |= Status.TOO_FEW_SAMPLES
    details = {"n_cells": float(len(cells.in_p)), **details}
    return finish(
        name, value, influence, method="cells", target=target, status=status, resampling="cells", details=details
    )
