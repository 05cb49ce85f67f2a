"""Charts of one method: the four tasks and the training time of each configuration of its grid."""

__all__ = ["PAPER_GRID_FIGURES", "grid_figures", "grid_name"]

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from .charts import INK, MUTED, PALETTE, Chart, set_ticks, set_value_axis
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
_Series = dict[tuple[str, str, int], dict[str, list[tuple[int, float]]]]  # (task, data set, dim) -> network -> points


def grid_name(method: str) -> str:
    """Name of the files of a method's chart."""
    return file_name("configurations", method)


def grid_figures(selector: Selector) -> Iterator[tuple[StudyFigure, Callable[[], Chart] | None]]:
    """A figure for each method, with the function that draws it, None if there is nothing to draw."""
    for method in selector.results.methods:
        number = PAPER_GRID_FIGURES.get(method)
        figure = StudyFigure(
            grid_name(method),
            f"{method}: results by configuration",
            "The four tasks on test (clustering: on training embeddings) and the training time, by configuration. "
            f"Images are generated with {_sampler_name(selector, method)}. Circled: the configuration that is "
            "chosen on validation.",
            f"Figure {number}" if number else None,
            method=method,
        )
        series = _read(selector, method)
        if series:
            yield figure, lambda method=method, series=series: _draw(selector, method, series)
        else:
            yield replace(figure, missing="no configuration of this method is done"), None


def _sampler_name(selector: Selector, method: str) -> str:
    sampler = main_sampler(selector, method)
    return {"gmm": "a Gaussian mixture", None: "no sampler"}.get(sampler, f"the sampler {display(sampler or '')}")


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
    rows = list(dict.fromkeys(key[1:] for key in series))
    panels = [panel for panel in PANELS if any(key[0] == panel[0] for key in series)]
    networks = [name for name in selector.results.networks if any(name in found for found in series.values())]
    step_x, step_y = _WIDTH + 0.45, _HEIGHT + 0.25
    numbers, labels, field = _ticks(selector, method)
    bottom = 0.45 if max(map(len, labels), default=0) <= 2 else 0.75
    chart = Chart(_LEFT + step_x * len(panels) - 0.2, _TOP + step_y * len(rows) - 0.25 + bottom)
    colours = {name: PALETTE[SAMPLER_COLOURS[i % 7]] for i, name in enumerate(selector.results.networks)}
    if len(networks) > 1:
        _draw_key(chart, {name: colours[name] for name in networks})
    for i, (task, metric, title) in enumerate(panels):
        left = _LEFT + i * step_x
        chart.text(left, _TOP - 0.25, title, size=8, weight="bold")
        chart.text(left, _TOP - 0.1, axis_title(metric), size=6.5, colour=MUTED)
        for k, (dataset, dim) in enumerate(rows):
            if i == 0:
                middle = _TOP + k * step_y + _HEIGHT / 2
                chart.text(0.08, middle - 0.06, display(dataset), size=7.5, weight="bold", va="center")
                chart.text(0.08, middle + 0.08, f"{dim} dimensions", size=6, colour=MUTED, va="center")
            found = series.get((task, dataset, dim))
            if not found:
                continue
            axes = chart.axes(left, _TOP + k * step_y, _WIDTH, _HEIGHT)
            set_value_axis(axes, [value for points in found.values() for _, value in points], num_ticks=3)
            axes.set_xlim(numbers[0] - 0.5, numbers[-1] + 0.5)
            last = k == len(rows) - 1
            set_ticks(axes.xaxis, numbers, labels if last else [""] * len(numbers))
            if last:
                axes.tick_params(axis="x", labelsize=6, rotation=0 if bottom < 0.5 else 45)
                axes.set_xlabel(field, fontsize=6.5, color=MUTED, labelpad=2)
            for network, points in found.items():
                _draw_points(axes, points, colours[network], SHAPES[networks.index(network) % 7])
                chosen = _chosen(selector, task, method, Setup(network, dataset, dim))
                axes.plot(
                    *zip(*[point for point in points if point[0] == chosen] or [(float("nan"),) * 2], strict=True),
                    "o",
                    markersize=8,
                    markerfacecolor="none",
                    markeredgecolor=INK,
                    markeredgewidth=0.9,
                )
    return chart


def _draw_points(axes: Any, points: list[tuple[int, float]], colour: str, shape: str):
    axes.plot(*zip(*points, strict=True), marker=shape, markersize=3, color=colour, linewidth=0.9)


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
