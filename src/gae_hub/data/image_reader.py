"""Reads the columns of a Hugging Face `datasets` object: images as arrays, class labels as a tensor."""

__all__ = ["ImageReader", "OnError", "UnreadableImageError", "warn_about_skipped"]

import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from huggingface_hub.errors import HfHubHTTPError
from PIL import Image
from torch import Tensor
from transformers.utils import logging

from ..core.argument_checks import check_count
from ..images.processing import channels_of, image_to_array

if TYPE_CHECKING:
    import datasets

logger = logging.get_logger(__name__)

OnError = Literal["raise", "skip"]
"""What to do with an image that cannot be read."""

# what Pillow raises for files that are damaged or are not images; some of its formats raise errors of struct and zlib
_DAMAGED = (
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
_MAX_NAMES = 20  # names of skipped files in a warning


class UnreadableImageError(ValueError):
    """An image file that is damaged, or a cell without an image.

    Args:
        place: the file's name, or the number of its row.
        source: name of the data set.
        reason: why it cannot be read.
    """

    def __init__(self, place: str, source: str, reason: str):
        self.place = place
        super().__init__(
            f"cannot read the image {place} of '{source}': {reason}; replace or remove it, or skip such images with "
            "on_error='skip'"
        )


def _as_height_and_width(image_size: Any) -> tuple[int, int]:
    """(height, width) from one edge length or both."""
    if not isinstance(image_size, (list, tuple)):
        check_count("image_size", image_size)
        return int(image_size), int(image_size)
    if len(image_size) != 2:
        raise ValueError(f"image_size must be an edge length, or (height, width), got {len(image_size)} numbers")
    for edge in image_size:
        check_count("image_size", edge)
    return int(image_size[0]), int(image_size[1])


def warn_about_skipped(places: Sequence[str], num_images: int, source: str, split: str | None):
    """Log one warning that counts and names the images that were skipped, if there are any."""
    if places:
        names = ", ".join(places[:_MAX_NAMES])
        rest = f" and {len(places) - _MAX_NAMES} more" if len(places) > _MAX_NAMES else ""
        whole = f"'{source}'" + (f", split {split}," if split else "")
        logger.warning(f"skipped {len(places)} of {num_images} images of {whole} that cannot be read: {names}{rest}")


class ImageReader:
    """Finds the columns of images and labels in a `datasets` object, and reads their cells.

    Args:
        rows: a `datasets.Dataset` or `datasets.IterableDataset`.
        name: name of the data set, for error messages.
        channels: 1 or 3, to convert images to. By default the first image decides.
        image_size: edge length, or (height, width), to crop and resize images to. By default the first image decides.
        on_error: "skip" if the first image is the first one that can be read.

    Attributes:
        column: the first column of images.
        label_column: the first column of class labels, or None.
        input_shape: (channels, height, width) of every array.

    Raises:
        ValueError: if there is no column of images, no row, or no image that can be read; or for an image_size that is
            not one or two positive integers.
    """

    def __init__(
        self,
        rows: "datasets.Dataset | datasets.IterableDataset",
        name: str,
        channels: int | None = None,
        image_size: int | tuple[int, int] | None = None,
        on_error: OnError = "raise",
    ):
        import datasets

        self.feature = datasets.Image()
        features = rows.features or {}
        images = [column for column, feature in features.items() if isinstance(feature, datasets.Image)]
        labels = [column for column, feature in features.items() if isinstance(feature, datasets.ClassLabel)]
        if not images:
            raise ValueError(f"'{name}' has no column of images; its columns are {', '.join(features) or 'unknown'}")
        self.name, self.column, self.label_column = name, images[0], labels[0] if labels else None
        self.size = None if image_size is None else _as_height_and_width(image_size)
        image = self._open_first(rows.cast_column(self.column, datasets.Image(decode=False)), on_error)
        self.channels, self.converts = channels or channels_of(image), channels is not None
        self.input_shape = image_to_array(image, self.channels, self.size).shape

    def _open_first(self, rows: "datasets.Dataset | datasets.IterableDataset", on_error: OnError) -> Image.Image:
        """The first image, or with "skip" the first one that can be read."""
        num_rows, last = 0, None
        for index, row in enumerate(rows):
            num_rows += 1
            try:
                return self.open_image(row[self.column], index)
            except UnreadableImageError as error:
                if on_error == "raise":
                    raise
                last = error
        if last is None:
            raise ValueError(f"'{self.name}' is empty: it has no images to train on")
        raise ValueError(f"none of the {num_rows} images of '{self.name}' can be read") from last

    def open_image(self, cell: Any, index: int | None = None) -> Image.Image:
        """The PIL image in a cell of the image column, decoded or not.

        Args:
            cell: the cell.
            index: number of its row, for the error.

        Raises:
            UnreadableImageError: if it cannot be read.
        """
        if isinstance(cell, Image.Image):
            return cell
        path = cell.get("path") if isinstance(cell, dict) else None
        place = f"'{path}'" if path else f"in row {index}" if index is not None else "of one row"
        if cell is None:
            raise UnreadableImageError(place, self.name, "the cell is empty")
        try:
            if path and cell.get("bytes") is None and Path(path).is_file():
                # datasets would leave the file open if decoding fails
                cell = {"path": path, "bytes": Path(path).read_bytes()}
            return self.feature.decode_example(cell)
        except (ConnectionError, TimeoutError, HfHubHTTPError):
            raise  # the network failed, not the image
        except _DAMAGED as error:
            raise UnreadableImageError(place, self.name, str(error) or type(error).__name__) from error

    def read_image(self, cell: Any, index: int | None = None) -> np.ndarray:
        """(channels, height, width) uint8 from a cell of the image column.

        Args:
            cell: the cell.
            index: number of its row, for the error.

        Raises:
            UnreadableImageError: if it cannot be read.
            ValueError: if the image is in colour and the first one is grey, or differs from it in size, and no
                `channels` or `image_size` was given.
        """
        image = self.open_image(cell, index)
        if self.channels < channels_of(image) and not self.converts:
            raise ValueError(
                f"'{self.name}' starts with a grey image but also holds one of mode '{image.mode}': "
                "pass channels=1 or channels=3"
            )
        array = image_to_array(image, self.channels, self.size)
        if array.shape != self.input_shape:
            raise ValueError(
                f"the images of '{self.name}' differ in size: {self.input_shape[1:]} and {array.shape[1:]}; "
                "pass image_size to resize them"
            )
        return array

    def read_labels(self, rows: "datasets.Dataset") -> Tensor | None:
        """(num,) class labels of the rows, or None without a column of labels."""
        return torch.as_tensor(rows[self.label_column][:]) if self.label_column else None
