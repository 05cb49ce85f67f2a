"""Figures of data other than images: curves of signals, and histograms, scatter plots and paths of columns."""

__all__ = [
    "MAX_COLUMNS",
    "plot_column_paths",
    "plot_histograms",
    "plot_plane",
    "plot_reconstructed_columns",
    "plot_signals",
    "value_range",
]

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .colours import INK, PALETTE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_COLUMNS = 12
"""Number of a table's columns that are plotted."""

_DPI = 120
_CELL_WIDTH, _CELL_HEIGHT, _GAP = 190, 90, 8  # pixels of a signal's plot
_GRID_WIDTH = 1200  # pixels, where plots become narrower
_TITLE_HEIGHT, _LABEL_WIDTH = 32, 160  # pixels
_BLUE, _GREY = PALETTE["blue"], "#a0aec0"
_NUM_BINS = 30

# Signals


def plot_signals(
    signals: np.ndarray, columns: int, title: str | None = None, row_labels: Sequence[str] | None = None
) -> "Figure":
    """A grid of line plots, one for each signal with its channels as lines. All have the same vertical axis.

    Args:
        signals: (num, channels, length). The place of a signal that is all nan stays empty.
        columns: plots per row.
        title: a line of text above the plots.
        row_labels: a text to the left of each row.
    """
    from matplotlib import color_sequences
    from matplotlib.collections import LineCollection
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    num, num_channels = signals.shape[:2]
    left, top = (_LABEL_WIDTH if row_labels else 0), (_TITLE_HEIGHT if title else 0)
    cell = min(_CELL_WIDTH, _GRID_WIDTH // columns)
    width = left + columns * (cell + _GAP) + _GAP
    height = top + -(-num // columns) * (_CELL_HEIGHT + _GAP) + _GAP
    figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI)
    axis = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0))  # in pixels
    axis.set_axis_off()
    low, high = value_range(signals)
    palette = [_BLUE] if num_channels == 1 else list(color_sequences["petroff10"])
    lines: list[np.ndarray] = []
    colours: list[Any] = []
    for index, signal in enumerate(signals):
        if np.isnan(signal).all():
            continue
        row, column = divmod(index, columns)
        x, y = left + _GAP + column * (cell + _GAP), top + _GAP + row * (_CELL_HEIGHT + _GAP)
        axis.add_patch(Rectangle((x, y), cell, _CELL_HEIGHT, facecolor="#f7fafc", edgecolor="none"))
        for channel, values in enumerate(signal):
            steps, values = _shorten(values, cell)
            heights = (high - values) / (high - low)
            lines.append(np.stack([x + 3 + (cell - 6) * steps, y + 4 + (_CELL_HEIGHT - 8) * heights], 1))
            colours.append(palette[channel % len(palette)])
    axis.add_collection(LineCollection(lines, linewidths=0.8, colors=colours), autolim=False)
    if title:
        axis.text(_GAP, top / 2 + 2, title, va="center", fontsize=9, color=INK, parse_math=False)
    for row, label in enumerate(row_labels or ()):
        middle = top + _GAP + row * (_CELL_HEIGHT + _GAP) + _CELL_HEIGHT / 2
        axis.text(_GAP, middle, label, va="center", fontsize=7, color=INK, parse_math=False)
    return figure


def value_range(values: np.ndarray) -> tuple[float, float]:
    """The smallest and the largest finite value, at least a little apart."""
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    return (low, high) if low < high else (low - 0.5, high + 0.5)


def _shorten(signal: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Horizontal positions in [0, 1] and values of a line through a signal (length,).

    Of a long signal, the line has the smallest and the largest value in each of `width` pixels.
    """
    if len(signal) > 4 * width:
        starts = np.arange(width) * len(signal) // width
        extremes = [np.minimum.reduceat(signal, starts), np.maximum.reduceat(signal, starts)]
        signal = np.stack(extremes, 1).ravel()
    if len(signal) == 1:  # a line through one point is invisible
        signal = signal.repeat(2)
    return np.linspace(0, 1, len(signal)), signal


# Tables


def plot_histograms(
    samples: np.ndarray,
    data: np.ndarray | None = None,
    column_names: Sequence[str] | None = None,
    title: str | None = None,
) -> "Figure":
    """A histogram of each of the first columns, of samples as a line and of data as an area.

    The axis leaves out the half percent of the smallest and of the largest values.

    Args:
        samples: (num, dim).
        data: (num_data, dim), or None.
        column_names: names of the columns; x0, x1, ... by default.
        title: a line of text above the plots.
    """
    figure = _new_figure(title)
    for axis, index in _columns(figure, samples.shape[1], column_names):
        tables = [samples] if data is None else [samples, data]
        sets = [column[np.isfinite(column)] for column in (table[:, index] for table in tables)]
        ends = [np.quantile(values, (0.005, 0.995)) for values in sets if values.size]
        edges = np.linspace(*value_range(np.array(ends)), _NUM_BINS + 1)
        if data is not None:
            axis.stairs(_shares(sets[1], edges), edges, fill=True, color=_GREY, alpha=0.6, label="data")
        axis.stairs(_shares(sets[0], edges), edges, color=_BLUE, linewidth=1.5, label="samples")
        axis.set_yticks([])
    if data is not None:
        figure.axes[0].legend(frameon=False, fontsize=7)
    return figure


def plot_reconstructed_columns(
    originals: np.ndarray,
    reconstructions: np.ndarray,
    column_names: Sequence[str] | None = None,
    title: str | None = None,
) -> "Figure":
    """Reconstructions over originals for each of the first columns, with the diagonal where they are equal.

    Args:
        originals, reconstructions: (num, dim).
        column_names: names of the columns; x0, x1, ... by default.
        title: a line of text above the plots.
    """
    figure = _new_figure(title)
    for axis, index in _columns(figure, originals.shape[1], column_names):
        ends = value_range(originals[:, index])
        axis.plot(ends, ends, color=_GREY, linewidth=1)
        axis.scatter(originals[:, index], reconstructions[:, index], s=6, color=_BLUE, alpha=0.5, linewidths=0)
    figure.axes[0].set_xlabel("original", fontsize=7)
    figure.axes[0].set_ylabel("reconstruction", fontsize=7)
    return figure


def plot_plane(samples: np.ndarray, data: np.ndarray | None, column_names: Sequence[str] | None, title: str | None):
    """Scatter plot of samples (num, 2) over data (num_data, 2). Other arguments as in `plot_histograms`."""
    figure = _new_figure(title)
    figure.set_size_inches(4.2, 4.2)
    axis = figure.add_subplot()
    for label, points, colour in (("data", data, _GREY), ("samples", samples, _BLUE)):
        if points is not None:
            axis.scatter(*points.T, s=8, color=colour, alpha=0.6, linewidths=0, label=label, rasterized=True)
    names = column_names or ("x0", "x1")
    axis.set_xlabel(names[0], fontsize=8, parse_math=False)
    axis.set_ylabel(names[1], fontsize=8, parse_math=False)
    axis.tick_params(labelsize=7)
    axis.spines[["top", "right"]].set_visible(False)
    if data is not None:
        axis.legend(frameon=False, fontsize=8, markerscale=2)
    return figure


def plot_column_paths(
    paths: np.ndarray,
    positions: Sequence[float],
    position_label: str,
    labels: Sequence[str],
    column_names: Sequence[str] | None = None,
    title: str | None = None,
) -> "Figure":
    """The first columns of rows that change along paths: one plot for each column, one line for each path.

    Args:
        paths: (num_paths, num_steps, dim).
        positions: (num_steps,) places along the path, on the horizontal axis.
        position_label: what they are.
        labels: names of the paths.
        column_names: names of the columns; x0, x1, ... by default.
        title: a line of text above the plots.
    """
    figure = _new_figure(title)
    palette = [PALETTE[name] for name in ("blue", "vermilion", "green", "orange", "purple", "sky", "black")]
    colours = [palette[index % len(palette)] for index in range(len(paths))]
    for axis, index in _columns(figure, paths.shape[2], column_names):
        for path, colour, label in zip(paths, colours, labels, strict=True):
            axis.plot(positions, path[:, index], color=colour, linewidth=1.2, label=label)
    figure.axes[0].set_xlabel(position_label, fontsize=7)
    handles = figure.axes[0].lines
    figure.legend(handles=handles, loc="outside right upper", frameon=False, fontsize=7)
    return figure


def _new_figure(title: str | None) -> "Figure":
    from matplotlib.figure import Figure

    figure = Figure(layout="constrained", dpi=_DPI)
    if title:
        figure.suptitle(title, fontsize=9, x=0.01, ha="left", color=INK, parse_math=False)
    return figure


def _columns(figure: "Figure", num: int, names: Sequence[str] | None) -> Iterator[tuple[Any, int]]:
    """An axis for each of the first `MAX_COLUMNS` columns of a table, and the index of the column."""
    num_shown = min(num, MAX_COLUMNS)
    columns = min(4, num_shown)
    rows = -(-num_shown // columns)
    figure.set_size_inches(max(2.4 * columns, 4), 1.9 * rows + 0.3)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for unused in axes[num_shown:]:
        unused.remove()
    for index, axis in enumerate(axes[:num_shown]):
        name = f"x{index}" if names is None else names[index]
        axis.set_title(name if len(name) <= 24 else f"{name[:23]}…", fontsize=8, parse_math=False)
        axis.tick_params(labelsize=6)
        axis.locator_params(nbins=4)
        axis.spines[["top", "right"]].set_visible(False)
        yield axis, index


def _shares(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Share of the values in each bin."""
    return np.histogram(values, edges)[0] / max(len(values), 1)
