"""The figure of a defense beside early stopping, as an inline SVG."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from mace_jax.report._svg import PALETTE, draw
from mace_jax.report._text import number, shorten

__all__ = ["defense_plot"]

_NAMED = 8  # epochs with their name beside them


def defense_plot(
    test_accuracy: ArrayLike,
    attack_accuracy: ArrayLike,
    *,
    defended: tuple[float, float],
    defended_limits: tuple[float, float] | None = None,
    epochs: Sequence[str] | None = None,
    uid: str = "defense",
    title: str = "Defense beside early stopping",
) -> str:
    """Attack accuracy against test accuracy: the epochs of undefended training as a curve, the defense as a point.

    A defense helps where its point lies below the curve: fewer records are told apart at equal use.

    Args:
        test_accuracy: Of every epoch, ``(E,)``, fractions.
        attack_accuracy: Balanced accuracy of the chosen attack on every epoch, ``(E,)``.
        defended: Test accuracy and attack accuracy of the defended model.
        defended_limits: Interval of the latter.
        epochs: Names, ``(E,)``; some of them are written beside the points.
        uid: Keeps the ids of two figures of one page apart.
        title: Of the figure, for readers who cannot see it.

    Returns:
        An SVG element, accessible, in the colors of the report.

    Raises:
        ValueError: arrays of different lengths, or empty.

    Example:
        >>> defense_plot([0.7, 0.8], [0.55, 0.7], defended=(0.78, 0.6)).startswith("<svg")
        True
    """
    x, y = np.asarray(test_accuracy, np.float64), np.asarray(attack_accuracy, np.float64)
    names = [str(place) for place in range(1, x.size + 1)] if epochs is None else list(epochs)
    if x.ndim != 1 or x.shape != y.shape or x.size == 0 or len(names) != x.size:
        raise ValueError(
            f"test_accuracy has shape {x.shape}, attack_accuracy {y.shape}, and there are {len(names)} epochs; pass "
            "one number each per epoch."
        )

    def plot(axes: Any) -> None:
        blue, orange = PALETTE["member"], PALETTE["nonmember"]
        axes.axhline(0.5, color=PALETTE["muted"], linewidth=1.2, linestyle=(0, (4, 3)), label="guessing")
        axes.plot(x, y, "o-", color=blue, linewidth=1.6, markersize=4.5, label="epochs without the defense")
        for place in np.unique(np.linspace(0, x.size - 1, min(_NAMED, x.size)).astype(int)):
            axes.annotate(
                shorten(names[place], 12), (x[place], y[place]), xytext=(5, -11), textcoords="offset points", fontsize=9
            )
        if defended_limits is not None:
            axes.plot([defended[0]] * 2, defended_limits, color=orange, linewidth=2.0, solid_capstyle="butt")
        axes.plot(*defended, "D", color=orange, markersize=7, label="defended model")
        axes.set(xlabel="Test accuracy", ylabel="Attack accuracy (balanced)")
        axes.margins(0.08)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(lambda value, _: f"{100 * value:g}%")
        axes.grid()
        axes.set_axisbelow(True)
        axes.legend(loc="lower center", bbox_to_anchor=(0.45, 1.0), ncols=2)

    interval = "" if defended_limits is None else f" ({number(defended_limits[0])} to {number(defended_limits[1])})"
    words = f"Defended model: test accuracy {number(defended[0])}, attack accuracy {number(defended[1])}{interval}; "
    words += "; ".join(
        f"epoch {name}: {number(float(a))} and {number(float(b))}" for name, a, b in zip(names, x, y, strict=True)
    )
    return draw(plot, uid=uid, title=title, description=f"{words}.")
