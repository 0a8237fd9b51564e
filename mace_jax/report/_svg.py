"""A matplotlib figure as an accessible inline SVG whose colors follow the page's light or dark scheme."""

from __future__ import annotations

import io
import re
import warnings
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from typing import Any

from mace_jax.report._text import visible

__all__ = ["PALETTE", "draw"]

PALETTE = {  # name of the CSS variable: color on a light page, also the value before the page's scheme is applied
    "ink": "#1b2430",
    "muted": "#5d6b7a",
    "line": "#d5dbe1",
    "band": "#e9edf0",
    "member": "#0060a8",
    "nonmember": "#b94e00",
    "control": "#5d6b7b",
}

_SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text: it can be searched, selected and read aloud
    "svg.hashsalt": "mace_jax",
    "text.parse_math": False,  # a dollar sign in a name is a dollar sign
    "font.family": "DejaVu Sans",
    "font.size": 10.5,
    "axes.labelsize": 10.5,
    "axes.formatter.use_mathtext": False,
    "axes.unicode_minus": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": PALETTE["muted"],
    "axes.labelcolor": PALETTE["ink"],
    "xtick.color": PALETTE["muted"],
    "ytick.color": PALETTE["muted"],
    "xtick.labelcolor": PALETTE["ink"],
    "ytick.labelcolor": PALETTE["ink"],
    "text.color": PALETTE["ink"],
    "grid.color": PALETTE["line"],
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "legend.fontsize": 10.0,
}

_VARIABLE = {color: f"var(--{name}, {color})" for name, color in PALETTE.items()}
_COLOR = re.compile(r"#[0-9a-f]{6}\b")
_REFERENCE = re.compile(r"url\(#([^)]+)\)")


def draw(
    plot: Callable[[Any], None], *, uid: str, title: str, description: str, width: float = 4.6, height: float = 3.7
) -> str:
    """The SVG element of one figure.

    ``plot`` fills an empty matplotlib axes; ``uid`` keeps the ids of two figures of one page apart; sizes in inches.
    """
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_SETTINGS), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # the browser has its own fonts
        figure = Figure(figsize=(width, height), layout="constrained", facecolor="none")
        plot(figure.add_subplot(facecolor="none"))
        file = io.StringIO()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(file, format="svg", metadata=nothing)
    return _inline(file.getvalue(), uid, title, description)


def _inline(text: str, uid: str, title: str, description: str) -> str:
    root = ElementTree.fromstring(text)
    for name in ("metadata", "style"):
        _drop(root, name)
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        for key in list(element.attrib):
            value = element.attrib.pop(key)
            short = key.rpartition("}")[2]
            if short == "id":
                value = f"{uid}-{value}"
            elif short == "href":
                value = f"#{uid}-{value.removeprefix('#')}"
            else:
                value = _REFERENCE.sub(rf"url(#{uid}-\1)", value)
                value = (
                    _COLOR.sub(lambda color: _VARIABLE.get(color[0], color[0]), value) if short == "style" else value
                )
            element.set(short, value)
    for name in ("width", "height", "version"):
        root.attrib.pop(name, None)
    root.set("role", "img")
    root.set("aria-labelledby", f"{uid}-title {uid}-desc")
    for place, (name, words) in enumerate((("title", title), ("desc", description))):
        label = ElementTree.Element(name, {"id": f"{uid}-{name}"})
        label.text = visible(words)
        root.insert(place, label)
    return ElementTree.tostring(root, encoding="unicode", short_empty_elements=True)


def _drop(root: ElementTree.Element, name: str) -> None:
    for parent in root.iter():
        for child in [child for child in parent if child.tag.rpartition("}")[2] == name]:
            parent.remove(child)
