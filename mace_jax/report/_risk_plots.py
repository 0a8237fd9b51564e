"""Figures of privacy risk scores: arrays in, an inline SVG out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from mace_jax import _validate
from mace_jax._types import FloatArray
from mace_jax.report._plots import risk_histogram
from mace_jax.report._svg import PALETTE, draw
from mace_jax.report._text import number, per_cent, shorten

__all__ = ["risk_calibration_plot", "risk_distribution_plot", "risk_members_plot"]

_COLORS = ("nonmember", "member", "control", "ink")
_STYLES: tuple[Any, ...] = ("solid", (0, (5, 2)), (0, (1, 1.5)), (0, (5, 1, 1, 1)))


def risk_calibration_plot(
    predicted: ArrayLike,
    observed: ArrayLike,
    low: ArrayLike,
    high: ArrayLike,
    weight: ArrayLike,
    *,
    uid: str = "risk-calibration",
    title: str = "Calibration of the risk score",
) -> str:
    """Share of members in each bin of the score against the mean score: on the diagonal, scores are what they say.

    Args:
        predicted: Mean score of each bin, ``(b,)``.
        observed: Share of members, with limits ``low`` and ``high``, as in ``RiskCalibration``.
        low: Lower limits.
        high: Upper limits.
        weight: Of each bin, summing to 1; the area of its mark.
        uid: Keeps the ids of two figures of one page apart.
        title: Read by screen readers.

    Returns:
        SVG text.

    Raises:
        ValueError: arrays of different lengths.
    """
    names = ("predicted", "observed", "low", "high", "weight")
    arrays = {
        name: _validate.scores(**{name: value})
        for name, value in zip(names, (predicted, observed, low, high, weight), strict=True)
    }
    x, y, lower, upper, mass = arrays.values()
    for name, array in arrays.items():
        if len(array) != len(x):
            raise ValueError(f"{name} has {len(array)} bins but predicted {len(x)}; pass one number per bin.")

    def plot(axes: Any) -> None:
        axes.plot([0, 1], [0, 1], color=PALETTE["muted"], linewidth=1.2, linestyle=(0, (4, 3)), label="exact")
        axes.vlines(x, lower, upper, color=PALETTE["member"], linewidth=1.6)
        axes.scatter(x, y, s=15.0 + 300.0 * mass, color=PALETTE["member"], alpha=0.75, linewidth=0, label="bins")
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel="Mean risk score", ylabel="Share of members")
        _shares(axes, both=True)
        axes.legend(loc="upper left")

    words = "; ".join(
        f"score {number(a)}: {per_cent(b)} members, interval {per_cent(c)} to {per_cent(d)}"
        for a, b, c, d in zip(x, y, lower, upper, strict=True)
    )
    return draw(plot, uid=uid, title=title, description=f"{words}.")


def risk_members_plot(
    scores: Mapping[str, ArrayLike],
    *,
    uid: str = "risk-members",
    title: str = "Risk scores of members",
) -> str:
    """Cumulative distribution of members' scores, one curve per model, such as undefended and defended.

    A defense helps those members whose curve it moves to the left, towards the prior.

    Args:
        scores: For each model, by name, the scores of its members, ``(n,)``; at most four models.
        uid: Keeps the ids of two figures of one page apart.
        title: Read by screen readers.

    Returns:
        SVG text.

    Raises:
        ValueError: no model or more than four, scores outside [0, 1].
    """
    if not 1 <= len(scores) <= len(_COLORS):
        raise ValueError(f"scores holds {len(scores)} models; pass 1 to {len(_COLORS)} of them.")
    groups = {name: np.sort(_unit(name, value)) for name, value in scores.items()}

    def plot(axes: Any) -> None:
        for (name, values), color, style in zip(groups.items(), _COLORS, _STYLES, strict=False):
            steps = np.arange(1, len(values) + 1) / len(values)
            axes.step(
                np.concatenate([[0.0], values, [1.0]]),
                np.concatenate([[0.0], steps, [1.0]]),
                where="post",
                color=PALETTE[color],
                linewidth=1.9,
                linestyle=style,
                label=shorten(name, 30),
            )
        axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.02), xlabel="Risk score", ylabel="Members at or below")
        _shares(axes, both=False)
        axes.legend(loc="upper left")

    words = "; ".join(
        f"{name}: median {number(float(np.median(values)))}, {per_cent(float((values >= 0.9).mean()))} at 0.9 or above"
        for name, values in groups.items()
    )
    return draw(plot, uid=uid, title=title, description=f"{words}.")


def risk_distribution_plot(
    members: ArrayLike, nonmembers: ArrayLike, *, prior: float = 0.5, uid: str = "risk-distribution"
) -> str:
    """How the scores of members and of non-members are spread.

    Args:
        members: Scores of members, ``(n1,)``.
        nonmembers: Scores of non-members, ``(n0,)``.
        prior: At which they are stated; marked.
        uid: Keeps the ids of two figures of one page apart.

    Returns:
        SVG text.

    Raises:
        ValueError: scores outside [0, 1].
    """
    prior = _validate.in_open_unit(prior=prior)
    return risk_histogram(_unit("members", members), _unit("nonmembers", nonmembers), prior=prior, uid=uid)


def _unit(name: str, value: ArrayLike) -> FloatArray:
    array = _validate.scores(**{name: value})
    if not ((array >= 0.0) & (array <= 1.0)).all():
        raise ValueError(f"{name} has values outside [0, 1]; pass probabilities.")
    return array


def _shares(axes: Any, *, both: bool) -> None:
    for axis in (axes.xaxis, axes.yaxis) if both else (axes.yaxis,):
        axis.set_major_formatter(lambda value, _: f"{100 * value:g}%")
    axes.grid()
    axes.set_axisbelow(True)
