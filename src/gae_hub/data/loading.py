"""TODO docstring."""

__all__ = ["as_image_dataset", "iterate_batches", "load_images"]

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from .datasets import ImageDataset, collate, to_float
from .sources import _open, _part, _read, _revision, _rows, _validation_size


def load_images(
    source: Any,
    splits: str | Sequence[str] | None = None,
    *,
    validation_size: int | float | None = None,
    image_size: int | tuple[int, int] | None = None,
    channels: int | None = None,
    streaming: bool = False,
    **load_kwargs,
):
    """Images as something [`GAETrainer`] takes, decoded into memory if they fit there.

    Args:
        source: "digits" (scikit-learn's 8 x 8 handwritten digits), the name of a data set on the Hub, a folder (in the
            Hub's layout, or of image files), an array or tensor (num, channels, height, width) or (num, dim), or an
            object of `datasets`.
        splits: "train", "validation", "test", or several of them, which gives as many data sets. None takes all
            images of the source's only split, or of its training split, as one data set.
        validation_size: images, or share of images, at the end of the training split that are its validation split
            where the source
            has none of its own: 10,000 by default, as in the paper for MNIST and CIFAR-10; 10 % if there are fewer
                than 50,000.
        image_size: edge length, or (height, width), to crop and resize images to.
        channels: 1 or 3, to convert images to; that of the first image by default.
        streaming: read a Hub data set while training, without a copy on disk.
        **load_kwargs: for `datasets.load_dataset`, such as `name`, `revision` and `token`.

    Returns:
        One data set for a single split or None, a tuple of them for several.

    Raises:
        ValueError: if the source does not exist, is empty, has no such split or no images, or has images of unlike
            size.

    Example:

    >>> train, validation = load_images("digits", splits=("train", "validation"))
    >>> train
    ImageDataset('digits', split='train', 1,397 x (1, 8, 8) uint8)
    """
    name, parts = _open(source, streaming, load_kwargs)
    reading = {"image_size": image_size, "channels": channels}
    if splits is None:
        split = next(iter(parts)) if len(parts) == 1 else "train"
        return _read(_part(parts, split, name), name, split, **reading)
    wanted = [splits] if isinstance(splits, str) else list(splits)
    held_out = "validation" not in parts and {"train", "validation"} & set(wanted)
    if held_out:
        rows = _part(parts, "train", name)
        if streaming:
            raise ValueError(
                f"'{name}' has no validation split, and the end of a stream cannot be held out: pass splits=None"
            )
        size = _validation_size(len(rows), validation_size, name)
        parts = {
            **parts,
            "train": _rows(rows, 0, len(rows) - size),
            "validation": _rows(rows, len(rows) - size, len(rows)),
        }
    loaded = tuple(_read(_part(parts, split, name), name, split, **reading) for split in wanted)
    for data, split in zip(loaded, wanted, strict=True):
        data.revision = _revision(parts[split])
    return loaded[0] if isinstance(splits, str) else loaded


def as_image_dataset(data):
    """An array, tensor or `datasets` object as what the trainer takes; data sets of torch pass as they are."""
    if isinstance(data, (np.ndarray, Tensor)) or type(data).__module__.split(".")[0] == "datasets":
        return load_images(data)
    if hasattr(data, "__len__") and not len(data):
        raise ValueError("the data set is empty: it has no images")
    return data


def iterate_batches(
    dataset, batch_size: int = 500, desc: str | None = None, start: int = 0, stop: int | None = None
) -> Iterator[Tensor]:
    """pixel_values of a data set in order, (batch_size, *input_shape) at a time; `desc` shows a progress bar.

    `start` and `stop` choose a part of a data set that has a length.
    """
    dataset = as_image_dataset(dataset)
    if isinstance(dataset, ImageDataset):  # resident: parts of it, without a look-up by index
        chosen = dataset.pixel_values[start:stop]
        parts = chosen.split(batch_size) if len(chosen) else ()
        loader = ({"pixel_values": to_float(part)} for part in parts)
        count = len(parts)
    else:
        if start or stop is not None:
            dataset = torch.utils.data.Subset(dataset, range(start, len(dataset) if stop is None else stop))
        loader = torch.utils.data.DataLoader(dataset, batch_size, collate_fn=collate)
        count = len(loader) if hasattr(dataset, "__len__") else None
    for batch in tqdm(loader, desc=desc, total=count, unit="batch", disable=desc is None, leave=False):
        yield batch["pixel_values"]
