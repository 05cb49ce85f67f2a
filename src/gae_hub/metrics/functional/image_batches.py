"""Conversion of images to the batches that metrics compare: uint8 for extractors, floats in [0, 1] for pixels."""

__all__ = ["as_float", "as_uint8"]

from typing import Any

import torch
from torch import Tensor

from ...images.layouts import move_channels_first
from ...images.reading import channels_of, is_encoded_image, open_image, read_image
from ...modules.inputs import check_values
from ...modules.precision import at_least_float32
from .checks import check_finite


def as_uint8(images: Any, argument: str = "images", first_row: int = 0) -> Tensor:
    """(num, channels, height, width) uint8. Floats in [0, 1] are rounded to 8 bits, as image files store them.

    Args:
        images, argument, first_row: as for `as_float`.
    """
    batch = _as_batch(images, argument, first_row)
    return batch if batch.dtype == torch.uint8 else (batch * 255).round().to(torch.uint8)


def as_float(images: Any, argument: str = "images", first_row: int = 0) -> Tensor:
    """(num, channels, height, width) floats in [0, 1], float32 or float64.

    Args:
        images: a tensor or array of shape (num, channels, height, width), (num, height, width, channels) or, for grey
            images, (num, height, width); or a list of PIL images, paths, arrays or tensors of one size.
        argument: the argument and the metric, for the error about values that are not finite.
        first_row: number of the first image, for the same error.

    Raises:
        ValueError: for values out of range or not finite, images of different sizes, or no images.
    """
    batch = _as_batch(images, argument, first_row)
    return batch.float() / 255 if batch.dtype == torch.uint8 else at_least_float32(batch)


def _as_batch(images: Any, argument: str, first_row: int) -> Tensor:
    """(num, channels, height, width), uint8 or floats in [0, 1], on the device of the images."""
    if is_encoded_image(images):
        images = [images]
    if isinstance(images, (list, tuple)):
        images = [_as_image(image, argument, first_row + row) for row, image in enumerate(images)]
        shapes = sorted({tuple(image.shape) for image in images})
        if len(shapes) > 1:
            raise ValueError(f"the images of one batch must have one shape, got {shapes[0]} and {shapes[-1]}")
        images = torch.stack(images) if images else torch.empty(0)
    batch = torch.as_tensor(images)
    if not batch.numel():
        raise ValueError(f"there are no images: got shape {tuple(batch.shape)}")
    if batch.dim() in (3, 4):
        batch = move_channels_first(batch, grey_images=True)
    if batch.dim() != 4 or batch.shape[1] not in (1, 3):
        raise ValueError(
            f"images must be (num, 1 or 3 channels, height, width) or (num, height, width), got {tuple(batch.shape)}"
        )
    if batch.dtype != torch.uint8:
        if not batch.is_floating_point():
            raise ValueError(f"images must be uint8, or floats in [0, 1], got dtype {batch.dtype}")
        check_finite(argument, batch, first_row)
        check_values(batch)
    return batch


def _as_image(image: Any, argument: str, row: int) -> Tensor:
    """(channels, height, width)."""
    if is_encoded_image(image):
        opened = open_image(image)
        return torch.from_numpy(read_image(opened, channels_of(opened)).copy())
    return _as_batch(torch.as_tensor(image).unsqueeze(0), argument, row)[0]
