"""What a fitted quantile regression says of records and of itself."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal, final

import numpy as np
from scipy import special

from mace_jax import _validate
from mace_jax._binomial import clopper_pearson_lower, clopper_pearson_upper
from mace_jax._types import FloatArray
from mace_jax.attacks import _quantile_model
from mace_jax.attacks._inputs import finite_records

__all__ = ["FittedQuantiles", "Head", "QuantileCalibration", "outputs_of", "paired"]

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
        return paired(records, scores, "records", "scores")[1] - self.quantile(records, alpha)

    def standardized(self, records: Any, scores: Any) -> FloatArray:
        """``(score - mean) / sd`` of a Gaussian head, ``(n,)``: one ranking for all false positive rates.

        Raises:
            ValueError: a pinball head; other columns; not one finite score per record.
        """
        if self.head != "gaussian":
            raise ValueError("head='pinball' has quantiles alone; pass head='gaussian', or use margin at one alpha.")
        outputs, values = self._outputs(records), paired(records, scores, "records", "scores")[1]
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
        return outputs_of(self.hidden, self.levels, self.weights, (values - self.mean) / self.sd)

    def __repr__(self) -> str:
        return f"FittedQuantiles(head={self.head!r}, features={len(self.mean)}, held_out={len(self.residuals)})"


def paired(records: Any, scores: Any, records_name: str, scores_name: str) -> tuple[FloatArray, FloatArray]:
    """Records and one finite score each."""
    values, wanted = finite_records(records_name, records), _validate.scores(**{scores_name: scores})
    if len(values) != len(wanted):
        raise ValueError(f"{scores_name} has {len(wanted)} numbers for {len(values)} {records_name}; pass one each.")
    return values, wanted


def outputs_of(hidden: tuple[int, ...], levels: tuple[float, ...], weights: Any, features: FloatArray) -> FloatArray:
    """Ascending quantiles, or mean and log standard deviation, of standardized scores."""
    outputs = _quantile_model.predict(hidden, levels, weights, features)
    if levels:
        return np.sort(outputs, axis=1)
    return np.column_stack([outputs[:, 0], np.clip(outputs[:, 1], *_quantile_model.LOG_SD_LIMITS)])
