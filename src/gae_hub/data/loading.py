"""Loads images from any source as data sets, and reads data sets in batches."""

__all__ = ["as_image_dataset", "iterate_batches", "load_images"]

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, overload

import numpy as np
from torch import Tensor
from torch.utils.data import DataLoader, Subset
from tqdm.auto import tqdm

from ..core.argument_checks import check_count, describe
from .datasets import ImageDataset, IndexedImageDataset, StreamedImageDataset, collate, to_float
from .decoding import decode_split
from .image_reader import OnError
from .sources import is_datasets_object, open_source

if TYPE_CHECKING:
    import datasets

_IndexedSource: TypeAlias = "str | Path | np.ndarray | Tensor | ImageDataset | datasets.Dataset | datasets.DatasetDict"

# A source with a length


@overload
def load_images(
    source: _IndexedSource,
    splits: str | None = None,
    *,
    validation_size: float | None = None,
    image_size: int | tuple[int, int] | None = None,
    channels: int | None = None,
    streaming: Literal[False] = False,
    on_error: OnError = "raise",
    **load_kwargs: Any,
) -> IndexedImageDataset: ...


@overload
def load_images(
    source: _IndexedSource,
    splits: tuple[str, ...] | list[str],
    *,
    validation_size: float | None = None,
    image_size: int | tuple[int, int] | None = None,
    channels: int | None = None,
    streaming: Literal[False] = False,
    on_error: OnError = "raise",
    **load_kwargs: Any,
) -> tuple[IndexedImageDataset, ...]: ...


# A source that may be a stream


@overload
def load_images(
    source: Any,
    splits: str | None = None,
    *,
    validation_size: float | None = None,
    image_size: int | tuple[int, int] | None = None,
    channels: int | None = None,
    streaming: bool = False,
    on_error: OnError = "raise",
    **load_kwargs: Any,
) -> IndexedImageDataset | StreamedImageDataset: ...


@overload
def load_images(
    source: Any,
    splits: tuple[str, ...] | list[str],
    *,
    validation_size: float | None = None,
    image_size: int | tuple[int, int] | None = None,
    channels: int | None = None,
    streaming: bool = False,
    on_error: OnError = "raise",
    **load_kwargs: Any,
) -> tuple[IndexedImageDataset | StreamedImageDataset, ...]: ...


def load_images(
    source: Any,
    splits: str | Sequence[str] | None = None,
    *,
    validation_size: float | None = None,
    image_size: int | tuple[int, int] | None = None,
    channels: int | None = None,
    streaming: bool = False,
    on_error: OnError = "raise",
    **load_kwargs: Any,
):
    """Load images as data sets for [`GAETrainer`], decoded into memory if they fit there.

    Args:
        source: "digits" (scikit-learn's 8 x 8 handwritten digits), the name of a data set on the Hub, a folder (in the
            Hub's layout, or of image files), an array or tensor (num, channels, height, width) or (num, dim), or an
            object of `datasets`.
        splits: "train", "validation" or "test", or several of them. None loads all images of the only split, or of the
            training split if there are several.
        validation_size: number of images (int), or share of the training split (float), to hold out at its end if the
            source has no validation split. By default 10,000, as in the paper for MNIST and CIFAR-10, or 10 % of fewer
            than 50,000 images.
        image_size: edge length, or (height, width), to crop and resize images to.
        channels: 1 or 3, to convert images to. By default the first image decides.
        streaming: read a data set of the Hub while training, without a copy on disk.
        on_error: "raise" for an error that names the first image that cannot be read; "skip" to leave such images out,
            with their labels, and to log one warning that counts and names them.
        **load_kwargs: arguments of `datasets.load_dataset`, such as `name`, `revision` and `token`.

    Returns:
        One data set if `splits` is None or a string, else a tuple with one data set for each split.

    Raises:
        ValueError: if the source does not exist, is empty, has no such split or no images, has an image that cannot
            be read, or has images of different sizes.

    Example:

    >>> train, validation = load_images("digits", splits=("train", "validation"))
    >>> train
    ImageDataset('digits', split='train', 1,397 x (1, 8, 8) uint8)
    """
    if on_error not in ("raise", "skip"):
        raise ValueError(f"on_error must be 'raise' or 'skip', got {describe(on_error)}")
    opened = open_source(source, streaming, **load_kwargs)
    if splits is None:
        names = [opened.default_split]
    else:
        names = [splits] if isinstance(splits, str) else list(splits)
        if "validation" not in opened.splits and {"train", "validation"} & set(names):
            opened = opened.hold_out_validation(validation_size)
    loaded = tuple(
        decode_split(opened.get_split(name), opened.name, name, channels, image_size, on_error) for name in names
    )
    return loaded[0] if splits is None or isinstance(splits, str) else loaded


def as_image_dataset(data: Any) -> Any:
    """An array, tensor or `datasets` object as an image data set. Any other data set is returned as it is.

    Raises:
        ValueError: if the data set is empty, or a name.
    """
    if isinstance(data, (str, Path)):
        raise ValueError(f"expected a data set, got the name '{data}': pass load_images('{data}')")
    if isinstance(data, (np.ndarray, Tensor)) or is_datasets_object(data):
        return load_images(data)
    if hasattr(data, "__len__") and not len(data):
        raise ValueError("the data set is empty: it has no images")
    return data


def iterate_batches(
    dataset: Any, batch_size: int = 500, desc: str | None = None, start: int = 0, stop: int | None = None
) -> Iterator[Tensor]:
    """Yield the images of a data set in its order, as floats (batch, *input_shape); the last batch may be smaller.

    Args:
        dataset: a data set, or an array, tensor or `datasets` object.
        batch_size: images per batch.
        desc: label of a progress bar; no bar without it.
        start, stop: the part of a data set with a length to read.
    """
    check_count("batch_size", batch_size)
    dataset = as_image_dataset(dataset)
    if isinstance(dataset, ImageDataset):  # slices of the tensor, without an index for each image
        selected = dataset.pixel_values[start:stop]
        chunks = selected.split(batch_size) if len(selected) else ()
        batches, num_batches = (to_float(chunk) for chunk in chunks), len(chunks)
    else:
        if start or stop is not None:
            dataset = Subset(dataset, range(start, len(dataset) if stop is None else stop))
        loader = DataLoader(dataset, batch_size, collate_fn=collate)
        batches = (batch["pixel_values"] for batch in loader)
        num_batches = len(loader) if hasattr(dataset, "__len__") else None
    yield from tqdm(batches, desc=desc, total=num_batches, unit="batch", disable=desc is None, leave=False)
