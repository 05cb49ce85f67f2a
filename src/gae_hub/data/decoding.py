"""Turns the rows of one split into a data set: decoded into memory if they fit there, else on demand."""

__all__ = ["decode_split"]

import os
from collections.abc import Iterable, Mapping
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from tqdm.auto import tqdm

from .datasets import ImageDataset, IndexedImageDataset, OnDemandImageDataset, StreamedImageDataset
from .image_reader import ImageReader, OnError, UnreadableImageError, warn_about_skipped
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
    on_error: OnError = "raise",
) -> IndexedImageDataset | StreamedImageDataset:
    """One split as a data set: in memory if it fits there, else decoded on demand; a stream stays a stream.

    Args:
        rows: the split.
        name, split: names of the data set and the split.
        channels, image_size: see [`ImageReader`].
        on_error: "raise" or "skip" for images that cannot be read. Skipped images are named in one warning.

    Raises:
        ValueError: if the rows hold no images, an image that cannot be read or images of different sizes, or if
            `channels` or `image_size` is given for images that are in memory already.
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
    reader = ImageReader(rows, name, channels, image_size, on_error)
    rows = rows.cast_column(reader.column, datasets.Image(decode=False))
    if isinstance(rows, datasets.IterableDataset):
        return StreamedImageDataset(rows, reader, name, split, on_error)
    if len(rows) * prod(reader.input_shape) > MEMORY_SHARE * free_memory():
        if on_error == "skip":
            rows = _select_readable(rows, _find_unreadable(rows, reader, f"checking {split}"), name, split)
        return OnDemandImageDataset(rows, reader, name, split, revision)
    images, unreadable = _decode_images(rows, reader, f"decoding {split}", on_error)
    rows = _select_readable(rows, unreadable, name, split)
    data = ImageDataset(torch.from_numpy(images), reader.read_labels(rows), name, split)
    data.columns, data.revision = rows.remove_columns(reader.column), revision
    return data


def _decode_images(
    rows: "datasets.Dataset", reader: ImageReader, desc: str, on_error: OnError
) -> tuple[np.ndarray, dict[int, str]]:
    """(num, *input_shape) uint8, and row to place of the images that cannot be read, which are left out."""
    images, num, unreadable = np.empty((len(rows), *reader.input_shape), np.uint8), 0, {}
    for index, row in enumerate(_iterate_cells(rows, reader, desc)):
        try:
            images[num] = reader.read_image(row[reader.column], index)
            num += 1
        except UnreadableImageError as error:
            if on_error == "raise":
                raise
            unreadable[index] = error.place
    return images[:num], unreadable


def _find_unreadable(rows: "datasets.Dataset", reader: ImageReader, desc: str) -> dict[int, str]:
    """Row to place of the images that cannot be read."""
    unreadable = {}
    for index, row in enumerate(_iterate_cells(rows, reader, desc)):
        try:
            reader.open_image(row[reader.column], index)
        except UnreadableImageError as error:
            unreadable[index] = error.place
    return unreadable


def _iterate_cells(rows: "datasets.Dataset", reader: ImageReader, desc: str) -> Iterable[Any]:
    """The rows with their image column only, under a progress bar."""
    return tqdm(rows.select_columns(reader.column), desc=desc, unit=" images", leave=False)


def _select_readable(
    rows: "datasets.Dataset", unreadable: Mapping[int, str], name: str, split: str
) -> "datasets.Dataset":
    """The other rows, with one warning about those that cannot be read."""
    warn_about_skipped(list(unreadable.values()), len(rows), name, split)
    return rows.select([i for i in range(len(rows)) if i not in unreadable]) if unreadable else rows


def free_memory() -> int:
    """Bytes that this process can use without swapping: an equal share for each of the run's local processes."""
    import psutil

    return psutil.virtual_memory().available // int(os.environ.get("LOCAL_WORLD_SIZE", 1))
