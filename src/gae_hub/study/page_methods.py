"""Sections of the page about one method each: its best configurations, pictures and chart."""

__all__ = ["Choice", "MethodView", "PictureView", "image_uri", "view_methods"]

import base64
import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from .cell_facts import describe_troubles
from .grid_charts import grid_name
from .picture_figures import read_tiles
from .results import CellResult
from .selection import CRITERIA, Selection, Selector, Setup
from .study_figure import file_name
from .table import format_number
from .table_metrics import CRITERIA_METRICS, display

NUM_INTERPOLATIONS = 2
NUM_SAMPLERS = 2  # whose images are on the page
_MAX_TILE = 48  # pixels


@dataclass(frozen=True)
class Choice:
    """A configuration that was chosen for a task."""

    task: str
    setup: str
    dataset: str
    network: str
    configuration: int | None
    fields: str
    criterion: str
    value: str
    link: str | None
    missing: str | None


@dataclass(frozen=True)
class PictureView:
    """A picture of a chosen configuration."""

    caption: str
    uri: str
    width: int
    height: int
    task: str


@dataclass(frozen=True)
class SetupView:
    """Pictures of one method with one kind of networks on one data set."""

    title: str
    dataset: str
    network: str
    pictures: tuple[PictureView, ...]


@dataclass(frozen=True)
class MethodView:
    """A method's section."""

    anchor: str
    name: str
    model: str
    groups: tuple[str, ...]
    table: int | None
    figure: str
    choices: tuple[Choice, ...]
    setups: tuple[SetupView, ...]
    troubles: tuple[str, ...]


def view_methods(selector: Selector, link: Callable[[CellResult], str | None]) -> Iterator[MethodView]:
    """A section for each method.

    Args:
        selector: chooses configurations.
        link: URL of a cell, or None.
    """
    for name, method in selector.results.methods.items():
        yield MethodView(
            file_name("method", name),
            name,
            str(method.get("model", "")),
            tuple(map(str, method.get("groups") or [])),
            method.get("table"),
            grid_name(name),
            tuple(_choices(selector, name, link)),
            tuple(_setups(selector, name)),
            tuple(describe_troubles(cell for cell in selector.results.cells if cell.method == name)),
        )


def _choices(selector: Selector, method: str, link: Callable[[CellResult], str | None]) -> Iterator[Choice]:
    for setup in selector.setups:
        for task in CRITERIA:
            if task not in selector.results.tasks or selector.results.omitted(task, setup.dataset):
                continue
            for sampler in selector.method_samplers(method) if task == "generation" else [None]:
                yield _choice(selector.select(task, method, setup, sampler), link)


def _choice(selection: Selection, link: Callable[[CellResult], str | None]) -> Choice:
    setup, configuration = selection.setup, selection.configuration
    return Choice(
        task=f"{selection.task}, {display(selection.sampler)}" if selection.sampler else selection.task,
        setup=_title(setup),
        dataset=setup.dataset,
        network=setup.network,
        configuration=configuration.number if configuration else None,
        fields=_fields(configuration.fields) if configuration else "",
        criterion=selection.criterion,
        value=_criterion_value(selection),
        link=link(configuration.cells[0]) if configuration else None,
        missing=selection.missing,
    )


def _criterion_value(selection: Selection) -> str:
    """The number that decided, in the unit of the tables."""
    if selection.value is None:
        return ""
    metric = CRITERIA_METRICS[selection.criterion.split("/")[-2]]
    return format_number(selection.value * metric.scale, metric.digits) + (f" {metric.unit}" if metric.unit else "")


def _fields(fields: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in fields.items())


def _title(setup: Setup) -> str:
    return f"{display(setup.network)}, {display(setup.dataset)} ({setup.latent_dim})"


def _setups(selector: Selector, method: str) -> Iterator[SetupView]:
    """Pictures of each data set and networks, at the data set's first number of latent dimensions."""
    num_pairs = int(selector.results.tasks.get("interpolation", {}).get("num_pairs", 5))
    for setup in selector.setups:
        if setup.latent_dim != selector.results.latent_dims[setup.dataset][0]:
            continue
        pictures = [_picture("Reconstructions: inputs above", "reconstruction", *_find(selector, method, setup), 2)]
        for sampler in selector.method_samplers(method)[:NUM_SAMPLERS]:
            folder, _ = _find(selector, method, setup, "generation", sampler)
            caption = f"Generated, {display(sampler)}"
            pictures.append(_picture(caption, "generation", folder, f"samples-{sampler}", 1))
        folder, name = _find(selector, method, setup, "interpolation")
        pictures.append(_picture("Interpolations", "interpolation", folder, name, num_pairs, NUM_INTERPOLATIONS))
        found = tuple(picture for picture in pictures if picture is not None)
        if found:
            yield SetupView(_title(setup), setup.dataset, setup.network, found)


def _find(
    selector: Selector, method: str, setup: Setup, task: str = "reconstruction", sampler: str | None = None
) -> tuple[Path | None, str]:
    """Folder of the configuration that is chosen for a task, and the name of the task's picture."""
    configuration = selector.select(task, method, setup, sampler).configuration
    return configuration.cells[0].folder if configuration else None, f"{task}s"


def _picture(
    caption: str, task: str, folder: Path | None, name: str, num_rows: int, num_shown: int | None = None
) -> PictureView | None:
    """The first rows of a picture of a cell as a data URI."""
    rows = read_tiles(folder, name, num_rows)[:num_shown]
    if not rows:
        return None
    width, height = rows[0].size
    picture = Image.new(rows[0].mode, (width, height * len(rows)))
    for i, row in enumerate(rows):
        picture.paste(row, (0, i * height))
    if height > _MAX_TILE:
        size = round(picture.width * _MAX_TILE / height), _MAX_TILE * len(rows)
        picture = picture.resize(size, Image.Resampling.LANCZOS)
    return PictureView(caption, image_uri(picture), picture.width, picture.height, task)


def image_uri(picture: Image.Image) -> str:
    """A picture as a data URI: PNG if grey, JPEG if coloured, which is a third of the size."""
    buffer = io.BytesIO()
    kind = "png" if picture.mode == "L" else "jpeg"
    if kind == "png":
        picture.save(buffer, "PNG", optimize=True)
    else:
        picture.save(buffer, "JPEG", quality=82, subsampling=0)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"
