"""Pictures for a card: samples, reconstructions, interpolations, latent traversals and losses."""

__all__ = ["PICTURES", "draw_pictures", "traverse_latents"]

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...images.curves import save_loss_curves
from ...images.grids import image_grid, save_interpolations, save_picture, save_reconstructions, save_samples
from ...images.processing import is_image_shape
from ...models.base import GAEPreTrainedModel

PICTURES = {
    "samples.png": "Samples",
    "samples_prior.png": "Samples from the model's own prior",
    "reconstructions.png": "Reconstructions",
    "interpolations.png": "Interpolations",
    "traversal.png": "Latent traversals, most informative dimensions first",
    "loss.png": "Losses",
}
"""File name in assets/ to caption, in the order of the card's gallery."""


def draw_pictures(model: GAEPreTrainedModel, folder: Path, facts: dict[str, Any]):
    """Write the pictures that can be made into assets/.

    Losses need a log among the facts. Samples need a model of images with a prior; the other pictures need
    `model.examples`, at least 4 images.

    Args:
        model: a model, which is saved in `folder`.
        folder: where assets/ is created.
        facts: `log` and `latents` are read.
    """
    assets, examples = folder / "assets", model.examples
    is_image_model = is_image_shape(model.config.input_shape)
    if facts.get("log") or is_image_model:
        assets.mkdir(parents=True, exist_ok=True)
    if facts.get("log"):
        save_loss_curves(facts["log"], assets / "loss.png")
    if not is_image_model:
        return
    if model.has_prior:
        # samples.png is made with the sampler, if the folder has one
        name = "samples_prior.png" if (folder / "sampler" / "config.json").is_file() else "samples.png"
        images = model.generate(64, generator=torch.Generator().manual_seed(0))
        save_samples(images.cpu(), assets / name, PICTURES[name])
    if examples is None or len(examples) < 4:
        return
    examples = examples.to(model.device)
    save_reconstructions(examples[:24], model.reconstruct(examples[:24]), assets / "reconstructions.png")
    half = len(examples[:12]) // 2
    save_interpolations(model.interpolate(examples[:half], examples[half : 2 * half]), assets / "interpolations.png")
    if facts.get("latents"):
        dimensions = facts["latents"]["order"][:8]
        images, ranges = traverse_latents(model, examples, dimensions)
        labels = [f"z[{d}]  {low:.2g} to {high:.2g}" for d, (low, high) in zip(dimensions, ranges, strict=True)]
        title = "One latent dimension per row, from -2 to 2 standard deviations"
        save_picture(image_grid(images.cpu(), 9, title, row_labels=labels), assets / "traversal.png")


def traverse_latents(
    model: GAEPreTrainedModel, examples: Tensor, dimensions: list[int], num_steps: int = 9
) -> tuple[Tensor, list[tuple[float, float]]]:
    """Decode the first example's latents with one dimension changed at a time.

    Args:
        model: a model with latent vectors.
        examples: (num_examples, *input_shape); mean and standard deviation of their embeddings set the range.
        dimensions: latent dimensions to change, one for each row.
        num_steps: images per row, from 2 standard deviations below the mean to 2 above.

    Returns:
        (len(dimensions) * num_steps, *input_shape), row by row, and the first and last value of each row's latent.
    """
    embeddings = model.embed(examples)
    offsets = torch.linspace(-2, 2, num_steps, device=embeddings.device, dtype=embeddings.dtype)
    rows = embeddings[:1].repeat(len(dimensions) * num_steps, 1).unflatten(0, (len(dimensions), num_steps))
    ranges = []
    for row, dimension in zip(rows, dimensions, strict=True):
        row[:, dimension] = embeddings[:, dimension].mean() + offsets * embeddings[:, dimension].std()
        ranges.append((row[0, dimension].item(), row[-1, dimension].item()))
    with torch.no_grad():
        return model.decode(rows.flatten(0, 1)), ranges
