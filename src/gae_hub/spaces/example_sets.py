"""The example images of a Space: baked into its folder, or generated where there are none."""

__all__ = [
    "EXAMPLES_FILE",
    "ExampleSet",
    "bake_examples",
    "batch_size_of",
    "generate_examples",
    "load_examples",
    "split_batches",
]

import zipfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..core.files import write_atomically
from ..data.batches import collate, to_float
from ..models.base import GAEPreTrainedModel
from ..samplers.base import GAESampler

EXAMPLES_FILE = "examples.npz"
MAX_EXAMPLES = 500
_MAX_BYTES = 8 << 20  # of the pixels in a folder
_MIN_EXAMPLES = 24
_MAX_BATCH_VALUES = 1 << 20  # pixel values that a model processes at a time


@dataclass(frozen=True)
class ExampleSet:
    """Images to pick and to place on the map.

    Args:
        pixel_values: (num, *input_shape), as the model needs them.
        origin: where they are from, in words.
        labels: (num,) integers, -1 for an example without a label; or None.
        label_names: names of the classes, or None.
    """

    pixel_values: Tensor
    origin: str
    labels: list[int] | None = None
    label_names: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.pixel_values)

    def label_of(self, index: int) -> str | None:
        """Name of an example's class, or None."""
        label = -1 if self.labels is None else self.labels[index]
        if label < 0:
            return None
        return self.label_names[label] if self.label_names and label < len(self.label_names) else str(label)

    def write(self, path: str | Path):
        """Write them into an npz file. Pixels that 8 bits hold exactly are stored in 8 bits."""
        pixels = self.pixel_values.cpu().float()
        bytes_ = pixels.mul(255).round().clamp(0, 255).to(torch.uint8)
        arrays: dict[str, Any] = {
            "pixel_values": (bytes_ if torch.equal(bytes_.float() / 255, pixels) else pixels).numpy(),
            "origin": np.array(self.origin),
        }
        if self.labels is not None:
            arrays["labels"] = np.array(self.labels, dtype=np.int64)
        if self.label_names is not None:
            arrays["label_names"] = np.array(self.label_names, dtype=np.str_)
        with write_atomically(path, durable=False) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, **arrays)


def load_examples(path: str | Path, input_shape: tuple[int, ...]) -> ExampleSet:
    """Examples from a file that `ExampleSet.write` wrote.

    Raises:
        ValueError: if the file is damaged or has no examples, or if its examples do not have the input_shape or have
            values that are not finite.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            found = {name: file[name] for name in file.files}
        pixels, labels, names = found["pixel_values"], found.get("labels"), found.get("label_names")
        values = torch.from_numpy(pixels).float() / (255 if pixels.dtype == np.uint8 else 1)
        label_list = None if labels is None else [int(label) for label in labels]
        origin = str(found["origin"])
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"'{path}' is not a file of examples: {error}; write the Space again, or delete the file"
        ) from error
    if tuple(values.shape[1:]) != input_shape:
        raise ValueError(f"'{path}' has examples of shape {tuple(values.shape[1:])}, the model needs {input_shape}")
    if not len(values):
        raise ValueError(f"'{path}' has no examples: write the Space again, or delete the file")
    if not values.isfinite().all():
        raise ValueError(f"'{path}' has values that are nan or infinite: write the Space again, or delete the file")
    if label_list is not None and len(label_list) != len(values):
        raise ValueError(f"'{path}' has {len(values)} examples and {len(label_list)} labels")
    return ExampleSet(values, origin, label_list, None if names is None else tuple(map(str, names)))


def bake_examples(dataset: Any, origin: str, max_examples: int = MAX_EXAMPLES) -> ExampleSet:
    """Choose examples of a data set, as many of each class as possible, and the classes in turn.

    Args:
        dataset: a data set of `load_data` with a length.
        origin: where they are from, in words.
        max_examples: largest number; fewer if their pixels would take more than 8 MB, but 24 at least.
    """
    labels = None if dataset.labels is None else dataset.labels.tolist()
    order = range(len(dataset)) if labels is None else _interleave(labels)
    chosen = list(order)[: _bound(max_examples, dataset[0]["pixel_values"].numel())]
    pixel_values = to_float(collate([dataset[index] for index in chosen])["pixel_values"])
    return ExampleSet(
        pixel_values,
        origin,
        None if labels is None else [labels[index] for index in chosen],
        None if dataset.label_names is None else tuple(dataset.label_names),
    )


def generate_examples(model: GAEPreTrainedModel, sampler: GAESampler | None, num: int = 200) -> ExampleSet:
    """Examples that the model generates itself, for a Space without a data set. If there are classes, they take turns.

    Args:
        model: the model.
        sampler: a fitted sampler, or None for the model's own prior.
        num: largest number; fewer for large images, as in `bake_examples`.

    Raises:
        ValueError: if the images have values that are not finite.
    """
    shape = tuple(model.config.input_shape)
    num_classes, num = model.config.num_classes or getattr(sampler, "num_classes", None), _bound(num, prod(shape))
    labels = None if num_classes is None else torch.arange(num) % num_classes
    generated = model.generate(
        num,
        sampler=sampler,
        generator=torch.Generator().manual_seed(0),
        batch_size=batch_size_of(shape),
        class_labels=labels,
    )
    if not generated.isfinite().all():
        raise ValueError(
            "the images that the model generates have values that are nan or infinite: fit the sampler again, load "
            "an earlier checkpoint, or pass a data set with --dataset"
        )
    own = None if labels is None else labels.tolist()
    return ExampleSet(generated.cpu().float(), "generated by the model itself", own)


def split_batches(pixel_values: Tensor) -> Iterator[Tensor]:
    """Parts of (num, *input_shape) values, each small enough for a model to process at a time."""
    yield from pixel_values.split(batch_size_of(pixel_values.shape[1:]))


def batch_size_of(shape: Sequence[int]) -> int:
    """Number of examples of a shape that a model can process at a time."""
    return max(1, _MAX_BATCH_VALUES // prod(shape))


def _bound(num: int, size: int) -> int:
    """The largest number of examples, at most `num`, that take 8 MB as bytes; 24 are always accepted."""
    return min(num, max(_MIN_EXAMPLES, _MAX_BYTES // size))


def _interleave(labels: list[int]) -> list[int]:
    """Indices of examples, those of the classes in turn. Examples without a label come last."""
    groups: dict[int, list[int]] = defaultdict(list)
    for index, label in enumerate(labels):
        groups[label].append(index)
    unlabelled = groups.pop(-1, [])
    turns = chain.from_iterable(zip_longest(*(groups[label] for label in sorted(groups))))
    return [index for index in turns if index is not None] + unlabelled
