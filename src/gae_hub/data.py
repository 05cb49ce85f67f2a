"""From a name, a folder, an array, a tensor or a `datasets` object to something the trainer takes."""

__all__ = ["ImageDataset", "as_image_dataset", "collate", "embed_dataset", "iterate_batches", "load_images"]

import os
import re
from collections.abc import Iterator, Sequence
from copy import copy
from hashlib import sha256
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, Literal

import numpy as np
import torch
import torch.distributed as dist
from PIL import Image
from safetensors.torch import load_file, save
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset
from tqdm.auto import tqdm

from .image_processing import channels_of, image_to_array
from .models.base import check_values
from .models.losses import gather, is_distributed, rank
from .models.quantizers import num_processes

MEMORY_SHARE = 0.5
"""A data set is decoded into memory once if it takes at most this share of the memory that is free."""

DEVICE_MEMORY_SHARE = 0.25
"""One in memory is copied to the training device once if it takes at most this share of what is free there."""


class ImageDataset(Dataset):
    """Images that are resident in memory: decoded once, and indexed from then on.

    Args:
        pixel_values: (num, *input_shape), uint8, or floats in [0, 1].
        labels: (num,) integers, or None. The models never see them; metrics do.
        name: what the data is called, for cards and messages.
        split: which part of it this is.

    Attributes:
        factors: (num, num_factors) integers to set where the images were made from such, for disentanglement.
        columns: a `datasets.Dataset` of what else the source has of each image; None if it is not such.

    Raises:
        ValueError: if there are no images, or their values are not in range.
    """

    def __init__(
        self, pixel_values: Tensor, labels: Tensor | None = None, name: str = "array", split: str | None = None
    ):
        if pixel_values.dim() < 2 or not len(pixel_values):
            raise ValueError(
                f"'{name}' holds no images: expected (num, *input_shape), got shape {tuple(pixel_values.shape)}"
            )
        if pixel_values.dtype != torch.uint8:
            if not pixel_values.is_floating_point():
                raise ValueError(f"'{name}' has dtype {pixel_values.dtype}, but must be uint8, or floats in [0, 1]")
            check_values(pixel_values)
        if labels is not None and len(labels) != len(pixel_values):
            raise ValueError(f"'{name}' has {len(pixel_values)} images but {len(labels)} labels")
        self.pixel_values, self.labels, self.name, self.split = pixel_values, labels, name, split
        self.factors, self.columns = None, None
        self.copies: dict[torch.device, ImageDataset] = {}

    @property
    def input_shape(self) -> tuple[int, ...]:
        return tuple(self.pixel_values.shape[1:])

    def __len__(self) -> int:
        return len(self.pixel_values)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {name: values[0] for name, values in self.__getitems__([index]).items()}

    def __getitems__(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """One whole batch, which the collator passes on as it is."""
        places, device = torch.as_tensor(indices), self.pixel_values.device
        if device.type == "cuda":  # from pageable memory the copy would wait for the device
            places = places.pin_memory().to(device, non_blocking=True)
        return {"pixel_values": to_float(self.pixel_values.index_select(0, places))}

    def on(self, device: torch.device) -> "ImageDataset":
        """The same images on an accelerator, copied there once, if they fit; else this data set itself."""
        if device not in self.copies:
            size, free = self.pixel_values.nbytes, free_device_memory(device)
            if free is None or size > DEVICE_MEMORY_SHARE * free:
                return self
            self.copies[device] = copy(self)
            self.copies[device].pixel_values = self.pixel_values.to(device)
        return self.copies[device]

    def slice(self, start: int, stop: int, split: str) -> "ImageDataset":
        labels, factors = (None if t is None else t[start:stop] for t in (self.labels, self.factors))
        part = ImageDataset(self.pixel_values[start:stop], labels, self.name, split)
        part.factors = factors
        part.columns = None if self.columns is None else self.columns.select(range(start, stop))
        return part

    def __repr__(self) -> str:
        part = f", split='{self.split}'" if self.split else ""
        return (
            f"ImageDataset('{self.name}'{part}, {len(self):,} x {self.input_shape} {str(self.pixel_values.dtype)[6:]})"
        )


class DecodedOnDemand(Dataset):
    """Images of a `datasets.Dataset` too large for memory, decoded a batch at a time."""

    def __init__(self, rows, reader: "ImageReader", name: str, split: str | None):
        self.rows, self.reader, self.name, self.split = rows, reader, name, split
        self.labels = torch.as_tensor(rows[reader.label_column][:]) if reader.label_column else None
        self.columns = rows.remove_columns(reader.column)

    @property
    def input_shape(self) -> tuple[int, ...]:
        return self.reader.input_shape

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {name: values[0] for name, values in self.__getitems__([index]).items()}

    def __getitems__(self, indices: Sequence[int]) -> dict[str, Tensor]:
        cells = self.rows[list(indices)][self.reader.column]
        return {"pixel_values": to_float(torch.from_numpy(np.stack([self.reader(cell) for cell in cells])))}


class Streamed(IterableDataset):
    """Images of a `datasets.IterableDataset`, read from front to back in each epoch. The trainer needs `max_steps`."""

    def __init__(self, rows, reader: "ImageReader", name: str, split: str | None):
        self.rows, self.reader, self.name, self.split, self.labels = rows, reader, name, split, None

    @property
    def input_shape(self) -> tuple[int, ...]:
        return self.reader.input_shape

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        for row in self.rows:
            yield {"pixel_values": to_float(torch.from_numpy(self.reader(row[self.reader.column]).copy()))}

    def set_epoch(self, epoch: int):
        self.rows.set_epoch(epoch)


def to_float(pixel_values: Tensor) -> Tensor:
    return pixel_values.float().div_(255) if pixel_values.dtype == torch.uint8 else pixel_values.float()


class ImageReader:
    """Knows which column of a `datasets` object holds the images, and turns one cell of it into an array.

    Args:
        rows: a `datasets.Dataset` or `IterableDataset`.
        name: for messages.
        channels: 1 or 3; that of the first image if None.
        image_size: an edge length or (height, width) to crop and resize to; that of the first image if None.
    """

    def __init__(self, rows, name: str, channels: int | None = None, image_size: int | tuple[int, int] | None = None):
        import datasets

        self.feature = datasets.Image()
        features = rows.features or {}
        images = [column for column, feature in features.items() if isinstance(feature, datasets.Image)]
        labels = [column for column, feature in features.items() if isinstance(feature, datasets.ClassLabel)]
        if not images:
            raise ValueError(f"'{name}' has no column of images; its columns are {', '.join(features) or 'not known'}")
        self.name, self.column, self.label_column = name, images[0], labels[0] if labels else None
        self.size = (image_size, image_size) if isinstance(image_size, int) else image_size
        first = next(iter(rows), None)
        if first is None:
            raise ValueError(f"'{name}' is empty: it has no images to train on")
        image = self.open(first[self.column])
        self.channels, self.convert = channels or channels_of(image), channels is not None
        self.input_shape = image_to_array(image, self.channels, self.size).shape

    def open(self, cell) -> Image.Image:
        return cell if isinstance(cell, Image.Image) else self.feature.decode_example(cell)

    def __call__(self, cell) -> np.ndarray:
        """(channels, height, width) uint8."""
        image = self.open(cell)
        if self.channels < channels_of(image) and not self.convert:
            raise ValueError(
                f"'{self.name}' begins with a grey image but also holds one of mode '{image.mode}': "
                "pass channels=1 or channels=3"
            )
        array = image_to_array(image, self.channels, self.size)
        if array.shape != self.input_shape:
            raise ValueError(
                f"the images of '{self.name}' differ in size: {self.input_shape[1:]} and {array.shape[1:]}; "
                "pass image_size to resize them"
            )
        return array


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


def collate(examples) -> dict[str, Tensor]:
    """One batch from what a data set gives: the pixel values only, whatever else the examples hold.

    Examples are batches from `__getitems__`, dicts with `pixel_values`, (image, label) pairs, or images.
    """
    if isinstance(examples, dict):
        return {"pixel_values": examples["pixel_values"]}
    first = examples[0]
    if isinstance(first, dict):
        if "pixel_values" not in first:
            raise ValueError(
                f"an example must hold 'pixel_values', but holds {', '.join(first)}; load_images makes such data sets"
            )
        images = [example["pixel_values"] for example in examples]
    else:
        images = [example[0] if isinstance(example, (tuple, list)) else example for example in examples]
    return {"pixel_values": to_float(torch.stack([torch.as_tensor(image) for image in images]))}


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


@torch.no_grad()
def embed_dataset(
    model,
    dataset,
    batch_size: int = 500,
    progress: bool = True,
    what: Literal["latents", "codes"] = "latents",
    cache: bool | str | Path = True,
) -> Tensor:
    """(num, *latent_shape) posterior means of a data set, in its order, on the model's device.

    Several processes embed a part each, and all get the whole. What was embedded once by the same weights is read from
    disk: the file's name is a digest of weights, config and data.

    Args:
        model: a model of gae_hub; it is used in eval mode and left as it was.
        dataset: what [`load_images`] gives, or anything it takes as an object.
        batch_size: images at a time. It does not change the result, up to rounding.
        progress: show a progress bar.
        what: "latents", or the "codes" of a model with a quantizer.
        cache: whether to read and write files of `$HF_HOME/gae_hub/embeddings`, or another folder to use. Data sets
            that are neither in memory nor of `datasets` have no digest, and are embedded each time.
    """
    dataset = as_image_dataset(dataset)
    path = _cache_file(model, dataset, what, cache) if cache else None
    if path is not None and agreed(path.is_file()):
        return load_file(path)["embeddings"].to(model.device)
    embed = model.embed if what == "latents" else model.codes
    num = len(dataset) if hasattr(dataset, "__len__") else None
    share = -(-num // num_processes()) if num is not None else 0
    start = min(rank() * share, num or 0)
    stop = min(start + share, num) if num is not None else None
    bar = "embedding" if progress and rank() == 0 else None
    batches = iterate_batches(dataset, batch_size, bar, start, stop if is_distributed() and num is not None else None)
    found = [embed(batch.to(model.device)) for batch in batches]
    if is_distributed() and num is not None:
        embeddings = _gather_shares(found, share, num, embed, dataset, model.device)
    else:
        embeddings = torch.cat(found)
    if path is not None and rank() == 0:
        path.parent.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=path.parent, delete=False) as file:
            file.write(save({"embeddings": embeddings.cpu().contiguous()}))
        os.replace(file.name, path)  # at once: nobody reads half a file
    return embeddings


def agreed(answer: bool) -> bool:
    """Whether all processes say yes."""
    if not is_distributed():
        return answer
    yes = torch.tensor([int(answer)], device="cuda" if dist.get_backend() == "nccl" else "cpu")
    dist.all_reduce(yes, dist.ReduceOp.MIN)
    return bool(yes)


def _gather_shares(found: list[Tensor], share: int, num: int, embed, dataset, device) -> Tensor:
    """The parts of all processes in order; the last ones may be shorter, or empty."""
    if not found:  # more processes than shares: an example tells the shape
        found = [embed(next(iterate_batches(dataset, 1, stop=1)).to(device))[:0]]
    own = torch.cat(found).to(device)
    padded = torch.cat([own, own.new_zeros(share - len(own), *own.shape[1:])])
    return gather(padded)[:num]


def _cache_file(model, dataset, what: str, cache: bool | str | Path) -> Path | None:
    """Where the embeddings of these weights and data lie; None for data that have no digest."""
    from huggingface_hub.constants import HF_HOME

    from . import __version__

    digest = sha256()
    if isinstance(dataset, ImageDataset):
        _add(digest, dataset.pixel_values)
    elif isinstance(dataset, DecodedOnDemand):
        reader = dataset.reader
        described = (dataset.rows._fingerprint, reader.column, reader.channels, reader.size, reader.input_shape)
        digest.update(repr(described).encode())
    else:
        return None
    config = {name: value for name, value in model.config.to_dict().items() if not name.startswith("_")}
    digest.update(repr((__version__, what, type(model), str(model), model.device.type, config)).encode())
    for name, tensor in model.state_dict().items():
        digest.update(name.encode())
        _add(digest, tensor)
    folder = Path(HF_HOME) / "gae_hub" / "embeddings" if cache is True else Path(cache)
    return folder / f"{digest.hexdigest()[:40]}.safetensors"


def _add(digest, tensor: Tensor):
    digest.update(repr((tuple(tensor.shape), tensor.dtype)).encode())
    digest.update(memoryview(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy()))


# Reading


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


def free_device_memory(device: torch.device) -> int | None:
    """Free bytes of a CUDA device; None for others, where a copy would gain nothing or its room is not known."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else None
