"""Opens torch data sets, whose items are images, arrays, tuples that begin with one, or dicts that hold one."""

__all__ = ["TorchSplit", "find_example", "open_torch_data"]

from collections.abc import Mapping, Sequence
from copy import copy
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, default_collate

from ...core.argument_checks import describe
from ...images.layouts import move_channels_first
from ...images.reading import DAMAGED, channels_of, is_encoded_image, open_image, read_image
from ..options import DataOptions
from .base import Origin, Source, Split, UnreadableExampleError
from .columns import EXAMPLE_NAMES


def find_example(item: Any, column: str | None = None) -> Any:
    """The image or array in an item of a data set.

    Args:
        item: an example, a tuple or list that begins with one, or a dict that holds one.
        column: key in dicts; by default "pixel_values", "image", "images", "img" or "x".

    Raises:
        ValueError: if a dict holds no such key.
    """
    if isinstance(item, Mapping) and not is_encoded_image(item):
        keys = [column] if column is not None else [key for key in EXAMPLE_NAMES if key in item]
        if not keys or keys[0] not in item:
            expected = column or ", ".join(EXAMPLE_NAMES[:-1]) + f" or {EXAMPLE_NAMES[-1]}"
            raise ValueError(f"expected examples with the key {expected}, got {', '.join(map(str, item)) or 'none'}")
        return item[keys[0]]
    if isinstance(item, (tuple, list)) and item and not isinstance(item[0], (int, float)):
        return item[0]
    return item


def _find_label(item: Any, column: str | None) -> Any:
    """The label in an item, or None."""
    if isinstance(item, Mapping):
        keys = (column,) if column is not None else ("label", "labels", "class", "target")
        return next((item[key] for key in keys if key in item), None)
    return item[1] if isinstance(item, (tuple, list)) and len(item) > 1 else None


class TorchSplit(Split):
    """Items of a torch data set with a length, converted whenever they are read: random transforms stay random.

    Args:
        dataset: the data set.
        name: name of the data.
        options: as for `load_images`.
        images_only: whether items (height, width) are grey images.
    """

    origin: Origin = "memory"

    def __init__(self, dataset: Any, name: str, options: DataOptions, images_only: bool):
        self.dataset, self.name, self.options, self.images_only = dataset, name, options, images_only
        self.indices = np.arange(len(dataset))
        if not len(self.indices):
            raise ValueError(f"'{name}' is empty: it has no examples to train on")
        self.channels = options.channels
        self.input_shape, self.dtype = (), np.dtype(np.float32)
        first = self._read_item(0)
        self.input_shape, self.dtype = first.shape, first.dtype

    def __len__(self) -> int:
        return len(self.indices)

    def select(self, indices: Sequence[int] | np.ndarray) -> "TorchSplit":
        part = copy(self)
        part.indices = self.indices[np.asarray(indices, np.int64)]
        return part

    def read_chunk(self, indices: Sequence[int]) -> tuple[np.ndarray, dict[int, UnreadableExampleError]]:
        array, num, errors = np.empty((len(indices), *self.input_shape), self.dtype), 0, {}
        for index in indices:
            try:
                array[num] = self._read_item(int(self.indices[index]))
                num += 1
            except UnreadableExampleError as error:
                errors[int(index)] = error
        return array[:num], errors

    def read_labels(self) -> Tensor | None:
        targets = getattr(self.dataset, "targets", getattr(self.dataset, "labels", None))
        if targets is None or len(targets) != len(self.dataset):
            column = self.options.label_column
            found = [_find_label(self.dataset[int(index)], column) for index in self.indices]
            if any(not _is_integer(label) for label in found):
                return None
            return torch.tensor([int(label) for label in found])
        values = np.asarray(targets)
        return torch.from_numpy(values.astype(np.int64)[self.indices]) if values.dtype.kind in "biu" else None

    def _read_item(self, index: int) -> np.ndarray:
        column = self.options.column if isinstance(self.options.column, str) else None
        example = find_example(self.dataset[index], column)
        place = f"in row {index}"
        if example is None:
            raise UnreadableExampleError(place, self.name, "it is None")
        if is_encoded_image(example):
            try:
                image = open_image(example)
            except DAMAGED as error:
                raise UnreadableExampleError(place, self.name, str(error)) from error
            if self.channels == 1 and self.options.channels is None and channels_of(image) == 3:
                raise ValueError(
                    f"'{self.name}' starts with a grey image but also holds one in colour in row {index}: pass "
                    "channels=1 or channels=3"
                )
            self.channels = self.channels or channels_of(image)
            array = read_image(image, self.channels, self.options.size, self.options.background)
        else:
            array = self._read_array(example, index)
        if self.input_shape and array.dtype != self.dtype:
            raise ValueError(
                f"the examples of '{self.name}' differ in type: {self.dtype} and {array.dtype} in row {index}; "
                "convert all of them to uint8, or to floats"
            )
        if self.input_shape and array.shape != self.input_shape:
            raise ValueError(
                f"the examples of '{self.name}' differ in shape: {self.input_shape} and {array.shape} in row {index}; "
                "image_size resizes PIL images"
            )
        return array

    def _read_array(self, example: Any, index: int) -> np.ndarray:
        is_tensor = isinstance(example, Tensor)
        array = example.detach().cpu().numpy() if is_tensor else np.asarray(example)
        if array.dtype.kind not in "biuf" or not array.ndim:
            raise ValueError(
                f"item {index} of '{self.name}' must be an image, an array of numbers, a tuple that begins with one "
                f"or a dict that holds one, got {describe(example)}"
            )
        array = array if array.dtype in (np.uint8, np.float32) else array.astype(np.float32)
        layout, images_only = self.options.layout, self.images_only
        if is_tensor:  # torch's convention decides between layouts
            return move_channels_first(torch.from_numpy(array)[None], layout, grey_images=images_only)[0].numpy()
        return move_channels_first(array[None], layout, grey_images=images_only)[0]


def _is_integer(label: Any) -> bool:
    if isinstance(label, (Tensor, np.ndarray)):
        return label.ndim == 0 and not (isinstance(label, Tensor) and label.is_floating_point())
    return isinstance(label, (int, np.integer)) and not isinstance(label, bool)


def open_torch_data(source: Any, options: DataOptions, images_only: bool) -> Source:
    """A source of one split from a torch data set with a length, or from a DataLoader's.

    Raises:
        ValueError: if it has no length, or the DataLoader has a `collate_fn` of its own.
    """
    if isinstance(source, DataLoader):
        if source.collate_fn is not default_collate and getattr(source, "batch_size", None) is not None:
            raise ValueError(
                "a DataLoader with its own collate_fn cannot be read by example: pass its data set, or an array"
            )
        source = source.dataset
    name = type(source).__name__
    if isinstance(source, IterableDataset) or not hasattr(source, "__len__"):
        raise ValueError(f"'{name}' has no length: pass it to GAETrainer as it is, or load it into an array")
    return Source(name, {"train": TorchSplit(source, name, options, images_only)}, options)


def is_torch_data(source: Any) -> bool:
    """Whether a value is a torch data set or a DataLoader."""
    return isinstance(source, (Dataset, DataLoader))


def unwrap_subset(source: Any) -> tuple[Any, np.ndarray | None]:
    """The data set below nested `torch.utils.data.Subset`s, and the indices into it, or None for the whole."""
    indices = None
    while isinstance(source, Subset):
        own = np.asarray(source.indices, np.int64)
        indices = own if indices is None else own[indices]
        source = source.dataset
    return source, indices
