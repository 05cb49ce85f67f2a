"""The picture that stands for a Space where its link is shared."""

__all__ = ["NUM_TILES", "THUMBNAIL", "write_thumbnail"]

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from ..images.grids import save_picture

THUMBNAIL = "thumbnail.png"
_SIZE = (1200, 630)  # pixels, as networks show links
_PAPER, _INK, _ACCENT = "#f7f5f0", "#1d1b18", "#0b6e69"  # of the light palette
_COLUMNS, _ROWS, _GAP, _MARGIN = 6, 3, 12, 60
NUM_TILES = _COLUMNS * _ROWS
"""Number of images on the picture."""


def write_thumbnail(folder: Path, kicker: str, title: str, images: Sequence[Image.Image]):
    """Write a title above images.

    Args:
        folder: folder of the Space.
        kicker: a line above the title.
        title: heading, in letters that are as large as its length allows.
        images: at most `NUM_TILES`, shown in rows.
    """
    picture = Image.new("RGB", _SIZE, _PAPER)
    pen = ImageDraw.Draw(picture)
    pen.text((_MARGIN, 40), kicker, fill=_ACCENT, font=ImageFont.load_default(26))
    size = 52
    while size > 20 and ImageFont.load_default(size).getlength(title) > _SIZE[0] - 2 * _MARGIN:
        size -= 2
    pen.text((_MARGIN, 74), title, fill=_INK, font=ImageFont.load_default(size))
    edge = (_SIZE[1] - 160 - 40 - _GAP * (_ROWS - 1)) // _ROWS
    for index, image in enumerate(images[:NUM_TILES]):
        row, column = divmod(index, _COLUMNS)
        tile = image.convert("RGB").resize((edge, edge), Image.Resampling.NEAREST)
        picture.paste(tile, (_MARGIN + column * (edge + _GAP), 160 + row * (edge + _GAP)))
    save_picture(picture, folder / THUMBNAIL)
