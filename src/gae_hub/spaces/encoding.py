"""Images and arrays as text that a page shows or offers for download."""

__all__ = ["as_data_uri", "as_sheet", "latents_file", "shrink"]

import base64
import io

import numpy as np
from PIL import Image
from torch import Tensor

_MIME = {"npz": "application/zip", "csv": "text/csv"}


def as_data_uri(image: Image.Image) -> str:
    """A lossless PNG of an image, as a data URI."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return _uri("image/png", buffer.getvalue())


def shrink(image: Image.Image, max_edge: int) -> Image.Image:
    """The image, made smaller if an edge has more than `max_edge` pixels."""
    smaller = image.copy()
    smaller.thumbnail((max_edge, max_edge))
    return smaller


def as_sheet(images: list[Image.Image], columns: int) -> Image.Image:
    """One picture of images of one size, row by row and without gaps."""
    width, height = images[0].size
    sheet = Image.new(images[0].mode, (columns * width, -(-len(images) // columns) * height))
    for index, image in enumerate(images):
        row, column = divmod(index, columns)
        sheet.paste(image, (column * width, row * height))
    return sheet


def latents_file(latents: Tensor, format: str) -> str:
    """A file of latents (num, *latent_shape), as a data URI.

    Args:
        latents: the latents.
        format: "npz", with the array `latents`, or "csv", with one row for each example and the columns z0, z1, ...
    """
    array, buffer = latents.detach().cpu().float().numpy(), io.BytesIO()
    if format == "npz":
        np.savez_compressed(buffer, latents=array)
    else:
        rows = array.reshape(len(array), -1)
        header = ",".join(f"z{index}" for index in range(rows.shape[1]))
        lines = [",".join(map(repr, row)) for row in rows.tolist()]
        buffer.write("\n".join([header, *lines, ""]).encode())
    return _uri(_MIME[format], buffer.getvalue())


def _uri(mime: str, content: bytes) -> str:
    return f"data:{mime};base64,{base64.b64encode(content).decode()}"
