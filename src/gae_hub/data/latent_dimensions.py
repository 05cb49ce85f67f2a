"""Dimensions of latent vectors: how much each carries, and examples along each."""

__all__ = ["decode_traversals", "measure_latents"]

from typing import Any

import torch
from torch import Tensor

from ..models.base import GAEPreTrainedModel, inference


@inference
def measure_latents(
    model: GAEPreTrainedModel, images: Tensor, batch_size: int = 500, class_labels: Tensor | None = None
) -> dict[str, Any]:
    """Measure how many latent dimensions a model uses on some images: the fact "latents".

    Dimensions are ordered by their mean KL to the prior, in nats, or by the variance of their embeddings if the
    posterior has no KL per dimension.

    Args:
        model: a trained model.
        images: (num_images, *input_shape), on the model's device.
        batch_size: images that are encoded at a time.
        class_labels: those of the images, for conditional models.

    Returns:
        `num_images`, `active_units` (dimensions whose mean has a variance above 0.01), `by` ("kl" or "variance"), and
        `order` and `values`, largest value first. Empty for latent maps.
    """
    parts = images.split(batch_size)
    models = model.given_parts(parts, class_labels)
    posteriors: list[Any] = [model.encode(part) for part, model in zip(parts, models, strict=True)]
    means = torch.cat([posterior.mean for posterior in posteriors])
    if means.dim() != 2:
        return {}
    variance = means.var(0, correction=0)
    has_kl = hasattr(posteriors[0], "kl_per_dimension")
    values = torch.cat([posterior.kl_per_dimension() for posterior in posteriors]).mean(0) if has_kl else variance
    order = values.argsort(descending=True)
    return {
        "num_images": len(images),
        "active_units": int((variance > 0.01).sum()),
        "order": order.tolist(),
        "by": "kl" if has_kl else "variance",
        "values": [round(float(value), 4) for value in values[order]],
    }


@inference
def decode_traversals(
    model: GAEPreTrainedModel,
    examples: Tensor,
    dimensions: list[int],
    num_steps: int = 9,
    class_labels: Tensor | None = None,
) -> tuple[Tensor, list[tuple[float, float]]]:
    """Decode the first example's latents with one dimension changed at a time, by `model.traverse`.

    Args:
        model: a model with latent vectors.
        examples: (num_examples, *input_shape); mean and standard deviation of their embeddings set the range.
        dimensions: latent dimensions to change, one for each row.
        num_steps: examples per row, from 2 standard deviations below the mean to 2 above.
        class_labels: those of the examples, for conditional models. Rows have the class of the first.

    Returns:
        (len(dimensions), num_steps, *input_shape), and the first and last value of each row's latent.
    """
    embeddings = model.embed(examples, class_labels=class_labels)
    if class_labels is not None:
        model = model.given(class_labels[:1])
    chosen = embeddings[:, dimensions]
    offsets = torch.linspace(-2, 2, num_steps, device=embeddings.device, dtype=embeddings.dtype)
    values = chosen.mean(0)[:, None] + chosen.std(0)[:, None] * offsets
    rows = model.traverse(embeddings[:1], torch.tensor(dimensions, device=embeddings.device), values)[0]
    return rows, [(low, high) for low, *_, high in values.tolist()]
