"""How charts of this folder look."""

__all__ = ["new_axes"]

from typing import TYPE_CHECKING

from ..images.colours import INK, MUTED, PAPER, RULE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def new_axes(width: float, height: float, title: str | None, subtitle: str | None = None) -> "tuple[Figure, Axes]":
    """A figure of one plot, in inches, with its title above the left edge and a smaller line below the title."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained", dpi=150, facecolor=PAPER)
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(RULE)
    axes.tick_params(length=0, labelsize=8, labelcolor=MUTED)
    for axis in (axes.xaxis, axes.yaxis):
        axis.label.set(fontsize=9, color=MUTED)
    if title:
        axes.set_title(title, loc="left", fontsize=10, color=INK, pad=18 if subtitle else 6, parse_math=False)
    if subtitle:
        style = {"fontsize": 8, "color": MUTED, "parse_math": False}
        axes.annotate(subtitle, (0, 1), (0, 5), "axes fraction", "offset points", **style).set_in_layout(False)
    return figure, axes
