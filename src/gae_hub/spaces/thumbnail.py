"""The picture that stands for a Space where its link is shared."""

__all__ = ["THUMBNAIL", "draw_thumbnail"]

from PIL import Image, ImageDraw, ImageFont

from ..hub.cards.papers import paper_of
from .explorer import Explorer

THUMBNAIL = "thumbnail.png"
_SIZE = (1200, 630)  # pixels, as networks show links
_PAPER, _INK, _ACCENT = "#f7f5f0", "#1d1b18", "#0b6e69"  # as in style.css
_COLUMNS, _ROWS, _GAP, _MARGIN = 6, 3, 12, 60


def draw_thumbnail(explorer: Explorer, title: str) -> Image.Image:
    """The model's name and method above its samples, with seed 0.

    Args:
        explorer: of the model.
        title: heading.
    """
    latents = explorer.draw_latents(next(iter(explorer.samplers)), 0, _COLUMNS * _ROWS)
    images = explorer.to_images(explorer.decode(latents))
    picture = Image.new("RGB", _SIZE, _PAPER)
    pen = ImageDraw.Draw(picture)
    paper = paper_of(type(explorer.model))
    method = paper.name if paper else type(explorer.model).__name__
    pen.text((_MARGIN, 40), method, fill=_ACCENT, font=ImageFont.load_default(26))
    size = 52
    while size > 20 and ImageFont.load_default(size).getlength(title) > _SIZE[0] - 2 * _MARGIN:
        size -= 2
    pen.text((_MARGIN, 74), title, fill=_INK, font=ImageFont.load_default(size))
    edge = (_SIZE[1] - 160 - 40 - _GAP * (_ROWS - 1)) // _ROWS
    left = _MARGIN
    for index, image in enumerate(images):
        row, column = divmod(index, _COLUMNS)
        tile = image.convert("RGB").resize((edge, edge), Image.Resampling.NEAREST)
        picture.paste(tile, (left + column * (edge + _GAP), 160 + row * (edge + _GAP)))
    return picture
