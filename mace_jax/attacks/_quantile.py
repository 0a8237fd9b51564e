"""Quantile regression: which scores are high for a record of these features that the model never saw."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypedDict, Unpack, get_args

import numpy as np

from mace_jax import _validate
from mace_jax._random import as_seed, generator
from mace_jax._types import FloatArray, Seed
from mace_jax.attacks import _quantile_model
from mace_jax.attacks._quantile_fitted import FittedQuantiles, Head, QuantileCalibration, outputs_of, paired

__all__ = ["FittedQuantiles", "QuantileCalibration", "fit_quantiles", "quantile_attack"]


class _Options(TypedDict, total=False):
    """What ``fit_quantiles`` can be told beside the records and the false positive rates."""

    head: Head
    held_out: float
    hidden: tuple[int, ...]
    steps: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    seed: Seed


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
    values, wanted = paired(records, scores, "records", "scores")
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
        outputs = outputs_of(widths, levels, weights, features[apart])
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
    **options: Unpack[_Options],
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
        options: As in ``fit_quantiles``: ``head``, ``held_out``, ``hidden``, ``steps``, ``batch_size``,
            ``learning_rate``, ``weight_decay`` and ``seed``.

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
    values, wanted = paired(records, scores, "records", "scores")
    others, known = paired(nonmember_records, nonmember_scores, "nonmember_records", "nonmember_scores")
    _validate.same_features(records=values, nonmember_records=others)
    model = fit_quantiles(others, known, alphas=(alpha,), **options)
    return model.margin(values, wanted, alpha)
