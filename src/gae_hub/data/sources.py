"""Opens any source of images (an array, a folder, a name on the Hub, a `datasets` object) as named, undecoded splits.

A new kind of source is one function that returns a [`Source`], and one branch in `open_source`.
"""

__all__ = ["Source", "Split", "hub_commit", "is_datasets_object", "open_source"]

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeGuard

import numpy as np
import torch
from torch import Tensor

from ..core.argument_checks import describe
from .datasets import ImageDataset

if TYPE_CHECKING:
    import datasets

Split: TypeAlias = "ImageDataset | datasets.Dataset | datasets.IterableDataset"
"""One split of a source: images in memory, or rows of a `datasets` object that are not decoded yet."""


@dataclass(frozen=True)
class Source:
    """An opened source of images.

    Args:
        name: name for cards and messages.
        splits: name to split.
    """

    name: str
    splits: Mapping[str, Split]

    @property
    def default_split(self) -> str:
        """Name of the only split, or "train" if there are several."""
        return next(iter(self.splits)) if len(self.splits) == 1 else "train"

    def get_split(self, split: str) -> Split:
        """The split of this name.

        Raises:
            ValueError: if the source has no such split.
        """
        if split not in self.splits:
            raise ValueError(f"'{self.name}' has no split '{split}'; it has {', '.join(self.splits)}")
        return self.splits[split]

    def hold_out_validation(self, size: float | None = None) -> "Source":
        """This source with the end of its training split as its validation split.

        Args:
            size: number of validation images (int), or share of the training split (float). By default 10,000, as in
                the paper for MNIST and CIFAR-10, or 10 % of fewer than 50,000 images.

        Raises:
            ValueError: if the training split is a stream, or one of the two parts would be empty.
        """
        rows = self.get_split("train")
        if not _has_length(rows):
            raise ValueError(
                f"'{self.name}' has no validation split, and the end of a stream cannot be held out: pass splits=None"
            )
        num = len(rows)
        num_train = num - _num_validation(num, size, self.name)
        parts = {"train": _select(rows, 0, num_train), "validation": _select(rows, num_train, num)}
        return replace(self, splits={**self.splits, **parts})


def _num_validation(num: int, size: float | None, name: str) -> int:
    """How many of `num` training images are held out: see `Source.hold_out_validation`."""
    if size is None:
        size = 10_000 if num >= 50_000 else 0.1
    if isinstance(size, bool) or not isinstance(size, (int, float)):
        raise ValueError(f"validation_size must be a number of images or a share of them, got {describe(size)}")
    count = round(size * num) if isinstance(size, float) else size
    if not 0 < count < num:
        raise ValueError(
            f"validation_size {size} leaves no training or no validation images: '{name}' has {num} to split"
        )
    return count


def _has_length(rows: Split) -> "TypeGuard[ImageDataset | datasets.Dataset]":
    return hasattr(rows, "__len__")


def _select(rows: "ImageDataset | datasets.Dataset", start: int, stop: int) -> Split:
    return rows.slice(start, stop, "train") if isinstance(rows, ImageDataset) else rows.select(range(start, stop))


def open_source(source: Any, streaming: bool = False, **load_kwargs: Any) -> Source:
    """Open anything that `load_images` accepts.

    Args:
        source, streaming, **load_kwargs: as in `load_images`.

    Raises:
        ValueError: if the source does not exist, or its type is not supported.
    """
    if isinstance(source, (np.ndarray, Tensor)):
        try:
            return Source("array", {"train": ImageDataset(torch.as_tensor(source))})
        except TypeError as error:  # an array of objects
            raise ValueError(f"cannot load images from this array: {error}") from error
    if isinstance(source, ImageDataset):
        return Source(source.name, {source.split or "train": source})
    if is_datasets_object(source):
        splits = _splits_of(source)
        return Source(next(iter(splits.values())).info.dataset_name or "dataset", splits)
    if not isinstance(source, (str, Path)):
        raise ValueError(
            f"cannot load images from an object of type {type(source).__name__}: "
            "expected a name, a folder, an array or a datasets object"
        )
    if str(source) == "digits":
        return _open_digits()
    return _open_dataset(str(source), streaming, load_kwargs)


def _open_digits() -> Source:
    """scikit-learn's 1,797 handwritten digits, in their order."""
    import sklearn
    from sklearn.datasets import load_digits

    digits: Any = load_digits()
    images = torch.from_numpy((digits.images * 255 / 16).round().astype(np.uint8)).unsqueeze(1)
    whole = ImageDataset(images, torch.from_numpy(digits.target), "digits")
    whole.revision = f"scikit-learn {sklearn.__version__}"
    bounds = {"train": (0, 1397), "validation": (1397, 1597), "test": (1597, 1797)}
    return Source("digits", {split: whole.slice(start, stop, split) for split, (start, stop) in bounds.items()})


def _open_dataset(name: str, streaming: bool, load_kwargs: dict[str, Any]) -> Source:
    """A folder or a data set on the Hub, by `datasets.load_dataset`."""
    import datasets
    from datasets.exceptions import DatasetNotFoundError

    folder = Path(name).expanduser()
    if folder.is_dir() and not any(path.is_file() for path in folder.rglob("*")):
        raise ValueError(f"the folder '{name}' is empty: it has no images to train on")
    try:
        found = datasets.load_dataset(str(folder) if folder.exists() else name, streaming=streaming, **load_kwargs)
    except (FileNotFoundError, DatasetNotFoundError) as error:
        raise ValueError(
            f"no data set '{name}': it is neither 'digits', nor a folder here, "
            f"nor a data set on the Hub that you can read ({error})"
        ) from error
    return Source(name, _splits_of(found))


def is_datasets_object(value: Any) -> bool:
    """Whether a value is an object of Hugging Face `datasets`. Does not import that library."""
    return type(value).__module__.split(".")[0] == "datasets"


def _splits_of(found: Any) -> "Mapping[str, datasets.Dataset | datasets.IterableDataset]":
    """The splits of a `DatasetDict`, or a single `Dataset` as its only split."""
    return found if isinstance(found, dict) else {str(found.split or "train"): found}


def hub_commit(rows: "datasets.Dataset | datasets.IterableDataset") -> str | None:
    """Commit that a data set was downloaded from, which names the folder of its cache files; None if unknown."""
    files = getattr(rows, "cache_files", None)  # a stream has none
    found = re.search(r"[/\\]([0-9a-f]{40})[/\\]", files[0]["filename"]) if files else None
    return found[1] if found else None
