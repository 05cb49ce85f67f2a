"""Data sets for training: resident in memory, read on demand, or streamed.

All three describe themselves in the same attributes, and yield `pixel_values` as floats. With a length, they are torch
data sets like any other: `DataLoader`, `random_split` and `transformers.Trainer` accept them.
"""

__all__ = [
    "BatchedDataset",
    "InMemoryDataset",
    "IndexedDataset",
    "OnDemandDataset",
    "StreamedDataset",
]

from collections.abc import Callable, Iterator, Sequence
from copy import copy
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self, TypeAlias, cast, overload

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset
from transformers.utils import logging

from ..core.argument_checks import describe
from ..images.binarization import Binarization
from ..images.normalization import Normalization
from .batches import Examples, to_float
from .options import DataOptions
from .sources.base import Origin, Split, StreamSplit

if TYPE_CHECKING:
    import datasets

logger = logging.get_logger(__name__)

# data are copied to the training device if they take at most this share of its free memory
DEVICE_MEMORY_SHARE = 0.25
_MAX_NAMES = 20  # names of skipped examples in a warning


class _Described:
    """What is known about a data set besides its examples.

    Attributes:
        name: name of the data, for cards and messages.
        split: name of the split, or None.
        origin: "hub", "local", "library" or "memory".
        revision: commit of the data set on the Hub, or version of the library that the data come with, if known.
        column_names: names of a table's columns, or None.
        label_names: names of the classes, or None.
        options: how the data were read.
        normalization: what was applied to the data's own values, or None.
        binarization: what made grey values binary, or None.
        held_out: how validation and test splits were made, or None if the source has them.
        labels: (num,) integers, -1 for examples without a label; or None. Metrics use them, and conditional models.
        conditions: (num, condition_dim) floats that conditional models receive instead of labels, or None.
        has_class_labels: whether examples have `class_labels`, their conditions or labels, beside `pixel_values`.
        factors: (num, num_factors) integers, the factors of variation that the images were made from. Set it to
            measure disentanglement; None by default.
        columns: a `datasets.Dataset` of the source's other columns, or None.
    """

    name: str
    split: str | None
    origin: Origin = "memory"
    revision: str | None = None
    column_names: tuple[str, ...] | None = None
    label_names: tuple[str, ...] | None = None
    options: DataOptions = DataOptions()
    normalization: Normalization | None = None
    binarization: Binarization | None = None
    held_out: str | None = None
    labels: Tensor | None = None
    conditions: Tensor | None = None
    has_class_labels: bool = False
    factors: Tensor | None = None
    columns: "datasets.Dataset | None" = None

    @property
    def can_have_class_labels(self) -> bool:
        """Whether the data have conditions or labels, which `with_class_labels` needs."""
        raise NotImplementedError

    def with_class_labels(self) -> Self:
        """The same data, whose examples have `class_labels` beside `pixel_values`. The trainer calls it.

        Raises:
            ValueError: if there are neither conditions nor labels.
        """
        if not self.can_have_class_labels:
            raise ValueError(
                f"{self!r} has no labels, but a conditional model needs them: load data with labels "
                "(label_column=... names their column; a stream needs integers), or InMemoryDataset(images, labels)"
            )
        return self._set_class_labels(True)

    def without_class_labels(self) -> Self:
        """The same data, whose examples have `pixel_values` only."""
        return self._set_class_labels(False)

    def _set_class_labels(self, has_class_labels: bool) -> Self:
        if self.has_class_labels == has_class_labels:
            return self
        changed = copy(self)
        changed.has_class_labels = has_class_labels
        return changed


class BatchedDataset(_Described, Dataset[dict[str, Tensor]]):
    """Base of the data sets with a length: they read a whole batch at a time, which torch's DataLoader requests.

    A custom data set defines `__len__`, `read`, and the attributes `name`, `split` and `input_shape`.
    """

    input_shape: tuple[int, ...]

    def __len__(self) -> int:
        raise NotImplementedError

    def read(self, indices: Sequence[int]) -> Tensor:
        """(num, *input_shape) floats, as the model sees them."""
        raise NotImplementedError

    @property
    def class_labels(self) -> Tensor | None:
        """(num, condition_dim) conditions, or (num,) labels, or None: what conditional models receive."""
        return self.labels if self.conditions is None else self.conditions

    @property
    def can_have_class_labels(self) -> bool:
        return self.class_labels is not None

    def read_class_labels(self, indices: Sequence[int]) -> Tensor | None:
        """The class_labels of examples, or None if examples do not have them."""
        if not self.has_class_labels:
            return None
        labels = cast(Tensor, self.class_labels)
        return labels[torch.as_tensor(indices, dtype=torch.int64, device=labels.device)]

    def select_rows(self, indices: Sequence[int]) -> "InMemoryDataset":
        """Some examples in memory, with their labels and conditions."""
        rows = torch.as_tensor(indices, dtype=torch.int64)
        labels, conditions = (None if part is None else part[rows] for part in (self.labels, self.conditions))
        return InMemoryDataset(self.read(indices), labels, self.name, self.split, conditions)

    def read_examples(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """Examples as a batch: `pixel_values`, and `class_labels` if examples have them."""
        return self.__getitems__(indices).tensors

    def __getitems__(self, indices: Sequence[int]) -> Examples:
        return Examples(self.read(indices), self.read_class_labels(indices))

    @overload
    def __getitem__(self, index: int) -> dict[str, Tensor]: ...
    @overload
    def __getitem__(self, index: slice) -> dict[str, Tensor]: ...
    def __getitem__(self, index: int | slice) -> dict[str, Tensor]:
        """`{"pixel_values": ...}` of one example or, for a slice, of several; as in `datasets.Dataset`."""
        num = len(self)
        if isinstance(index, slice):
            return self.read_examples(range(*index.indices(num)))
        if not -num <= index < num:
            raise IndexError(f"index {index} is out of range for a data set of {num} examples")
        return self.__getitems__([index % num])[0]

    def _describe_shape(self) -> str:
        return f"{len(self):,} x {self.input_shape}"

    def __repr__(self) -> str:
        split = f", split='{self.split}'" if self.split else ""
        return f"{type(self).__name__}('{self.name}'{split}, {self._describe_shape()})"


class InMemoryDataset(BatchedDataset):
    """Data in memory.

    Args:
        pixel_values: (num, *input_shape), uint8 for pixels, or finite floats.
        labels: (num,) integers, -1 for examples without a label; or None. Metrics use them, and conditional models.
        name: name of the data, for cards and messages.
        split: name of the split.
        conditions: (num, condition_dim) floats, for models with `condition_dim`; or None.

    Raises:
        ValueError: if there are no examples, their values are not finite, or the number of labels differs.
    """

    def __init__(
        self,
        pixel_values: Tensor,
        labels: Tensor | None = None,
        name: str = "array",
        split: str | None = None,
        conditions: Tensor | None = None,
    ):
        if not isinstance(pixel_values, Tensor):
            raise ValueError(
                f"'{name}' must be a tensor (num, *input_shape), got {describe(pixel_values)}: see load_images"
            )
        if pixel_values.dim() < 2 or not len(pixel_values):
            raise ValueError(
                f"'{name}' holds no examples: expected (num, *input_shape), got shape {tuple(pixel_values.shape)}"
            )
        if pixel_values.dtype != torch.uint8:
            if not pixel_values.is_floating_point():
                raise ValueError(f"'{name}' has dtype {pixel_values.dtype}, but must be uint8, or floats")
            num_bad = sum(int((~chunk.isfinite()).sum()) for chunk in pixel_values.split(10_000))
            if num_bad:
                raise ValueError(f"'{name}' has {num_bad} values that are nan or infinite: remove or replace them")
        for kind, rows in (("labels", labels), ("conditions", conditions)):
            if rows is not None and len(rows) != len(pixel_values):
                raise ValueError(f"'{name}' has {len(pixel_values)} examples but {len(rows)} {kind}")
        self.conditions = conditions
        self.pixel_values, self.labels, self.name, self.split = pixel_values, labels, name, split
        self.copies: dict[torch.device, InMemoryDataset] = {}

    @property
    def input_shape(self) -> tuple[int, ...]:  # pyright: ignore[reportIncompatibleVariableOverride]  # it is derived
        """Shape of one example."""
        return tuple(self.pixel_values.shape[1:])

    @cached_property
    def value_range(self) -> tuple[float, float]:
        """The smallest and the largest value, as the model sees them."""
        if self.pixel_values.dtype == torch.uint8:
            return 0.0, 1.0
        low, high = torch.aminmax(self.pixel_values)
        return float(low), float(high)

    def __len__(self) -> int:
        return len(self.pixel_values)

    def _set_class_labels(self, has_class_labels: bool) -> Self:
        changed = super()._set_class_labels(has_class_labels)
        if changed is not self:
            changed.copies = {}
        return changed

    def read(self, indices: Sequence[int]) -> Tensor:
        rows, device = torch.as_tensor(indices, dtype=torch.int64), self.pixel_values.device
        if device.type == "cuda":  # pinned, since a copy from pageable memory waits for the GPU
            rows = rows.pin_memory().to(device, non_blocking=True)
        return to_float(self.pixel_values.index_select(0, rows))

    def read_slice(self, start: int, stop: int) -> Examples:
        """The examples from `start` to before `stop`, without an index for each."""
        labels = cast(Tensor, self.class_labels)[start:stop] if self.has_class_labels else None
        return Examples(to_float(self.pixel_values[start:stop]), labels)

    def select(self, start: int, stop: int) -> "InMemoryDataset":
        """The examples from `start` to before `stop`, without a copy of their values."""
        part = copy(self)
        part.pixel_values, part.copies = self.pixel_values[start:stop], {}
        for name in ("labels", "conditions", "factors", "columns"):
            rows = getattr(self, name)
            if rows is not None:
                setattr(part, name, rows[start:stop] if name != "columns" else rows.select(range(start, stop)))
        part.__dict__.pop("value_range", None)
        return part

    def place_on(self, device: torch.device) -> "InMemoryDataset":
        """The same data on a GPU if they fit into its memory, copied there once; otherwise this data set."""
        if device not in self.copies:
            size, free = self.pixel_values.nbytes, free_device_memory(device)
            if free is None or size > DEVICE_MEMORY_SHARE * free:
                return self
            self.copies[device] = placed = copy(self)
            for name in ("pixel_values", *(("labels", "conditions") if self.has_class_labels else ())):
                rows = getattr(self, name)
                setattr(placed, name, None if rows is None else rows.to(device))
        return self.copies[device]

    def _describe_shape(self) -> str:
        return f"{super()._describe_shape()} {str(self.pixel_values.dtype).removeprefix('torch.')}"


class OnDemandDataset(BatchedDataset):
    """Data that are read when their batch is: they do not fit in memory, or change from epoch to epoch.

    Args:
        source: the split.
        name, split: as for [`InMemoryDataset`].
        normalization, binarization: applied to the values, in this order.
    """

    def __init__(
        self,
        source: Split,
        name: str,
        split: str | None,
        normalization: Normalization | None = None,
        binarization: Binarization | None = None,
    ):
        self.source, self.name, self.split = source, name, split
        self.normalization, self.binarization = normalization, binarization
        self.input_shape = source.input_shape

    @cached_property
    def labels(self) -> Tensor | None:
        """(num,) class labels, or None."""
        return self.source.read_labels()

    @property
    def columns(self) -> "datasets.Dataset | None":
        """Other columns of the source, or None."""
        return self.source.columns

    def __len__(self) -> int:
        return len(self.source)

    def read(self, indices: Sequence[int]) -> Tensor:
        return to_pixel_values(self.source.read(indices), self.normalization, self.binarization)


IndexedDataset: TypeAlias = InMemoryDataset | OnDemandDataset
"""A data set with a length, whose examples can be read in any order."""


class StreamedDataset(_Described, IterableDataset[dict[str, Tensor]]):
    """Data of a stream, read in its order. It has no length, so the trainer needs `max_steps`.

    With `on_error="skip"`, each pass ends with one warning that names the examples that were skipped.

    Args:
        source: the split.
        name, split: as for [`InMemoryDataset`].
        normalization, binarization: as for [`OnDemandDataset`].

    Attributes:
        check_labels: called with the labels (num,) of each chunk, if examples have `class_labels`; raises ValueError
            for labels that a model does not have.
    """

    check_labels: Callable[[Tensor], Any] | None = None

    def __init__(
        self,
        source: StreamSplit,
        name: str,
        split: str | None,
        normalization: Normalization | None = None,
        binarization: Binarization | None = None,
    ):
        self.source, self.name, self.split = source, name, split
        self.normalization, self.binarization = normalization, binarization
        self.input_shape = source.input_shape

    @property
    def can_have_class_labels(self) -> bool:
        return self.source.has_labels

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        num, skipped = 0, []
        for chunk in self.source.iterate_chunks():
            num += chunk.num_rows
            for error in chunk.errors.values():
                if self.options.on_error == "raise":
                    raise error
                skipped.append(error.place)
            if self.has_class_labels and self.check_labels is not None:
                self.check_labels(cast(Tensor, chunk.labels))
            examples = Examples(
                to_pixel_values(chunk.array, self.normalization, self.binarization),
                chunk.labels if self.has_class_labels else None,
            )
            yield from examples
        warn_about_skipped(skipped, num, self.name, self.split)

    def set_epoch(self, epoch: int):
        """Start an epoch of a shuffled stream with its own order. The trainer calls it."""
        self.source.set_epoch(epoch)

    def __repr__(self) -> str:
        split = f", split='{self.split}'" if self.split else ""
        return f"StreamedDataset('{self.name}'{split}, {self.input_shape})"


def to_pixel_values(
    array: np.ndarray, normalization: Normalization | None = None, binarization: Binarization | None = None
) -> Tensor:
    """float32 values as the model sees them, from the data's own."""
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    if normalization is None:
        tensor = to_float(tensor)
    else:
        tensor = normalization.apply(to_float(tensor) if tensor.dtype == torch.uint8 else tensor)
    return tensor if binarization is None else binarization.apply(tensor)


def warn_about_skipped(places: Sequence[str], num: int, source: str, split: str | None):
    """Log one warning that counts and names the examples that were skipped, if there are any."""
    if places:
        names = ", ".join(places[:_MAX_NAMES])
        rest = f" and {len(places) - _MAX_NAMES} more" if len(places) > _MAX_NAMES else ""
        whole = f"'{source}'" + (f", split {split}," if split else "")
        logger.warning(f"skipped {len(places)} of {num} examples of {whole} that cannot be read: {names}{rest}")


def free_device_memory(device: torch.device) -> int | None:
    """Free bytes of a CUDA device, None for others: the CPU needs no copy, and the rest do not report free memory."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else None
