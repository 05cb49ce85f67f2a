"""Pictures: grids of images, reconstructions beside their originals, interpolations, loss curves."""

__all__ = [
    "image_grid",
    "reconstruction_grid",
    "save_interpolations",
    "save_loss_curves",
    "save_reconstructions",
    "save_samples",
]

from math import isfinite
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from .processing import array_to_image

PAPER, INK = 255, 60


def image_grid(images, columns: int | None = None, title: str | None = None, min_edge: int = 48) -> Image.Image:
    """One picture of many images, row by row, on white; small images are enlarged without smoothing.

    Args:
        images: PIL images of one size, or a tensor (num, channels, height, width) in [0, 1].
        columns: images per row; about as many as rows by default.
        title: a line above the images.
        min_edge: enlarge by a whole number until the shorter edge has so many pixels.
    """
    images = [array_to_image(image) if isinstance(image, Tensor) else image for image in images]
    columns = columns or round(len(images) ** 0.5) or 1
    width, height = images[0].size
    scale, gap = max(1, -(-min_edge // min(width, height))), 4
    width, height = scale * width + gap, scale * height + gap
    rows, top = -(-len(images) // columns), 28 if title else 0
    mode = "L" if images[0].mode == "L" else "RGB"
    sheet = Image.new(mode, (columns * width + gap, rows * height + gap + top), PAPER if mode == "L" else (PAPER,) * 3)
    for index, image in enumerate(images):
        tile = image.resize((width - gap, height - gap), Image.Resampling.NEAREST)
        sheet.paste(tile, (gap + index % columns * width, top + gap + index // columns * height))
    if title:
        ink = INK if mode == "L" else (INK,) * 3
        ImageDraw.Draw(sheet).text((gap, 7), title, fill=ink, font=ImageFont.load_default(14))
    return sheet


def save_samples(images, path: str | Path, title: str = "New images"):
    """A square grid of generated images, PIL or tensors."""
    image_grid(images, title=title).save(path)


def save_reconstructions(originals: Tensor, reconstructions: Tensor, path: str | Path, columns: int = 12):
    """Originals in every odd row, their reconstructions below them."""
    reconstruction_grid(originals, reconstructions, columns).save(path)


def reconstruction_grid(originals: Tensor, reconstructions: Tensor, columns: int = 12) -> Image.Image:
    """Originals in every odd row, their reconstructions below them."""
    rows = []
    for start in range(0, len(originals), columns):
        rows += [originals[start : start + columns], reconstructions[start : start + columns]]
    return image_grid(torch.cat(rows).cpu(), columns, "Originals, and below each its reconstruction")


def save_interpolations(paths: Tensor, path: str | Path):
    """One row for each of (num, num_steps, channels, height, width)."""
    image_grid(paths.flatten(0, 1), paths.shape[1], "From one image to another, through the latent space").save(path)


def save_loss_curves(log: list[dict], path: str | Path):
    """The loss, and each of its terms, over the epochs: training as a line, validation as a dashed one.

    Args:
        log: `trainer.state.log_history`.
        path: a PNG or PDF file.
    """
    import matplotlib.figure

    entries = [entry for entry in log if "loss" in entry]
    names = (
        [name for name in entries[-1] if name not in {"epoch", "step", "learning_rate", "grad_norm"}]
        if entries
        else ["loss"]
    )
    columns = min(3, len(names))
    rows = -(-len(names) // columns)
    figure = matplotlib.figure.Figure(figsize=(3.6 * columns, 3.2 * rows), layout="constrained", dpi=120)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for unused in axes[len(names) :]:
        unused.remove()
    for axis, name in zip(axes, names, strict=False):
        for prefix, label, style in (("", "training", "-"), ("eval_", "validation", "--")):
            points = [(entry["epoch"], entry[prefix + name]) for entry in log if prefix + name in entry]
            if points:
                axis.plot(*zip(*points, strict=True), style, label=label, color="#2b6cb0" if not prefix else "#c05621")
        values = [value for line in axis.lines for value in line.get_ydata()]
        if values and min(values) == max(values) and isfinite(2 * values[0]):  # no detail to enlarge
            axis.set_ylim(min(0, 2 * values[0]), max(0, 2 * values[0]) or 1)
        axis.set_title(name.replace("_", " "))
        axis.set_xlabel("epoch")
        axis.spines[["top", "right"]].set_visible(False)
    figure.axes[0].set_ylabel("nats per image")
    if figure.axes[0].lines:
        figure.axes[0].legend(frameon=False)
    figure.savefig(path)
