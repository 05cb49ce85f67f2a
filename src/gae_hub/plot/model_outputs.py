"""Figures of examples: samples of a model, reconstructions above which their inputs are, and any other examples."""

__all__ = ["plot_examples", "plot_reconstructions", "plot_samples"]

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..core.argument_checks import check_count, check_seed
from ..images.examples import arrange_reconstructions, arrange_samples, kind_of, num_to_draw
from ..images.processing import GAEImageProcessor
from ..images.tiles import Tiles, to_figure
from ..models.base import GAEPreTrainedModel, LatentSampler
from .plot_inputs import choose_processor, read_first

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_samples(
    model: GAEPreTrainedModel,
    num_samples: int | None = None,
    sampler: LatentSampler | None = None,
    seed: int = 0,
    data: Any = None,
    processor: GAEImageProcessor | None = None,
    title: str | None = None,
) -> "Figure":
    """New examples in a grid. Samples of tables are points of the plane, or histograms of the first 12 columns.

    Args:
        model: an autoencoder.
        num_samples: number of examples. By default 64, or 500 rows of a table.
        sampler: a fitted sampler of latents; the model's own prior by default.
        seed: seed of the latents.
        data: for tables, data to compare the samples with, as in [`plot_examples`]; the first 500 rows are drawn.
        processor: undoes the normalization. By default that of the model's training in this session, if any.
        title: a line of text above the picture.

    Raises:
        NotImplementedError: if there is no sampler and the model has no prior.
        ValueError: if the examples have no pictures.
    """
    shape = model.config.input_shape
    if data is not None and kind_of(shape) != "rows":
        raise ValueError(f"data is for tables, whose samples are compared with it, got examples of shape {shape}")
    num_samples = num_to_draw(shape, 64) if num_samples is None else num_samples
    generator = torch.Generator().manual_seed(check_seed(seed))
    samples = model.generate(num_samples, sampler=sampler, generator=generator)
    reference = read_first(model, data, num_to_draw(shape, 64))["pixel_values"] if data is not None else None
    return _plot(samples, reference, choose_processor(model, processor), title)


def plot_examples(examples: Tensor, processor: GAEImageProcessor | None = None, title: str | None = None) -> "Figure":
    """A grid of examples, drawn as samples are.

    Args:
        examples: (num, *input_shape), as a model sees them.
        processor: undoes a normalization.
        title: a line of text above the picture.

    Raises:
        ValueError: if there are no examples, or their shape has no pictures.
    """
    return _plot(examples, None, processor, title)


def _plot(samples: Tensor, data: Tensor | None, processor: GAEImageProcessor | None, title: str | None) -> "Figure":
    restore = (lambda values: values) if processor is None else processor.restore
    names = None if processor is None else processor.column_names
    reference = None if data is None else restore(data.cpu())
    return to_figure(arrange_samples(restore(samples.cpu()), title, reference, names))


def plot_reconstructions(
    model: GAEPreTrainedModel,
    data: Any,
    num_examples: int | None = None,
    processor: GAEImageProcessor | None = None,
    title: str | None = "Reconstructions",
) -> "Figure":
    """Inputs, each with its reconstruction below. For tables, reconstructions are plotted over inputs by column.

    Args:
        model: an autoencoder.
        data: (num, *input_shape) examples as the model sees them, or any data set of [`load_data`].
        num_examples: how many of the first examples to draw. By default 12, or 500 rows of a table.
        processor: undoes the normalization. By default that of the model's training in this session, if any.
        title: a line of text above the picture.
    """
    shape = model.config.input_shape
    num_examples = num_to_draw(shape, 12) if num_examples is None else num_examples
    check_count("num_examples", num_examples)
    inputs = read_first(model, data, num_examples)
    processor = choose_processor(model, processor)
    values = inputs["pixel_values"], model.reconstruct(**inputs)
    originals, outputs = (processor.restore(part.cpu()) for part in values)
    drawing = arrange_reconstructions(originals, outputs, processor.column_names, title)
    if isinstance(drawing, Tiles) and kind_of(shape) != "rows":
        assert drawing.columns is not None
        num_pairs = len(drawing.images) // drawing.columns // 2
        drawing = replace(drawing, row_labels=["input", "output"] * num_pairs)
    return to_figure(drawing)
