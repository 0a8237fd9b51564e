"""Quantile regression: which scores are high for a record of these features that the model never saw."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal, final, get_args

import numpy as np
from scipy import special

from mace_jax import _validate
from mace_jax._binomial import clopper_pearson_lower, clopper_pearson_upper
from mace_jax._random import as_seed, generator
from mace_jax._types import FloatArray, Seed
from mace_jax.attacks import _quantile_model
from mace_jax.attacks._inputs import finite_records

__all__ = ["FittedQuantiles", "QuantileCalibration", "fit_quantiles", "quantile_attack"]

Head = Literal["gaussian", "pinball"]


@final
@dataclasses.dataclass(frozen=True)
class QuantileCalibration:
    """How often non-members exceed their quantile, beside how often they should.

    ``low`` and ``high`` are exact (Clopper-Pearson) limits of the true rate; ``agrees`` says whether ``alpha`` lies
    between them.
    """

    alpha: float
    false_positives: int
    n: int
    low: float
    high: float
    confidence_level: float

    @property
    def observed(self) -> float:
        """Share of non-members above their quantile."""
        return self.false_positives / self.n

    @property
    def agrees(self) -> bool:
        """Whether the share is what ``alpha`` says, as far as so many records can tell."""
        return self.low <= self.alpha <= self.high

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return dataclasses.asdict(self) | {"observed": self.observed, "agrees": self.agrees}


@final
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class FittedQuantiles:
    """Quantiles of non-members' scores as functions of a record."""

    head: Head
    levels: tuple[float, ...]  # of the pinball head, ascending
    hidden: tuple[int, ...]
    weights: Any
    mean: FloatArray  # of the features
    sd: FloatArray
    location: float  # of the scores
    scale: float
    residuals: FloatArray  # (h,) or (h, levels), each column ascending: scores held out minus predictions

    def quantile(self, records: Any, alpha: float) -> FloatArray:
        """The score that a non-member like each record exceeds with probability ``alpha``, ``(n,)``.

        Raises:
            ValueError: ``alpha`` outside (0, 1), or one that a pinball head was not fitted for; too few records held
                out to correct it; other columns than those fitted.
        """
        alpha = self._known(alpha)
        outputs = self._outputs(records)
        if self.head == "gaussian":
            shift = self._corrected(self.residuals, alpha) if len(self.residuals) else float(special.ndtri(1.0 - alpha))
            return self.location + self.scale * (outputs[:, 0] + shift * np.exp(outputs[:, 1]))
        place = int(np.argmin(np.abs(np.asarray(self.levels) - (1.0 - alpha))))
        shift = self._corrected(self.residuals[:, place], alpha) if len(self.residuals) else 0.0
        return self.location + self.scale * (outputs[:, place] + shift)

    def margin(self, records: Any, scores: Any, alpha: float) -> FloatArray:
        """``score - quantile``, ``(n,)``: above 0 = called a member at false positive rate ``alpha``.

        Raises:
            ValueError: as ``quantile``; not one finite score per record.
        """
        return _paired(records, scores, "records", "scores")[1] - self.quantile(records, alpha)

    def standardized(self, records: Any, scores: Any) -> FloatArray:
        """``(score - mean) / sd`` of a Gaussian head, ``(n,)``: one ranking for all false positive rates.

        Raises:
            ValueError: a pinball head; other columns; not one finite score per record.
        """
        if self.head != "gaussian":
            raise ValueError("head='pinball' has quantiles alone; pass head='gaussian', or use margin at one alpha.")
        outputs, values = self._outputs(records), _paired(records, scores, "records", "scores")[1]
        return ((values - self.location) / self.scale - outputs[:, 0]) / np.exp(outputs[:, 1])

    def calibration(
        self, records: Any, scores: Any, alpha: float, *, confidence_level: float = 0.99
    ) -> QuantileCalibration:
        """Compare ``alpha`` with the share of other non-members above their quantile.

        Args:
            records: Non-members that were not fitted on.
            scores: Their scores.
            alpha: False positive rate.
            confidence_level: Of the limits together.

        Raises:
            ValueError: as ``quantile``; not one finite score per record.
        """
        level = _validate.in_open_unit(confidence_level=confidence_level)
        margins = self.margin(records, scores, alpha)
        hits, n, tail = int((margins > 0.0).sum()), len(margins), (1.0 - level) / 2.0
        low, high = float(clopper_pearson_lower(hits, n, tail)), float(clopper_pearson_upper(hits, n, tail))
        return QuantileCalibration(float(alpha), hits, n, low, high, level)

    def _known(self, alpha: float) -> float:
        alpha = _validate.in_open_unit(alpha=alpha)
        if self.levels and np.abs(np.asarray(self.levels) - (1.0 - alpha)).min() > 1e-9:
            known = [round(1.0 - level, 12) for level in self.levels]
            raise ValueError(f"alpha={alpha} was not fitted; pass one of {known}, or fit with alphas=({alpha},).")
        return alpha

    def _corrected(self, residuals: FloatArray, alpha: float) -> float:
        """The residual that a new non-member's exceeds with probability ``alpha`` at most."""
        n = len(residuals)
        rank = int(np.ceil((n + 1) * (1.0 - alpha) - 1e-9))
        if rank > n:
            raise ValueError(
                f"alpha={alpha} needs {int(np.ceil(1.0 / alpha - 1e-9)) - 1} non-members held out to correct the "
                f"quantile, but there are {n}; fit with more non-members or with held_out=0."
            )
        return float(residuals[rank - 1])

    def _outputs(self, records: Any) -> FloatArray:
        """Mean and log standard deviation, or ascending quantiles, of standardized scores."""
        values = finite_records("records", records)
        if values.shape[1] != len(self.mean):
            raise ValueError(f"records has {values.shape[1]} columns but the model was fitted on {len(self.mean)}.")
        return _outputs(self.hidden, self.levels, self.weights, (values - self.mean) / self.sd)

    def __repr__(self) -> str:
        return f"FittedQuantiles(head={self.head!r}, features={len(self.mean)}, held_out={len(self.residuals)})"


def fit_quantiles(
    records: Any,
    scores: Any,
    *,
    head: Head = "gaussian",
    alphas: Sequence[float] = (0.01,),
    held_out: float = 0.2,
    hidden: tuple[int, ...] = (64, 64),
    steps: int = 2_000,
    batch_size: int = 256,
    learning_rate: float = 1e-3,
    weight_decay: float = 1e-4,
    seed: Seed = 0,
) -> FittedQuantiles:
    """Learn quantiles of a target's scores from non-members alone; no shadow model, no knowledge of the target.

    * ``"gaussian"``: mean and log standard deviation, by likelihood; it has all quantiles.
    * ``"pinball"``: one output for each of ``alphas``, by the loss ``tau (s - q)_+ + (1 - tau) (q - s)_+`` with
      ``tau = 1 - alpha``; outputs are sorted, so that quantiles never cross.

    Records held out correct both: the quantile moves by the residual (of the Gaussian head, in standard deviations)
    that at most ``alpha`` of new non-members exceed, whatever the network learned. With ``(1,)`` in place of each
    record's features and nothing held out, the pinball head is the empirical quantile.

    Args:
        records: Features of non-members, ``(n, d)``: what the attacker knows of a record, its label as one-hot columns
            included.
        scores: The target's scores of these records, ``(n,)``, higher = more member-like.
        head: Which form.
        alphas: False positive rates of a pinball head, in (0, 1).
        held_out: Share of the records for the correction, in [0, 1).
        hidden: Widths of the hidden layers; ``()`` for a linear model.
        steps: Updates by AdamW, its step size falling to 0 as a cosine.
        batch_size: Records per update, drawn with replacement.
        learning_rate: First step size.
        weight_decay: Decoupled decay of the weights.
        seed: Seeds which records are held out, initial weights and batches.

    Returns:
        ``FittedQuantiles``.

    Raises:
        TypeError: an array is not numeric.
        ValueError: NaN, not one score per record, fewer than 2 records to learn from, or a setting out of range.
        FloatingPointError: the loss became infinite or NaN.

    References:
        Bertran et al. (2023), Scalable membership inference attacks via quantile regression. Romano, Patterson and
        Candes (2019), Conformalized quantile regression. Chernozhukov, Fernandez-Val and Galichon (2010) on sorting.

    Example:
        >>> model = fit_quantiles([[0.0]] * 50 + [[1.0]] * 50, list(range(50)) * 2, hidden=(), steps=300, held_out=0.0)
        >>> bool(40 < model.quantile([[0.5]], 0.1)[0] < 50)
        True
    """
    _validate.one_of(get_args(Head), head=head)
    rates = tuple(sorted({_validate.in_open_unit(alphas=value) for value in alphas}, reverse=True))
    if not rates:
        raise ValueError("alphas is empty; pass for example alphas=(0.01,).")
    share = _validate.probability(held_out=held_out)
    widths = tuple(_validate.positive_int(hidden=width) for width in hidden)
    if _validate.non_negative(learning_rate=learning_rate) == 0.0:
        raise ValueError("learning_rate=0 must be above 0; pass for example learning_rate=1e-3.")
    options = {
        "steps": _validate.positive_int(steps=steps),
        "batch_size": _validate.positive_int(batch_size=batch_size),
        "learning_rate": float(learning_rate),
        "weight_decay": _validate.non_negative(weight_decay=weight_decay),
        "seed": as_seed(seed),
    }
    values, wanted = _paired(records, scores, "records", "scores")
    order = generator(seed, "quantile regression", "held out").permutation(len(values))
    kept, apart = np.split(order, [len(values) - int(share * len(values))])
    if len(kept) < 2:
        raise ValueError(f"records leaves {len(kept)} to learn from after held_out={held_out}; pass at least 2.")
    levels = tuple(1.0 - rate for rate in rates) if head == "pinball" else ()
    mean, sd = values[kept].mean(axis=0), values[kept].std(axis=0)
    sd = np.where(sd > 0.0, sd, 1.0)
    location, scale = float(wanted[kept].mean()), float(wanted[kept].std()) or 1.0
    features, standard = (values - mean) / sd, (wanted - location) / scale
    weights = _quantile_model.train(features[kept], standard[kept], levels, hidden=widths, **options)
    residuals = np.zeros((0, len(levels)) if levels else (0,))
    if len(apart):
        outputs = _outputs(widths, levels, weights, features[apart])
        if levels:
            residuals = standard[apart][:, None] - outputs
        else:
            residuals = (standard[apart] - outputs[:, 0]) / np.exp(outputs[:, 1])
    fitted = mean, sd, location, scale, np.sort(residuals, axis=0)
    return FittedQuantiles(head, levels, widths, weights, *fitted)


def quantile_attack(
    records: Any,
    scores: Any,
    nonmember_records: Any,
    nonmember_scores: Any,
    *,
    alpha: float = 0.01,
    head: Head = "gaussian",
    held_out: float = 0.2,
    hidden: tuple[int, ...] = (64, 64),
    steps: int = 2_000,
    batch_size: int = 256,
    learning_rate: float = 1e-3,
    weight_decay: float = 1e-4,
    seed: Seed = 0,
) -> FloatArray:
    """Score every record by how far the target's score exceeds what non-members with its features reach.

    ``s(x) - q_{1 - alpha}(x)``, where q is learned from non-members alone; above 0 is called a member, wrongly so with
    probability about ``alpha``. ``fit_quantiles`` gives the model behind it, with its calibration.

    Args:
        records: Features of the records under audit, ``(n, d)``.
        scores: The target's scores of them, ``(n,)``, higher = more member-like.
        nonmember_records: Features of other records that the target was not trained on, ``(m, d)``; none of those
            under audit, whose own scores would set their quantile.
        nonmember_scores: The target's scores of those, ``(m,)``.
        alpha: False positive rate aimed at.
        head: As in ``fit_quantiles``, like all others.
        held_out: See there.
        hidden: See there.
        steps: See there.
        batch_size: See there.
        learning_rate: See there.
        weight_decay: See there.
        seed: See there.

    Returns:
        Scores ``(n,)``, higher = more member-like.

    Raises:
        TypeError: an array is not numeric.
        ValueError: as ``fit_quantiles``; different numbers of columns, or too few non-members held out for ``alpha``.
        FloatingPointError: the loss became infinite or NaN.

    References:
        Bertran et al. (2023), Scalable membership inference attacks via quantile regression.

    Example:
        >>> others = [[float(x)] for x in range(100)]
        >>> found = quantile_attack([[0.5], [9.5]], [99.0, 1.0], others, [x[0] for x in others], alpha=0.1, steps=50)
        >>> bool(found[0] > found[1])
        True
    """
    alpha = _validate.in_open_unit(alpha=alpha)
    values, wanted = _paired(records, scores, "records", "scores")
    others, known = _paired(nonmember_records, nonmember_scores, "nonmember_records", "nonmember_scores")
    _validate.same_features(records=values, nonmember_records=others)
    model = fit_quantiles(
        others,
        known,
        head=head,
        alphas=(alpha,),
        held_out=held_out,
        hidden=hidden,
        steps=steps,
        batch_size=batch_size,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        seed=seed,
    )
    return model.margin(values, wanted, alpha)


def _paired(records: Any, scores: Any, records_name: str, scores_name: str) -> tuple[FloatArray, FloatArray]:
    """Records and one finite score each."""
    values, wanted = finite_records(records_name, records), _validate.scores(**{scores_name: scores})
    if len(values) != len(wanted):
        raise ValueError(f"{scores_name} has {len(wanted)} numbers for {len(values)} {records_name}; pass one each.")
    return values, wanted


def _outputs(hidden: tuple[int, ...], levels: tuple[float, ...], weights: Any, features: FloatArray) -> FloatArray:
    """Ascending quantiles, or mean and log standard deviation, of standardized scores."""
    outputs = _quantile_model.predict(hidden, levels, weights, features)
    if levels:
        return np.sort(outputs, axis=1)
    return np.column_stack([outputs[:, 0], np.clip(outputs[:, 1], *_quantile_model.LOG_SD_LIMITS)])
