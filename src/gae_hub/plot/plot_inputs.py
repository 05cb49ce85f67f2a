"""What the functions of this folder read: examples of any source, and the processor of a model."""

__all__ = ["choose_processor", "read_first"]

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..data.loading import as_dataset, iterate_batches
from ..images.processing import GAEImageProcessor
from ..models.base import GAEPreTrainedModel


def choose_processor(model: GAEPreTrainedModel, processor: GAEImageProcessor | None) -> GAEImageProcessor:
    """The given processor, or that of the model's training in this session, or one for its input_shape."""
    return processor or model.processor or GAEImageProcessor.for_model(model)


def read_first(model: GAEPreTrainedModel, data: Any, num: int) -> Tensor:
    """(at most num, *input_shape): the first examples of any source, as the model sees them, on its device.

    Raises:
        ValueError: if there are no examples, or they do not have the model's input_shape.
    """
    shape: Sequence[int] = model.config.input_shape
    batches = iterate_batches(as_dataset(data, shape), num)
    examples = next(iter(batches), torch.empty(0, *shape)).to(model.device)
    if not len(examples) or tuple(examples.shape[1:]) != tuple(shape):
        raise ValueError(
            f"expected examples of the model's input_shape {tuple(shape)}, got data of shape {tuple(examples.shape)}"
        )
    return examples
