"""Turns the rows of one split into a data set: decoded into memory if they fit there, else on demand."""

__all__ = ["decode_split"]

import os
from math import prod
from typing import TYPE_CHECKING

import numpy as np
import torch
from tqdm.auto import tqdm

from .datasets import ImageDataset, IndexedImageDataset, OnDemandImageDataset, StreamedImageDataset
from .image_reader import ImageReader
from .sources import Split, hub_commit

if TYPE_CHECKING:
    import datasets

# a split is decoded into memory if it takes at most this share of the free memory
MEMORY_SHARE = 0.5


def decode_split(
    rows: Split,
    name: str,
    split: str,
    channels: int | None = None,
    image_size: int | tuple[int, int] | None = None,
) -> IndexedImageDataset | StreamedImageDataset:
    """One split as a data set: in memory if it fits there, else decoded on demand; a stream stays a stream.

    Args:
        rows: the split.
        name, split: names of the data set and the split.
        channels, image_size: see [`ImageReader`].

    Raises:
        ValueError: if the rows hold no images or images of different sizes, or if `channels` or `image_size` is given
            for images that are in memory already.
    """
    if isinstance(rows, ImageDataset):
        if image_size is not None or channels is not None:
            raise ValueError(
                f"image_size and channels apply to image files only: resize and convert '{name}' before you pass it"
            )
        return rows.slice(0, len(rows), split)
    import datasets

    if isinstance(rows, datasets.Dataset) and rows.format["type"] == "custom":
        raise ValueError(
            f"'{name}' has a custom transform, which would be lost: pass the data set without it, or pass an array"
        )
    revision = hub_commit(rows)
    rows = rows.with_format(None)
    reader = ImageReader(rows, name, channels, image_size)
    rows = rows.cast_column(reader.column, datasets.Image(decode=False))
    if isinstance(rows, datasets.IterableDataset):
        return StreamedImageDataset(rows, reader, name, split)
    if len(rows) * prod(reader.input_shape) > MEMORY_SHARE * free_memory():
        return OnDemandImageDataset(rows, reader, name, split, revision)
    images = _decode_images(rows, reader, f"decoding {split}")
    data = ImageDataset(torch.from_numpy(images), reader.read_labels(rows), name, split)
    data.columns, data.revision = rows.remove_columns(reader.column), revision
    return data


def _decode_images(rows: "datasets.Dataset", reader: ImageReader, desc: str) -> np.ndarray:
    """(num, *input_shape) uint8."""
    images = np.empty((len(rows), *reader.input_shape), np.uint8)
    cells = rows.select_columns(reader.column)
    for index, row in enumerate(tqdm(cells, desc=desc, unit=" images", leave=False)):
        images[index] = reader.read_image(row[reader.column])
    return images


def free_memory() -> int:
    """Bytes that this process can use without swapping: an equal share for each of the run's local processes."""
    import psutil

    return psutil.virtual_memory().available // int(os.environ.get("LOCAL_WORLD_SIZE", 1))
