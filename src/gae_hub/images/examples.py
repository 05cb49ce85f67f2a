"""Pictures of examples of any kind: images, curves of signals, slices of volumes, plots of a table's columns.

Functions `arrange_*` return tiles of images, or a matplotlib figure for other data; functions `draw_*` the same as a
PIL image. All expect values in the units of the data, as from `GAEImageProcessor.restore`.
"""

__all__ = [
    "arrange_reconstructions",
    "arrange_rows",
    "arrange_samples",
    "can_draw",
    "draw_reconstructions",
    "draw_rows",
    "draw_samples",
    "kind_of",
    "name_of",
    "num_to_draw",
]

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .layouts import CHANNEL_COUNTS
from .plots import MAX_COLUMNS, plot_histograms, plot_plane, plot_reconstructed_columns, plot_signals, value_range
from .tiles import Tiles, to_image

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Kind: TypeAlias = Literal["rows", "signals", "images", "volumes"]

_KINDS: dict[int, Kind] = {1: "rows", 2: "signals", 3: "images", 4: "volumes"}
_MAX_SIGNALS, _NUM_ROWS = 48, 500  # in a picture
_COLUMNS: dict[Kind, int] = {"signals": 6, "images": 12, "volumes": 12}  # of reconstructions


def can_draw(input_shape: Sequence[int]) -> bool:
    """Whether examples of this shape have pictures."""
    return len(input_shape) in _KINDS


def kind_of(input_shape: Sequence[int]) -> Kind:
    """What examples of a shape are called.

    Raises:
        ValueError: if there are no pictures of such examples.
    """
    if not can_draw(input_shape):
        raise ValueError(f"cannot draw examples of shape {tuple(input_shape)}: expected 1 to 4 axes")
    return _KINDS[len(input_shape)]


def name_of(input_shape: Sequence[int]) -> str:
    """What examples of any shape are called."""
    return kind_of(input_shape) if can_draw(input_shape) else "examples"


def num_to_draw(input_shape: Sequence[int], num: int) -> int:
    """Number of examples for a picture that shows `num` examples one by one, or the distribution of a table's rows."""
    return _NUM_ROWS if kind_of(input_shape) == "rows" else num


def draw_samples(
    samples: Tensor,
    title: str | None = None,
    data: Tensor | None = None,
    column_names: Sequence[str] | None = None,
) -> Image.Image:
    """One picture of many examples. Arguments and errors as in `arrange_samples`."""
    return to_image(arrange_samples(samples, title, data, column_names))


def arrange_samples(
    samples: Tensor,
    title: str | None = None,
    data: Tensor | None = None,
    column_names: Sequence[str] | None = None,
) -> "Tiles | Figure":
    """Many examples at once.

    Images and the middle slices of volumes form a square grid. Of signals, the first 48 are drawn as curves. Of
    tables, the first 12 columns are drawn as histograms; two columns are drawn as points of the plane.

    Args:
        samples: (num, *input_shape).
        title: a line of text above the picture, to which notes are added: which part is shown, and its range.
        data: (num_data, dim) rows of a table to compare its samples with.
        column_names: names of a table's columns.

    Raises:
        ValueError: if there are no examples, or their shape has no pictures.
    """
    kind = kind_of(samples.shape[1:])
    if not len(samples):
        raise ValueError(f"a picture needs 1 or more {kind}, got none")
    if kind == "rows":
        plot = plot_plane if samples.shape[1] == 2 else plot_histograms
        heading = _join(title, _note_columns(samples))
        return plot(_to_numpy(samples), None if data is None else _to_numpy(data), column_names, heading)
    if kind == "signals":
        shown = samples[:_MAX_SIGNALS]
        note = f"{len(shown)} of {len(samples):,} signals" if len(shown) < len(samples) else ""
        columns = max(min(len(shown), 4), round((len(shown) / 2) ** 0.5))
        return _plot_signals(shown, columns, title, note)
    images, *notes = _to_images(samples)
    return Tiles(images, title=_join(title, *notes))


def draw_reconstructions(
    originals: Tensor, reconstructions: Tensor, column_names: Sequence[str] | None = None
) -> Image.Image:
    """One picture of originals and reconstructions. Arguments as in `arrange_reconstructions`."""
    return to_image(arrange_reconstructions(originals, reconstructions, column_names))


def arrange_reconstructions(
    originals: Tensor,
    reconstructions: Tensor,
    column_names: Sequence[str] | None = None,
    title: str | None = None,
) -> "Tiles | Figure":
    """Originals and reconstructions, each (num, *input_shape), with a title that says so by default.

    Alternating rows hold originals and their reconstructions. For tables, reconstructions are plotted over originals.
    """
    kind = kind_of(originals.shape[1:])
    if kind == "rows":
        title = _join(title or "Reconstructions over originals", _note_columns(originals))
        return plot_reconstructed_columns(_to_numpy(originals), _to_numpy(reconstructions), column_names, title)
    title = title or "Originals, each with its reconstruction below"
    if kind == "signals":
        rows = _alternate(originals, reconstructions, _COLUMNS[kind], torch.nan)
        return _plot_signals(rows.flatten(0, 1), rows.shape[1], title)
    images, *notes = _to_images(torch.cat([originals, reconstructions]), originals)
    num = len(originals)
    rows = _alternate(images[:num], images[num:], _COLUMNS[kind], fill=1)  # white, as the background
    return Tiles(rows.flatten(0, 1), rows.shape[1], _join(title, *notes))


def _alternate(originals: Tensor, reconstructions: Tensor, columns: int, fill: float) -> Tensor:
    """(num_rows, columns, *shape): rows of originals, each above a row of reconstructions. The last two are filled."""
    columns = min(columns, len(originals))
    padding = originals.new_full((-len(originals) % columns, *originals.shape[1:]), fill)
    both = [torch.cat([values, padding]).unflatten(0, (-1, columns)) for values in (originals, reconstructions)]
    return torch.stack(both, 1).flatten(0, 1)


def draw_rows(rows: Tensor, title: str, row_labels: Sequence[str] | None = None) -> Image.Image:
    """One picture of rows of examples. Arguments and errors as in `arrange_rows`."""
    return to_image(arrange_rows(rows, title, row_labels))


def arrange_rows(rows: Tensor, title: str | None, row_labels: Sequence[str] | None = None) -> "Tiles | Figure":
    """Rows of examples (num_rows, num_columns, *input_shape), such as interpolations.

    Args:
        rows: images, signals or volumes; a table's rows have no such picture.
        title: a line of text above the picture.
        row_labels: a text to the left of each row.
    """
    flat, columns = rows.flatten(0, 1), rows.shape[1]
    kind = kind_of(flat.shape[1:])
    if kind == "rows":
        raise ValueError("a table's rows cannot be drawn one by one: expected images, signals or volumes")
    if kind == "signals":
        return _plot_signals(flat, columns, title, row_labels=row_labels)
    images, *notes = _to_images(flat)
    return Tiles(images, columns, _join(title, *notes), row_labels)


def _plot_signals(
    signals: Tensor, columns: int, title: str | None, *notes: str, row_labels: Sequence[str] | None = None
) -> "Figure":
    values = _to_numpy(signals)
    low, high = value_range(values)
    return plot_signals(values, columns, _join(title, *notes, f"values from {low:.3g} to {high:.3g}"), row_labels)


def _to_images(values: Tensor, reference: Tensor | None = None) -> tuple[Tensor, str, str, str]:
    """(num, 1, 3 or 4, height, width) in [0, 1] from images of any number of channels or volumes, and three notes.

    Values in other units than [0, 1] are scaled by the range of the reference, by default the values themselves.
    """
    notes = ["", "", ""]
    reference = values if reference is None else reference
    if values.dim() == 5:
        depth = values.shape[2]
        values, reference = values[:, :, depth // 2], reference[:, :, depth // 2]
        notes[0] = f"slice {depth // 2 + 1} of {depth}"
    if values.shape[1] not in CHANNEL_COUNTS:
        notes[1] = f"channel 1 of {values.shape[1]}"
        values, reference = values[:, :1], reference[:, :1]
    low, high = value_range(_to_numpy(reference))
    if low < -0.5 or high > 1.5:  # models of images in [0, 1] may exceed it a little
        notes[2] = f"black is {low:.3g}, white {high:.3g}"
        values = (values.double() - low) / (high - low)
    return values.cpu(), notes[0], notes[1], notes[2]


def _to_numpy(values: Tensor) -> np.ndarray:
    return values.detach().double().cpu().numpy()


def _note_columns(table: Tensor) -> str:
    """A note if not all columns are shown."""
    dim = table.shape[1]
    return f"{MAX_COLUMNS} of {dim:,} columns" if dim > MAX_COLUMNS else ""


def _join(title: str | None, *notes: str) -> str | None:
    """A title with notes."""
    found = ", ".join(filter(None, notes))
    return ": ".join(filter(None, (title, found))) or None
