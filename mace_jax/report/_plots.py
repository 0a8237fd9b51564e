"""The figures of the report, one function each; all return an inline SVG."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mace_jax._types import FloatArray
from mace_jax.report._report import AdvantageResult, Histogram, RocResult
from mace_jax.report._svg import PALETTE, draw
from mace_jax.report._text import number, per_cent, shorten

__all__ = ["forest", "risk_histogram", "roc_linear", "roc_log", "score_histogram", "shared_range"]

_BINS = 20  # wider than the steps of a posterior that is a share of a few dozen neighbors


def shared_range(results: Sequence[AdvantageResult]) -> tuple[float, float]:
    """Limits of the advantage axis that show every interval and null, and at least 0 to 0.25."""
    low = min([0.0, *(min(result.low, result.advantage, result.null_mean) for result in results)])
    high = max([0.25, *(max(result.high, result.advantage, result.null_high) for result in results)])
    pad = 0.04 * (high - low)
    return low - pad, high + pad


def forest(
    rows: Sequence[tuple[str, AdvantageResult]],
    *,
    limits: tuple[float, float],
    uid: str,
    title: str,
    control: bool = False,
) -> str:
    """Advantage of every query: point, interval, and in gray the range that chance alone reaches."""
    color = PALETTE["control" if control else "member"]
    marker = "D" if control else "o"

    def plot(axes: Any) -> None:
        for place, (name, result) in enumerate(rows):
            left = min(result.null_mean, result.null_high)
            axes.barh(place, result.null_high - left, 0.34, left=left, color=PALETTE["band"], linewidth=0)
            axes.plot([result.null_high] * 2, [place - 0.17, place + 0.17], color=PALETTE["muted"], linewidth=1.6)
            axes.plot([result.low, result.high], [place, place], color=color, linewidth=2.2, solid_capstyle="butt")
            axes.plot(result.advantage, place, marker, color=color, markersize=7)
            axes.text(0.0, place - 0.34, shorten(name, 42), transform=axes.get_yaxis_transform(), va="center")
        axes.axvline(0.0, color=PALETTE["ink"], linewidth=1.0)
        axes.set(xlim=limits, ylim=(len(rows) - 0.55, -0.6), yticks=[], xlabel="Advantage (0 = guessing, 1 = perfect)")
        axes.spines["left"].set_visible(False)
        axes.grid(axis="x")
        axes.set_axisbelow(True)

    texts = [
        f"{name}: {number(result.advantage)}, interval {number(result.low)} to {number(result.high)}, "
        f"chance up to {number(result.null_high)}"
        for name, result in rows
    ]
    return draw(plot, uid=uid, title=title, description="; ".join(texts) + ".", height=0.8 + 0.62 * max(1, len(rows)))


def roc_linear(roc: RocResult, *, uid: str, name: str) -> str:
    """The ROC curve with the diagonal of guessing."""

    def plot(axes: Any) -> None:
        axes.plot([0, 1], [0, 1], color=PALETTE["muted"], linewidth=1.2, linestyle=(0, (4, 3)), label="guessing")
        axes.plot(roc.false_positive_rate, roc.true_positive_rate, color=PALETTE["member"], linewidth=2, label="query")
        axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.02))
        _rates(axes)
        axes.legend(loc="lower right")

    words = f"Area under the curve {number(roc.auc)}, interval {number(roc.auc_low)} to {number(roc.auc_high)}."
    return draw(plot, uid=uid, title=f"ROC curve of {name}", description=words)


def roc_log(roc: RocResult, *, uid: str, name: str, n_nonmembers: int) -> str:
    """The ROC curve on log axes, where the few surest accusations are seen; steps, since only thresholds count."""
    fpr, tpr = np.asarray(roc.false_positive_rate), np.asarray(roc.true_positive_rate)
    left = 0.5 * min(1e-3, 1.0 / max(1, n_nonmembers))

    def plot(axes: Any) -> None:
        edge = left / 10.0  # stands for a false positive rate of zero, left of the visible range
        axes.plot([left, 1], [left, 1], color=PALETTE["muted"], linewidth=1.2, linestyle=(0, (4, 3)), label="guessing")
        axes.plot(
            np.maximum(fpr, edge),
            np.maximum(tpr, edge),
            color=PALETTE["member"],
            linewidth=2,
            drawstyle="steps-post",
            label="query",
        )
        for point in roc.tpr_at_fpr:
            at = [max(point.target_fpr, left)] * 2
            axes.plot(at, np.maximum([point.low, point.high], edge), color=PALETTE["nonmember"], linewidth=1.8)
        shown = [point for point in roc.tpr_at_fpr if point.tpr >= left]
        axes.plot(
            [max(point.target_fpr, left) for point in shown],
            [point.tpr for point in shown],
            "s",
            color=PALETTE["nonmember"],
            markersize=6,
            label="at 1% and 0.1%",
        )
        axes.set(xscale="log", yscale="log", xlim=(left, 1.05), ylim=(left, 1.3))
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(lambda value, _: f"{100 * value:g}%")
            axis.set_minor_locator(_no_ticks())
        _rates(axes, per_cent_axes=False)
        axes.legend(loc="lower right")

    words = " ".join(
        f"True positive rate {per_cent(point.tpr)} at a false positive rate of at most {per_cent(point.target_fpr)}."
        for point in roc.tpr_at_fpr
    )
    return draw(plot, uid=uid, title=f"ROC curve of {name} on logarithmic axes", description=words)


def score_histogram(histogram: Histogram, *, uid: str, name: str) -> str:
    """Where the scores of members and non-members lie."""
    edges = np.asarray(histogram.edges)
    counts = np.asarray(histogram.members, dtype=float), np.asarray(histogram.nonmembers, dtype=float)
    widths = np.diff(edges)
    even = bool(np.allclose(widths, widths[0], rtol=1e-6, atol=0.0)) if len(widths) else True
    shares = [count / max(1.0, count.sum()) / (1.0 if even else widths) for count in counts]
    label = "Share of the group" if even else "Share of the group per unit"
    words = f"{int(counts[0].sum()):,} members and {int(counts[1].sum()):,} non-members in {len(widths)} bins."
    return _two_groups(
        edges,
        shares,
        uid=uid,
        title=f"Scores of {name}",
        words=words,
        across=shorten(histogram.label, 60),
        upright=label,
        as_shares=even,
    )


def risk_histogram(members: FloatArray, nonmembers: FloatArray, *, prior: float, uid: str) -> str:
    """How the membership posteriors of both groups are spread."""
    edges = np.linspace(0.0, 1.0, _BINS + 1)
    shares = [np.histogram(group, edges)[0] / max(1, len(group)) for group in (members, nonmembers)]
    words = f"Median {_median(members)} among members, {_median(nonmembers)} among non-members, prior {prior:g}."
    title = "Membership posterior of every record"
    label = f"Membership posterior at prior {prior:g}"
    return _two_groups(
        edges,
        shares,
        uid=uid,
        title=title,
        words=words,
        across=label,
        upright="Share of the group",
        as_shares=True,
        mark=prior,
    )


def _median(values: FloatArray) -> str:
    return number(float(np.median(values))) if len(values) else "n/a"


def _two_groups(
    edges: FloatArray,
    heights: Sequence[FloatArray],
    *,
    uid: str,
    title: str,
    words: str,
    across: str,
    upright: str,
    as_shares: bool,
    mark: float | None = None,
) -> str:
    members, nonmembers = heights

    def plot(axes: Any) -> None:
        blue, orange = PALETTE["member"], PALETTE["nonmember"]
        axes.stairs(members, edges, fill=True, color=blue, alpha=0.3, linewidth=0)
        axes.stairs(members, edges, color=blue, linewidth=1.6, label="members (filled)")
        axes.stairs(nonmembers, edges, color=orange, linewidth=1.8, linestyle=(0, (4, 2)), label="non-members (dashed)")
        if mark is not None:
            axes.axvline(mark, color=PALETTE["muted"], linewidth=1.2, linestyle=(0, (1, 2)))
        axes.set(xlabel=across, ylabel=upright)
        axes.margins(x=0.01)
        axes.set_ylim(bottom=0.0)
        if as_shares:
            axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:g}%")
        axes.xaxis.set_major_formatter(_plain_numbers())
        axes.grid(axis="y")
        axes.set_axisbelow(True)
        axes.legend(loc="lower center", bbox_to_anchor=(0.45, 1.0), ncols=2)

    return draw(plot, uid=uid, title=title, description=words)


def _rates(axes: Any, per_cent_axes: bool = True) -> None:
    axes.set(xlabel="False positive rate (non-members accused)", ylabel="True positive rate (members found)")
    axes.grid()
    axes.set_axisbelow(True)
    if per_cent_axes:
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(lambda value, _: f"{100 * value:g}%")


def _no_ticks() -> Any:
    from matplotlib.ticker import NullLocator

    return NullLocator()


def _plain_numbers() -> Any:
    from matplotlib.ticker import ScalarFormatter

    return ScalarFormatter(useMathText=False)
