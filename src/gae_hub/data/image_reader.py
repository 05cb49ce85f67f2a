"""Reads the columns of a Hugging Face `datasets` object: images as arrays, class labels as a tensor."""

__all__ = ["ImageReader"]

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..images.processing import channels_of, image_to_array

if TYPE_CHECKING:
    import datasets


class ImageReader:
    """Finds the columns of images and labels in a `datasets` object, and reads their cells.

    Args:
        rows: a `datasets.Dataset` or `datasets.IterableDataset`.
        name: name of the data set, for error messages.
        channels: 1 or 3, to convert images to. By default the first image decides.
        image_size: edge length, or (height, width), to crop and resize images to. By default the first image decides.

    Attributes:
        column: the first column of images.
        label_column: the first column of class labels, or None.
        input_shape: (channels, height, width) of every array.

    Raises:
        ValueError: if there is no column of images, or no row.
    """

    def __init__(
        self,
        rows: "datasets.Dataset | datasets.IterableDataset",
        name: str,
        channels: int | None = None,
        image_size: int | tuple[int, int] | None = None,
    ):
        import datasets

        self.feature = datasets.Image()
        features = rows.features or {}
        images = [column for column, feature in features.items() if isinstance(feature, datasets.Image)]
        labels = [column for column, feature in features.items() if isinstance(feature, datasets.ClassLabel)]
        if not images:
            raise ValueError(f"'{name}' has no column of images; its columns are {', '.join(features) or 'unknown'}")
        self.name, self.column, self.label_column = name, images[0], labels[0] if labels else None
        self.size = (image_size, image_size) if isinstance(image_size, int) else image_size
        first = next(iter(rows), None)
        if first is None:
            raise ValueError(f"'{name}' is empty: it has no images to train on")
        image = self.open_image(first[self.column])
        self.channels, self.converts = channels or channels_of(image), channels is not None
        self.input_shape = image_to_array(image, self.channels, self.size).shape

    def open_image(self, cell: Any) -> Image.Image:
        """The PIL image in a cell of the image column, decoded or not."""
        return cell if isinstance(cell, Image.Image) else self.feature.decode_example(cell)

    def read_image(self, cell: Any) -> np.ndarray:
        """(channels, height, width) uint8 from a cell of the image column.

        Raises:
            ValueError: if the image is in colour and the first one is grey, or differs from it in size, and no
                `channels` or `image_size` was given.
        """
        image = self.open_image(cell)
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
