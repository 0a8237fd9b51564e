"""privacy_risk_score: P(member | value of the record) class by class, with limits, at any prior."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from mace_jax import _validate
from mace_jax._types import FloatArray
from mace_jax.attacks._groups import as_groups, same_kind
from mace_jax.attacks._risk_bins import ClassBins, class_bins, nearest_filled
from mace_jax.attacks._risk_forms import Calibration, isotonic_counts, neighbor_counts
from mace_jax.attacks._risk_limits import end_rule, log_ratio_quantile
from mace_jax.attacks._risk_shrinkage import no_shrinkage, pseudo_records

__all__ = ["RiskScores", "privacy_risk_score"]


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class RiskScores:
    """Risk of each record, in the order the records came in."""

    posterior: FloatArray  # (n,) P(member | value) at ``prior``
    low: FloatArray  # (n,) limits of the posterior
    high: FloatArray
    member_weight: FloatArray  # (n,) proportional to P(value | member): the posterior at any prior follows from both
    nonmember_weight: FloatArray
    prior: float
    confidence_level: float
    form: str
    pooled: np.ndarray  # (n,) judged by all classes together, since its own class lacks rows on one side
    absent_classes: np.ndarray  # labels without calibration rows on one side, or on both
    dropped: dict[int | str, int]  # label: calibration values that rounding of the edges left in no bin
    shrinkage: float  # records per class and bin that the ratio of all classes was worth

    @property
    def log_ratio(self) -> FloatArray:
        """Log of P(value | member) / P(value | non-member), nats; infinite only without smoothing."""
        with np.errstate(divide="ignore"):
            return np.log(self.member_weight) - np.log(self.nonmember_weight)

    def at_prior(self, prior: float) -> RiskScores:
        """The same at another prior, without refitting: logit r' = logit r + logit prior' - logit prior."""
        prior = _validate.in_open_unit(prior=prior)
        shift = special.logit(prior) - special.logit(self.prior)
        low, high = (special.expit(special.logit(limit) + shift) for limit in (self.low, self.high))
        posterior = _posterior(self.member_weight, self.nonmember_weight, prior)
        return dataclasses.replace(self, posterior=posterior, low=low, high=high, prior=prior)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in fields.items()}

    def __repr__(self) -> str:
        return (
            f"RiskScores({len(self.posterior)} records, form={self.form!r}, prior={self.prior}, "
            f"highest={self.posterior.max():.3f}, absent_classes={self.absent_classes.tolist()})"
        )


def privacy_risk_score(
    shadow_member_values: ArrayLike,
    shadow_member_labels: ArrayLike,
    shadow_nonmember_values: ArrayLike,
    shadow_nonmember_labels: ArrayLike,
    values: ArrayLike,
    labels: ArrayLike,
    *,
    bins: int = 5,
    prior: float = 0.5,
    smoothing: float = 0.5,
    shrinkage: float | Literal["auto"] = "auto",
    edges: Literal["log", "linear"] = "log",
    parity: bool = False,
    form: Literal["bins", "knn", "isotonic"] = "bins",
    n_neighbors: int | None = None,
    increasing: bool = False,
    confidence_level: float = 0.95,
) -> RiskScores:
    """Posterior probability that each record was a member, from its value under the attacked model.

    r = prior P(b | member, y) / (prior P(b | member, y) + (1 - prior) P(b | non-member, y)), b the bin of the value
    among those of class y, both shares counted on a calibration model whose members are known. Each class has ``bins``
    bins from its least to its largest calibration value, closed on the left; values beyond go to the end bins.

    With ``smoothing`` a > 0 the odds of two bins of k_in and k_out records are moved towards those of all classes
    (``shrinkage="auto"``): as many pseudo-records as have the largest beta-binomial likelihood, so few where classes
    differ in truth. A few calibration rows per class then do. Without shrinkage, shares are (k + a) / (n + a K).
    ``smoothing=0, parity=True`` is the published rule, whose empty bins take the nearest bin that is not.

    Args:
        shadow_member_values: Values of the calibration model's members, ``(m,)``: modified entropy, entropy or loss.
        shadow_member_labels: Their classes, whole numbers or strings.
        shadow_nonmember_values: Values of its non-members, ``(m',)``.
        shadow_nonmember_labels: Their classes.
        values: The same statistic of the records under audit, from the attacked model, ``(n,)``.
        labels: Their classes.
        bins: Bins per class.
        prior: P(member) before the value is seen.
        smoothing: Pseudo-records per bin and side.
        shrinkage: Pseudo-records per bin that follow the ratio of all classes; ``"auto"`` estimates their number, and
            is 0 without smoothing. Only for ``form="bins"``.
        edges: Spaced evenly in the logarithm, after values below 1e-10 were raised to it, or in the value.
        parity: Keep the rounding of the published edges, which may drop the least and largest calibration value of a
            class, and take negative values on a log axis as 1e-10.
        form: ``"bins"``; ``"knn"``, the nearest calibration values of the class; ``"isotonic"``, monotone in the value.
        n_neighbors: For ``form="knn"``; None takes 2 sqrt(calibration rows of the class).
        increasing: For ``form="isotonic"``: larger values are more member-like.
        confidence_level: Of the limits.

    Returns:
        ``RiskScores``. Limits are those of Jeffreys posteriors of both shares, by the counts of the record's own class
        alone (see ``risk_interval``), stretched to hold the score where other classes moved it further: narrower ones
        that lean on the other classes would hold the truth too rarely, since few rows do not tell how much classes
        differ. The other forms take the Beta posterior of the share of members around the value. All hold for one
        record, not for the riskiest of many. Classes without calibration rows on one side are judged by all classes
        together and listed.

    Raises:
        ValueError: values are not finite, negative on a log axis, or of another number than the labels.
        TypeError: labels that are neither whole numbers nor strings, or some of either.

    Bias: the score is calibrated over records of a bin, not record by record, and only as far as the calibration model
    resembles the attacked one.

    References: Song and Mittal (2021); Skellam (1948) for the beta-binomial law.

    Example:
        >>> y = [0] * 5
        >>> found = privacy_risk_score([1, 1, 1, 10, 100], y, [10, 100, 100, 1000, 10000], y, [1, 10, 100], [0] * 3,
        ...     smoothing=0)
        >>> found.posterior.round(4).tolist()
        [1.0, 0.5, 0.3333]
    """
    inside = _validate.scores(shadow_member_values=shadow_member_values)
    outside = _validate.scores(shadow_nonmember_values=shadow_nonmember_values)
    scored = _validate.scores(values=values)
    known_labels = {
        "shadow_member_labels": as_groups("shadow_member_labels", shadow_member_labels, len(inside)),
        "shadow_nonmember_labels": as_groups("shadow_nonmember_labels", shadow_nonmember_labels, len(outside)),
        "labels": as_groups("labels", labels, len(scored)),
    }
    same_kind(**known_labels)
    bins = _validate.positive_int(bins=bins)
    prior = _validate.in_open_unit(prior=prior)
    smoothing = _validate.non_negative(smoothing=smoothing)
    tail = (1.0 - _validate.in_open_unit(confidence_level=confidence_level)) / 2.0
    _validate.one_of(("log", "linear"), edges=edges)
    _validate.one_of(("bins", "knn", "isotonic"), form=form)
    if n_neighbors is not None:
        n_neighbors = _validate.positive_int(n_neighbors=n_neighbors)
    amount = None if shrinkage == "auto" else _validate.non_negative(shrinkage=shrinkage)
    if amount and form != "bins":
        raise ValueError(f"shrinkage={shrinkage!r} is for form='bins'; leave it out with form={form!r}.")
    if edges == "log" and form == "bins" and not parity:
        _not_negative(shadow_member_values=inside, shadow_nonmember_values=outside, values=scored)
    classes, codes = np.unique(np.concatenate(list(known_labels.values())), return_inverse=True)
    in_codes, out_codes, own = np.split(codes.reshape(-1), np.cumsum([len(inside), len(outside)]))
    counts = class_bins(
        inside, in_codes, outside, out_codes, len(classes), bins=bins, log=edges == "log", parity=parity
    )
    row = np.where(counts.absent[own], len(classes), own)
    if form == "bins":
        weights, limits, used = _by_bins(counts, row, scored, smoothing, amount, tail)
    else:
        calibration = _calibration(inside, in_codes, outside, out_codes, len(classes))
        if form == "knn":
            found = neighbor_counts(calibration, scored, row, n_neighbors)
        else:
            found = isotonic_counts(calibration, scored, row, increasing=increasing)
        weights, limits = _by_counts(found, counts.n_members[row], counts.n_nonmembers[row], smoothing, tail)
        used = 0.0
    low, high = (special.expit(limit + special.logit(prior)) for limit in limits)
    lost = counts.dropped[:-1] if form == "bins" else np.zeros(len(classes), int)
    return RiskScores(
        posterior=_posterior(*weights, prior),
        low=low,
        high=high,
        member_weight=weights[0],
        nonmember_weight=weights[1],
        prior=prior,
        confidence_level=1.0 - 2.0 * tail,
        form=form,
        pooled=counts.absent[own],
        absent_classes=classes[counts.absent],
        dropped={classes[c].item(): int(lost[c]) for c in np.flatnonzero(lost)},
        shrinkage=used,
    )


_Pair = tuple[FloatArray, FloatArray]


def _by_bins(
    counts: ClassBins, row: np.ndarray, values: FloatArray, smoothing: float, amount: float | None, tail: float
) -> tuple[_Pair, _Pair, float]:
    """Weights and limits of the log-ratio of each value by its bin, and the pseudo-records per bin that were used."""
    added = no_shrinkage(counts)
    if amount or (amount is None and smoothing):
        added = pseudo_records(counts, smoothing, amount)
    shrunk = (added.members + added.nonmembers).sum(axis=1) > 0  # by class
    n_bins = counts.members.shape[1]
    sides = []
    for k, pseudo, n in (
        (counts.members, added.members, counts.n_members),
        (counts.nonmembers, added.nonmembers, counts.n_nonmembers),
    ):
        plain = (k + smoothing) / np.maximum(n + smoothing * n_bins, 1e-300)[:, None]
        sides.append(np.where(shrunk[:, None], (k + pseudo) / np.maximum(n, 1.0)[:, None], plain))
    cell = row * n_bins + counts.place(row, values)
    if not smoothing:
        filled = nearest_filled(sides[0] + sides[1] > 0)
        sides = [_taken(side, filled) for side in sides]
    cells, place = np.unique(cell, return_inverse=True)
    of = cells // n_bins
    k_in, k_out = counts.members.reshape(-1)[cells], counts.nonmembers.reshape(-1)[cells]
    n_in, n_out = counts.n_members[of], counts.n_nonmembers[of]
    shape = k_in + 0.5, n_in - k_in + 0.5, k_out + 0.5, n_out - k_out + 0.5
    low, high = (log_ratio_quantile(*shape, level) for level in (tail, 1.0 - tail))
    low, high = end_rule(low, high, k_in, k_out)
    with np.errstate(divide="ignore"):
        point = np.log(sides[0].reshape(-1)[cells]) - np.log(sides[1].reshape(-1)[cells])
    low, high = np.minimum(low, point)[place], np.maximum(high, point)[place]
    return (sides[0].reshape(-1)[cell], sides[1].reshape(-1)[cell]), (low, high), added.concentration


def _by_counts(found: _Pair, n_in: FloatArray, n_out: FloatArray, smoothing: float, tail: float) -> tuple[_Pair, _Pair]:
    """The same where ``found`` are members and non-members around each value."""
    k_in, k_out = found
    weights = (k_in + smoothing) / n_in, (k_out + smoothing) / n_out
    both, place = np.unique(np.stack([k_in, k_out, n_in, n_out]), axis=1, return_inverse=True)
    low, high = (
        _share_quantile(both[0] + 0.5, both[1] + 0.5, both[2], both[3], level)[place.reshape(-1)]
        for level in (tail, 1.0 - tail)
    )
    low, high = end_rule(low, high, k_in, k_out)
    return weights, (low, high)


def _share_quantile(a: FloatArray, b: FloatArray, n_in: FloatArray, n_out: FloatArray, level: float) -> FloatArray:
    """Quantile of ln P(bin | member)/P(bin | non-member), the share of members in the bin being Beta(a, b)."""
    positive = (a > 0) & (b > 0)
    a, b = np.where(positive, a, 1.0), np.where(positive, b, 1.0)
    low, high = special.betaincinv(a, b, level), special.betaincinv(b, a, 1.0 - level)
    return np.log(np.maximum(low, 1e-300)) - np.log(np.maximum(high, 1e-300)) - np.log(n_in) + np.log(n_out)


def _posterior(member: FloatArray, nonmember: FloatArray, prior: float) -> FloatArray:
    return prior * member / (prior * member + (1.0 - prior) * nonmember)


def _taken(side: FloatArray, filled: np.ndarray) -> FloatArray:
    """The shares of the bins to take instead; equal ones where a class has no filled bin."""
    return np.where(filled < 0, 1.0, np.take_along_axis(side, np.maximum(filled, 0), axis=1))


def _calibration(
    inside: FloatArray, in_codes: np.ndarray, outside: FloatArray, out_codes: np.ndarray, n_classes: int
) -> Calibration:
    """All values by class, and once more as one class after the others."""
    values, codes = np.concatenate([inside, outside]), np.concatenate([in_codes, out_codes])
    member = np.arange(len(values)) < len(inside)
    return np.tile(values, 2), np.concatenate([codes, np.full_like(codes, n_classes)]), np.tile(member, 2)


def _not_negative(**arguments: FloatArray) -> None:
    for name, array in arguments.items():
        if (array < 0).any():
            raise ValueError(
                f"{name} has negative values, first {array[array < 0][0]}, which have no place on a log axis; pass "
                "edges='linear', or the value in its own sign (modified entropy, entropy and loss are at least 0)."
            )
