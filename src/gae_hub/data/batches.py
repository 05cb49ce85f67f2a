"""Batches: examples that were read at once, and the collator that stacks examples of any data set."""

__all__ = ["Examples", "collate", "to_float"]

from collections.abc import Mapping, Sequence
from typing import Any, overload

import torch
from torch import Tensor

from ..core.argument_checks import describe
from ..images.reading import channels_of, is_encoded_image, open_image, read_image
from .sources.torch_data import find_example


class Examples(Sequence[dict[str, Tensor]]):
    """A batch that was read at once. It behaves as a list of examples, so that every collator accepts it.

    Args:
        pixel_values: (batch, *input_shape) floats.
    """

    def __init__(self, pixel_values: Tensor):
        self.pixel_values = pixel_values

    def __len__(self) -> int:
        return len(self.pixel_values)

    @overload
    def __getitem__(self, index: int) -> dict[str, Tensor]: ...
    @overload
    def __getitem__(self, index: slice) -> "Examples": ...
    def __getitem__(self, index: int | slice) -> "dict[str, Tensor] | Examples":
        found = self.pixel_values[index]
        return Examples(found) if isinstance(index, slice) else {"pixel_values": found}


def to_float(pixel_values: Tensor) -> Tensor:
    """float32, with uint8 scaled to [0, 1]."""
    return pixel_values.float().div_(255) if pixel_values.dtype == torch.uint8 else pixel_values.float()


def collate(examples: Sequence[Any]) -> dict[str, Tensor]:
    """A batch of `pixel_values` from examples of any data set; their other fields are left out.

    Args:
        examples: dicts with "pixel_values", "image", "images", "img" or "x"; (image, label) pairs; or images. Images
            are PIL images, arrays or tensors (channels, *size).

    Raises:
        ValueError: if examples are dicts without such a key, or cannot be stacked.
    """
    if isinstance(examples, Examples):
        return {"pixel_values": examples.pixel_values}
    if isinstance(examples, Mapping):  # a batch that was collated before
        return {"pixel_values": to_float(torch.as_tensor(find_example(examples)))}
    images = [find_example(example) for example in examples]
    try:
        return {"pixel_values": to_float(torch.stack([_to_tensor(image) for image in images]))}
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
