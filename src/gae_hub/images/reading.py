"""Reads images: the one place where files, bytes and PIL images become arrays, whatever the caller."""

__all__ = ["DAMAGED", "channels_of", "is_encoded_image", "open_image", "read_image"]

import io
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageColor, ImageOps, UnidentifiedImageError

from ..core.argument_checks import describe

DAMAGED = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    OverflowError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)
"""What Pillow raises for files that are damaged or not images; some of its formats raise errors of struct and zlib."""

_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
_GREY = {"1", "L", "LA", "La", "I", "F"}
_ALPHA = {"LA", "La", "PA", "RGBA", "RGBa"}
_EIGHT_BIT = {"1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV", "LAB"}
_SIXTEEN_BIT_FORMATS = {"PNG", "PPM"}  # formats whose images of mode "I" have 16 bits


def is_encoded_image(value: Any) -> bool:
    """Whether a value is something that `open_image` opens, and not an array."""
    is_cell = isinstance(value, Mapping) and value.keys() >= {"bytes", "path"}
    return is_cell or isinstance(value, (Image.Image, str, Path, bytes, bytearray, memoryview))


def open_image(source: Any) -> Image.Image:
    """A decoded PIL image, turned upright as its EXIF orientation says.

    Args:
        source: a PIL image, a path, the bytes of an image file, or a cell of Hugging Face `datasets` with "bytes" and
            "path".

    Raises:
        FileNotFoundError: if there is no file of this path.
        ValueError: if the source is none of these.
        OSError and other errors of Pillow, `DAMAGED`: if the file is not an image, or damaged.
    """
    if isinstance(source, Image.Image):
        return _turn_upright(source)
    if isinstance(source, Mapping) and source.get("bytes") is not None:
        source = source["bytes"]
    elif isinstance(source, Mapping):
        source = source.get("path")
    if isinstance(source, (str, Path)):
        path = Path(source).expanduser()
        if not path.exists():
            raise FileNotFoundError(f"there is no image file '{source}'")
        source = path.read_bytes()
    if not isinstance(source, (bytes, bytearray, memoryview)):
        raise ValueError(f"expected a PIL image, a path or the bytes of an image file, got {describe(source)}")
    try:
        with Image.open(io.BytesIO(bytes(source))) as image:
            image.load()
            return _turn_upright(image)
    except UnidentifiedImageError as error:
        raise UnidentifiedImageError("the bytes are not an image file that Pillow can read") from error


def _turn_upright(image: Image.Image) -> Image.Image:
    """The image as its EXIF orientation says, with the format of its file."""
    upright = ImageOps.exif_transpose(image)
    upright.format = image.format
    return upright


def channels_of(image: Image.Image) -> int:
    """1 for grey images, with or without transparency; 3 for all others."""
    return 1 if image.mode in _GREY or image.mode.startswith("I;16") else 3


def read_image(
    image: Image.Image,
    channels: int | None = None,
    size: tuple[int, int] | None = None,
    background: str = "white",
) -> np.ndarray:
    """(channels, height, width) from an open image: uint8, or float32 in [0, 1] for more than 8 bits per channel.

    Images of 16 bits are divided by 65,535, and of 32-bit integers by 2^31 - 1. Floats must lie in [0, 1].

    Args:
        image: from `open_image`.
        channels: 1, 3 or 4 channels to convert to; by default those of `channels_of`. 4 keeps the transparency.
        size: (height, width) to centre-crop and resize to.
        background: colour behind transparent pixels, as a name or "#rrggbb".

    Raises:
        ValueError: if `channels` or `background` is invalid, or an image of floats has values outside [0, 1].
    """
    channels = channels_of(image) if channels is None else channels
    if channels not in _MODES:
        raise ValueError(f"channels must be 1, 3 or 4, got {describe(channels)}")
    if image.mode not in _EIGHT_BIT:
        return _read_deep_image(image, channels, size)
    if channels != 4 and (image.mode in _ALPHA or "transparency" in image.info):
        image = _composite(image, background)
    if image.mode != _MODES[channels]:
        image = image.convert(_MODES[channels])
    array = np.asarray(_fit(image, size))
    return array[None] if channels == 1 else array.transpose(2, 0, 1)


def _composite(image: Image.Image, background: str) -> Image.Image:
    """An opaque image: transparent pixels show the background. Grey images stay grey if the background is grey."""
    try:
        red, green, blue = ImageColor.getrgb(background)[:3]
    except (ValueError, AttributeError, TypeError) as error:
        raise ValueError(
            f"background must be the name of a colour or '#rrggbb', got {describe(background)}"
        ) from error
    is_grey = channels_of(image) == 1
    image = image.convert("RGBA")
    canvas = Image.new("RGBA", image.size, (red, green, blue, 255))
    canvas.alpha_composite(image)
    return canvas.convert("L" if is_grey and red == green == blue else "RGB")


def _read_deep_image(image: Image.Image, channels: int, size: tuple[int, int] | None) -> np.ndarray:
    """(channels, height, width) float32 from a grey image of more than 8 bits."""
    pixels = np.asarray(image).astype(np.float32)
    if image.mode == "F":
        low, high = float(pixels.min()), float(pixels.max())
        if not (0 <= low and high <= 1):  # True for NaN
            raise ValueError(
                f"an image of floats must have values in [0, 1], got {low:g} to {high:g}: rescale it, or load the "
                "pixels as an array with normalize='unit'"
            )
    elif image.mode == "I" and image.format not in _SIXTEEN_BIT_FORMATS:
        pixels /= 2**31 - 1
    else:
        pixels /= 65535
    if size is not None:
        resized = np.asarray(_fit(Image.fromarray(pixels), size))
        pixels = resized.clip(0, 1)  # the Lanczos filter overshoots at edges
    if channels == 4:
        return np.stack([pixels, pixels, pixels, np.ones_like(pixels)])
    return np.repeat(pixels[None], channels, 0)


def _fit(image: Image.Image, size: tuple[int, int] | None) -> Image.Image:
    """The image, centre-cropped and resized to (height, width) if that is given."""
    if size is None or image.size == size[::-1]:
        return image
    height, width = size
    return ImageOps.fit(image, (width, height), Image.Resampling.LANCZOS)
