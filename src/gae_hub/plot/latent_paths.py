"""Figures of paths through the latent space: interpolations, and traversals of single dimensions."""

__all__ = ["plot_interpolation", "plot_traversals"]

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from ..core.argument_checks import check_count, describe
from ..data.latent_dimensions import decode_traversals, measure_latents
from ..images.examples import arrange_rows, kind_of
from ..images.plots import plot_column_paths
from ..images.processing import GAEImageProcessor
from ..images.tiles import Tiles, to_figure
from ..models.base import GAEPreTrainedModel
from .plot_inputs import choose_processor, read_first

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_NUM_EXAMPLES = 500  # from which KL, mean and standard deviation of latent dimensions are estimated


def plot_interpolation(
    model: GAEPreTrainedModel,
    start: Any,
    end: Any,
    num_steps: int = 10,
    num_pairs: int = 8,
    processor: GAEImageProcessor | None = None,
    title: str | None = "Interpolation through the latent space",
) -> "Figure":
    """Paths between pairs of examples by `model.interpolate`, one row each: along the geodesic of the latent space.

    For tables, each column is drawn over the path, one line for each pair.

    Args:
        model: an autoencoder.
        start, end: (num_pairs, *input_shape) examples as the model sees them, or any data sets of [`load_data`].
        num_steps: examples per path, ends included.
        num_pairs: how many of the first pairs to draw.
        processor: undoes the normalization. By default that of the model's training in this session, if any.
        title: a line of text above the picture.
    """
    check_count("num_pairs", num_pairs)
    first, last = read_first(model, start, num_pairs), read_first(model, end, num_pairs)
    labels = first.get("class_labels"), last.get("class_labels")
    paths = model.interpolate(first["pixel_values"], last["pixel_values"], num_steps, *labels)
    positions = np.linspace(0, 1, num_steps)
    labels = [f"pair {index + 1}" for index in range(len(paths))] if kind_of(paths.shape[2:]) == "rows" else None
    return _plot_paths(
        model, paths, processor, title, positions, "position", labels, ["start", *[""] * (num_steps - 2), "end"]
    )


def plot_traversals(
    model: GAEPreTrainedModel,
    data: Any,
    dimensions: Sequence[int] | None = None,
    num_dimensions: int = 8,
    num_steps: int = 9,
    processor: GAEImageProcessor | None = None,
    title: str | None = "Latent traversals",
) -> "Figure":
    """Decodings of one example whose latent dimensions change one at a time: one row each, of largest KL first.

    Each dimension goes from 2 standard deviations below its mean over the data to 2 above. Methods without a KL per
    dimension are ordered by the variance of their embeddings. For tables, each column is drawn over the traversal, one
    line for each dimension.

    Args:
        model: a model with latent vectors.
        data: (num, *input_shape) examples as the model sees them, or any data set of [`load_data`]. The first example
            is changed; the first 500 determine KL, means and standard deviations.
        dimensions: latent dimensions to draw, in this order, instead of those of the largest KL.
        num_dimensions: how many dimensions of the largest KL to draw.
        num_steps: examples per row.
        processor: undoes the normalization. By default that of the model's training in this session, if any.
        title: a line of text above the picture.

    Raises:
        ValueError: if the model's latents are maps, or have no such dimension.
    """
    check_count("num_steps", num_steps, minimum=2)
    check_count("num_dimensions", num_dimensions)
    if len(model.latent_shape) != 1:
        raise ValueError(
            f"{type(model).__name__} has latent maps of shape {model.latent_shape}: traversals need latent vectors"
        )
    batch = read_first(model, data, _NUM_EXAMPLES)
    examples, class_labels = batch["pixel_values"], batch.get("class_labels")
    if len(examples) < 2:
        raise ValueError("traversals need 2 or more examples, whose standard deviation sets their range; got 1")
    usage = measure_latents(model, examples, class_labels=class_labels)
    values = dict(zip(usage["order"], usage["values"], strict=True))
    chosen = usage["order"][:num_dimensions] if dimensions is None else list(dimensions)
    for dimension in chosen:
        if dimension not in values:
            raise ValueError(f"dimensions must be integers from 0 to {len(values) - 1}, got {describe(dimension)}")
    rows, _ = decode_traversals(model, examples, chosen, num_steps, class_labels)
    unit = "nats" if usage["by"] == "kl" else "variance"
    labels = [f"z[{dimension}]  {values[dimension]:.2f} {unit}" for dimension in chosen]
    offsets = np.linspace(-2, 2, num_steps)
    steps = [f"{offset:+.3g}σ".replace("-", "\N{MINUS SIGN}") if offset else "mean" for offset in offsets]
    return _plot_paths(model, rows, processor, title, offsets, "standard deviations from the mean", labels, steps)


def _plot_paths(
    model: GAEPreTrainedModel,
    paths: Tensor,
    processor: GAEImageProcessor | None,
    title: str | None,
    positions: np.ndarray,
    position_label: str,
    row_labels: list[str] | None,
    column_labels: list[str],
) -> "Figure":
    """A figure of paths (num_paths, num_steps, *input_shape), as the model sees them."""
    processor = choose_processor(model, processor)
    restored = processor.restore(paths.cpu().flatten(0, 1)).unflatten(0, paths.shape[:2])
    if kind_of(paths.shape[2:]) == "rows":
        values = restored.double().numpy()
        return plot_column_paths(
            values, positions.tolist(), position_label, row_labels or [], processor.column_names, title
        )
    drawing = arrange_rows(restored, title, row_labels)
    if isinstance(drawing, Tiles):
        drawing = replace(drawing, column_labels=column_labels)
    return to_figure(drawing)
