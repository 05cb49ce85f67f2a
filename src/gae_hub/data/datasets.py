"""Image data sets for training: resident in memory, decoded on demand, or streamed.

All three have `name`, `split`, `revision`, `labels`, `columns` and `input_shape`, and yield `pixel_values` as floats.
"""

__all__ = [
    "ImageDataset",
    "IndexedImageDataset",
    "OnDemandImageDataset",
    "StreamedImageDataset",
    "collate",
    "to_float",
]

from collections.abc import Iterator, Sequence
from copy import copy
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset

from ..core.argument_checks import describe
from ..modules.inputs import check_values
from .image_reader import ImageReader, OnError, UnreadableImageError, warn_about_skipped

if TYPE_CHECKING:
    import datasets

# images are copied to the training device if they take at most this share of its free memory
DEVICE_MEMORY_SHARE = 0.25


class _BatchIndexed(Dataset[dict[str, Tensor]]):
    """A data set that reads a batch at a time. torch's DataLoader calls `__getitems__`."""

    def __getitems__(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """One batch as a dict of tensors, which `collate` passes on."""
        raise NotImplementedError

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {name: values[0] for name, values in self.__getitems__([index]).items()}


class ImageDataset(_BatchIndexed):
    """Images in memory.

    Args:
        pixel_values: (num, *input_shape), uint8, or floats in [0, 1].
        labels: (num,) integers, or None. Metrics use them; models do not.
        name: name of the data, for cards and messages.
        split: name of the split.

    Attributes:
        factors: (num, num_factors) integers, the factors of variation that the images were made from. Set it to
            measure disentanglement; None by default.
        columns: a `datasets.Dataset` of the source's other columns, or None.
        revision: commit of the data set on the Hub, or version of the library that the data comes with, if known.

    Raises:
        ValueError: if there are no images, their values are out of range, or the number of labels differs.
    """

    def __init__(
        self, pixel_values: Tensor, labels: Tensor | None = None, name: str = "array", split: str | None = None
    ):
        if not isinstance(pixel_values, Tensor):
            raise ValueError(
                f"'{name}' must be a tensor (num, *input_shape), got {describe(pixel_values)}: see load_images"
            )
        if pixel_values.dim() < 2 or not len(pixel_values):
            raise ValueError(
                f"'{name}' holds no images: expected (num, *input_shape), got shape {tuple(pixel_values.shape)}"
            )
        if pixel_values.dtype != torch.uint8:
            if not pixel_values.is_floating_point():
                raise ValueError(f"'{name}' has dtype {pixel_values.dtype}, but must be uint8, or floats in [0, 1]")
            check_values(pixel_values)
        if labels is not None and len(labels) != len(pixel_values):
            raise ValueError(f"'{name}' has {len(pixel_values)} images but {len(labels)} labels")
        self.pixel_values, self.labels, self.name, self.split = pixel_values, labels, name, split
        self.factors: Tensor | None = None
        self.columns: datasets.Dataset | None = None
        self.revision: str | None = None
        self.copies: dict[torch.device, ImageDataset] = {}

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one example."""
        return tuple(self.pixel_values.shape[1:])

    def __len__(self) -> int:
        return len(self.pixel_values)

    def __getitems__(self, indices: Sequence[int]) -> dict[str, Tensor]:
        rows, device = torch.as_tensor(indices), self.pixel_values.device
        if device.type == "cuda":  # pinned, since a copy from pageable memory waits for the GPU
            rows = rows.pin_memory().to(device, non_blocking=True)
        return {"pixel_values": to_float(self.pixel_values.index_select(0, rows))}

    def place_on(self, device: torch.device) -> "ImageDataset":
        """The same images on a GPU if they fit into its memory, copied there once; otherwise this data set."""
        if device not in self.copies:
            size, free = self.pixel_values.nbytes, free_device_memory(device)
            if free is None or size > DEVICE_MEMORY_SHARE * free:
                return self
            self.copies[device] = copy(self)
            self.copies[device].pixel_values = self.pixel_values.to(device)
        return self.copies[device]

    def slice(self, start: int, stop: int, split: str) -> "ImageDataset":
        """Images `start` to `stop` (exclusive) with their labels, factors and columns, as the split `split`."""
        labels, factors = (None if t is None else t[start:stop] for t in (self.labels, self.factors))
        part = ImageDataset(self.pixel_values[start:stop], labels, self.name, split)
        part.factors, part.revision = factors, self.revision
        part.columns = None if self.columns is None else self.columns.select(range(start, stop))
        return part

    def __repr__(self) -> str:
        split = f", split='{self.split}'" if self.split else ""
        dtype = str(self.pixel_values.dtype).removeprefix("torch.")
        return f"ImageDataset('{self.name}'{split}, {len(self):,} x {self.input_shape} {dtype})"


class OnDemandImageDataset(_BatchIndexed):
    """Images of a `datasets.Dataset` that does not fit in memory, decoded when their batch is read.

    Args:
        rows: the split, with undecoded images.
        reader: reads its image column.
        name, split, revision: as in [`ImageDataset`].
    """

    def __init__(
        self, rows: "datasets.Dataset", reader: ImageReader, name: str, split: str | None, revision: str | None = None
    ):
        self.rows, self.reader, self.name, self.split, self.revision = rows, reader, name, split, revision
        self.labels, self.columns = reader.read_labels(rows), rows.remove_columns(reader.column)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one example."""
        return self.reader.input_shape

    def __len__(self) -> int:
        return len(self.rows)

    def __getitems__(self, indices: Sequence[int]) -> dict[str, Tensor]:
        rows = list(indices)
        cells = self.rows[rows][self.reader.column]
        images = np.stack([self.reader.read_image(cell, row) for row, cell in zip(rows, cells, strict=True)])
        return {"pixel_values": to_float(torch.from_numpy(images))}


IndexedImageDataset: TypeAlias = ImageDataset | OnDemandImageDataset
"""A data set with a length, whose images can be read in any order."""


class StreamedImageDataset(IterableDataset[dict[str, Tensor]]):
    """Images of a `datasets.IterableDataset`, read in its order. It has no length, so the trainer needs `max_steps`.

    Args:
        rows: the split, with undecoded images.
        reader: reads its image column.
        name, split: as in [`ImageDataset`].
        on_error: "raise" or "skip" for images that cannot be read. Each pass over the images ends with one warning
            that names the skipped ones.
    """

    labels = columns = revision = None

    def __init__(
        self,
        rows: "datasets.IterableDataset",
        reader: ImageReader,
        name: str,
        split: str | None,
        on_error: OnError = "raise",
    ):
        self.rows, self.reader, self.name, self.split, self.on_error = rows, reader, name, split, on_error

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one example."""
        return self.reader.input_shape

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        num, skipped = 0, []
        for index, row in enumerate(self.rows):
            num += 1
            try:
                image = self.reader.read_image(row[self.reader.column], index)
            except UnreadableImageError as error:
                if self.on_error == "raise":
                    raise
                skipped.append(error.place)
            else:
                yield {"pixel_values": to_float(torch.from_numpy(image.copy()))}
        warn_about_skipped(skipped, num, self.name, self.split)

    def set_epoch(self, epoch: int):
        """Start an epoch of a shuffled stream with its own order. The trainer calls it."""
        self.rows.set_epoch(epoch)


def to_float(pixel_values: Tensor) -> Tensor:
    """float32, with uint8 scaled to [0, 1]."""
    return pixel_values.float().div_(255) if pixel_values.dtype == torch.uint8 else pixel_values.float()


def collate(examples: dict[str, Tensor] | Sequence[Any]) -> dict[str, Tensor]:
    """A batch of `pixel_values` from examples of any data set; their other fields are left out.

    Args:
        examples: a batch from `__getitems__`, or a list of dicts with `pixel_values`, of (image, label) pairs or of
            images.

    Raises:
        ValueError: if examples are dicts without `pixel_values`, or cannot be stacked.
    """
    if isinstance(examples, dict):
        return {"pixel_values": examples["pixel_values"]}
    first = examples[0]
    if isinstance(first, dict):
        if "pixel_values" not in first:
            raise ValueError(
                f"expected examples with 'pixel_values', got {', '.join(first)}; load_images returns such a data set"
            )
        images = [example["pixel_values"] for example in examples]
    else:
        images = [example[0] if isinstance(example, (tuple, list)) else example for example in examples]
    try:
        return {"pixel_values": to_float(torch.stack([torch.as_tensor(image) for image in images]))}
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"expected examples that are tensors of one shape, got {describe(images[0])} ({error}); load_images and "
            "GAEImageProcessor convert images"
        ) from error


def free_device_memory(device: torch.device) -> int | None:
    """Free bytes of a CUDA device, None for others: the CPU needs no copy, and the rest do not report free memory."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else None
