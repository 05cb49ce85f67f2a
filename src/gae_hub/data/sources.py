"""TODO docstring."""

__all__ = []

import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from .datasets import DecodedOnDemand, ImageDataset, Streamed
from .image_reader import ImageReader

MEMORY_SHARE = 0.5
"""A data set is decoded into memory if it takes at most this share of the free memory."""


def _open(source, streaming: bool, load_kwargs: dict) -> tuple[str, dict[str, Any]]:
    """A name for the source, and its splits."""
    if isinstance(source, (np.ndarray, Tensor)):
        return "array", {"train": ImageDataset(torch.as_tensor(source))}
    if isinstance(source, ImageDataset):
        return source.name, {source.split or "train": source}
    if type(source).__module__.split(".")[0] == "datasets":
        parts = source if isinstance(source, dict) else {str(source.split or "train"): source}
        return str(next(iter(parts.values())).info.dataset_name or "dataset"), parts
    if not isinstance(source, (str, Path)):
        raise ValueError(
            f"cannot load images from a {type(source).__name__}: "
            "expected a name, a folder, an array or a datasets object"
        )
    if str(source) == "digits":
        return "digits", _digits()
    return str(source), _load_dataset(str(source), streaming, load_kwargs)


def _digits() -> dict[str, ImageDataset]:
    """scikit-learn's 1,797 digits in their own order: the last 200 are the test split."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = torch.from_numpy((digits.images * 255 / 16).round().astype(np.uint8)).unsqueeze(1)
    whole = ImageDataset(images, torch.from_numpy(digits.target), "digits")
    train, validation = len(whole) - 400, len(whole) - 200
    return {
        "train": whole.slice(0, train, "train"),
        "validation": whole.slice(train, validation, "validation"),
        "test": whole.slice(validation, len(whole), "test"),
    }


def _load_dataset(name: str, streaming: bool, load_kwargs: dict) -> dict[str, Any]:
    import datasets

    folder = Path(name).expanduser()
    if folder.is_dir() and not any(path.is_file() for path in folder.rglob("*")):
        raise ValueError(f"the folder '{name}' is empty: it has no images to train on")
    try:
        return datasets.load_dataset(str(folder) if folder.exists() else name, streaming=streaming, **load_kwargs)
    except (FileNotFoundError, datasets.exceptions.DatasetNotFoundError) as error:
        raise ValueError(
            f"no data set '{name}': it is neither 'digits', nor a folder here, "
            f"nor a data set on the Hub that you can read ({error})"
        ) from error


def _revision(rows) -> str | None:
    """The commit of a data set on the Hub, or the version of scikit-learn for its digits; None if it is not known."""
    if isinstance(rows, ImageDataset):
        import sklearn

        return f"scikit-learn {sklearn.__version__}" if rows.name == "digits" else None
    files = getattr(rows, "cache_files", None) or []  # in a folder that is named by the commit
    found = re.search(r"[/\\]([0-9a-f]{40})[/\\]", files[0]["filename"]) if files else None
    return found[1] if found else None


def _part(parts: dict[str, Any], split: str, name: str):
    if split not in parts:
        raise ValueError(f"'{name}' has no split '{split}'; it has {', '.join(parts)}")
    return parts[split]


def _validation_size(num: int, size: int | float | None, name: str) -> int:
    if size is None:
        size = 10_000 if num >= 50_000 else 0.1
    count = round(size * num) if isinstance(size, float) else size
    if not 0 < count < num:
        raise ValueError(
            f"validation_size {size} leaves no training or no validation images: '{name}' has {num} for both"
        )
    return count


def _rows(rows, start: int, stop: int):
    return rows.slice(start, stop, "train") if isinstance(rows, ImageDataset) else rows.select(range(start, stop))


def _read(rows, name: str, split: str, channels: int | None, image_size):
    """A split as a resident data set if it fits in memory, else one that decodes on demand, or a stream."""
    import datasets

    if isinstance(rows, ImageDataset):
        if image_size is not None or channels is not None:
            raise ValueError("image_size and channels are for image files; resize the array before you pass it")
        return rows.slice(0, len(rows), split)
    if getattr(rows, "format", {}).get("type") == "custom":
        raise ValueError(f"'{name}' has a transform of its own, which would be lost: pass it without, or as an array")
    rows = rows.with_format(None)
    reader = ImageReader(rows, name, channels, image_size)
    rows = rows.cast_column(reader.column, datasets.Image(decode=False))
    if isinstance(rows, datasets.IterableDataset):
        return Streamed(rows, reader, name, split)
    shape = (len(rows), *reader.input_shape)
    if np.prod(shape) > MEMORY_SHARE * _free_memory():
        return DecodedOnDemand(rows, reader, name, split)
    images = np.empty(shape, np.uint8)
    cells = rows.select_columns(reader.column)
    for index, row in enumerate(tqdm(cells, desc=f"decoding {split}", unit=" images", leave=False)):
        images[index] = reader(row[reader.column])
    labels = torch.as_tensor(rows[reader.label_column][:]) if reader.label_column else None
    data = ImageDataset(torch.from_numpy(images), labels, name, split)
    data.columns = rows.remove_columns(reader.column)
    return data


def _free_memory() -> int:
    """Bytes that this process can have without swapping, if the others on the machine take as much."""
    import psutil

    return psutil.virtual_memory().available // int(os.environ.get("LOCAL_WORLD_SIZE", 1))
