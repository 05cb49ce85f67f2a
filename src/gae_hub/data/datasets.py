"""From a name, a folder, an array, a tensor or a `datasets` object to something the trainer takes."""

__all__ = ["ImageDataset", "collate"]

from collections.abc import Iterator, Sequence
from copy import copy

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset

from ..modules.inputs import check_values
from .image_reader import ImageReader

DEVICE_MEMORY_SHARE = 0.25
"""One in memory is copied to the training device once if it takes at most this share of what is free there."""


class ImageDataset(Dataset):
    """Images that are resident in memory: decoded once, and indexed from then on.

    Args:
        pixel_values: (num, *input_shape), uint8, or floats in [0, 1].
        labels: (num,) integers, or None. The models never see them; metrics do.
        name: what the data is called, for cards and messages.
        split: which part of it this is.

    Attributes:
        factors: (num, num_factors) integers to set where the images were made from such, for disentanglement.
        columns: a `datasets.Dataset` of what else the source has of each image; None if it is not such.

    Raises:
        ValueError: if there are no images, or their values are not in range.
    """

    def __init__(
        self, pixel_values: Tensor, labels: Tensor | None = None, name: str = "array", split: str | None = None
    ):
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
        self.factors, self.columns = None, None
        self.copies: dict[torch.device, ImageDataset] = {}

    @property
    def input_shape(self) -> tuple[int, ...]:
        return tuple(self.pixel_values.shape[1:])

    def __len__(self) -> int:
        return len(self.pixel_values)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {name: values[0] for name, values in self.__getitems__([index]).items()}

    def __getitems__(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """One whole batch, which the collator passes on as it is."""
        places, device = torch.as_tensor(indices), self.pixel_values.device
        if device.type == "cuda":  # from pageable memory the copy would wait for the device
            places = places.pin_memory().to(device, non_blocking=True)
        return {"pixel_values": to_float(self.pixel_values.index_select(0, places))}

    def on(self, device: torch.device) -> "ImageDataset":
        """The same images on an accelerator, copied there once, if they fit; else this data set itself."""
        if device not in self.copies:
            size, free = self.pixel_values.nbytes, free_device_memory(device)
            if free is None or size > DEVICE_MEMORY_SHARE * free:
                return self
            self.copies[device] = copy(self)
            self.copies[device].pixel_values = self.pixel_values.to(device)
        return self.copies[device]

    def slice(self, start: int, stop: int, split: str) -> "ImageDataset":
        labels, factors = (None if t is None else t[start:stop] for t in (self.labels, self.factors))
        part = ImageDataset(self.pixel_values[start:stop], labels, self.name, split)
        part.factors = factors
        part.columns = None if self.columns is None else self.columns.select(range(start, stop))
        return part

    def __repr__(self) -> str:
        part = f", split='{self.split}'" if self.split else ""
        return (
            f"ImageDataset('{self.name}'{part}, {len(self):,} x {self.input_shape} {str(self.pixel_values.dtype)[6:]})"
        )


class DecodedOnDemand(Dataset):
    """Images of a `datasets.Dataset` too large for memory, decoded a batch at a time."""

    def __init__(self, rows, reader: ImageReader, name: str, split: str | None):
        self.rows, self.reader, self.name, self.split = rows, reader, name, split
        self.labels = torch.as_tensor(rows[reader.label_column][:]) if reader.label_column else None
        self.columns = rows.remove_columns(reader.column)

    @property
    def input_shape(self) -> tuple[int, ...]:
        return self.reader.input_shape

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {name: values[0] for name, values in self.__getitems__([index]).items()}

    def __getitems__(self, indices: Sequence[int]) -> dict[str, Tensor]:
        cells = self.rows[list(indices)][self.reader.column]
        return {"pixel_values": to_float(torch.from_numpy(np.stack([self.reader(cell) for cell in cells])))}


class Streamed(IterableDataset):
    """Images of a `datasets.IterableDataset`, read from front to back in each epoch. The trainer needs `max_steps`."""

    def __init__(self, rows, reader: ImageReader, name: str, split: str | None):
        self.rows, self.reader, self.name, self.split, self.labels = rows, reader, name, split, None

    @property
    def input_shape(self) -> tuple[int, ...]:
        return self.reader.input_shape

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        for row in self.rows:
            yield {"pixel_values": to_float(torch.from_numpy(self.reader(row[self.reader.column]).copy()))}

    def set_epoch(self, epoch: int):
        self.rows.set_epoch(epoch)


def to_float(pixel_values: Tensor) -> Tensor:
    return pixel_values.float().div_(255) if pixel_values.dtype == torch.uint8 else pixel_values.float()


def collate(examples) -> dict[str, Tensor]:
    """One batch from what a data set gives: the pixel values only, whatever else the examples hold.

    Examples are batches from `__getitems__`, dicts with `pixel_values`, (image, label) pairs, or images.
    """
    if isinstance(examples, dict):
        return {"pixel_values": examples["pixel_values"]}
    first = examples[0]
    if isinstance(first, dict):
        if "pixel_values" not in first:
            raise ValueError(
                f"an example must hold 'pixel_values', but holds {', '.join(first)}; load_images makes such data sets"
            )
        images = [example["pixel_values"] for example in examples]
    else:
        images = [example[0] if isinstance(example, (tuple, list)) else example for example in examples]
    return {"pixel_values": to_float(torch.stack([torch.as_tensor(image) for image in images]))}


# Reading


def free_device_memory(device: torch.device) -> int | None:
    """Free bytes of a CUDA device; None for others, where a copy would gain nothing or its room is not known."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else None
