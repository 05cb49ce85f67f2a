"""Opens anything that users have as a `Source`, by its content."""

__all__ = ["open_source"]

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..datasets import InMemoryDataset, OnDemandDataset, StreamedDataset
from ..options import DataOptions
from .arrays import ArraySplit, SparseSplit, is_sparse, open_arrays
from .base import Source, Split
from .datasets_objects import is_datasets_object, open_datasets_object
from .npy_files import ARRAY_SUFFIXES, open_npy_folder, read_array_file
from .torch_data import find_example, is_torch_data, open_torch_data, unwrap_subset

_TABLE_BUILDERS = {
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
    ".json": "json",
    ".jsonl": "json",
    ".arrow": "arrow",
}
_PARQUET_ROWS = 1000  # of a parquet file that are converted at once
_KINDS = (
    "expected 'digits', a name on the Hub, a folder, a file (.npy, .npz, .csv, .tsv, .parquet, .json, .jsonl), an "
    "array, tensor, sparse matrix or DataFrame, an object of datasets, or a torch data set"
)


def open_source(
    source: Any, options: DataOptions, streaming: bool = False, images_only: bool = False, **load_kwargs: Any
) -> Source:
    """Open anything that `load_images` and `load_data` accept. Nothing is read but the first example.

    Args:
        source, streaming, **load_kwargs: as in `load_images`.
        options: how examples are read.
        images_only: whether the source must hold images or vectors.

    Raises:
        ValueError: if the source does not exist, or its type is not supported.
    """
    if isinstance(source, (str, Path)):
        return _open_name(str(source), options, streaming, images_only, load_kwargs)
    source, indices = unwrap_subset(source)
    opened = _open_object(source, options, images_only)
    if indices is None:
        return opened
    split = opened.get_split(opened.default_split)
    if not isinstance(split, Split):
        raise ValueError(f"a part of the stream '{opened.name}' cannot be selected")
    return Source(opened.name, {opened.default_split: split.select(indices)}, options)


def _open_object(source: Any, options: DataOptions, images_only: bool) -> Source:
    """Open an object in memory."""
    if isinstance(source, InMemoryDataset):
        if options.size is not None or options.channels is not None:
            raise ValueError(
                f"image_size and channels apply to image files only: resize and convert '{source.name}' before you "
                "load it"
            )
        return Source(source.name, {source.split or "train": _split_of(source)}, options)
    if isinstance(source, (OnDemandDataset, StreamedDataset)):
        return Source(source.name, {source.split or "train": source.source}, options)
    if is_datasets_object(source):
        return open_datasets_object(source, None, "memory", options, images_only)
    if isinstance(source, (np.ndarray, Tensor)):
        return open_arrays({"train": source}, "array", "memory", options, images_only)
    if is_sparse(source) and not images_only:
        return Source("sparse matrix", {"train": SparseSplit(source)}, options)
    if type(source).__module__.split(".")[0] == "pandas":
        import datasets

        rows = datasets.Dataset.from_pandas(source, preserve_index=False)
        return open_datasets_object(rows, "table", "memory", options, images_only)
    if is_torch_data(source):
        return open_torch_data(source, options, images_only)
    if isinstance(source, Mapping):  # such as a slice of our data sets
        column = options.column if isinstance(options.column, str) else None
        array = torch.as_tensor(find_example(source, column))
        return open_arrays({"train": array}, "array", "memory", options, images_only)
    if isinstance(source, (list, tuple)) and source:
        return open_torch_data(_Listed(source), options, images_only)
    raise ValueError(f"cannot load data from an object of type {type(source).__name__}: {_KINDS}")


class _Listed(torch.utils.data.Dataset[Any]):
    """A list of examples as a torch data set."""

    def __init__(self, items: Any):
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        return self.items[index]


def _split_of(dataset: InMemoryDataset) -> ArraySplit:
    """A data set in memory as a split."""
    split = ArraySplit(dataset.pixel_values, dataset.name, dataset.origin, dataset.labels, dataset.label_names)
    split.factors, split._columns, split.revision = dataset.factors, dataset.columns, dataset.revision
    split.column_names = dataset.column_names
    return split


def _open_name(
    name: str, options: DataOptions, streaming: bool, images_only: bool, load_kwargs: dict[str, Any]
) -> Source:
    """Open "digits", a file, a folder, or a data set on the Hub. A path that exists is never looked up on the Hub."""
    if name == "digits":
        return _open_digits(options)
    path = Path(name).expanduser()
    if path.is_file():
        return _open_file(path, name, options, streaming, images_only, load_kwargs)
    if path.is_dir():
        return _open_folder(path, name, options, streaming, images_only, load_kwargs)
    if name.startswith(("./", "../", "~", "/", ".\\")) or path.suffix.lower() in {*ARRAY_SUFFIXES, *_TABLE_BUILDERS}:
        raise ValueError(f"there is no file or folder '{name}'")
    return _open_by_datasets(name, name, "hub", options, streaming, images_only, load_kwargs)


def _open_digits(options: DataOptions) -> Source:
    """scikit-learn's 1,797 handwritten digits, in their order."""
    import sklearn
    from sklearn.datasets import load_digits

    digits: Any = load_digits()
    images = torch.from_numpy((digits.images * 255 / 16).round().astype(np.uint8)).unsqueeze(1)
    whole = ArraySplit(images, "digits", "library", digits.target)
    whole.revision = f"scikit-learn {sklearn.__version__}"
    bounds = {"train": (0, 1397), "validation": (1397, 1597), "test": (1597, 1797)}
    splits = {split: whole.select(range(start, stop)) for split, (start, stop) in bounds.items()}
    if options.size is not None or options.channels is not None:
        raise ValueError("image_size and channels apply to image files only, and 'digits' comes as an array")
    return Source("digits", splits, options)


def _open_file(
    path: Path, name: str, options: DataOptions, streaming: bool, images_only: bool, load_kwargs: dict[str, Any]
) -> Source:
    """A file of arrays or of a table."""
    suffix = path.suffix.lower()
    if suffix in ARRAY_SUFFIXES:
        arrays, labels = read_array_file(path, options)
        return open_arrays(arrays, name, "local", options, images_only, labels)
    if suffix not in _TABLE_BUILDERS:
        raise ValueError(f"cannot load data from the file '{name}': {_KINDS}")
    builder = _TABLE_BUILDERS[suffix]
    if builder == "csv":
        load_kwargs = {"sep": "\t" if suffix == ".tsv" else ",", **_exact_csv_floats(), **load_kwargs}
    elif builder == "parquet":
        load_kwargs = {**_frugal_parquet(), **load_kwargs}
    return _open_by_datasets(
        builder, name, "local", options, streaming, images_only, {"data_files": str(path), **load_kwargs}
    )


def _exact_csv_floats() -> dict[str, str]:
    """The option of pandas that reads decimal numbers exactly, which its versions before 3.1 do not by default."""
    import pandas
    from packaging.version import Version

    return {"float_precision": "round_trip"} if Version(pandas.__version__) < Version("3.1") else {}


def _frugal_parquet() -> dict[str, Any]:
    """Options of `datasets` that read a parquet file in small pieces; by default it holds twice the file in memory."""
    import dataclasses

    import pyarrow.dataset
    from datasets.packaged_modules.parquet.parquet import ParquetConfig

    options = pyarrow.dataset.ParquetFragmentScanOptions(pre_buffer=False, use_buffered_stream=True)
    found = {"batch_size": _PARQUET_ROWS, "fragment_scan_options": options}
    # fragment_scan_options came after datasets 4.0
    known = {field.name for field in dataclasses.fields(ParquetConfig)}
    return {name: value for name, value in found.items() if name in known}


def _open_folder(
    folder: Path, name: str, options: DataOptions, streaming: bool, images_only: bool, load_kwargs: dict[str, Any]
) -> Source:
    """A folder of arrays, or one that `datasets.load_dataset` loads."""
    suffixes = {path.suffix.lower() for path in folder.rglob("*") if path.is_file() and path.name[0] != "."}
    if not suffixes:
        raise ValueError(f"the folder '{name}' is empty: it has no examples to train on")
    if suffixes & ARRAY_SUFFIXES:
        return open_npy_folder(folder, options, images_only)
    if suffixes - {".md"} == {".parquet"}:
        load_kwargs = {**_frugal_parquet(), **load_kwargs}
    return _open_by_datasets(str(folder), name, "local", options, streaming, images_only, load_kwargs)


def _open_by_datasets(
    path: str,
    name: str,
    origin: Any,
    options: DataOptions,
    streaming: bool,
    images_only: bool,
    load_kwargs: dict[str, Any],
) -> Source:
    """A source that `datasets.load_dataset` loads."""
    import datasets
    import pyarrow
    from datasets.exceptions import DatasetGenerationError, DatasetNotFoundError

    try:
        found = datasets.load_dataset(path, streaming=streaming, **load_kwargs)
    except (FileNotFoundError, DatasetNotFoundError) as error:
        raise ValueError(
            f"no data set '{name}': it is neither 'digits', nor a file or folder here, "
            f"nor a data set on the Hub that you can read ({error})"
        ) from error
    except DatasetGenerationError as error:
        raise ValueError(f"cannot read '{name}': {error.__cause__ or error}") from error
    pyarrow.default_memory_pool().release_unused()  # hundreds of megabytes after a parquet file was converted
    return open_datasets_object(found, name, origin, options, images_only)
