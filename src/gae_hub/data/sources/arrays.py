"""Opens arrays: dense ones, memory maps, and sparse matrices."""

__all__ = ["ArraySplit", "SparseSplit", "is_sparse", "open_arrays"]

from collections.abc import Mapping, Sequence
from copy import copy
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor

from ...images.layouts import move_channels_first
from ..options import DataOptions
from .base import Origin, Source, Split, UnreadableExampleError

if TYPE_CHECKING:
    import datasets


class ArraySplit(Split):
    """Examples in one array.

    Args:
        array: (num, *input_shape), a tensor, an array or a memory map.
        name, origin: as for [`Split`].
        labels: (num,) integers or strings, or None.
        label_names: names of the classes, if labels are integers.
    """

    factors: Tensor | None = None
    _columns: "datasets.Dataset | None" = None

    def __init__(
        self,
        array: np.ndarray | Tensor,
        name: str,
        origin: Origin = "memory",
        labels: Any = None,
        label_names: Sequence[str] | None = None,
    ):
        self.array, self.name, self.origin = array, name, origin
        self.labels, self.label_names = _read_labels(labels, label_names, len(array), name)

    @property
    def input_shape(self) -> tuple[int, ...]:
        return tuple(self.array.shape[1:])

    @property
    def dtype(self) -> np.dtype:
        if isinstance(self.array, Tensor):
            return np.dtype(np.uint8 if self.array.dtype == torch.uint8 else np.float32)
        return np.dtype(np.uint8) if self.array.dtype == np.uint8 else np.dtype(np.float64)

    def __len__(self) -> int:
        return len(self.array)

    def select(self, indices: Sequence[int] | np.ndarray) -> "ArraySplit":
        rows = np.asarray(indices, np.int64)
        part, picked = copy(self), torch.from_numpy(rows)
        is_run = len(rows) > 0 and np.array_equal(rows, np.arange(rows[0], rows[0] + len(rows)))
        if is_run:  # a view instead of a copy
            part.array = self.array[int(rows[0]) : int(rows[-1]) + 1]
        else:
            part.array = self.array[picked] if isinstance(self.array, Tensor) else self.array[rows]
        part.labels = None if self.labels is None else self.labels[picked]
        part.factors = None if self.factors is None else self.factors[picked]
        part._columns = None if self._columns is None else self._columns.select(rows)
        return part

    def read_chunk(self, indices: Sequence[int]) -> tuple[np.ndarray, dict[int, UnreadableExampleError]]:
        rows = np.asarray(indices, np.int64)
        chunk = (
            self.array[torch.from_numpy(rows)].cpu().numpy() if isinstance(self.array, Tensor) else self.array[rows]
        )
        return _keep_finite(chunk, rows, self.name)

    def read_labels(self) -> Tensor | None:
        return self.labels

    @property
    def columns(self) -> "datasets.Dataset | None":
        return self._columns


class SparseSplit(Split):
    """Rows of a SciPy sparse matrix, made dense when they are read.

    Args:
        matrix: (num, dim), a sparse matrix or array of SciPy.
        name: name of the data.
    """

    origin: Origin = "memory"
    dtype = np.dtype(np.float64)

    def __init__(self, matrix: Any, name: str = "sparse matrix"):
        self.matrix, self.name = matrix.tocsr(), name
        self.input_shape = (matrix.shape[1],)

    def __len__(self) -> int:
        return self.matrix.shape[0]

    def select(self, indices: Sequence[int] | np.ndarray) -> "SparseSplit":
        return SparseSplit(self.matrix[np.asarray(indices, np.int64)], self.name)

    def read_chunk(self, indices: Sequence[int]) -> tuple[np.ndarray, dict[int, UnreadableExampleError]]:
        rows = np.asarray(indices, np.int64)
        return _keep_finite(self.matrix[rows].toarray().astype(np.float64), rows, self.name)


def is_sparse(value: Any) -> bool:
    """Whether a value is a sparse matrix or array of SciPy. Does not import that library."""
    return type(value).__module__.startswith("scipy.sparse")


def open_arrays(
    found: Mapping[str, np.ndarray | Tensor],
    name: str,
    origin: Origin,
    options: DataOptions,
    images_only: bool,
    labels: Mapping[str, Any] | None = None,
) -> Source:
    """A source of one array per split.

    Args:
        found: split to array, in any layout.
        name, origin: of the data.
        options: of the loading. Only layout applies to arrays.
        images_only: whether (num, height, width) are grey images.
        labels: split to (num,) labels.
    """
    if options.size is not None or options.channels is not None:
        raise ValueError(
            f"image_size and channels apply to image files only: resize and convert '{name}' before you load it"
        )
    splits = {}
    for split, array in found.items():
        checked = _check_array(array, name, images_only)
        # pyright does not solve a union of the two types for one type variable
        arranged: Any = move_channels_first(cast(Any, checked), options.layout, grey_images=images_only)
        splits[split] = ArraySplit(arranged, name, origin, (labels or {}).get(split))
    return Source(name, splits, options)


def _check_array(array: np.ndarray | Tensor, name: str, images_only: bool) -> np.ndarray | Tensor:
    """The array, with booleans as uint8 0 and 255, if it holds numbers."""
    if isinstance(array, np.ndarray) and array.dtype.kind not in "biuf":
        raise ValueError(f"cannot load an array of dtype {array.dtype} from '{name}': expected numbers")
    if array.ndim < 2 or not len(array):
        raise ValueError(f"'{name}' holds no examples: expected (num, *input_shape), got shape {tuple(array.shape)}")
    if isinstance(array, Tensor):
        if array.is_complex():
            raise ValueError(f"cannot load a tensor of dtype {array.dtype}: expected real numbers")
        array = array.detach()
        is_integer = not array.is_floating_point() and array.dtype not in (torch.uint8, torch.bool)
        array = array.float() if array.dtype in (torch.bool, torch.float16, torch.bfloat16) else array
    else:
        is_integer = array.dtype.kind in "iu" and array.dtype != np.uint8
    if is_integer and images_only and array.ndim > 2:
        raise ValueError(
            f"'{name}' has dtype {array.dtype}, but pixels must be uint8, or floats in [0, 1]: convert integers from "
            "0 to 255 to uint8, or pass normalize='unit' to load_data"
        )
    return array


def _keep_finite(
    chunk: np.ndarray, rows: np.ndarray, name: str
) -> tuple[np.ndarray, dict[int, UnreadableExampleError]]:
    """The examples without NaN and infinite values, and errors for the others."""
    if chunk.dtype.kind != "f":
        return chunk, {}
    is_finite = np.isfinite(chunk.reshape(len(chunk), -1)).all(1)
    errors = {
        int(row): UnreadableExampleError(f"in row {row}", name, "it has values that are nan or infinite")
        for row in rows[~is_finite]
    }
    return chunk[is_finite] if errors else chunk, errors


def _read_labels(
    labels: Any, label_names: Sequence[str] | None, num: int, name: str
) -> tuple[Tensor | None, tuple[str, ...] | None]:
    """(num,) integers and the names of the classes from integers or strings."""
    if labels is None:
        return None, None
    if isinstance(labels, Tensor):
        labels = labels.cpu().numpy()
    values = np.asarray(labels)
    values = values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values
    if values.shape != (num,):
        raise ValueError(f"'{name}' has {num} examples, but labels of shape {values.shape}")
    if values.dtype.kind in "UO":
        names, indices = np.unique(values.astype(str), return_inverse=True)
        return torch.from_numpy(indices.astype(np.int64)), tuple(names.tolist())
    if values.dtype.kind not in "biu":
        raise ValueError(f"labels of '{name}' must be integers or strings, got dtype {values.dtype}")
    return torch.from_numpy(values.astype(np.int64)), None if label_names is None else tuple(label_names)
