"""What every kind of source has in common: named splits of examples that can be read in any order."""

__all__ = ["SPLIT_NAMES", "Origin", "Source", "Split", "StreamSplit", "UnreadableExampleError"]

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
from torch import Tensor

from ...images.normalization import Normalization
from ..options import DataOptions

if TYPE_CHECKING:
    import datasets

Origin: TypeAlias = Literal["hub", "local", "library", "memory"]
"""Where data come from: the Hub, a file or folder, a Python library, or an object in memory."""

SPLIT_NAMES = {
    "train": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}
"""Names that sources give their splits, and ours. CelebA on the Hub has a split "valid"."""


class UnreadableExampleError(ValueError):
    """An example that is damaged or missing.

    Args:
        place: the file's name, or the number of its row.
        source: name of the data set.
        reason: why it cannot be read.
    """

    def __init__(self, place: str, source: str, reason: str):
        self.place = place
        super().__init__(
            f"cannot read the example {place} of '{source}': {reason}; replace or remove it, or skip such examples "
            "with on_error='skip'"
        )


class Split(ABC):
    """One split of a source, with examples that are not read yet.

    Attributes:
        name: name of the data set.
        origin: where it comes from.
        revision: commit on the Hub, or version of the library; None if unknown.
        input_shape: (dim,) or (channels, *size) of one example.
        dtype: uint8 for pixels of 8 bits, otherwise float64 or float32.
        column_names: names of a table's columns, or None.
        label_names: names of the classes, or None.
    """

    name: str
    origin: Origin
    revision: str | None = None
    input_shape: tuple[int, ...]
    dtype: np.dtype
    column_names: tuple[str, ...] | None = None
    label_names: tuple[str, ...] | None = None

    @abstractmethod
    def __len__(self) -> int:
        """Number of examples."""

    @abstractmethod
    def select(self, indices: Sequence[int] | np.ndarray) -> "Split":
        """The examples of these indices, as a split."""

    @abstractmethod
    def read_chunk(self, indices: Sequence[int]) -> tuple[np.ndarray, dict[int, UnreadableExampleError]]:
        """Examples (num, *input_shape) of the dtype, and the errors of those that cannot be read by their index."""

    def read(self, indices: Sequence[int]) -> np.ndarray:
        """(num, *input_shape) examples of the dtype.

        Raises:
            UnreadableExampleError: if one cannot be read.
        """
        array, errors = self.read_chunk(indices)
        for error in errors.values():
            raise error
        return array

    def read_labels(self) -> Tensor | None:
        """(num,) class labels, -1 for examples without one; None if the source has no labels."""
        return None

    @property
    def columns(self) -> "datasets.Dataset | None":
        """Other columns of the source, or None."""
        return None


@dataclass(frozen=True)
class StreamChunk:
    """Rows that were read from a stream at once.

    Args:
        array: (num, *input_shape) examples.
        labels: (num,) class labels of these examples, -1 for those without one; None if the stream has no labels.
        num_rows: number of rows that were read.
        errors: the errors of unreadable rows, by row number.
    """

    array: np.ndarray
    labels: Tensor | None
    num_rows: int
    errors: dict[int, UnreadableExampleError]


class StreamSplit(ABC):
    """One split of a stream, which is read in its order. Attributes as for [`Split`].

    `has_labels` says whether its chunks have labels.
    """

    name: str
    origin: Origin
    input_shape: tuple[int, ...]
    dtype: np.dtype
    column_names: tuple[str, ...] | None = None
    label_names: tuple[str, ...] | None = None
    has_labels: bool = False

    @abstractmethod
    def iterate_chunks(self) -> Iterator[StreamChunk]:
        """Yield all rows, in chunks."""

    @abstractmethod
    def set_epoch(self, epoch: int):
        """Choose the order of an epoch, if the stream is shuffled."""


@dataclass(frozen=True)
class Source:
    """An opened source.

    Args:
        name: name for cards and messages.
        splits: name to split.
        options: the options it was opened with.
        normalization: what its values went through before, or None.
        held_out: how splits were made of the training split, for cards; None if the source had them.
    """

    name: str
    splits: Mapping[str, Split | StreamSplit]
    options: DataOptions
    normalization: Normalization | None = None
    held_out: str | None = None

    @property
    def default_split(self) -> str:
        """Name of the only split, or "train" if there are several."""
        return next(iter(self.splits)) if len(self.splits) == 1 else "train"

    def get_split(self, split: str) -> Split | StreamSplit:
        """The split of this name; "val" and "valid" are the validation split.

        Raises:
            ValueError: if the source has no such split.
        """
        split = split if split in self.splits else SPLIT_NAMES.get(split, split)
        if split not in self.splits:
            raise ValueError(f"'{self.name}' has no split '{split}'; it has {', '.join(self.splits)}")
        return self.splits[split]
