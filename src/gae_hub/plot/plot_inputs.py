"""What the functions of this folder read: examples of any source, and the processor of a model."""

__all__ = ["choose_processor", "read_first"]

from collections.abc import Sequence
from typing import Any

import torch

from ..data.batches import move
from ..data.class_labels import with_conditions
from ..data.loading import iterate_examples
from ..images.processing import GAEImageProcessor
from ..models.base import GAEPreTrainedModel


def choose_processor(model: GAEPreTrainedModel, processor: GAEImageProcessor | None) -> GAEImageProcessor:
    """The given processor, or that of the model's training in this session, or one for its input_shape."""
    return processor or model.processor or GAEImageProcessor.for_model(model)


def read_first(model: GAEPreTrainedModel, data: Any, num: int) -> dict[str, Any]:
    """At most `num` first examples of any source, as the model sees them, on its device.

    Returns:
        `pixel_values`, and `class_labels` for conditional models.

    Raises:
        ValueError: if there are no examples, or they do not have the model's input_shape, or no labels for a
            conditional model.
    """
    shape: Sequence[int] = model.config.input_shape
    batches = iterate_examples(with_conditions(model, data), num)
    batch = move(next(iter(batches), {"pixel_values": torch.empty(0, *shape)}), model.device)
    found = tuple(batch["pixel_values"].shape)
    if not found[0] or found[1:] != tuple(shape):
        raise ValueError(f"expected examples of the model's input_shape {tuple(shape)}, got data of shape {found}")
    return batch
