"""Pictures for a card: samples, reconstructions, interpolations, latent traversals, embeddings and losses."""

__all__ = ["PICTURES", "draw_pictures"]

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from ...data.class_labels import repeat_conditions
from ...data.latent_dimensions import decode_traversals
from ...images.curves import save_loss_curves
from ...images.examples import can_draw, draw_reconstructions, draw_rows, draw_samples, kind_of, num_to_draw
from ...images.grids import save_picture
from ...images.processing import GAEImageProcessor
from ...images.tiles import to_image
from ...models.base import GAEPreTrainedModel
from ...plot.embedding_map import plot_embedding_map

_MAX_CLASSES, _SAMPLES_PER_CLASS = 20, 10  # rows and columns of the samples of a conditional model

PICTURES = {
    "samples.png": "Samples",
    "samples_prior.png": "Samples from the model's own prior",
    "reconstructions.png": "Reconstructions",
    "interpolations.png": "Interpolations",
    "traversal.png": "Latent traversals, most informative dimensions first",
    "embeddings.png": "Embeddings of validation data, coloured by class",
    "loss.png": "Losses",
}
"""File name in assets/ to caption, in the order of the card's gallery."""


def draw_pictures(model: GAEPreTrainedModel, folder: Path, facts: dict[str, Any]):
    """Write the pictures that can be made into assets/, in the units of the data if the folder has a processor.

    Losses need a log among the facts. Samples need a prior; the other pictures need `model.examples`, at least 4, and
    the map of embeddings their labels, of 2 or more classes. A table's rows have no interpolations and traversals.

    Args:
        model: a model, which is saved in `folder`.
        folder: where assets/ is created.
        facts: `log` and `latents` are read.
    """
    assets, examples, shape = folder / "assets", model.examples, model.config.input_shape
    if facts.get("log"):
        save_loss_curves(facts["log"], assets / "loss.png")
    if not can_draw(shape):
        return
    processor = _load_processor(model, folder)
    restore, names, kind = processor.restore, processor.column_names, kind_of(shape)
    can_generate = model.config.condition_dim is None or model.example_conditions is not None
    if model.has_prior and can_generate:
        # samples.png is made with the sampler, if the folder has one
        name = "samples_prior.png" if (folder / "sampler" / "config.json").is_file() else "samples.png"
        data = None if examples is None else restore(examples)
        save_picture(_draw_samples(model, restore, PICTURES[name], data, names), assets / name)
    if examples is None or len(examples) < 4:
        return
    examples = examples.to(model.device)
    originals, conditions = examples[: num_to_draw(shape, 24)], model.example_conditions
    if model.is_conditional and conditions is None:
        return
    given = (lambda start, stop: None) if conditions is None else (lambda start, stop: conditions[start:stop])
    reconstructions = model.reconstruct(originals, class_labels=given(0, len(originals)))
    picture = draw_reconstructions(restore(originals.cpu()), restore(reconstructions.cpu()), names)
    save_picture(picture, assets / "reconstructions.png")
    labels, embeddings = model.example_labels, model.embed(examples, class_labels=conditions)
    if labels is not None and len(labels) == len(examples) and len(labels.unique()) > 1:
        figure = plot_embedding_map(embeddings, labels.cpu().numpy(), label_names=model.label_names)
        save_picture(to_image(figure), assets / "embeddings.png")
    if kind == "rows":
        return
    half = len(examples[:12]) // 2
    ends = examples[:half], examples[half : 2 * half]
    paths = model.interpolate(*ends, 10, given(0, half), given(half, 2 * half)).cpu()
    title = f"From one {kind.removesuffix('s')} to another, through the latent space"
    save_picture(draw_rows(_restore_rows(restore, paths), title), assets / "interpolations.png")
    if facts.get("latents"):
        dimensions = facts["latents"]["order"][:8]
        rows, ranges = decode_traversals(model, examples, dimensions, class_labels=conditions)
        labels = [f"z[{d}]  {low:.2g} to {high:.2g}" for d, (low, high) in zip(dimensions, ranges, strict=True)]
        title = "One latent dimension per row, from -2 to 2 standard deviations"
        save_picture(draw_rows(_restore_rows(restore, rows.cpu()), title, labels), assets / "traversal.png")


def _draw_samples(
    model: GAEPreTrainedModel,
    restore: Callable[[Tensor], Tensor],
    title: str,
    data: Tensor | None,
    names: Sequence[str] | None,
) -> Image.Image:
    """Samples of the prior; a row for each class of a conditional model of images."""
    generator = torch.Generator().manual_seed(0)
    num_classes, shape = model.config.num_classes, model.config.input_shape
    if num_classes is None or kind_of(shape) == "rows":
        num = num_to_draw(shape, 64)
        conditions = repeat_conditions(model, model.example_conditions, num)
        samples = model.generate(num, generator=generator, class_labels=conditions)
        return draw_samples(restore(samples.cpu()), title, data, names)
    classes = range(min(num_classes, _MAX_CLASSES))
    labels = torch.tensor(classes).repeat_interleave(_SAMPLES_PER_CLASS)
    samples = model.generate(len(labels), generator=generator, class_labels=labels)
    rows = restore(samples.cpu()).unflatten(0, (-1, _SAMPLES_PER_CLASS))
    class_names = [str(name) for name in model.label_names or classes]
    return draw_rows(rows, f"{title}, a row for each class", class_names[: len(classes)])


def _load_processor(model: GAEPreTrainedModel, folder: Path) -> GAEImageProcessor:
    """The processor in the model's folder, or one without a normalization."""
    if (folder / "preprocessor_config.json").is_file():
        processor = GAEImageProcessor.from_pretrained(folder)
        if processor.input_shape == tuple(model.config.input_shape):
            return processor
    return GAEImageProcessor.for_model(model)


def _restore_rows(restore: Callable[[Tensor], Tensor], rows: Tensor) -> Tensor:
    """Rows of examples (num_rows, num_columns, *input_shape) in the units of the data."""
    return restore(rows.flatten(0, 1)).unflatten(0, rows.shape[:2])
