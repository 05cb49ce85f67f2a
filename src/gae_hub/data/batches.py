"""Batches: examples that were read at once, and the collator that stacks examples of any data set."""

__all__ = ["Examples", "collate", "move", "to_float"]

from collections.abc import Mapping, Sequence
from typing import Any, cast, overload

import torch
from torch import Tensor

from ..core.argument_checks import describe
from ..images.reading import channels_of, is_encoded_image, open_image, read_image
from .sources.torch_data import find_example


class Examples(Sequence[dict[str, Tensor]]):
    """A batch that was read at once. It behaves as a list of examples, so that every collator accepts it.

    Args:
        pixel_values: (batch, *input_shape) floats.
        class_labels: (batch,) integers or (batch, condition_dim) vectors, for conditional models; or None.
    """

    def __init__(self, pixel_values: Tensor, class_labels: Tensor | None = None):
        self.tensors = {"pixel_values": pixel_values}
        if class_labels is not None:
            self.tensors["class_labels"] = class_labels

    def __len__(self) -> int:
        return len(self.tensors["pixel_values"])

    @overload
    def __getitem__(self, index: int) -> dict[str, Tensor]: ...
    @overload
    def __getitem__(self, index: slice) -> "Examples": ...
    def __getitem__(self, index: int | slice) -> "dict[str, Tensor] | Examples":
        found = {name: tensor[index] for name, tensor in self.tensors.items()}
        return Examples(**found) if isinstance(index, slice) else found


def move(batch: Mapping[str, Tensor], device: torch.device) -> dict[str, Any]:
    """A batch on a device."""
    return {name: tensor.to(device) for name, tensor in batch.items()}


def to_float(pixel_values: Tensor) -> Tensor:
    """float32, with uint8 scaled to [0, 1]."""
    return pixel_values.float().div_(255) if pixel_values.dtype == torch.uint8 else pixel_values.float()


def collate(examples: Sequence[Any]) -> dict[str, Tensor]:
    """A batch of `pixel_values` from examples of any data set, with `class_labels` if all are dicts with this key.

    Their other fields are left out.

    Args:
        examples: dicts with "pixel_values", "image", "images", "img" or "x"; (image, label) pairs; or images. Images
            are PIL images, arrays or tensors (channels, *size).

    Raises:
        ValueError: if examples are dicts without such a key, or cannot be stacked.
    """
    if isinstance(examples, Examples):
        return dict(examples.tensors)
    if isinstance(examples, Mapping):  # a batch that was collated before
        images = to_float(torch.as_tensor(find_example(examples)))
        given = cast(dict[str, Any], examples)
        labels = {"class_labels": torch.as_tensor(given["class_labels"])} if "class_labels" in given else {}
        return {"pixel_values": images, **labels}
    images = [find_example(example) for example in examples]
    try:
        batch = {"pixel_values": to_float(torch.stack([_to_tensor(image) for image in images]))}
        if all(isinstance(example, Mapping) and "class_labels" in example for example in examples):
            batch["class_labels"] = torch.stack([torch.as_tensor(example["class_labels"]) for example in examples])
        return batch
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"expected examples that are images or tensors of one shape, got {describe(images[0])} ({error}); "
            "load_images converts and resizes them"
        ) from error


def _to_tensor(image: Any) -> Tensor:
    if is_encoded_image(image):
        opened = open_image(image)
        return torch.from_numpy(read_image(opened, channels_of(opened)).copy())
    return torch.as_tensor(image)
