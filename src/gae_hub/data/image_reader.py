"""Turns cells of a `datasets` object into arrays."""

__all__ = ["ImageReader"]

import numpy as np
from PIL import Image

from ..images.processing import channels_of, image_to_array


class ImageReader:
    """Knows which column of a `datasets` object holds the images, and turns one cell of it into an array.

    Args:
        rows: a `datasets.Dataset` or `IterableDataset`.
        name: for messages.
        channels: 1 or 3; that of the first image if None.
        image_size: an edge length or (height, width) to crop and resize to; that of the first image if None.
    """

    def __init__(self, rows, name: str, channels: int | None = None, image_size: int | tuple[int, int] | None = None):
        import datasets

        self.feature = datasets.Image()
        features = rows.features or {}
        images = [column for column, feature in features.items() if isinstance(feature, datasets.Image)]
        labels = [column for column, feature in features.items() if isinstance(feature, datasets.ClassLabel)]
        if not images:
            raise ValueError(f"'{name}' has no column of images; its columns are {', '.join(features) or 'not known'}")
        self.name, self.column, self.label_column = name, images[0], labels[0] if labels else None
        self.size = (image_size, image_size) if isinstance(image_size, int) else image_size
        first = next(iter(rows), None)
        if first is None:
            raise ValueError(f"'{name}' is empty: it has no images to train on")
        image = self.open(first[self.column])
        self.channels, self.convert = channels or channels_of(image), channels is not None
        self.input_shape = image_to_array(image, self.channels, self.size).shape

    def open(self, cell) -> Image.Image:
        return cell if isinstance(cell, Image.Image) else self.feature.decode_example(cell)

    def __call__(self, cell) -> np.ndarray:
        """(channels, height, width) uint8."""
        image = self.open(cell)
        if self.channels < channels_of(image) and not self.convert:
            raise ValueError(
                f"'{self.name}' begins with a grey image but also holds one of mode '{image.mode}': "
                "pass channels=1 or channels=3"
            )
        array = image_to_array(image, self.channels, self.size)
        if array.shape != self.input_shape:
            raise ValueError(
                f"the images of '{self.name}' differ in size: {self.input_shape[1:]} and {array.shape[1:]}; "
                "pass image_size to resize them"
            )
        return array
