"""Grids of many images in one picture."""

__all__ = ["image_grid", "save_picture", "save_tiles"]

from collections.abc import Iterable, Sequence
from math import ceil
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ..core.files import write_atomically
from .processing import array_to_image

_GAP = 4  # pixels between images
_TITLE_HEIGHT = 28  # pixels
_BACKGROUND, _TEXT = 255, 60  # grey levels


def image_grid(
    images: Iterable[Image.Image] | Tensor,
    columns: int | None = None,
    title: str | None = None,
    min_edge: int = 48,
    row_labels: Sequence[str] | None = None,
) -> Image.Image:
    """One picture of many images, row by row on white. Small images are enlarged without smoothing.

    Args:
        images: PIL images of one size, or a tensor (num, channels, height, width) in [0, 1].
        columns: images per row. By default the rounded square root of the number of images.
        title: a line of text above the images. The picture is as wide as its title.
        min_edge: images whose shorter edge has fewer pixels are enlarged by a whole-number factor.
        row_labels: a text to the left of each row.

    Raises:
        ValueError: if there are no images, or another number of labels than rows.
    """
    images = [array_to_image(image) if isinstance(image, Tensor) else image for image in images]
    if not images:
        raise ValueError("a grid needs 1 or more images, got none")
    columns = columns or round(len(images) ** 0.5) or 1
    rows = -(-len(images) // columns)
    if row_labels is not None and len(row_labels) != rows:
        raise ValueError(f"a grid of {rows} rows needs as many row_labels, got {len(row_labels)}")
    width, height = images[0].size
    scale = max(1, -(-min_edge // min(width, height)))
    width, height = scale * width, scale * height
    step_x, step_y, top = width + _GAP, height + _GAP, _TITLE_HEIGHT if title else 0
    title_font, label_font = ImageFont.load_default(14), ImageFont.load_default(12)
    left = _GAP + max((ceil(label_font.getlength(label)) + 2 * _GAP for label in row_labels or ()), default=0)
    title_width = ceil(title_font.getlength(title)) + 2 * _GAP if title else 0
    mode = "L" if images[0].mode == "L" else "RGB"
    background, text = (_BACKGROUND, _TEXT) if mode == "L" else ((_BACKGROUND,) * 3, (_TEXT,) * 3)
    size = max(left + columns * step_x, title_width), rows * step_y + _GAP + top
    grid = Image.new(mode, size, background)
    for index, image in enumerate(images):
        row, column = divmod(index, columns)
        tile = image.resize((width, height), Image.Resampling.NEAREST)
        grid.paste(tile, (left + column * step_x, top + _GAP + row * step_y))
    pen = ImageDraw.Draw(grid)
    if title:
        pen.text((_GAP, 7), title, fill=text, font=title_font)
    for row, label in enumerate(row_labels or ()):
        middle = top + _GAP + row * step_y + height // 2
        pen.text((_GAP, middle), label, fill=text, font=label_font, anchor="lm")
    return grid


def save_picture(picture: Image.Image, path: str | Path):
    """Write a picture in the format of the path's suffix."""
    with write_atomically(path, durable=False) as temporary:
        picture.save(temporary)


def save_tiles(images: Tensor, columns: int, path: str | Path):
    """Write a picture of images (num, channels, height, width) in [0, 1], row by row and without gaps."""
    num, channels, height, width = images.shape
    rows = -(-num // columns)
    padded = torch.cat([images, images.new_ones(rows * columns - num, channels, height, width)])
    tiles = padded.view(rows, columns, channels, height, width).permute(2, 0, 3, 1, 4)
    save_picture(array_to_image(tiles.reshape(channels, rows * height, columns * width)), path)
