"""How charts of a study look: colours, axes, ticks, labels. Equal charts are saved as equal files."""

__all__ = [
    "Chart",
    "MethodStyle",
    "method_styles",
    "nice_ticks",
    "save_chart",
    "set_ticks",
    "set_value_axis",
    "spread_labels",
    "value_range",
]

import io
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from PIL import Image

from ..core.files import write_text
from ..images.colours import INK, MUTED, PALETTE, PAPER, RULE
from ..images.grids import save_picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes

GROUP_COLOURS = {
    "adversarial": "vermilion",
    "disentangling": "orange",
    "bound": "blue",
    "flow": "blue",
    "kernel": "sky",
    "distance": "sky",
    "discrete": "purple",
    "prior": "green",
    "regularized": "green",
}
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DPI = 110
_SALT = "gae_hub"


@dataclass(frozen=True)
class MethodStyle:
    """How a method is drawn: colour by kind, marker within the kind, dashed if it is variational."""

    colour: str
    marker: str
    dashed: bool


def method_styles(methods: Mapping[str, Mapping[str, Any]]) -> dict[str, MethodStyle]:
    """Styles of the methods of a study, by name."""
    styles: dict[str, MethodStyle] = {}
    used: dict[tuple[str, bool], int] = {}
    for name, method in methods.items():
        groups = method.get("groups") or []
        kind = next((group for group in GROUP_COLOURS if group in groups), None)
        colour = PALETTE[GROUP_COLOURS[kind] if kind else "black"]
        dashed = "autoencoder" not in groups
        index = used[colour, dashed] = used.get((colour, dashed), -1) + 1
        styles[name] = MethodStyle(colour, MARKERS[index % len(MARKERS)], dashed)
    return styles


class Chart:
    """A matplotlib figure whose axes are placed in inches from its upper left corner.

    Args:
        width, height: in inches.
    """

    def __init__(self, width: float, height: float):
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        self.width, self.height = width, height
        self.figure = Figure(figsize=(width, height), dpi=DPI, facecolor=PAPER)
        FigureCanvasAgg(self.figure)

    def axes(self, left: float, top: float, width: float, height: float, title: str = "") -> "Axes":
        """Axes with a title above their left edge, and without ticks."""
        from matplotlib.ticker import NullLocator

        bottom = self.height - top - height
        axes = self.figure.add_axes(
            (left / self.width, bottom / self.height, width / self.width, height / self.height), facecolor="none"
        )
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_minor_locator(NullLocator())
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color(RULE)
        axes.tick_params(length=0, pad=3, labelsize=7, labelcolor=MUTED)
        if title:
            self.text(left, top - 0.1, title, size=8, weight="bold")
        return axes

    def canvas(self) -> "Axes":
        """Axes over the whole figure, in inches from its upper left corner.

        A figure with many small panels is drawn on it: axes for each panel would take several times as long.
        """
        axes = self.figure.add_axes((0, 0, 1, 1), facecolor="none", xlim=(0, self.width), ylim=(self.height, 0))
        axes.set_axis_off()
        return axes

    def text(self, left: float, top: float, text: str, size: float = 7, colour: str = INK, **options: Any):
        """Text, in inches from the upper left corner."""
        self.figure.text(
            left / self.width, 1 - top / self.height, text, fontsize=size, color=colour, parse_math=False, **options
        )


def set_value_axis(axes: "Axes", values: Iterable[float], direction: Literal["x", "y"] = "y", num_ticks: int = 5):
    """Limits, ticks and grid lines of an axis of values. Logarithmic if values differ more than 8 times."""
    low, high, logarithmic = value_range(values)
    ticks = nice_ticks(low, high, num_ticks, logarithmic)
    axis = axes.yaxis if direction == "y" else axes.xaxis
    (axes.set_yscale if direction == "y" else axes.set_xscale)("log" if logarithmic else "linear")
    (axes.set_ylim if direction == "y" else axes.set_xlim)(low, high)
    set_ticks(axis, ticks, [f"{tick:,.6g}" for tick in ticks])
    axes.grid(axis=direction, color=RULE, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(length=0)


def value_range(values: Iterable[float]) -> tuple[float, float, bool]:
    """Ends of an axis of values, and whether it is logarithmic."""
    values = [value for value in values if math.isfinite(value)]
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    logarithmic = low > 0 and high / low > 8
    if logarithmic:
        margin = (high / low) ** 0.06
        low, high = low / margin, high * margin
    else:
        margin = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
        low, high = (max(0.0, low - margin) if low >= 0 else low - margin), high + margin
    return low, high, logarithmic


def set_ticks(axis: Any, places: Sequence[float], labels: Sequence[str]):
    """Ticks at fixed places."""
    from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

    axis.set_major_locator(FixedLocator(places))
    axis.set_major_formatter(FixedFormatter(labels))
    axis.set_minor_locator(NullLocator())


def nice_ticks(low: float, high: float, num: int, logarithmic: bool = False) -> list[float]:
    """At most about `num` round numbers between two values."""
    if logarithmic:
        for mantissas in ((1, 2, 5), (1, 3), (1,)):
            powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
            ticks = [m * 10.0**power for power in powers for m in mantissas if low <= m * 10.0**power <= high]
            if len(ticks) <= num + 1:
                break
        return ticks[:: -(-len(ticks) // (num + 1))] if len(ticks) > num + 1 else ticks
    size = (high - low) / max(num, 1)
    power = 10.0 ** math.floor(math.log10(size))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= 0.7 * size)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


def spread_labels(places: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Places of labels, at least `gap` apart and as near to the wanted places as that allows.

    Neighbours that would overlap form a block around the mean of their wanted places.

    Args:
        places: wanted places.
        gap: smallest distance between two labels; less if they do not fit.
        low, high: between which the labels stay.
    """
    if len(places) > 1:
        gap = min(gap, (high - low) / (len(places) - 1))
    order = sorted(range(len(places)), key=lambda i: places[i])
    blocks: list[tuple[float, list[int]]] = []  # start and members, bottom up
    for i in order:
        blocks.append((places[i], [i]))
        while True:
            _, members = blocks[-1]
            start = sum(places[m] - k * gap for k, m in enumerate(members)) / len(members)
            start = min(max(start, low), high - gap * (len(members) - 1))
            blocks[-1] = start, members
            if len(blocks) < 2 or blocks[-2][0] + gap * len(blocks[-2][1]) <= start + 1e-9:
                break
            blocks.pop()
            blocks[-1] = blocks[-1][0], blocks[-1][1] + members
    spread = [0.0] * len(places)
    for start, members in blocks:
        for k, i in enumerate(members):
            spread[i] = start + k * gap
    return spread


def save_chart(chart: Chart, folder: Path, name: str):
    """Write NAME.svg and NAME.png, without dates and versions, so that equal charts are equal files."""
    from matplotlib import rc_context

    with rc_context({"svg.hashsalt": _SALT, "svg.fonttype": "none"}):  # restored at the end
        buffer = io.StringIO()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        chart.figure.savefig(buffer, format="svg", metadata=nothing)
    write_text(folder / f"{name}.svg", compact_svg(buffer.getvalue()))
    canvas: Any = chart.figure.canvas
    canvas.draw()
    picture = Image.frombuffer("RGBA", canvas.get_width_height(), canvas.buffer_rgba(), "raw", "RGBA", 0, 1)
    save_picture(picture.convert("RGB"), folder / f"{name}.png")


def compact_svg(svg: str) -> str:
    """An SVG file without its document type, metadata and the names of groups that nothing refers to."""
    svg = re.sub(r"<!DOCTYPE.*?>|<!--.*?-->|<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    used = set(re.findall(r"(?:url\(|href=\")#([^)\"]+)", svg))
    svg = re.sub(r' id="([^"]*)"', lambda found: found[0] if found[1] in used else "", svg)
    return re.sub(r"\n\s*", "\n", svg).lstrip() + ("" if svg.endswith("\n") else "\n")
