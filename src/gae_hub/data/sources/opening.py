"""Opens anything that users have as a `Source`, by its content."""

__all__ = ["open_source"]

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers.utils import logging

from ...core.argument_checks import suggest
from ..datasets import InMemoryDataset, OnDemandDataset, StreamedDataset
from ..options import DataOptions
from .arrays import ArraySplit, SparseSplit, is_sparse, open_arrays
from .base import Origin, Source, Split
from .datasets_objects import is_datasets_object, open_datasets_object
from .npy_files import ARRAY_SUFFIXES, open_npy_folder, read_array_file
from .torch_data import find_example, is_torch_data, open_torch_data, unwrap_subset

logger = logging.get_logger(__name__)

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
    if "split" in load_kwargs:
        raise ValueError(f"load_images and load_data have no option 'split': pass splits={load_kwargs['split']!r}")
    opener = _Opener(options, streaming, images_only, load_kwargs)
    if isinstance(source, (str, Path)):
        return opener.open_name(str(source))
    source, indices = unwrap_subset(source)
    opened = opener.open_object(source)
    if indices is None:
        return opened
    split = opened.get_split(opened.default_split)
    if not isinstance(split, Split):
        raise ValueError(f"a part of the stream '{opened.name}' cannot be selected")
    return replace(opened, splits={opened.default_split: split.select(indices)})


@dataclass(frozen=True)
class _Opener:
    """Opens sources with one set of arguments: see `open_source`."""

    options: DataOptions
    streaming: bool
    images_only: bool
    load_kwargs: dict[str, Any]

    def _check_options(self):
        """Raise ValueError for arguments of `datasets.load_dataset`, which this kind of source does not reach."""
        for name in self.load_kwargs:
            hint = suggest(name, [*DataOptions.names(), "splits", "streaming"], "the options of such data are")
            raise ValueError(f"load_images and load_data have no option '{name}' for data of this kind: {hint}")

    # Objects

    def open_object(self, source: Any) -> Source:
        """Open an object in memory."""
        self._check_options()
        options, images_only = self.options, self.images_only
        if isinstance(source, (InMemoryDataset, OnDemandDataset, StreamedDataset)):
            return self._open_dataset(source)
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

    def _open_dataset(self, dataset: InMemoryDataset | OnDemandDataset | StreamedDataset) -> Source:
        """Open a data set that was loaded before, with the normalization and the binarisation that it has."""
        options, given = self.options, dataset.normalization
        if options.size is not None or options.channels is not None:
            raise ValueError(
                f"image_size and channels apply to image files only: pass them where you load '{dataset.name}'"
            )
        if given is not None and options.normalize is not None:
            raise ValueError(f"normalize: '{dataset.name}' is normalized already, by '{given.kind}'")
        if dataset.binarization is not None:
            if options.binarize is not None:
                raise ValueError(f"binarize: '{dataset.name}' is binary already, by '{dataset.binarization.kind}'")
            options = replace(options, binarize=dataset.binarization)
        split = dataset.split or "train"
        if isinstance(dataset, InMemoryDataset):  # binary values are binarised to themselves
            return Source(dataset.name, {split: _split_of(dataset)}, options, normalization=given)
        # its values are read again, and normalized again
        return Source(dataset.name, {split: dataset.source}, replace(options, normalize=given))

    # Names

    def open_name(self, name: str) -> Source:
        """Open "digits", a file, a folder, or a name on the Hub. A path that exists is never looked up on the Hub."""
        if name == "digits":
            self._check_options()
            return _open_digits(self.options)
        path = Path(name).expanduser()
        if path.is_file():
            return self._open_file(path, name)
        if path.is_dir():
            return self._open_folder(path, name)
        is_path = name.startswith(("./", "../", "~", "/", ".\\"))
        if is_path or path.suffix.lower() in {*ARRAY_SUFFIXES, *_TABLE_BUILDERS}:
            raise ValueError(f"there is no file or folder '{name}'")
        return self._open_by_datasets(name, name, "hub")

    def _open_file(self, path: Path, name: str) -> Source:
        """A file of arrays or of a table."""
        suffix = path.suffix.lower()
        if suffix in ARRAY_SUFFIXES:
            self._check_options()
            arrays, labels = read_array_file(path, self.options)
            return open_arrays(arrays, name, "local", self.options, self.images_only, labels)
        if suffix not in _TABLE_BUILDERS:
            raise ValueError(f"cannot load data from the file '{name}': {_KINDS}")
        builder, defaults = _TABLE_BUILDERS[suffix], {}
        if builder == "csv":
            defaults = {"sep": "\t" if suffix == ".tsv" else ",", **_exact_csv_floats()}
        elif builder == "parquet":
            defaults = _frugal_parquet()
        return self._open_by_datasets(builder, name, "local", data_files=str(path), **defaults)

    def _open_folder(self, folder: Path, name: str) -> Source:
        """A folder of arrays, or one that `datasets.load_dataset` loads."""
        files = Counter(path.suffix.lower() for path in folder.rglob("*") if path.is_file() and path.name[0] != ".")
        suffixes = set(files)
        if not suffixes:
            raise ValueError(f"the folder '{name}' is empty: it has no examples to train on")
        if suffixes & ARRAY_SUFFIXES:
            self._check_options()
            return open_npy_folder(folder, self.options, self.images_only)
        defaults = _frugal_parquet() if suffixes - {".md"} == {".parquet"} else {}
        source = self._open_by_datasets(str(folder), name, "local", **defaults)
        if not self.streaming and not {"data_files", "data_dir"} & set(self.load_kwargs):
            _warn_of_omitted_images(source, files)
        return source

    def _open_by_datasets(self, path: str, name: str, origin: Origin, **defaults: Any) -> Source:
        """A source that `datasets.load_dataset` loads.

        Args:
            path: first argument of `load_dataset`.
            name, origin: of the source.
            **defaults: other arguments of `load_dataset`, unless the user gave them.
        """
        import datasets
        import pyarrow
        from datasets.exceptions import DatasetGenerationError, DatasetNotFoundError

        arguments: dict[str, Any] = {**defaults, **self.load_kwargs}
        try:
            found = datasets.load_dataset(path, streaming=self.streaming, **arguments)
        except (FileNotFoundError, DatasetNotFoundError) as error:
            raise ValueError(
                f"no data set '{name}': it is neither 'digits', nor a file or folder here, "
                f"nor a data set on the Hub that you can read ({error})"
            ) from error
        except ConnectionError as error:
            raise ValueError(
                f"no data set '{name}': it is neither 'digits' nor a file or folder here, and the Hub cannot be "
                f"reached ({error})"
            ) from error
        except DatasetGenerationError as error:
            raise ValueError(f"cannot read '{name}': {error.__cause__ or error}") from error
        pyarrow.default_memory_pool().release_unused()  # hundreds of megabytes after a parquet file was converted
        return open_datasets_object(found, name, origin, self.options, self.images_only)


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


def _warn_of_omitted_images(source: Source, files: Mapping[str, int]):
    """Warn if `datasets` read a part of a folder's images only.

    Where one path contains the name of a split, such as "test", it reads only the paths that do.

    Args:
        source: opened from the folder.
        files: numbers of files in the folder by suffix.
    """
    from datasets.packaged_modules.imagefolder.imagefolder import ImageFolder

    num_files = sum(count for suffix, count in files.items() if suffix in ImageFolder.EXTENSIONS)
    num_read = sum(len(split) for split in source.splits.values() if isinstance(split, Split))
    if num_read < num_files:
        logger.warning(
            f"'{source.name}' has {num_files:,} image files, of which {num_read:,} were read, as the splits "
            f"{', '.join(source.splits)}: where a folder or file name contains the name of a split, `datasets` reads "
            "only such names. Rename it, or choose the files with data_files={'train': '**/*.png'}"
        )


def _exact_csv_floats() -> dict[str, str]:
    """The option of pandas that reads decimal numbers exactly, which its versions before 3.1 do not by default."""
    import pandas
    from packaging.version import Version

    return {"float_precision": "round_trip"} if Version(pandas.__version__) < Version("3.1") else {}


def _frugal_parquet() -> dict[str, Any]:
    """Options of `datasets` that read a parquet file in small pieces; by default it holds twice the file in memory."""
    import pyarrow.dataset
    from datasets.packaged_modules.parquet.parquet import ParquetConfig

    options = pyarrow.dataset.ParquetFragmentScanOptions(pre_buffer=False, use_buffered_stream=True)
    found = {"batch_size": _PARQUET_ROWS, "fragment_scan_options": options}
    # fragment_scan_options came after datasets 4.0
    known = {field.name for field in fields(ParquetConfig)}
    return {name: value for name, value in found.items() if name in known}
