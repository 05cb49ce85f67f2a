"""Tiles: images in a grid, which become one PIL image or one matplotlib figure."""

__all__ = ["Tiles", "to_figure", "to_image"]

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from torch import Tensor

from .colours import INK, MUTED, PAPER
from .grids import image_grid
from .processing import array_to_image

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DPI = 150
_GAP = 0.08  # between images, as a share of the width of one
_TITLE_HEIGHT, _LABEL_HEIGHT, _MARGIN = 0.3, 0.2, 0.06  # inches
_LETTER_WIDTH = 0.075  # inches per letter of a row's label, at most
_MIN_TILE, _MAX_TILE = 0.36, 0.8  # inches
_WIDTH = 6.5  # inches: the text of a paper


@dataclass(frozen=True)
class Tiles:
    """Images in a grid, row by row.

    Args:
        images: (num, 1, 3 or 4, height, width) in [0, 1].
        columns: images per row. By default the rounded square root of the number of images.
        title: a line of text above the images.
        row_labels: a text to the left of each row.
        column_labels: a text above each column, in figures only.
    """

    images: Tensor
    columns: int | None = None
    title: str | None = None
    row_labels: Sequence[str] | None = None
    column_labels: Sequence[str] | None = None


def to_image(drawing: "Tiles | Figure") -> Image.Image:
    """A PIL image of tiles or of a figure."""
    if isinstance(drawing, Tiles):
        return image_grid(drawing.images, drawing.columns, drawing.title, row_labels=drawing.row_labels)
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(drawing)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


def to_figure(drawing: "Tiles | Figure") -> "Figure":
    """A matplotlib figure of tiles, with one image artist for each; a figure as it is.

    Small images are not smoothed. The figure is at most as wide as the text of a paper, unless it has many columns.
    """
    if not isinstance(drawing, Tiles):
        return drawing
    from matplotlib.figure import Figure

    num, (height, width) = len(drawing.images), drawing.images.shape[-2:]
    columns = drawing.columns or round(num**0.5) or 1
    rows = -(-num // columns)
    left = _MARGIN + _LETTER_WIDTH * max(map(len, drawing.row_labels or ()), default=0)
    top = _MARGIN + _TITLE_HEIGHT * bool(drawing.title) + _LABEL_HEIGHT * bool(drawing.column_labels)
    tile = min(max((_WIDTH - left) / columns, _MIN_TILE), _MAX_TILE)  # inches, gap included
    image_width = tile / (1 + _GAP)
    gap, image_height = tile - image_width, image_width * height / width
    step = image_height + gap
    title_width = 0.085 * len(drawing.title or "")
    size = max(left + columns * tile + _MARGIN, title_width), top + rows * step + _MARGIN
    figure = Figure(figsize=size, dpi=_DPI, facecolor=PAPER)
    axis = figure.add_axes((0, 0, 1, 1))
    axis.set_axis_off()
    for index, image in enumerate(drawing.images):
        row, column = divmod(index, columns)
        x, y = left + column * tile, top + row * step
        extent = (x, x + image_width, y + image_height, y)
        pixels = np.asarray(array_to_image(image))
        axis.imshow(pixels, cmap="gray", vmin=0, vmax=255, extent=extent, interpolation="nearest", aspect="auto")
    axis.set(xlim=(0, size[0]), ylim=(size[1], 0))
    text = {"fontsize": 8, "color": MUTED, "parse_math": False}
    if drawing.title:
        axis.text(left, _MARGIN + 0.12, drawing.title, fontsize=10, color=INK, va="center", parse_math=False)
    for column, label in enumerate(drawing.column_labels or ()):
        axis.text(left + column * tile + image_width / 2, top - 0.1, label, ha="center", va="center", **text)
    for row, label in enumerate(drawing.row_labels or ()):
        axis.text(left - 0.08, top + row * step + image_height / 2, label, ha="right", va="center", **text)
    return figure
