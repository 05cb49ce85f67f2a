"""Opens arrays: in memory, memory-mapped from .npy files, inside .npz files, or sparse."""

__all__ = ["ArraySplit", "SparseSplit", "open_arrays", "open_npy_folder", "read_array_file"]

from collections.abc import Mapping, Sequence
from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor

from ...images.layouts import move_channels_first
from ..options import DataOptions
from .base import Origin, Source, Split, UnreadableExampleError

if TYPE_CHECKING:
    import datasets

ARRAY_SUFFIXES = {".npy", ".npz"}
_EXAMPLE_KEYS = ("pixel_values", "images", "image", "x", "X", "data", "arr_0")
_LABEL_KEYS = ("labels", "label", "y", "Y", "targets", "target")
_SPLIT_NAMES = {
    "train": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}


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


# Files


def read_array_file(path: Path, options: DataOptions) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Split to array and split to labels of a .npy or .npz file. Pickled objects are refused.

    A .npz file with keys such as x_train, y_train and x_test has several splits.

    Raises:
        ValueError: if the file is damaged or holds Python objects, or has several arrays and no `column` is given.
    """
    try:
        found = np.load(path, mmap_mode="r" if path.suffix == ".npy" else None, allow_pickle=False)
        if isinstance(found, np.ndarray):
            return {"train": found}, {}
        with found:
            return _split_archive({key: found[key] for key in found.files}, path, options)
    except (OSError, EOFError, ValueError, KeyError) as error:
        if isinstance(error, FileNotFoundError) or str(path) in str(error):
            raise
        raise ValueError(f"cannot read '{path}': {error}") from error


def _split_archive(
    arrays: dict[str, np.ndarray], path: Path, options: DataOptions
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Examples and labels by split from the arrays of a .npz file."""
    by_split: dict[str, dict[str, np.ndarray]] = {}
    for key, array in arrays.items():
        stem, _, suffix = key.rpartition("_")
        split = _SPLIT_NAMES.get(suffix) if stem else None
        by_split.setdefault(split or "train", {})[stem if split else key] = array
    examples, labels = {}, {}
    for split, found in by_split.items():
        label_key = options.label_column or next((key for key in _LABEL_KEYS if key in found), None)
        rest = [key for key in found if key != label_key]
        if isinstance(options.column, str):
            key = options.column
        elif len(rest) == 1:
            key = rest[0]
        else:
            named = [key for key in rest if key in _EXAMPLE_KEYS]
            if len(named) != 1:
                raise ValueError(
                    f"'{path}' holds several arrays, {', '.join(found)}: pass column= with the name of one"
                )
            key = named[0]
        for wanted, what in ((key, "column"), (label_key, "label_column")):
            if wanted is not None and wanted not in found:
                raise ValueError(f"{what}: '{path}' has no array '{wanted}'; it has {', '.join(found)}")
        examples[split] = found[key]
        if label_key is not None:
            labels[split] = found[label_key]
    return examples, labels


def open_npy_folder(folder: Path, options: DataOptions, images_only: bool) -> Source:
    """A folder of .npy files: one array for each split, if they are named so, or one example per file.

    Files are examples unless all of them are named train, validation (or val, valid) and test. Subfolders of examples
    are classes.

    Raises:
        ValueError: if the files' arrays differ in shape, or one cannot be read.
    """
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in ARRAY_SUFFIXES)
    if all(path.stem in _SPLIT_NAMES for path in files):
        examples, labels = {}, {}
        for path in files:
            found, classes = read_array_file(path, options)
            split = _SPLIT_NAMES[path.stem]
            examples[split] = found["train"]
            labels |= {split: classes["train"]} if "train" in classes else {}
        return open_arrays(examples, str(folder), "local", options, images_only, labels)
    first = _read_example(files[0], options)
    array = np.empty((len(files), *first.shape), first.dtype)
    for index, path in enumerate(files):
        example = _read_example(path, options)
        if example.shape != first.shape:
            raise ValueError(
                f"the arrays of '{folder}' differ in shape: {first.shape} in '{files[0].name}' and {example.shape} in "
                f"'{path.name}'"
            )
        array[index] = example
    classes = [path.parent.name for path in files] if all(path.parent != folder for path in files) else None
    labels = None if classes is None else {"train": np.array(classes)}
    return open_arrays({"train": array}, str(folder), "local", options, images_only, labels)


def _read_example(path: Path, options: DataOptions) -> np.ndarray:
    """The array of a file that holds one example."""
    found, _ = read_array_file(path, options)
    return np.asarray(found["train"])
