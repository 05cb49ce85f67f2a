"""Loads data from any source as data sets, and reads data sets in batches."""

__all__ = ["as_dataset", "iterate_batches", "iterate_examples", "load_data", "load_images", "split_names"]

from collections.abc import Iterator, Sequence, Sized
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, Unpack, overload

import numpy as np
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset
from tqdm.auto import tqdm

from ..core.argument_checks import check_count
from .batches import collate
from .datasets import BatchedDataset, IndexedDataset, InMemoryDataset, StreamedDataset
from .options import DataOptions, LoadingOptions
from .sources.datasets_objects import is_datasets_object
from .sources.opening import open_source
from .split_reading import fit_normalization, read_split
from .splits import hold_out_test, hold_out_validation

if TYPE_CHECKING:
    import datasets

_IndexedSource: TypeAlias = (
    "str | Path | np.ndarray | Tensor | Dataset[Any] | Sequence[Any] | datasets.Dataset | datasets.DatasetDict"
)
_Loaded: TypeAlias = IndexedDataset | StreamedDataset

# Images


@overload
def load_images(
    source: _IndexedSource,
    splits: str | None = None,
    *,
    streaming: Literal[False] = False,
    **options: Unpack[LoadingOptions],
) -> IndexedDataset: ...


@overload
def load_images(
    source: _IndexedSource,
    splits: tuple[str, ...] | list[str],
    *,
    streaming: Literal[False] = False,
    **options: Unpack[LoadingOptions],
) -> tuple[IndexedDataset, ...]: ...


@overload
def load_images(
    source: Any, splits: str | None = None, *, streaming: bool = False, **options: Unpack[LoadingOptions]
) -> _Loaded: ...


@overload
def load_images(
    source: Any, splits: tuple[str, ...] | list[str], *, streaming: bool = False, **options: Unpack[LoadingOptions]
) -> tuple[_Loaded, ...]: ...


def load_images(source: Any, splits: str | Sequence[str] | None = None, *, streaming: bool = False, **options: Any):
    """Load images as data sets for [`GAETrainer`], read into memory if they fit there.

    Args:
        source: "digits" (scikit-learn's 8 x 8 handwritten digits), the name of a data set on the Hub, a folder (in the
            Hub's layout, of image files, or of .npy files), a .npy, .npz or .parquet file, an array or tensor (num,
            channels, height, width), (num, height, width, channels), (num, height, width) or (num, dim), a list of
            images, an object of `datasets`, a torch data set, or a `DataLoader`.
        splits: "train", "validation" or "test", or several of them. None loads all images of the only split, or of the
            training split if there are several.
        streaming: read a data set of the Hub while training, without a copy on disk.
        **options: the fields of [`DataOptions`]: column, label_column, layout, channels, image_size, background,
            normalize, binarize, validation_size, test_size, stratify, on_error and seed; and arguments of
            `datasets.load_dataset`, such as `name`, `revision` and `token`.

    Returns:
        One data set if `splits` is None or a string, else a tuple with one data set for each split.

    Raises:
        ValueError: if the source does not exist, is empty, has no such split or no images, has an image that cannot
            be read, images of different sizes, or values outside [0, 1].

    Example:

    >>> train, validation = load_images("digits", splits=("train", "validation"))
    >>> train
    InMemoryDataset('digits', split='train', 1,397 x (1, 8, 8) uint8)
    """
    return _load(source, splits, streaming, True, options)


# Any data


@overload
def load_data(
    source: _IndexedSource,
    splits: str | None = None,
    *,
    streaming: Literal[False] = False,
    **options: Unpack[LoadingOptions],
) -> IndexedDataset: ...


@overload
def load_data(
    source: _IndexedSource,
    splits: tuple[str, ...] | list[str],
    *,
    streaming: Literal[False] = False,
    **options: Unpack[LoadingOptions],
) -> tuple[IndexedDataset, ...]: ...


@overload
def load_data(
    source: Any, splits: str | None = None, *, streaming: bool = False, **options: Unpack[LoadingOptions]
) -> _Loaded: ...


@overload
def load_data(
    source: Any, splits: tuple[str, ...] | list[str], *, streaming: bool = False, **options: Unpack[LoadingOptions]
) -> tuple[_Loaded, ...]: ...


def load_data(source: Any, splits: str | Sequence[str] | None = None, *, streaming: bool = False, **options: Any):
    """Load images, vectors, tables, signals or volumes as data sets for [`GAETrainer`].

    Args:
        source: whatever [`load_images`] accepts, and: a .csv, .tsv, .parquet, .json or .jsonl file of numbers, a
            DataFrame, a sparse matrix, or arrays of signals (num, channels, length) and volumes (num, channels, depth,
            height, width). Values may lie outside [0, 1]; models then need a Gaussian or Laplace likelihood and
            `output_activation="identity"`.
        splits, streaming, **options: as for [`load_images`].

    Returns:
        As for [`load_images`].

    Raises:
        ValueError: if the source does not exist, is empty, has no such split, has an example that cannot be read, or
            examples of different shapes.

    Example:

    >>> import numpy as np
    >>> load_data(np.zeros((100, 3, 64)), normalize="standardize")  # signals with 3 channels
    InMemoryDataset('array', split='train', 100 x (3, 64) float32)
    """
    return _load(source, splits, streaming, False, options)


def split_names(source: Any, *, streaming: bool = False, **options: Any) -> tuple[str, ...]:
    """Names of the splits of a source, without the validation split that would be held out.

    Args:
        source, streaming, **options: as for `load_data`.
    """
    chosen = DataOptions.take_from(options)
    return tuple(open_source(source, chosen, streaming, **options).splits)


def _load(
    source: Any, splits: str | Sequence[str] | None, streaming: bool, images_only: bool, options: dict[str, Any]
) -> Any:
    """`load_images` or `load_data`."""
    chosen = DataOptions.take_from(options)
    opened = open_source(source, chosen, streaming, images_only, **options)
    names = [opened.default_split] if splits is None else [splits] if isinstance(splits, str) else list(splits)
    may_hold_out = "train" in opened.splits and "validation" not in opened.splits
    is_partial = splits is not None and bool({"train", "validation"} & set(names))
    # the test split is normalized as the training data, without the held-out part
    is_normalized = isinstance(chosen.normalize, str) and splits is not None and not streaming
    if "test" in names and "test" not in opened.splits and "train" in opened.splits:
        opened = hold_out_test(opened)
    if may_hold_out and (is_partial or is_normalized):
        opened = hold_out_validation(opened)
    elif is_partial and "validation" not in opened.splits:
        opened.get_split("train")  # raises
    for name in names:
        opened.get_split(name)
    normalization = fit_normalization(opened)
    loaded = tuple(read_split(opened, name, normalization, images_only) for name in names)
    return loaded[0] if splits is None or isinstance(splits, str) else loaded


def as_dataset(data: Any, input_shape: Sequence[int] | None = None) -> Any:
    """Any kind of source as a data set. A data set of gae_hub or a torch `IterableDataset` is returned as it is.

    Args:
        data: a data set, an array, or another source that `load_data` accepts, except names.
        input_shape: shape of one example for the model, which decides between layouts of arrays.

    Raises:
        ValueError: if the data are empty, or a name.
    """
    if isinstance(data, (str, Path)):
        raise ValueError(f"expected a data set, got the name '{data}': pass load_images('{data}')")
    if isinstance(data, (BatchedDataset, IterableDataset)):
        return data
    if isinstance(data, (np.ndarray, Tensor)):
        return _load_array(data, input_shape)
    if is_datasets_object(data) or isinstance(data, (Dataset, DataLoader, list, tuple)):
        if isinstance(data, Sized) and not len(data):
            raise ValueError("the data set is empty: it has no examples")
        return load_data(data)
    return data


def _load_array(array: np.ndarray | Tensor, input_shape: Sequence[int] | None) -> Any:
    """An array as a data set, in the layout that fits the input_shape, if one does."""
    shape, wanted = tuple(array.shape[1:]), tuple(input_shape or ())
    if shape == wanted:
        layout = "channels_first"
    elif len(wanted) > 1 and shape == (*wanted[1:], wanted[0]):
        layout = "channels_last"
    elif len(wanted) > 1 and wanted == (1, *shape):
        layout = "no_channels"
    elif array.ndim == 3:
        return load_images(array) if len(wanted) != 2 else load_data(array)
    else:
        layout = None
    return load_data(array, layout=layout)


def iterate_batches(
    dataset: Any, batch_size: int = 500, desc: str | None = None, start: int = 0, stop: int | None = None
) -> Iterator[Tensor]:
    """Yield the images of a data set, as floats (batch, *input_shape). Arguments as in [`iterate_examples`]."""
    return (batch["pixel_values"] for batch in iterate_examples(dataset, batch_size, desc, start, stop))


def iterate_examples(
    dataset: Any, batch_size: int = 500, desc: str | None = None, start: int = 0, stop: int | None = None
) -> Iterator[dict[str, Tensor]]:
    """Yield the batches of a data set in its order; the last one may be smaller.

    A batch has `pixel_values`, floats (batch, *input_shape), and `class_labels` if the examples have them.

    Args:
        dataset: a data set, or an array, tensor or `datasets` object.
        batch_size: images per batch.
        desc: label of a progress bar; no bar without it.
        start, stop: the part of a data set with a length to read.
    """
    check_count("batch_size", batch_size)
    dataset = as_dataset(dataset)
    if isinstance(dataset, InMemoryDataset):  # slices of the tensor, without an index for each image
        rows = range(len(dataset))[start:stop]
        starts = range(rows.start, rows.stop, batch_size)
        batches = (dataset.read_slice(first, min(first + batch_size, rows.stop)).tensors for first in starts)
        num_batches = len(starts)
    else:
        if start or stop is not None:
            dataset = Subset(dataset, range(start, len(dataset) if stop is None else stop))
        loader = DataLoader(dataset, batch_size, collate_fn=collate)
        batches = iter(loader)
        num_batches = len(loader) if hasattr(dataset, "__len__") else None
    yield from tqdm(batches, desc=desc, total=num_batches, unit="batch", disable=desc is None, leave=False)
