"""Images that visitors send: checked before they are decoded, and read as all images of the library are."""

__all__ = ["MAX_UPLOAD_BYTES", "read_upload"]

import base64
import binascii
import io
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from ..core.argument_checks import describe
from ..images.processing import GAEImageProcessor
from ..images.reading import DAMAGED

MAX_UPLOAD_BYTES = 8 << 20
_MAX_PIXELS = 25_000_000  # of the decoded image: 100 MB as RGBA
_MIN_EDGE, _MAX_RATIO = 4, 16
_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")


def read_upload(image: Any, processor: GAEImageProcessor, upload_folder: str | Path | None = None) -> Tensor:
    """(1, *input_shape): the pixel values of an image that a visitor sent.

    Args:
        image: a data URI, base64 text, or the dict of a file that `gradio_client.handle_file` uploaded.
        processor: the model's processor.
        upload_folder: where Gradio keeps uploaded files. Files elsewhere are not read; None for no files.

    Raises:
        ValueError: if it is none of these, is too large, or is not an image that the model can use.
    """
    content = _read_bytes(image, upload_folder)
    _check_header(content)
    try:
        pixel_values = processor.preprocess(content)["pixel_values"]
    except (ValueError, *DAMAGED) as error:
        reason = str(error.__cause__ or error) or type(error).__name__
        raise ValueError(f"this image cannot be read: {reason}") from error
    return torch.as_tensor(pixel_values)


def _read_bytes(image: Any, upload_folder: str | Path | None) -> bytes:
    if isinstance(image, dict) and isinstance(image.get("path"), str) and upload_folder is not None:
        path, folder = Path(image["path"]).resolve(), Path(upload_folder).resolve()
        if not path.is_relative_to(folder) or not path.is_file():
            raise ValueError(
                "this file was not uploaded here, or too long ago: upload it again; programs send it with "
                "gradio_client.handle_file"
            )
        _check_size(path.stat().st_size)
        return path.read_bytes()
    if not isinstance(image, str):
        raise ValueError(f"expected an image as a data URI or an uploaded file, got {describe(image)}")
    text = image.partition(",")[2] if image.startswith("data:") else image
    _check_size(len(text) * 3 // 4)
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError("expected an image as a data URI, got text that is not base64") from error


def _check_size(num_bytes: int):
    if num_bytes > MAX_UPLOAD_BYTES:
        raise ValueError(
            f"this file has {num_bytes / 2**20:.1f} MB, more than the {MAX_UPLOAD_BYTES >> 20} MB that are accepted: "
            "make it smaller"
        )


def _check_header(content: bytes):
    """Raise ValueError unless the header is that of an image of a usable size. Nothing is decoded here."""
    try:
        with Image.open(io.BytesIO(content), formats=_FORMATS) as header:
            width, height = header.size
    except Image.DecompressionBombError as error:
        raise ValueError(
            f"this image has far more pixels than the {_MAX_PIXELS // 10**6} million that are accepted: reduce it"
        ) from error
    except DAMAGED as error:
        raise ValueError(f"this is not an image file of a known kind: expected {', '.join(_FORMATS)}") from error
    if width * height > _MAX_PIXELS:
        raise ValueError(
            f"this image has {width:,} x {height:,} pixels, more than the {_MAX_PIXELS // 10**6} million that are "
            "accepted: make it smaller"
        )
    if min(width, height) < _MIN_EDGE:
        raise ValueError(f"this image has {width:,} x {height:,} pixels: expected {_MIN_EDGE} or more on each edge")
    if max(width, height) > _MAX_RATIO * min(width, height):
        raise ValueError(
            f"this image has {width:,} x {height:,} pixels: expected a longer edge of at most {_MAX_RATIO} times the "
            "shorter one; crop it first"
        )
