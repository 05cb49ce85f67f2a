"""Reads columns of Hugging Face `datasets`: images, arrays, or numbers side by side as vectors."""

__all__ = ["ArrayReader", "ColumnReader", "ImageReader", "TableReader"]

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from huggingface_hub.errors import HfHubHTTPError
from PIL import Image

from ...images.layouts import move_channels_first
from ...images.reading import DAMAGED, channels_of, open_image, read_image
from ..options import DataOptions
from .base import UnreadableExampleError

Errors: TypeAlias = dict[int, UnreadableExampleError]


class ColumnReader(ABC):
    """Reads batches of rows, dicts from column to list, as `datasets` returns them in the format of this reader.

    Attributes:
        columns: the columns that it reads.
        format: the format of `datasets` that it needs.
        input_shape: shape of one example.
        dtype: of the arrays.
        column_names: names of a table's columns, or None.
    """

    columns: tuple[str, ...]
    format: str | None = None
    input_shape: tuple[int, ...]
    dtype: np.dtype
    column_names: tuple[str, ...] | None = None

    def __init__(self, name: str, options: DataOptions):
        self.name, self.options = name, options

    @abstractmethod
    def fit(self, batch: Any, row: int) -> Errors:
        """Let the first example of a batch decide what the options leave open. Returns its error, if it has one."""

    @abstractmethod
    def read(self, batch: Any, rows: Sequence[int]) -> tuple[np.ndarray, Errors]:
        """Examples (num, *input_shape), and the errors of others by row.

        Args:
            batch: the rows' content.
            rows: numbers of the rows, for errors.
        """

    def prepare(self, rows: Any, *others: str) -> Any:
        """A `datasets` object with only this reader's columns, and others, in its format."""
        return rows.select_columns([*self.columns, *others]).with_format(self.format)

    def fail(self, place: int | str, reason: str) -> UnreadableExampleError:
        """The error for an example that cannot be read."""
        return UnreadableExampleError(f"in row {place}" if isinstance(place, int) else place, self.name, reason)


class ImageReader(ColumnReader):
    """Reads a column of image files or bytes, as `datasets.Image` has it."""

    def __init__(self, column: str, name: str, options: DataOptions):
        super().__init__(name, options)
        self.columns, self.channels = (column,), options.channels
        self.input_shape, self.dtype = (), np.dtype(np.uint8)

    def prepare(self, rows: Any, *others: str) -> Any:
        import datasets

        found = super().prepare(rows, *others)
        return found.cast_column(self.columns[0], datasets.Image(decode=False))

    def fit(self, batch: Mapping[str, Sequence[Any]], row: int) -> Errors:
        try:
            image = self.open_image(batch[self.columns[0]][0], row)
        except UnreadableExampleError as error:
            return {row: error}
        self.channels = self.channels or channels_of(image)
        array = self._convert(image)
        self.input_shape, self.dtype = array.shape, array.dtype
        return {}

    def read(self, batch: Mapping[str, Sequence[Any]], rows: Sequence[int]) -> tuple[np.ndarray, Errors]:
        cells = batch[self.columns[0]]
        array, num, errors = np.empty((len(cells), *self.input_shape), self.dtype), 0, {}
        for row, cell in zip(rows, cells, strict=True):
            try:
                array[num] = self._read_cell(cell, row)
                num += 1
            except UnreadableExampleError as error:
                if self.options.on_error == "raise":
                    raise  # before an error about a later image
                errors[row] = error
        return array[:num], errors

    def open_image(self, cell: Any, row: int) -> Image.Image:
        """The image of a cell.

        Raises:
            UnreadableExampleError: if it is missing or damaged.
        """
        path = cell.get("path") if isinstance(cell, dict) else None
        place: str | int = f"'{path}'" if path else row
        if cell is None or (isinstance(cell, dict) and path is None and cell.get("bytes") is None):
            raise self.fail(place, "the cell is empty")
        try:
            if path and cell["bytes"] is None and "://" in path:
                return open_image(self._decode_remote(cell))
            return open_image(cell)
        except (ConnectionError, TimeoutError, HfHubHTTPError):
            raise  # the network failed, not the image
        except DAMAGED as error:
            raise self.fail(place, str(error) or type(error).__name__) from error

    def _decode_remote(self, cell: Any) -> Image.Image:
        """The image of a cell whose path is an address, such as one inside an archive of a streamed data set."""
        import datasets

        return datasets.Image().decode_example(cell)

    def _read_cell(self, cell: Any, row: int) -> np.ndarray:
        image = self.open_image(cell, row)
        if self.channels == 1 and channels_of(image) == 3 and self.options.channels is None:
            raise ValueError(
                f"'{self.name}' starts with a grey image but also holds one of mode '{image.mode}': "
                "pass channels=1 or channels=3"
            )
        array = self._convert(image)
        if array.shape != self.input_shape:
            raise ValueError(
                f"the images of '{self.name}' differ in size: {self.input_shape[1:]} and {array.shape[1:]}; "
                "pass image_size to resize them"
            )
        if array.dtype != self.dtype:
            raise ValueError(
                f"the images of '{self.name}' differ in depth: the first one has "
                f"{'8 bits' if self.dtype == np.uint8 else 'more than 8 bits'} per channel, and another one has not; "
                "convert them to one depth"
            )
        return array

    def _convert(self, image: Image.Image) -> np.ndarray:
        return read_image(image, self.channels, self.options.size, self.options.background)


class ArrayReader(ColumnReader):
    """Reads a column of arrays or lists of numbers, all of one shape."""

    format = "numpy"

    def __init__(self, column: str, element_type: str, name: str, options: DataOptions, images_only: bool):
        super().__init__(name, options)
        # "numpy" batches do not keep the type of pixels
        self.dtype = np.dtype(np.uint8) if element_type == "uint8" else np.dtype(np.float64)
        if options.size is not None or options.channels is not None:
            raise ValueError(
                f"image_size and channels apply to image files only, but column '{column}' of '{name}' holds arrays"
            )
        self.columns, self.images_only = (column,), images_only

    def fit(self, batch: Mapping[str, Any], row: int) -> Errors:
        cell = batch[self.columns[0]][0]
        if cell is None:
            return {row: self.fail(row, "the cell is empty")}
        array = np.asarray(cell)
        if array.dtype.kind not in "biuf":
            raise ValueError(
                f"column '{self.columns[0]}' of '{self.name}' cannot be examples: it holds no arrays of numbers of "
                "one shape"
            )
        self.cell_shape = array.shape
        self.input_shape = self._convert(array[None]).shape[1:]
        return {}

    def read(self, batch: Mapping[str, Any], rows: Sequence[int]) -> tuple[np.ndarray, Errors]:
        cells, errors = [], {}
        for row, cell in zip(rows, batch[self.columns[0]], strict=True):
            if cell is None:
                errors[row] = self.fail(row, "the cell is empty")
                continue
            array = np.asarray(cell)
            if array.shape != self.cell_shape:
                raise ValueError(
                    f"the arrays in column '{self.columns[0]}' of '{self.name}' differ in shape: {self.cell_shape} "
                    f"and {array.shape} in row {row}"
                )
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                errors[row] = self.fail(row, "it has values that are nan or infinite")
            else:
                cells.append(array.astype(self.dtype))
        if not cells:
            return np.empty((0, *self.input_shape), self.dtype), errors
        return self._convert(np.stack(cells)), errors

    def _convert(self, array: np.ndarray) -> np.ndarray:
        return move_channels_first(array, self.options.layout, grey_images=self.images_only)


class TableReader(ColumnReader):
    """Reads columns of numbers, as the entries of vectors."""

    format = "arrow"
    dtype = np.dtype(np.float64)

    def __init__(self, columns: Sequence[str], name: str, options: DataOptions):
        super().__init__(name, options)
        self.columns = self.column_names = tuple(columns)
        self.input_shape = (len(self.columns),)

    def fit(self, batch: Any, row: int) -> Errors:
        return {}

    def read(self, batch: Any, rows: Sequence[int]) -> tuple[np.ndarray, Errors]:
        array = np.empty((batch.num_rows, len(self.columns)))
        for index, column in enumerate(self.columns):
            array[:, index] = batch.column(column).to_numpy(zero_copy_only=False)
        is_finite = np.isfinite(array)
        if is_finite.all():
            return array, {}
        errors = {}
        for position in np.flatnonzero(~is_finite.all(1)).tolist():
            column = self.columns[int(np.argmin(is_finite[position]))]
            reason = f"column '{column}' is empty, nan or infinite"
            errors[rows[position]] = self.fail(rows[position], reason)
        return array[is_finite.all(1)], errors
