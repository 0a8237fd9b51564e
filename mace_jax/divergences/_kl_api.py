"""kl: the Kullback-Leibler divergence, seven ways."""

from __future__ import annotations

import math
from functools import partial
from typing import Any, Literal

import numpy as np

from mace_jax._status import Status
from mace_jax._types import Seed
from mace_jax.divergences import _cells, _variational
from mace_jax.divergences._atoms import atoms_and_rest
from mace_jax.divergences._calibrate import HALF_SAMPLES, Calibration
from mace_jax.divergences._ensemble import ensemble_neighbors, ensemble_weights
from mace_jax.divergences._estimate import DivergenceEstimate, finish, value_only
from mace_jax.divergences._growth import growth, out_of_reach
from mace_jax.divergences._kl import RadiusTerms, common_radius_terms, near_k, radius_kl
from mace_jax.divergences._pair import Pair, checked_pair, known_method, searched_pair
from mace_jax.divergences._radii import common_radius
from mace_jax.estimators import KNN, AbstractEstimator
from mace_jax.neighbors import PairedNeighbors

__all__ = ["KLMethod", "kl"]

KLMethod = Literal["auto", "knn", "common_radius", "ensemble", "cells", "classifier", "donsker_varadhan", "nwj"]
_METHODS = ("auto", "knn", "common_radius", "ensemble", "cells", "classifier", "donsker_varadhan", "nwj")
_FITTED = {
    "classifier": (_variational.plug_in, "KL(P, Q) by a cross-fitted log ratio; no guarantee on either side"),
    "donsker_varadhan": (
        _variational.donsker_varadhan,
        "a lower bound of KL(P, Q), at most the logarithm of the number of records; its log of a mean lifts it",
    ),
    "nwj": (_variational.nwj, "a lower bound of KL(P, Q), at most the logarithm of the number of records"),
}
_BY_DISTANCE = ("auto", "knn", "common_radius", "ensemble")
_RADIUS_TARGET = "KL(P, Q), biased towards 0 by smoothing over the k nearest records"


def kl(
    p_samples: Any,
    q_samples: Any,
    *,
    method: KLMethod = "auto",
    k: int = 5,
    estimator: AbstractEstimator | None = None,
    neighbors: PairedNeighbors | None = None,
    check_support: bool = True,
    half_samples: int = HALF_SAMPLES,
    influence: bool = True,
    n_folds: int = _variational.N_FOLDS,
    seed: Seed | None = None,
) -> DivergenceEstimate:
    """Kullback-Leibler divergence KL(P, Q) = E_P ln(p/q), in nats.

    With rho and nu the distances from a P record to its k-th neighbor among the other P records and among the Q
    records, the "knn" form is ``(d/n) sum ln(nu_i / rho_i) + ln(m / (n - 1))``. The "common_radius" form counts both
    samples within max(rho, nu), closed: ``(1/n) sum [psi(a_i) - psi(b_i)] + ln(m / (n - 1))``, with ``psi(c + 1)``
    for a sample that has no record on the sphere, or when several lie on it.

    Args:
        p_samples: ``(n, d)`` draws from P.
        q_samples: ``(m, d)`` draws from Q.
        method: "auto" is "knn" if n = m (``details`` then has both forms), otherwise "common_radius", which is
            unbiased at P = Q for any n and m. "ensemble" weighs several k so that leading bias terms cancel, with the
            norm of the weights at most 2. "cells" is for discrete records: the plug-in minus its second-order bias,
            which ``details`` states. "classifier", "donsker_varadhan" and "nwj" use a cross-fitted ``ln p/q``; the
            last two are lower bounds.
        k: Neighbors; small k has little bias and much variance. Not used by the cell and fitted forms.
        estimator: What the fitted forms cross-fit; ``KNN()`` by default.
        neighbors: Lists from ``paired_knn`` of the same samples; nothing is searched again where they are long enough.
        check_support: Compare n/4, n/2 and n records (at most 2000 of them are looked up), and the reach of Q records
            with where P records are: growth, or over a tenth of P out of reach, sets a flag.
        half_samples: Splits into disjoint halves that show how much the estimate varies: influence values alone miss
            what neighbors share (their standard error is .8 to 1.4 times the true one) and are scaled to it. The
            splits are fixed; beyond 500 records per sample a random part shows the ratio. 0 leaves them unscaled;
            forms other than "knn" and "common_radius", and records with copies, always are.
        influence: False is for a value alone, in about half the time, by the forms that read distances. The value
            reads the neighbors of P records; those of Q records serve the influence values and the standard error,
            and are not looked up. Lost: ``standard_error`` and ``influence`` are None, ``bootstrap`` refuses, nothing
            is scaled to halves, and DEGENERATE is not checked (it needs the standard error). Every other flag is;
            ``check_support`` looks up at most 2000 Q records for the reach. With copies nothing is saved.
        n_folds: 2 to 10, of the fitted forms: more of them fit each rule on more records, which lessens the bias, and
            take longer.
        seed: Fixes the folds of the fitted forms, which need it; nothing else is random.

    Returns:
        ``DivergenceEstimate``; ``method`` names the form that was used.

    Biased towards 0 from two features on, by more than the standard error (unit normals 1 apart, 500 + 500 records,
    k = 5: truth .5, mean .48 with one feature, .43 with two, .36 with five). Do not use distance forms on copied
    records: with more than k copies of one, or over 1 % copies, they are refused and copies become cells (flag ATOMS).
    Where P has mass that Q lacks, the divergence is infinite and the estimate grows like the logarithm of n. The
    "classifier" form brings ``ln p/q`` to scale by logistic regression on held-out records and errs mostly towards 0
    (1000 + 1000 normals 1 apart: truth .5, mean .46, with five features .41; .5 apart: truth .125, mean .10; of
    standard deviation 1 against 2: truth .32, mean .31).

    Memory: ``32 (n + m) (2 k + 5)`` bytes of neighbor lists; for "knn" at most ``32 (n + m) k``.

    Raises:
        TypeError: records are not numeric.
        ValueError: unknown method, k does not fit, lists of other records, no seed where one is needed, or
            ``influence=False`` with "cells" or a fitted form, where it would save nothing.

    References: Wang, Kulkarni and Verdu (2009) and Perez-Cruz (2008) for "knn"; Moon and Hero (2014) for "ensemble";
    Donsker and Varadhan (1975); Nguyen, Wainwright and Jordan (2010); Platt (1999) for the scale of "classifier".

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> kl(rng.normal(1, 1, 2000), rng.normal(0, 1, 2000))
        DivergenceEstimate(kl=0.4513, standard_error=0.036, method='knn')
    """
    method = known_method(method, _METHODS)  # type: ignore[assignment]
    if not influence and method not in _BY_DISTANCE:
        raise ValueError(
            f"influence=False saves nothing for method={method!r}, which has influence values at hand; leave it out, "
            f"or pass one of {', '.join(map(repr, _BY_DISTANCE))}."
        )
    if method in _FITTED:
        return _fitted(p_samples, q_samples, method, estimator, seed, n_folds)
    if method == "cells":
        p, q = checked_pair(p_samples, q_samples)
        cells = _cells.count_cells(p, q)
        found = _cells.evaluate(cells, _cells.KL)
        return _discrete(RadiusTerms(found.influence[0], -found.influence[1]), found.plug_in, found.bias, cells)
    if method == "ensemble":
        found = _ensemble(p_samples, q_samples, neighbors, check_support, influence)
        return found if influence else value_only(found)
    by_radii = method == "knn"
    wider = (max(0, 3 - k) if influence else 0) if by_radii else k + 5
    pair = searched_pair(p_samples, q_samples, k, neighbors=neighbors, wider=wider, radii_only=by_radii, at_q=influence)
    found = kl_of_pair(pair, k, method=method, check_support=check_support)
    if not influence:
        return value_only(found)
    alone = partial(kl, method=method, k=k, check_support=False, half_samples=0)
    return Calibration(pair.p, pair.q, k, half_samples)(found, k, alone)


def kl_of_pair(pair: Pair, k: int, *, method: str, check_support: bool) -> DivergenceEstimate:
    """The distance forms on existing lists, or cells where copies forbid them."""
    equal = pair.n == pair.m
    used = ("knn" if equal else "common_radius") if method == "auto" else method
    status, details = pair.status(), {}
    if pair.has_atoms(k):
        counts = common_radius(pair, k) if method == "common_radius" else None
        if counts is None or (not equal and near_k(pair, k, counts)):
            terms, bias, cells = atoms_and_rest(pair, k)
            return _discrete(terms, terms.value, bias, cells, status | Status.ATOMS, method="cells and common_radius")
        status |= Status.TIES
        cells = _cells.count_cells(pair.p, pair.q)
        p, q = cells.shares(smoothed=True)
        terms = RadiusTerms(common_radius_terms(pair, k, counts), (p / q)[cells.of_q])
    else:
        terms = radius_kl(pair, k, form=used)
        if method == "auto" and equal:
            details["common_radius"] = float(common_radius_terms(pair, k).mean())
        if check_support:
            status |= support_status(pair, k, details)
    target = _RADIUS_TARGET
    return finish("kl", terms.value, terms.influence, method=used, target=target, status=status, details=details)


def support_status(pair: Pair, k: int, details: dict[str, Any]) -> Status:
    """Whether P has mass where Q lacks it; the growth with the number of records goes into ``details``."""
    found = growth(pair, k)
    if found is None:
        return Status.OK
    details["growth_per_doubling"] = found[0] * math.log(2.0)
    return Status.SUPPORT_MISMATCH if found[1] or out_of_reach(pair, k) else Status.OK


def _discrete(
    terms: RadiusTerms,
    plug_in: float,
    bias: float,
    cells: _cells.CellCounts,
    status: Status = Status.OK,
    *,
    method: str = "cells",
) -> DivergenceEstimate:
    status |= cells.status
    unseen = cells.in_p[cells.in_q == 0].sum() / cells.in_p.sum()
    if unseen * len(cells.of_q) > 5:
        status |= Status.SUPPORT_MISMATCH
    if method == "cells" and min(len(cells.of_p), len(cells.of_q)) < 30:
        status |= Status.TOO_FEW_SAMPLES
    return finish(
        "kl",
        plug_in - bias,
        terms.influence,
        method=method,
        target="KL(P, Q) of the cell frequencies, corrected for the upward second-order bias of the plug-in",
        status=status,
        resampling="cells" if method == "cells" else "influence",
        details={"plug_in": plug_in, "bias_removed": bias, "n_cells": float(len(cells.in_p)), "unseen_in_q": unseen},
    )


def _ensemble(
    p: Any, q: Any, neighbors: PairedNeighbors | None, check_support: bool, influence: bool
) -> DivergenceEstimate:
    p, q = checked_pair(p, q, minimum=10)
    ks = ensemble_neighbors(min(len(p), len(q)))
    equal = len(p) == len(q)
    pair = searched_pair(p, q, max(ks), neighbors=neighbors, wider=0 if equal else max(ks) // 2, at_q=influence)
    if pair.has_atoms(min(ks)):
        return kl_of_pair(pair, min(ks), method="auto", check_support=False)
    weights = ensemble_weights(pair.d)
    members = [radius_kl(pair, k, form="knn" if equal else "common_radius") for k in ks]
    log_ratio = np.tensordot(weights, np.stack([member.log_ratio for member in members]), axes=1)
    at_q = [member.ratio for member in members if member.ratio is not None]
    ratio = np.tensordot(weights, np.stack(at_q), axes=1) if at_q else None
    terms, details = RadiusTerms(log_ratio, ratio), {"weight_norm": float(np.linalg.norm(weights))}
    details |= {f"k={k}": member.value for k, member in zip(ks, members, strict=True)}
    status = pair.status()
    if check_support:
        status |= support_status(pair, min(ks), details)
    target = "KL(P, Q); leading smoothing bias is reduced, what is left mostly errs towards 0"
    return finish("kl", terms.value, terms.influence, method="ensemble", target=target, status=status, details=details)


def _fitted(
    p: Any, q: Any, method: str, estimator: AbstractEstimator | None, seed: Seed | None, n_folds: int
) -> DivergenceEstimate:
    p, q = checked_pair(p, q, minimum=8)
    if seed is None:
        raise ValueError(f"method={method!r} deals records into random folds; pass seed, for example seed=0.")
    estimator = KNN() if estimator is None else estimator
    fitted = _variational.cross_fitted_log_ratio(p, q, estimator, seed=seed, n_folds=n_folds)
    compute, target = _FITTED[method]
    value, influence = compute(fitted)
    largest = math.log(min(len(p), len(q)))
    status = Status.LOWER_BOUND if fitted.clipped or value > largest else Status.OK
    if min(len(p), len(q)) < 30:
        status |= Status.TOO_FEW_SAMPLES
    value, details = min(value, largest), {"largest_possible": largest}
    return finish(
        "kl", value, influence, method=method, target=target, status=status, resampling="split", details=details
    )
