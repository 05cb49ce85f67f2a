"""Images in and out: files, PIL images and arrays to `pixel_values`, and back to PIL images. Needs Pillow only."""

__all__ = ["GAEImageProcessor"]

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from transformers import BatchFeature, ImageProcessingMixin

from ..core.hub_files import fetch_card
from ..modules.inputs import check_values

_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
_EIGHT_BIT = {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV", "LAB"}


def is_image_shape(shape) -> bool:
    """Whether (channels, height, width) is that of pictures: grey, RGB or RGBA."""
    return len(shape) == 3 and shape[0] in _MODES


def channels_of(image: Image.Image) -> int:
    """1 for grey images, 3 for all others."""
    return 1 if image.mode in {"1", "L", "LA"} else 3


def image_to_array(image: Image.Image, channels: int, size: tuple[int, int] | None = None) -> np.ndarray:
    """(channels, height, width) uint8 from a PIL image, cropped and resized to `size` (height, width) if given.

    Raises:
        ValueError: for images of more than 8 bits per channel, and for channel counts that PIL has no mode for.
    """
    if image.mode not in _EIGHT_BIT:
        raise ValueError(
            f"images of mode '{image.mode}' are not 8-bit: pass them as an array of floats in [0, 1] instead"
        )
    if channels not in _MODES:
        raise ValueError(f"images have 1, 3 or 4 channels, but {channels} were asked for")
    if image.mode != _MODES[channels]:
        image = image.convert(_MODES[channels])
    if size is not None and image.size != size[::-1]:
        image = ImageOps.fit(image, size[::-1], Image.Resampling.LANCZOS)
    array = np.asarray(image)
    return array[None] if channels == 1 else array.transpose(2, 0, 1)


def array_to_image(array: Tensor) -> Image.Image:
    """PIL image from one (channels, height, width) tensor in [0, 1]."""
    pixels = array.detach().float().clamp(0, 1).mul(255).round().to(torch.uint8).cpu().numpy()
    if pixels.ndim != 3 or len(pixels) not in _MODES:
        raise ValueError(f"an image is (1, 3 or 4 channels, height, width), got shape {tuple(pixels.shape)}")
    return Image.fromarray(pixels[0] if len(pixels) == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0)))


class GAEImageProcessor(ImageProcessingMixin):
    """Turns images into the `pixel_values` of a model, and a model's images into PIL images.

    Args:
        input_shape: (channels, height, width) of the model. PIL images are converted, centre-cropped and resized to
            it.

    Example:

    ```python
    processor = GAEImageProcessor.from_pretrained("user/betavae-mnist")
    pixel_values = processor(Image.open("digit.png"))["pixel_values"]  # (1, 1, 28, 28) in [0, 1]
    images = processor.postprocess(model.reconstruct(pixel_values))    # a list of PIL images
    ```
    """

    model_input_names = ["pixel_values"]

    def __init__(self, input_shape=(1, 28, 28), **kwargs):
        super().__init__(**kwargs)
        self.input_shape = tuple(input_shape)

    @classmethod
    def for_model(cls, model) -> "GAEImageProcessor":
        return cls(model.config.input_shape)

    def _upload_modified_files(self, working_dir, repo_id, *args, **kwargs):
        # push_to_hub of transformers takes a card that it could not read for none, and would put its own over it
        fetch_card(repo_id, working_dir, kwargs.get("token"), kwargs.get("revision"))
        return super()._upload_modified_files(working_dir, repo_id, *args, **kwargs)

    def __call__(self, images, return_tensors: str | None = "pt", **kwargs) -> BatchFeature:
        """`{"pixel_values": (batch, *input_shape)}`, floats in [0, 1].

        Args:
            images: a PIL image, an array or tensor, or a list of them. Arrays are (height, width), (height, width,
                channels) or (channels, height, width), with a leading batch axis or not; uint8, or floats in [0, 1].
            return_tensors: "pt" or "np".
        """
        batch = torch.cat(
            [self._to_batch(image) for image in (images if isinstance(images, (list, tuple)) else [images])]
        )
        return BatchFeature({"pixel_values": batch.numpy() if return_tensors == "np" else batch})

    preprocess = __call__

    def _to_batch(self, image) -> Tensor:
        """(n, *input_shape) floats from one image, or an array of n images."""
        if isinstance(image, Image.Image):
            channels, *size = self._image_shape()
            return torch.from_numpy(image_to_array(image, channels, tuple(size)).copy())[None].float() / 255
        array = torch.as_tensor(np.asarray(image) if not isinstance(image, Tensor) else image)
        for candidate in (array, array.movedim(-1, -3) if array.dim() > 2 else array.unsqueeze(-3)):
            if tuple(candidate.shape[-len(self.input_shape) :]) == self.input_shape:
                batch = candidate.reshape(-1, *self.input_shape)
                batch = batch.float() / 255 if batch.dtype == torch.uint8 else batch.float()
                check_values(batch)
                return batch
        raise ValueError(
            f"an array of shape {tuple(array.shape)} holds no images of input_shape {self.input_shape}; "
            "PIL images are resized, arrays are not"
        )

    def postprocess(self, pixel_values: Tensor) -> list[Image.Image]:
        """One PIL image for each of (batch, channels, height, width) in [0, 1]; values outside are clipped."""
        self._image_shape()
        return [array_to_image(image) for image in pixel_values]

    def _image_shape(self) -> tuple[int, ...]:
        if not is_image_shape(self.input_shape):
            raise ValueError(
                f"input_shape {self.input_shape} is not that of an image: 1, 3 or 4 channels, height, width"
            )
        return self.input_shape
