"""Charts that compare methods: by latent dimension, sampler and networks, and their training times."""

__all__ = ["comparison_figures"]

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..images.colours import INK, MUTED, PALETTE, RULE
from .cell_facts import SHARED_TIME, warn_of_extractors
from .charts import (
    Chart,
    MethodStyle,
    method_styles,
    set_ticks,
    set_value_axis,
    spread_labels,
)
from .selection import SeedMean, Selector, Setup
from .study_figure import StudyFigure, file_name
from .table import clip
from .table_metrics import CLASSIFICATION, CLUSTERING, FID, MSE, SECONDS, Metric, display

PAPER_FIGURES = {  # by data set
    "mnist": {"latent-dims": "Figure 2", "samplers": "Figure 12", "networks": "Figure 13", "time": "Figure 14"},
    "cifar10": {"latent-dims": "Figure 9"},
}
SAMPLER_COLOURS = ("blue", "vermilion", "green", "orange", "purple", "sky", "black")
SHAPES = ("o", "s", "D", "^", "v", "P", "X")
# task, metric, title
TASKS: tuple[tuple[str, Metric, str], ...] = (
    ("reconstruction", MSE, "Reconstruction"),
    ("generation", FID, "Generation"),
    ("classification", CLASSIFICATION, "Classification"),
    ("clustering", CLUSTERING, "Clustering"),
)
CHOSEN = "Each method's configuration is the best of its task on validation."
_Draw = Callable[[], Chart]
# number of a method in a setup
_Estimate = Callable[[str, Setup, Metric], SeedMean | None]
_Panel = tuple[str, Metric, Setup]
_Rows = dict[str, dict[str, float]]  # method -> series -> printed value


def _figure(selector: Selector, kind: str, dataset: str, title: str, caption: str, task: str = "all") -> StudyFigure:
    paper = PAPER_FIGURES.get(dataset, {}).get(kind) if selector.results.is_paper_grid else None
    if kind != "time":
        caption = " ".join([caption, *warn_of_extractors(selector.results, dataset)])
    return StudyFigure(file_name(kind, dataset), title, caption, paper, task, dataset=dataset)


def _missing(figure: StudyFigure, reason: str) -> tuple[StudyFigure, None]:
    return replace(figure, missing=reason), None


def axis_title(metric: Metric) -> str:
    """What an axis shows, in which unit, and which direction is better: "MSE x 1000, lower is better"."""
    label = {"classification": "accuracy", "clustering": "accuracy"}.get(metric.label, metric.label)
    unit = metric.unit or ""
    name = f"{label} {unit}" if unit.startswith("x") else f"{label} ({unit})" if unit else label
    return f"{name}, {metric.better} is better"


def main_sampler(selector: Selector, method: str) -> str | None:
    """The sampler that stands for a method: a Gaussian mixture, or the first that the method has."""
    samplers = selector.method_samplers(method)
    return "gmm" if "gmm" in samplers else samplers[0] if samplers else None


def task_estimate(selector: Selector, task: str, metric: Metric, method: str, setup: Setup) -> SeedMean | None:
    """A method's number for a task, of the configuration that is best on validation."""
    sampler = main_sampler(selector, method) if task == "generation" else None
    number = metric.number.format(sampler=sampler)
    return selector.select(task, method, setup, sampler).estimate(number)


def comparison_figures(selector: Selector) -> Iterator[tuple[StudyFigure, _Draw | None]]:
    """Each figure with the function that draws it, None if there is nothing to draw."""
    for dataset in selector.results.datasets:
        for build in (_latent_dims, _samplers, _networks, _training_time):
            yield build(selector, dataset)


# Latent dimensions


def _latent_dims(selector: Selector, dataset: str) -> tuple[StudyFigure, _Draw | None]:
    dims = selector.results.latent_dims.get(dataset, [])
    figure = _figure(
        selector,
        "latent-dims",
        dataset,
        f"{display(dataset)}: the four tasks by latent dimension",
        f"{CHOSEN} Images are generated with the Gaussian mixture, or the method's own prior where it has no other "
        "sampler. Dashed: variational; solid: autoencoder. Colour: kind of method.",
    )
    if len(dims) < 2:
        return _missing(figure, "the study has one number of latent dimensions for this data set")
    lines: dict[tuple[str, str], dict[str, list[tuple[int, SeedMean]]]] = {}
    for network in selector.results.networks:
        for task, metric, _ in TASKS:
            for method in selector.results.methods:
                points = [
                    (dim, mean)
                    for dim in dims
                    if (mean := task_estimate(selector, task, metric, method, Setup(network, dataset, dim)))
                ]
                if points:
                    lines.setdefault((network, task), {})[method] = points
    if not lines:
        return _missing(figure, "no cell of this data set is done")
    return figure, lambda: _draw_latent_dims(selector, dims, lines)


def _draw_latent_dims(
    selector: Selector, dims: Sequence[int], lines: dict[tuple[str, str], dict[str, list[tuple[int, SeedMean]]]]
) -> Chart:
    networks = [name for name in selector.results.networks if any(key[0] == name for key in lines)]
    tasks = [row for row in TASKS if any(key[1] == row[0] for key in lines)]
    styles = method_styles(selector.results.methods)
    num_labels = max(len(found) for found in lines.values())
    height, width = max(1.8, 0.128 * num_labels), 3.5
    step_x, step_y = width + 1.75, height + 0.85
    chart = Chart(0.6 + step_x * len(networks), 0.55 + step_y * len(tasks))
    for column, network in enumerate(networks):
        left = 0.6 + column * step_x
        chart.text(left, 0.22, display(network), size=10, weight="bold")
        for row, (task, metric, title) in enumerate(tasks):
            found = lines.get((network, task))
            if not found:
                continue
            top = 0.7 + row * step_y
            axes = chart.axes(left, top, width, height)
            chart.text(left, top - 0.1, f"{title}: {axis_title(metric)}", size=8, weight="bold")
            values = [m.value * metric.scale for points in found.values() for _, m in points]
            set_value_axis(axes, values)
            axes.set_xscale("log", base=2)
            axes.set_xlim(dims[0] / 1.12, dims[-1] * 1.12)
            set_ticks(axes.xaxis, dims, [str(dim) for dim in dims])
            if row == len(tasks) - 1:
                axes.set_xlabel("latent dimensions", fontsize=7, color=MUTED)
            ends: list[tuple[str, float, float]] = []
            for method, points in found.items():
                style = styles[method]
                xs, ys = [dim for dim, _ in points], [m.value * metric.scale for _, m in points]
                axes.plot(
                    xs,
                    ys,
                    color=style.colour,
                    linestyle=(0, (4, 2)) if style.dashed else "-",
                    linewidth=1.1,
                    marker=style.marker,
                    markersize=3,
                )
                for dim, mean in points:
                    if mean.interval and mean.interval_kind == "seeds":
                        ends_of_interval = [value * metric.scale for value in clip(mean.interval, metric.bounds)]
                        axes.plot([dim, dim], ends_of_interval, color=style.colour, linewidth=0.7)
                ends.append((method, xs[-1], ys[-1]))
            _label_lines(axes, ends, height, styles)
    return chart


def _label_lines(axes: Any, ends: Sequence[tuple[str, float, float]], height: float, styles: dict[str, MethodStyle]):
    """Names at the right ends of lines, moved apart where they would overlap."""
    to_pixels, to_share = axes.transData, axes.transAxes.inverted()
    shares = [to_share.transform(to_pixels.transform((x, y))) for _, x, y in ends]
    places = spread_labels([share[1] for share in shares], 0.118 / height, 0.0, 1.0)
    for (method, _, _), (x, y), place in zip(ends, shares, places, strict=True):
        colour = styles[method].colour
        axes.plot(
            [x, 1.02, 1.055], [y, y, place], transform=axes.transAxes, color=colour, linewidth=0.4, clip_on=False
        )
        axes.text(
            1.065, place, method, transform=axes.transAxes, fontsize=6.5, color=colour, va="center", parse_math=False
        )


# Rows of methods


def _samplers(selector: Selector, dataset: str) -> tuple[StudyFigure, _Draw | None]:
    figure = _figure(
        selector,
        "samplers",
        dataset,
        f"{display(dataset)}: FID by sampler",
        "FID of generated images on test, lower is better. Each method's and sampler's configuration has the lowest "
        "FID on validation.",
        "generation",
    )
    dims = selector.results.latent_dims.get(dataset, [])
    if len(selector.results.samplers) < 2:
        return _missing(figure, "the study has one sampler")
    series: dict[str, _Estimate] = {}
    for sampler in selector.results.samplers:

        def estimate(method: str, setup: Setup, metric: Metric, sampler: str = sampler) -> SeedMean | None:
            if sampler not in selector.method_samplers(method):
                return None
            number = metric.number.format(sampler=sampler)
            return selector.select("generation", method, setup, sampler).estimate(number)

        series[display(sampler)] = estimate
    panels = [
        (f"{display(network)} ({dim}): {axis_title(FID)}", FID, Setup(network, dataset, dim))
        for network in selector.results.networks
        for dim in dims[:1]
    ]
    return _finish_dots(selector, figure, panels, series)


def _networks(selector: Selector, dataset: str) -> tuple[StudyFigure, _Draw | None]:
    figure = _figure(
        selector,
        "networks",
        dataset,
        f"{display(dataset)}: the four tasks by networks",
        f"{CHOSEN} Images are generated with the Gaussian mixture, or the method's own prior.",
    )
    networks = selector.results.networks
    if len(networks) < 2:
        return _missing(figure, "the study has one kind of networks")
    panels = [
        (f"{title}: {axis_title(metric)}", metric, Setup("", dataset, dim))
        for dim in selector.results.latent_dims.get(dataset, [])[:1]
        for _, metric, title in TASKS
    ]
    tasks = {metric.name: task for task, metric, _ in TASKS}

    def by(network: str) -> _Estimate:
        def estimate(method: str, setup: Setup, metric: Metric) -> SeedMean | None:
            return task_estimate(selector, tasks[metric.name], metric, method, setup._replace(network=network))

        return estimate

    return _finish_dots(selector, figure, panels, {display(network): by(network) for network in networks})


def _training_time(selector: Selector, dataset: str) -> tuple[StudyFigure, _Draw | None]:
    figure = _figure(
        selector,
        "time",
        dataset,
        f"{display(dataset)}: training time",
        "Time of the training, without samplers and tasks, of the configuration with the lowest FID of generated "
        "images on validation, over all samplers; without FID, of the one with the lowest MSE. " + SHARED_TIME,
        "training",
    )

    def by(network: str) -> _Estimate:
        def estimate(method: str, setup: Setup, metric: Metric) -> SeedMean | None:
            setup = setup._replace(network=network)
            best = selector.best_sampler(method, setup)
            best = best if best.configuration else selector.select("reconstruction", method, setup)
            return best.estimate(metric.number)

        return estimate

    networks = selector.results.networks
    dims = selector.results.latent_dims.get(dataset, [])[:1]
    series = {display(network): by(network) for network in networks}
    times = [
        mean.value
        for dim in dims
        for method in selector.results.methods
        for estimate in series.values()
        if (mean := estimate(method, Setup("", dataset, dim), SECONDS))
    ]
    longest = max(times, default=0.0)
    unit, seconds = ("h", 3600) if longest > 7200 else ("min", 60) if longest > 300 else ("s", 1)
    metric = replace(SECONDS, unit=unit, scale=1 / seconds)
    panels = [(f"Training {axis_title(metric)}", metric, Setup("", dataset, dim)) for dim in dims]
    return _finish_dots(selector, figure, panels, series, width=4.2)


def _finish_dots(
    selector: Selector,
    figure: StudyFigure,
    panels: Sequence[_Panel],
    series: Mapping[str, _Estimate],
    width: float = 2.6,
) -> tuple[StudyFigure, _Draw | None]:
    """A chart with a panel for each metric and a mark for each series; no chart without numbers."""
    found: list[tuple[str, _Rows]] = []
    for title, metric, setup in panels:
        rows: _Rows = {}
        for method in selector.results.methods:
            for name, estimate in series.items():
                if (mean := estimate(method, setup, metric)) is not None:
                    rows.setdefault(method, {})[name] = mean.value * metric.scale
        if rows:
            found.append((title, rows))
    if not found:
        return _missing(figure, "no finished cell of this data set has the numbers")
    return figure, lambda: _draw_dots(selector, found, list(series), width)


def _draw_dots(selector: Selector, panels: Sequence[tuple[str, _Rows]], series: Sequence[str], width: float) -> Chart:
    """A row for each method, and a mark for each series, joined by a line."""
    methods = [name for name in selector.results.methods if any(name in rows for _, rows in panels)]
    row_height, left, total_width = 0.21, 1.15, 1.15 + len(panels) * (width + 0.3)
    key = _divide_key(series, total_width - left) if len(series) > 1 else []
    top = 0.55 + 0.2 * max(1, len(key))
    height = row_height * len(methods)
    chart = Chart(total_width, top + height + 0.4)
    _draw_key(chart, series, key, left)
    for column, (title, rows) in enumerate(panels):
        x = left + column * (width + 0.3)
        axes = chart.axes(x, top, width, height)
        chart.text(x, top - 0.1, title, size=7, weight="bold")
        axes.set_ylim(len(methods) - 0.5, -0.5)
        axes.spines["left"].set_visible(False)
        set_value_axis(axes, [value for row in rows.values() for value in row.values()], "x")
        set_ticks(axes.yaxis, range(len(methods)), methods if column == 0 else [""] * len(methods))
        axes.tick_params(axis="y", labelcolor=INK, labelsize=7)
        for y in range(len(methods)):
            if y and _is_autoencoder(selector, methods[y]) != _is_autoencoder(selector, methods[y - 1]):
                axes.axhline(y - 0.5, color=MUTED, linewidth=0.6)
        segments = [(y, row.values()) for y, name in enumerate(methods) if (row := rows.get(name)) and len(row) > 1]
        axes.hlines(
            [y for y, _ in segments],
            [min(v) for _, v in segments],
            [max(v) for _, v in segments],
            color=RULE,
            linewidth=2,
        )
        for i, name in enumerate(series):
            points = [(row[name], y) for y, method in enumerate(methods) if name in (row := rows.get(method, {}))]
            if points:
                axes.plot(
                    *zip(*points, strict=True), SHAPES[i % 7], color=PALETTE[SAMPLER_COLOURS[i % 7]], markersize=4
                )
    return chart


def _draw_key(chart: Chart, series: Sequence[str], lines: Sequence[Sequence[str]], left: float):
    """Mark and name of each series, in lines above the panels."""
    if not lines:
        return
    axes = chart.canvas()
    for row, names in enumerate(lines):
        x, y = left, 0.25 + 0.2 * row
        for name in names:
            i = series.index(name)
            axes.plot([x + 0.05], [y], SHAPES[i % 7], color=PALETTE[SAMPLER_COLOURS[i % 7]], markersize=5)
            chart.text(x + 0.15, y, name, va="center")
            x += _key_width(name)


def _divide_key(series: Sequence[str], width: float) -> list[list[str]]:
    """Names of series in lines that are as wide as the panels, in inches."""
    lines: list[list[str]] = [[]]
    for name in series:
        if lines[-1] and sum(map(_key_width, [*lines[-1], name])) > width:
            lines.append([])
        lines[-1].append(name)
    return lines


def _key_width(name: str) -> float:
    return 0.35 + 0.075 * len(name)


def _is_autoencoder(selector: Selector, method: str) -> bool:
    return "autoencoder" in (selector.results.methods[method].get("groups") or [])
