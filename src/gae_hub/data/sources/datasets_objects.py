"""Opens objects of Hugging Face `datasets`, and everything that `datasets.load_dataset` loads."""

__all__ = ["RowSplit", "RowStream", "is_datasets_object", "open_datasets_object"]

import re
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ..options import DataOptions
from .base import SPLIT_NAMES, Origin, Source, Split, StreamChunk, StreamSplit, UnreadableExampleError
from .columns import check_columns, choose_reader, find_label_column
from .readers import ColumnReader, ImageReader

if TYPE_CHECKING:
    import datasets

_STREAM_CHUNK = 256  # rows of a table or of arrays that are read from a stream at once


class RowSplit(Split):
    """Rows of a `datasets.Dataset`.

    Args:
        rows: the rows, with all columns.
        reader: reads the examples' columns.
        name, origin: as for [`Split`].
        label_column: column of labels, or None.
        label_names: names of the classes, for a column of strings.
        numbers: numbers of the rows in the source, for errors.
    """

    def __init__(
        self,
        rows: "datasets.Dataset",
        reader: ColumnReader,
        name: str,
        origin: Origin,
        label_column: str | None = None,
        label_names: Sequence[str] | None = None,
        numbers: np.ndarray | None = None,
    ):
        self.name, self.origin, self.revision = name, origin, _hub_commit(rows)
        self.rows, self.reader, self.label_column = rows.with_format(None), reader, label_column
        self.label_names = None if label_names is None else tuple(label_names)
        self.numbers = np.arange(len(rows)) if numbers is None else numbers
        self._cells = reader.prepare(self.rows)

    @property
    def input_shape(self) -> tuple[int, ...]:
        return self.reader.input_shape

    @property
    def dtype(self) -> np.dtype:
        return self.reader.dtype

    @property
    def column_names(self) -> tuple[str, ...] | None:
        return self.reader.column_names

    def __len__(self) -> int:
        return len(self.rows)

    def select(self, indices: Sequence[int] | np.ndarray) -> "RowSplit":
        part = copy(self)
        part.rows, part._cells = self.rows.select(indices), self._cells.select(indices)
        part.numbers = self.numbers[np.asarray(indices, np.int64)]
        return part

    def read_chunk(self, indices: Sequence[int]) -> tuple[np.ndarray, dict[int, UnreadableExampleError]]:
        rows = [int(index) for index in indices]
        numbers = self.numbers[rows].tolist()
        array, errors = self.reader.read(self._cells[_as_slice(rows)], numbers)
        if not errors:
            return array, {}
        by_number = dict(zip(numbers, rows, strict=True))
        return array, {by_number[number]: error for number, error in errors.items()}

    def read_labels(self) -> Tensor | None:
        if self.label_column is None:
            return None
        cells = self.rows[self.label_column][:]
        if self.label_names is not None and any(isinstance(cell, str) for cell in cells):
            index = {name: i for i, name in enumerate(self.label_names)}
            return torch.tensor([-1 if cell is None else index[cell] for cell in cells])
        return _as_labels(cells)

    @property
    def columns(self) -> "datasets.Dataset":
        return self.rows.remove_columns(list(self.reader.columns))


class RowStream(StreamSplit):
    """Rows of a `datasets.IterableDataset`.

    Args:
        rows: the rows, with all columns.
        reader: reads the examples' columns.
        name, origin: as for [`StreamSplit`].
        label_column: column of integers that are labels, or None.
        label_names: names of the classes, or None.
    """

    def __init__(
        self,
        rows: "datasets.IterableDataset",
        reader: ColumnReader,
        name: str,
        origin: Origin,
        label_column: str | None = None,
        label_names: Sequence[str] | None = None,
    ):
        self.name, self.origin, self.reader, self.label_column = name, origin, reader, label_column
        self.has_labels = label_column is not None
        self.label_names = tuple(label_names) if label_names else None
        self._cells = reader.prepare(rows, *([] if label_column is None else [label_column]))
        self.input_shape, self.dtype, self.column_names = reader.input_shape, reader.dtype, reader.column_names

    def iterate_chunks(self) -> Iterator[StreamChunk]:
        # images are decoded one by one, so that the first one does not wait for others
        size, start = 1 if isinstance(self.reader, ImageReader) else _STREAM_CHUNK, 0
        for batch in self._cells.iter(size):
            rows = range(start, start + _count_rows(batch, self.reader.columns[0]))
            array, errors = self.reader.read(batch, rows)
            labels = None
            if self.label_column is not None:
                cells = zip(rows, _read_cells(batch, self.label_column), strict=True)
                labels = _as_labels([cell for row, cell in cells if row not in errors])
            yield StreamChunk(array, labels, len(rows), errors)
            start = rows.stop

    def set_epoch(self, epoch: int):
        self._cells.set_epoch(epoch)


def _as_labels(cells: Sequence[Any]) -> Tensor:
    """(num,) labels, -1 for empty cells, which are nan in columns of NumPy."""
    return torch.tensor([-1 if cell is None or cell != cell else int(cell) for cell in cells], dtype=torch.int64)


def _count_rows(batch: Any, column: str) -> int:
    """Number of rows of a batch: a table of Arrow, or a dict from column to values."""
    return batch.num_rows if hasattr(batch, "num_rows") else len(batch[column])


def _read_cells(batch: Any, column: str) -> Sequence[Any]:
    """One column of such a batch."""
    return batch.column(column).to_pylist() if hasattr(batch, "num_rows") else batch[column]


def _as_slice(rows: list[int]) -> slice | list[int]:
    """Consecutive rows as a slice, which `datasets` reads faster."""
    is_run = bool(rows) and rows == list(range(rows[0], rows[0] + len(rows)))
    return slice(rows[0], rows[0] + len(rows)) if is_run else rows


def is_datasets_object(value: Any) -> bool:
    """Whether a value is an object of Hugging Face `datasets`. Does not import that library."""
    return type(value).__module__.split(".")[0] == "datasets"


def open_datasets_object(
    found: Any, name: str | None, origin: Origin, options: DataOptions, images_only: bool
) -> Source:
    """A source from a `Dataset`, `IterableDataset`, `DatasetDict` or `IterableDatasetDict`.

    Args:
        found: the object.
        name: name of the data; by default the object's own.
        origin, options, images_only: as for `open_source`.

    Raises:
        ValueError: if it has a custom transform, no rows, or no column of examples.
    """
    import datasets

    splits: Mapping[str, Any] = found if isinstance(found, dict) else {str(found.split or "train"): found}
    first = next(iter(splits.values()))
    title: str = name or first.info.dataset_name or "dataset"
    for rows in splits.values():
        if isinstance(rows, datasets.Dataset) and rows.format["type"] == "custom":
            raise ValueError(
                f"'{title}' has a custom transform, which would be lost: pass the data set without it, or an array"
            )
    features = first.features
    if features is None and isinstance(first, datasets.IterableDataset):
        features = first._resolve_features().features
    check_columns(features, title, options)
    label = find_label_column(features, options)
    label_names = _find_label_names(splits, label, features)
    opened: dict[str, Split | StreamSplit] = {}
    for given, rows in splits.items():
        ours = SPLIT_NAMES.get(given, given)
        split = given if ours in splits else ours
        reader = choose_reader(features, title, options, images_only)
        _fit_reader(reader, rows, title, options)
        if isinstance(rows, datasets.IterableDataset):
            column = label if _holds_integers(features, label) else None  # the classes of a text are not known ahead
            opened[split] = RowStream(rows, reader, title, origin, column, label_names)
        else:
            opened[split] = RowSplit(rows, reader, title, origin, label, label_names)
    return Source(title, opened, options)


def _fit_reader(reader: ColumnReader, rows: Any, name: str, options: DataOptions):
    """Let the first example, or with on_error="skip" the first one that can be read, decide shape and dtype."""
    num_rows, last = 0, None
    prepared = reader.prepare(rows)
    for row, batch in enumerate(prepared.iter(1)):
        num_rows += 1
        errors = reader.fit(batch, row)
        if not errors:
            return
        last = errors[row]
        if options.on_error == "raise":
            raise last
    if last is None:
        raise ValueError(f"'{name}' is empty: it has no examples to train on")
    raise ValueError(f"none of the {num_rows} examples of '{name}' can be read") from last


def _find_label_names(
    splits: Mapping[str, Any], column: str | None, features: Mapping[str, Any] | None
) -> list[str] | None:
    """Names of the classes: of a column of classes, or the distinct strings of all splits in a column of strings."""
    import datasets

    if column is None or features is None:
        return None
    feature = features[column]
    if isinstance(feature, datasets.ClassLabel):
        return list(feature.names) if feature.names else None
    if getattr(feature, "dtype", "") in ("string", "large_string"):
        indexed = [rows for rows in splits.values() if isinstance(rows, datasets.Dataset)]
        return sorted({value for rows in indexed for value in rows.unique(column) if value is not None})
    kind = getattr(feature, "dtype", type(feature).__name__)
    if not str(kind).startswith(("int", "uint", "bool")):
        raise ValueError(f"label_column: column '{column}' must hold integers or strings, but it holds {kind}")
    return None


def _holds_integers(features: Mapping[str, Any] | None, column: str | None) -> bool:
    dtype = str(getattr(None if column is None or features is None else features[column], "dtype", ""))
    return dtype.startswith(("int", "uint", "bool"))


def _hub_commit(rows: "datasets.Dataset") -> str | None:
    """Commit that a data set was downloaded from, which names the folder of its cache files; None if unknown."""
    files = rows.cache_files
    found = re.search(r"[/\\]([0-9a-f]{40})[/\\]", files[0]["filename"]) if files else None
    return found[1] if found else None
