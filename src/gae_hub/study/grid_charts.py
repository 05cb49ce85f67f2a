"""Charts of one method: the tasks and the training time of each configuration of its grid."""

__all__ = ["PAPER_GRID_FIGURES", "grid_figures", "grid_name"]

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from ..images.colours import INK, MUTED, PALETTE, RULE
from .charts import Chart, nice_ticks, value_range
from .comparison_charts import SAMPLER_COLOURS, SHAPES, TASKS, axis_title, main_sampler
from .selection import Selector, Setup
from .study_figure import StudyFigure, file_name
from .table_metrics import SECONDS, Metric, display

PAPER_GRID_FIGURES = {
    "VAMP": 15,
    "IWAE": 16,
    "VAE-lin-NF": 17,
    "VAE-IAF": 18,
    "beta-VAE": 19,
    "beta-TC-VAE": 20,
    "FactorVAE": 21,
    "InfoVAE-RBF": 22,
    "InfoVAE-IMQ": 23,
    "AAE": 24,
    "MSSSIM-VAE": 25,
    "VAEGAN": 26,
    "WAE-RBF": 27,
    "WAE-IMQ": 28,
    "VQVAE": 29,
    "RAE-L2": 30,
    "RAE-GP": 31,
}
PANELS: tuple[tuple[str, Metric, str], ...] = (*TASKS, ("training", SECONDS, "Training"))
_WIDTH, _HEIGHT, _LEFT, _TOP = 1.75, 1.05, 1.15, 0.75  # inches
_Point = tuple[int, float]  # number of a configuration, printed value
_Series = dict[tuple[str, str, int], dict[str, list[_Point]]]  # (task, data set, dim) -> network -> points
_Lines = dict[tuple[str, float], list[list[tuple[float, float]]]]  # (colour, width) -> lines


def grid_name(method: str) -> str:
    """Name of the files of a method's chart."""
    return file_name("configurations", method)


def _caption(selector: Selector, method: str) -> str:
    """What the chart of a method shows."""
    tasks = selector.results.measured_tasks
    parts = ["Numbers on test and the training time, by configuration."]
    if "clustering" in tasks:
        parts.append("Clustering is that of training embeddings.")
    if "generation" in tasks:
        parts.append(f"Images are generated with {_sampler_name(selector, method)}.")
    return " ".join([*parts, "Circled: the configuration that is chosen on validation."])


def grid_figures(selector: Selector) -> Iterator[tuple[StudyFigure, Callable[[], Chart] | None]]:
    """A figure for each method, with the function that draws it, None if there is nothing to draw."""
    for method in selector.results.methods:
        number = PAPER_GRID_FIGURES.get(method) if selector.results.methods[method].get("table") else None
        figure = StudyFigure(
            grid_name(method),
            f"{method}: results by configuration",
            _caption(selector, method),
            f"Figure {number}" if number else None,
            method=method,
        )
        series = _read(selector, method)
        if not series:
            yield replace(figure, missing="no configuration of this method is done"), None
        elif len({cell.configuration for cell in selector.results.cells if cell.method == method}) == 1:
            yield replace(figure, missing="the method has one configuration"), None
        else:
            yield figure, lambda method=method, series=series: _draw(selector, method, series)


def _sampler_name(selector: Selector, method: str) -> str:
    sampler = main_sampler(selector, method)
    return "a Gaussian mixture" if sampler == "gmm" else f"the sampler {display(sampler or 'normal')}"


def _read(selector: Selector, method: str) -> _Series:
    """Printed values of every configuration that is done."""
    series: _Series = {}
    for setup in selector.setups:
        for task, metric, _ in PANELS:
            number = metric.number.format(sampler=main_sampler(selector, method))
            points = [
                (configuration.number, mean.value * metric.scale)
                for configuration in selector.configurations(method, setup)
                if all(cell.state == "done" for cell in configuration.cells)
                and (mean := configuration.estimate(number)) is not None
            ]
            if points:
                series.setdefault((task, setup.dataset, setup.latent_dim), {})[setup.network] = points
    return series


def _draw(selector: Selector, method: str, series: _Series) -> Chart:
    from matplotlib.collections import LineCollection

    rows = list(dict.fromkeys(key[1:] for key in series))
    panels = [panel for panel in PANELS if any(key[0] == panel[0] for key in series)]
    networks = [name for name in selector.results.networks if any(name in found for found in series.values())]
    step_x, step_y = _WIDTH + 0.45, _HEIGHT + 0.25
    numbers, labels, field = _ticks(selector, method)
    below = 0.3 if max(map(len, labels), default=0) <= 2 else 0.5  # height of tick labels
    chart = Chart(_LEFT + step_x * len(panels) - 0.2, _TOP + step_y * len(rows) - 0.15 + below)
    colours = {name: PALETTE[SAMPLER_COLOURS[i % 7]] for i, name in enumerate(selector.results.networks)}
    if len(networks) > 1:
        _draw_key(chart, {name: colours[name] for name in networks})
    lines: _Lines = {}
    marks: dict[tuple[str, str], list[tuple[float, float]]] = {}
    circles: list[tuple[float, float]] = []
    for i, (task, metric, title) in enumerate(panels):
        left = _LEFT + i * step_x
        chart.text(left, _TOP - 0.25, title, size=8, weight="bold")
        chart.text(left, _TOP - 0.1, axis_title(metric), size=6.5, colour=MUTED)
        last = max(k for k, row in enumerate(rows) if (task, *row) in series)
        for k, (dataset, dim) in enumerate(rows):
            if i == 0:
                middle = _TOP + k * step_y + _HEIGHT / 2
                chart.text(0.08, middle - 0.06, display(dataset), size=7.5, weight="bold", va="center")
                chart.text(0.08, middle + 0.08, f"{dim} dimensions", size=6, colour=MUTED, va="center")
            found = series.get((task, dataset, dim))
            if not found:
                continue
            panel = _Panel(left, _TOP + k * step_y, found, numbers)
            panel.draw_axes(chart, lines, labels if k == last else [])
            for network, points in found.items():
                places = [panel.place(*point) for point in points]
                chosen = _chosen(selector, task, method, Setup(network, dataset, dim))
                lines.setdefault((colours[network], 0.9), []).append(places)
                marks.setdefault((colours[network], SHAPES[networks.index(network) % 7]), []).extend(places)
                circles.extend(panel.place(*point) for point in points if point[0] == chosen)
        y = _TOP + last * step_y + _HEIGHT + below
        chart.text(left + _WIDTH / 2, y, field, size=6.5, colour=MUTED, ha="center", va="center")
    canvas = chart.canvas()
    for (colour, width), segments in lines.items():
        canvas.add_collection(LineCollection(segments, colors=colour, linewidths=width), autolim=False)
    for (colour, shape), places in marks.items():
        canvas.plot(*zip(*places, strict=True), shape, color=colour, markersize=3)
    for x, y in circles:
        canvas.plot(x, y, "o", markersize=8, markerfacecolor="none", markeredgecolor=INK, markeredgewidth=0.9)
    return chart


class _Panel:
    """Axes of one task and data set, in inches from the upper left corner of the chart."""

    def __init__(self, left: float, top: float, found: dict[str, list[_Point]], numbers: list[int]):
        self.left, self.top, self.numbers = left, top, numbers
        self.low, self.high, self.logarithmic = value_range(value for points in found.values() for _, value in points)

    def place(self, number: float, value: float) -> tuple[float, float]:
        """Where a configuration's value is."""
        low, high = self.low, self.high
        if self.logarithmic:
            low, high, value = math.log(low), math.log(high), math.log(value)
        first, last = self.numbers[0] - 0.5, self.numbers[-1] + 0.5
        x = self.left + _WIDTH * (number - first) / (last - first)
        return x, self.top + _HEIGHT * (1 - (value - low) / (high - low))

    def draw_axes(self, chart: Chart, lines: _Lines, labels: list[str]):
        """Grid lines, ticks, and labels of the configurations if there are any."""
        left, right, bottom = self.left, self.left + _WIDTH, self.top + _HEIGHT
        frame = lines.setdefault((RULE, 0.7), [])
        frame.append([(left, self.top), (left, bottom), (right, bottom)])
        for tick in nice_ticks(self.low, self.high, 3, self.logarithmic):
            _, y = self.place(0, tick)
            frame.append([(left, y), (right, y)])
            chart.text(left - 0.05, y, f"{tick:,.6g}", colour=MUTED, ha="right", va="center")
        turned = max(map(len, labels), default=0) > 2
        for number, label in zip(self.numbers, labels, strict=False):
            x, _ = self.place(number, self.high)
            options = {"rotation": 45, "ha": "right"} if turned else {"ha": "center"}
            shift = 0.05 if turned else 0.0
            chart.text(
                x + shift, bottom + 0.05, label, size=6, colour=MUTED, va="top", rotation_mode="default", **options
            )


def _draw_key(chart: Chart, colours: dict[str, str]):
    """Colour of each network, in a line above the panels."""
    x = _LEFT
    for name, colour in colours.items():
        chart.text(x, 0.2, display(name), size=8, colour=colour, weight="bold", va="center")
        x += 0.3 + 0.09 * len(name)


def _chosen(selector: Selector, task: str, method: str, setup: Setup) -> int | None:
    """Number of the configuration that is chosen for a task; None for the training time."""
    if task == "training":
        return None
    sampler = main_sampler(selector, method) if task == "generation" else None
    configuration = selector.select(task, method, setup, sampler).configuration
    return configuration.number if configuration else None


def _ticks(selector: Selector, method: str) -> tuple[list[int], list[str], str]:
    """Numbers of the configurations, their labels, and the title of the axis.

    If one field varies, its values are the labels.
    """
    fields: dict[int, dict[str, Any]] = {}
    for setup in selector.setups:
        fields |= {c.number: c.fields for c in selector.configurations(method, setup)}
    numbers = sorted(fields)
    varying = [
        name
        for name in dict.fromkeys(name for content in fields.values() for name in content)
        if len({repr(content.get(name)) for content in fields.values()}) > 1
    ]
    if len(varying) == 1:
        labels = [str(fields[number].get(varying[0], "")) for number in numbers]
        if max(map(len, labels), default=0) <= 10:
            return numbers, labels, varying[0]
    return numbers, [str(number) for number in numbers], "configuration"
