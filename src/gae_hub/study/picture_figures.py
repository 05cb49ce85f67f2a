"""Figures of images: interpolations and generated samples, one row per method."""

__all__ = ["PictureFigure", "picture_figures", "read_tiles"]

import base64
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from ..core.files import write_text
from ..images.colours import INK
from ..images.grids import save_picture
from .selection import Selector, Setup
from .study_figure import StudyFigure, file_name
from .table_metrics import display

PAPER_FIGURES = {
    ("interpolations", "mnist"): "Figures 3 and 4",
    ("interpolations", "cifar10"): "Figures 5 and 6",
    ("interpolations", "celeba"): "Figures 7 and 8",
    ("samples", "mnist"): "Figure 10",
    ("samples", "celeba"): "Figure 11",
}
NUM_SAMPLES = 10
_GAP, _TOP, _LINE = 24, 40, 4  # pixels


@dataclass(frozen=True)
class PictureFigure:
    """Strips of images: a row for each method, and a block of columns for each title.

    Args:
        titles: heading of each block.
        rows: name of a method, and its strip in each block, None where it has none.
    """

    titles: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Image.Image | None, ...]], ...]

    def write(self, folder: Path, name: str):
        """Write NAME.png and NAME.svg. The SVG file holds the images without enlargement, and labels as text."""
        strips = [strip for _, row in self.rows for strip in row if strip is not None]
        width, height = max(s.width for s in strips), max(s.height for s in strips)
        scale = max(1, -(-32 // height))
        font = ImageFont.load_default(15)
        left = 16 + max(int(font.getlength(label)) for label, _ in self.rows) + 12
        step_x, step_y = width * scale + _GAP, height * scale + _LINE
        size = left + step_x * len(self.titles) - _GAP + 8, _TOP + step_y * len(self.rows) + 4
        picture = Image.new("RGB", size, "white")
        pen = ImageDraw.Draw(picture)
        texts, images = [], []
        for column, title in enumerate(self.titles):
            pen.text((left + column * step_x, 22), title, fill=INK, font=font, anchor="lm")
            texts.append(_svg_text(left + column * step_x, 22, title))
        for i, (label, row) in enumerate(self.rows):
            y = _TOP + i * step_y
            pen.text((left - 12, y + height * scale // 2), label, fill=INK, font=font, anchor="rm")
            texts.append(_svg_text(left - 12, y + height * scale / 2, label, "end"))
            for column, strip in enumerate(row):
                if strip is not None:
                    x, shape = left + column * step_x, (strip.width * scale, strip.height * scale)
                    picture.paste(strip.resize(shape, Image.Resampling.NEAREST), (x, y))
                    images.append(
                        f'<image x="{x}" y="{y}" width="{shape[0]}" height="{shape[1]}" href="{_data_uri(strip)}"/>'
                    )
        save_picture(picture, folder / f"{name}.png")
        write_text(
            folder / f"{name}.svg",
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size[0]} {size[1]}" width="{size[0]}" '
            f'height="{size[1]}" font-family="sans-serif" font-size="14" fill="{INK}">\n'
            f'<g style="image-rendering: pixelated">\n'
            + "\n".join(images)
            + "\n</g>\n"
            + "\n".join(texts)
            + "\n</svg>\n",
        )


def picture_figures(selector: Selector) -> Iterator[tuple[StudyFigure, PictureFigure | None]]:
    """Interpolations and samples of each data set and networks; None where no cell has pictures."""
    for dataset in selector.results.datasets:
        for network in selector.results.networks:
            yield _interpolations(selector, dataset, network)
            yield _samples(selector, dataset, network)


def _interpolations(selector: Selector, dataset: str, network: str) -> tuple[StudyFigure, PictureFigure | None]:
    dims = selector.results.latent_dims.get(dataset, [])
    shown = dims if len(dims) < 2 else [dims[0], 256 if 256 in dims[1:] else dims[-1]]
    setups = [Setup(network, dataset, dim) for dim in shown]
    num_pairs = int(selector.results.tasks.get("interpolation", {}).get("num_pairs", 5))
    rows = []
    for method in selector.results.methods:
        strips = []
        for setup in setups:
            tiles = read_tiles(_folder(selector, "interpolation", method, setup), "interpolations", num_pairs)
            strips.append(tiles[0] if tiles else None)
        rows.append((method, tuple(strips)))
    titles = tuple(f"{display(dataset)} ({dim})" for dim in shown)
    caption = (
        "Interpolations between the same two test images. Each method's configuration has the lowest FID of images "
        "from a Gaussian mixture on validation, or the lowest MSE where that is not measured."
    )
    return _finish(
        selector, "interpolations", "interpolation", dataset, network, "interpolations", caption, titles, rows
    )


def _samples(selector: Selector, dataset: str, network: str) -> tuple[StudyFigure, PictureFigure | None]:
    samplers = [name for name in ("normal", "gmm") if name in selector.results.samplers]
    samplers = samplers or selector.results.samplers[:2]
    setups = [Setup(network, dataset, dim) for dim in selector.results.latent_dims.get(dataset, [])[:1]]
    rows = []
    for method in selector.results.methods:
        own = selector.method_samplers(method)
        # a method with its own prior only, such as VAMP, shows it in the first block
        names = samplers if set(samplers) & set(own) else [*own[:1], *[""] * (len(samplers) - 1)]
        strips = []
        for name in names:
            strip = None
            for setup in setups if name in own else ():
                tiles = read_tiles(_folder(selector, "generation", method, setup, name), f"samples-{name}", 1)
                strip = tiles[0] if tiles else None
            strips.append(strip)
        label = f"{method} ({display(own[0])})" if own and names[0] not in samplers else method
        rows.append((label, tuple(strips)))
    titles = tuple(display(name) for name in samplers)
    caption = (
        "Generated images. Each method's and sampler's configuration has the lowest FID on validation. Images are not "
        "selected."
    )
    return _finish(selector, "samples", "generation", dataset, network, "generated images", caption, titles, rows)


def _finish(
    selector: Selector,
    kind: str,
    task: str,
    dataset: str,
    network: str,
    what: str,
    caption: str,
    titles: tuple[str, ...],
    rows: Sequence[tuple[str, tuple[Image.Image | None, ...]]],
) -> tuple[StudyFigure, PictureFigure | None]:
    figure = StudyFigure(
        file_name(kind, dataset, network),
        f"{display(dataset)}, {display(network)}: {what}",
        caption,
        PAPER_FIGURES.get((kind, dataset)) if selector.results.is_paper_grid else None,
        task,
        dataset=dataset,
        network=network,
    )
    rows = [row for row in rows if any(strip is not None for strip in row[1])]
    if not rows:
        return replace(figure, missing="no cell that was chosen has these pictures"), None
    return figure, PictureFigure(titles, tuple(rows))


def _folder(selector: Selector, task: str, method: str, setup: Setup, sampler: str | None = None) -> Path | None:
    configuration = selector.select(task, method, setup, sampler).configuration
    return configuration.cells[0].folder if configuration else None


def read_tiles(folder: Path | None, name: str, num_rows: int) -> list[Image.Image]:
    """Rows of a picture of a cell, none if it is missing or unreadable.

    Args:
        folder: folder of the cell.
        name: name of the picture without its suffix.
        num_rows: number of rows of tiles in the picture.
    """
    path = folder / "pictures" / f"{name}.png" if folder else None
    if path is None or not path.is_file():
        return []
    try:
        with Image.open(path) as image:
            picture = image.convert("L" if image.mode in ("L", "1") else "RGB")
    except (OSError, ValueError):  # a damaged file
        return []
    height = picture.height // num_rows
    return [picture.crop((0, i * height, picture.width, (i + 1) * height)) for i in range(num_rows)] if height else []


def _svg_text(x: float, y: float, text: str, anchor: str = "start") -> str:
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" dominant-baseline="central">{escape(text)}</text>'


def _data_uri(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
