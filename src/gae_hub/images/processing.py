"""Converts between images, as PIL images or arrays, and `pixel_values`. Uses Pillow, not torchvision."""

__all__ = ["GAEImageProcessor", "array_to_image", "channels_of", "image_to_array", "is_image_shape"]

import reprlib
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from transformers import BatchFeature, ImageProcessingMixin

from ..core.argument_checks import describe
from ..core.files import write_atomically
from ..core.hub_files import fetch_card
from ..core.json_files import check_nesting, describe_type
from ..modules.inputs import check_values

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
_EIGHT_BIT = {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV", "LAB"}


def is_image_shape(shape: Sequence[int]) -> bool:
    """Whether a shape is (channels, height, width) with 1, 3 or 4 channels."""
    return len(shape) == 3 and shape[0] in _MODES


def channels_of(image: Image.Image) -> int:
    """1 for grey images, 3 for all others."""
    return 1 if image.mode in {"1", "L", "LA"} else 3


def image_to_array(image: Image.Image, channels: int, size: tuple[int, int] | None = None) -> np.ndarray:
    """(channels, height, width) uint8 from a PIL image, centre-cropped and resized to `size` (height, width) if given.

    Raises:
        ValueError: if the image has more than 8 bits per channel, or `channels` is not 1, 3 or 4.
    """
    if image.mode not in _EIGHT_BIT:
        raise ValueError(
            f"images of mode '{image.mode}' are not 8-bit: pass them as an array of floats in [0, 1] instead"
        )
    if channels not in _MODES:
        raise ValueError(f"channels must be 1, 3 or 4, got {channels}")
    if image.mode != _MODES[channels]:
        image = image.convert(_MODES[channels])
    if size is not None:
        height, width = size
        if image.size != (width, height):
            image = ImageOps.fit(image, (width, height), Image.Resampling.LANCZOS)
    array = np.asarray(image)
    return array[None] if channels == 1 else array.transpose(2, 0, 1)


def array_to_image(array: Tensor) -> Image.Image:
    """PIL image from a (channels, height, width) tensor in [0, 1]. Values outside are clipped.

    Raises:
        ValueError: if the tensor has another number of axes, or not 1, 3 or 4 channels.
    """
    if not is_image_shape(array.shape):
        raise ValueError(f"expected (1, 3 or 4 channels, height, width), got shape {tuple(array.shape)}")
    pixels = array.detach().float().clamp(0, 1).mul(255).round().to(torch.uint8).cpu().numpy()
    return Image.fromarray(pixels[0] if len(pixels) == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0)))


class GAEImageProcessor(ImageProcessingMixin):
    """Converts images to a model's `pixel_values`, and a model's images to PIL images.

    Args:
        input_shape: the model's input_shape, (channels, height, width). PIL images are converted, centre-cropped and
            resized to it.

    Example:

    ```python
    processor = GAEImageProcessor.from_pretrained("user/betavae-mnist")
    pixel_values = processor(Image.open("digit.png"))["pixel_values"]  # (1, 1, 28, 28) in [0, 1]
    images = processor.postprocess(model.reconstruct(pixel_values))    # a list of PIL images
    ```
    """

    model_input_names = ["pixel_values"]

    def __init__(self, input_shape: Sequence[int] = (1, 28, 28), **kwargs: Any):
        super().__init__(**kwargs)
        is_shape = isinstance(input_shape, (list, tuple)) and bool(input_shape)
        if not is_shape or not all(type(size) is int and size > 0 for size in input_shape):
            raise ValueError(
                "input_shape must be a list of integers above 0, such as (channels, height, width), got "
                f"{reprlib.repr(input_shape)}"
            )
        self.input_shape = tuple(input_shape)

    @classmethod
    def for_model(cls, model: "PreTrainedModel") -> "GAEImageProcessor":
        """The processor for a model's input_shape."""
        return cls(model.config.input_shape)

    @classmethod
    def get_image_processor_dict(
        cls, pretrained_model_name_or_path: str | PathLike, **kwargs: Any
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """The content of preprocessor_config.json, which may come from anyone, and the unused arguments.

        Raises:
            ValueError: if the file does not hold a JSON object, or one of its keys is the name of a method.
            OSError: if there is no such file, or it is not valid JSON.
        """
        try:
            settings, unused = super().get_image_processor_dict(pretrained_model_name_or_path, **kwargs)
            check_nesting(settings)
        except (UnicodeDecodeError, RecursionError, TypeError) as error:
            raise ValueError(
                f"the image processor's files of '{pretrained_model_name_or_path}' do not hold JSON objects ({error})"
            ) from error
        if not isinstance(settings, dict):
            raise ValueError(
                f"preprocessor_config.json of '{pretrained_model_name_or_path}': expected a JSON object, got "
                f"{describe_type(settings)}"
            )
        for key in settings:
            if key == "self" or callable(getattr(cls, key, None)):
                raise ValueError(
                    f"preprocessor_config.json of '{pretrained_model_name_or_path}' has the key '{key}', which is no "
                    "setting of an image processor"
                )
        return settings, unused

    def to_json_file(self, json_file_path: str | PathLike):
        """Write preprocessor_config.json."""
        with write_atomically(Path(json_file_path)) as temporary:
            super().to_json_file(temporary)

    def _upload_modified_files(self, working_dir, repo_id, *args, **kwargs):
        # transformers has just written its own card: replace it by the repository's
        fetch_card(repo_id, working_dir, kwargs.get("token"), kwargs.get("revision"))
        return super()._upload_modified_files(working_dir, repo_id, *args, **kwargs)

    def __call__(self, images: Any, return_tensors: str | None = "pt", **kwargs: Any) -> BatchFeature:
        """`{"pixel_values": (batch, *input_shape)}`, floats in [0, 1].

        Args:
            images: a PIL image, an array or tensor, or a list of them. Arrays are (height, width), (height, width,
                channels) or (channels, height, width), with or without a leading batch axis; uint8, or floats in
                [0, 1].
            return_tensors: "pt" or "np".

        Raises:
            ValueError: if there are no images, or something that is not an image; if an array does not have the
                input_shape, or its values are out of range; or for an option that this processor does not have.
        """
        if kwargs:
            raise ValueError(
                f"GAEImageProcessor has no option '{next(iter(kwargs))}'; its images always have the input_shape"
            )
        if return_tensors not in ("pt", "np", None):
            raise ValueError(f"return_tensors must be 'pt' or 'np', got {describe(return_tensors)}")
        images = images if isinstance(images, (list, tuple)) else [images]
        if not images:
            raise ValueError("there are no images: got an empty list")
        parts = [self._to_batch(image) for image in images]
        batch = torch.cat(parts)
        return BatchFeature({"pixel_values": batch.numpy() if return_tensors == "np" else batch})

    preprocess = __call__

    def _to_batch(self, image: Any) -> Tensor:
        """(num, *input_shape) floats from one PIL image, or from an array of one or several images."""
        if isinstance(image, Image.Image):
            channels, height, width = self._require_image_shape()
            return torch.from_numpy(image_to_array(image, channels, (height, width)).copy())[None].float() / 255
        if isinstance(image, (str, Path)):
            raise ValueError(f"expected an image, got the name '{image}': open it first, PIL.Image.open('{image}')")
        if not isinstance(image, (Tensor, np.ndarray, list, tuple)):
            raise ValueError(f"expected a PIL image, an array or a tensor, got {describe(image)}")
        try:
            array = torch.as_tensor(image if isinstance(image, Tensor) else np.asarray(image))
        except (TypeError, ValueError) as error:
            raise ValueError(f"expected an array of numbers for an image, got {describe(image)}: {error}") from error
        if not array.numel():
            raise ValueError(f"there are no images: got an array of shape {tuple(array.shape)}")
        for candidate in (array, array.movedim(-1, -3) if array.dim() > 2 else array.unsqueeze(-3)):
            if tuple(candidate.shape[-len(self.input_shape) :]) == self.input_shape:
                batch = candidate.reshape(-1, *self.input_shape)
                batch = batch.float() / 255 if batch.dtype == torch.uint8 else batch.float()
                check_values(batch)
                return batch
        raise ValueError(
            f"an array of shape {tuple(array.shape)} does not match input_shape {self.input_shape}: resize it first, "
            "since only PIL images are resized"
        )

    def postprocess(self, pixel_values: Tensor) -> list[Image.Image]:
        """One PIL image for each of (batch, channels, height, width) in [0, 1]. Values outside are clipped.

        Raises:
            ValueError: if the model's input_shape is not an image shape, or pixel_values is not a batch of images.
        """
        self._require_image_shape()
        if not isinstance(pixel_values, Tensor):
            raise ValueError(f"expected a tensor (batch, channels, height, width), got {describe(pixel_values)}")
        if pixel_values.dim() != 4:
            hint = "; for one image pass images[None]" if pixel_values.dim() == 3 else ""
            raise ValueError(f"expected (batch, channels, height, width), got shape {tuple(pixel_values.shape)}{hint}")
        return [array_to_image(image) for image in pixel_values]

    def _require_image_shape(self) -> tuple[int, int, int]:
        if not is_image_shape(self.input_shape):
            raise ValueError(
                f"input_shape {self.input_shape} is not an image shape: expected (channels, height, width) "
                "with 1, 3 or 4 channels"
            )
        channels, height, width = self.input_shape
        return channels, height, width
