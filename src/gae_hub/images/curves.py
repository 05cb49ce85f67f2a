"""Plots the losses of a training run."""

__all__ = ["plot_loss_curves", "save_loss_curves"]

from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.files import write_atomically
from .colours import PALETTE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_NOT_LOSSES = {"epoch", "grad_norm", "learning_rate", "step"}


def save_loss_curves(log: list[dict[str, Any]], path: str | Path):
    """Write the figure of `plot_loss_curves` to a PNG or PDF file."""
    with write_atomically(path, durable=False) as temporary:
        plot_loss_curves(log).savefig(temporary)


def plot_loss_curves(log: list[dict[str, Any]]) -> "Figure":
    """Plot the loss and each of its terms over the epochs: training as a solid line, validation as a dashed one.

    A single value is a point.

    Args:
        log: `trainer.state.log_history`.
    """
    from matplotlib.figure import Figure

    entries = [entry for entry in log if "loss" in entry]
    names = [name for name in entries[-1] if name not in _NOT_LOSSES] if entries else ["loss"]
    columns = min(3, len(names))
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(3.6 * columns, 3.2 * rows), layout="constrained", dpi=120)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for unused in axes[len(names) :]:
        unused.remove()
    for axis, name in zip(axes, names, strict=False):
        for key, label, style, color in (
            (name, "training", "-", PALETTE["blue"]),
            (f"eval_{name}", "validation", "--", PALETTE["vermilion"]),
        ):
            points = [(entry["epoch"], entry[key]) for entry in log if key in entry]
            if points:
                marker = "o" if len(points) == 1 else ""  # a line through one point is invisible
                axis.plot(*zip(*points, strict=True), style, marker=marker, label=label, color=color)
        values = [value for line in axis.lines for value in line.get_ydata()]
        # matplotlib would zoom into a constant, so its axis starts at 0
        if values and min(values) == max(values) and isfinite(2 * values[0]):
            axis.set_ylim(min(0, 2 * values[0]), max(0, 2 * values[0]) or 1)
        epochs = {epoch for line in axis.lines for epoch in line.get_xdata()}
        if len(epochs) == 1:
            axis.set_xticks([*epochs])  # matplotlib would show fractions of an epoch around it
        axis.set_title(name.replace("_", " "))
        axis.set_xlabel("epoch")
        axis.spines[["top", "right"]].set_visible(False)
    figure.axes[0].set_ylabel("nats per example")
    if figure.axes[0].lines:
        figure.axes[0].legend(frameon=False)
    return figure
