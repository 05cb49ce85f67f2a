"""Holds out a validation split: at random and stratified by class, or the last images of MNIST and CIFAR-10."""

__all__ = ["hold_out_validation", "split_rows"]

from dataclasses import replace
from pathlib import Path

import numpy as np

from .sources.base import Source, Split

# name and number of training images of the data sets that the paper splits in their order
_PAPER_SPLITS = {"mnist": 60_000, "cifar10": 50_000}


def hold_out_validation(source: Source) -> Source:
    """This source with a part of its training split as its validation split.

    MNIST and CIFAR-10 hold out their last images, as the Pythae paper does. Other sources hold out images at random,
    with the options' seed, stratified by label if they have labels.

    Raises:
        ValueError: if the training split is a stream, or one of the two parts would be empty.
    """
    rows, options = source.get_split("train"), source.options
    if not isinstance(rows, Split):
        raise ValueError(
            f"'{source.name}' has no validation split, and a part of a stream cannot be held out: pass splits=None"
        )
    num = len(rows)
    num_validation = count_validation(num, options.validation_size, source.name)
    if _PAPER_SPLITS.get(Path(source.name).name.lower()) == num:
        train, validation = np.arange(num - num_validation), np.arange(num - num_validation, num)
        how = f"the last {num_validation:,} of {num:,} training examples, as in the Pythae paper"
    else:
        found = rows.read_labels() if options.stratify else None
        labels = None if found is None else found.numpy()
        train, validation = split_rows(num, num_validation, options.seed, labels)
        how = f"{num_validation:,} of {num:,} training examples, drawn at random with seed {options.seed}"
        how += "" if labels is None else ", stratified by class"
    splits = {**source.splits, "train": rows.select(train), "validation": rows.select(validation)}
    return replace(source, splits=splits, held_out=how)


def count_validation(num: int, size: float | None, name: str) -> int:
    """How many of `num` training examples are held out: see `DataOptions`."""
    if size is None:
        size = 10_000 if num >= 50_000 else 0.1
    count = round(size * num) if isinstance(size, float) else size
    if not 0 < count < num:
        raise ValueError(
            f"validation_size {size} leaves no training or no validation examples: '{name}' has {num} to split"
        )
    return count


def split_rows(
    num: int, num_validation: int, seed: int, labels: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the training and the validation examples, each in ascending order.

    With labels, the validation count of each class is its share of the examples, rounded by largest remainders; a
    class keeps at least one training example where that is possible.

    Args:
        num, num_validation: numbers of all and of the validation examples.
        seed: seed of the draw. NumPy keeps the numbers of its `RandomState` the same in all versions.
        labels: (num,) class of each example.
    """
    order = np.random.RandomState(seed % 2**32).permutation(num)
    if labels is None:
        held_out = order[:num_validation]
    else:
        classes, counts = np.unique(labels, return_counts=True)
        quotas = _allocate(counts, num_validation)
        shuffled = labels[order]
        held_out = np.concatenate(
            [order[shuffled == label][:quota] for label, quota in zip(classes, quotas, strict=True)]
        )
    is_held_out = np.zeros(num, bool)
    is_held_out[held_out] = True
    return np.flatnonzero(~is_held_out), np.flatnonzero(is_held_out)


def _allocate(counts: np.ndarray, total: int) -> np.ndarray:
    """`total` in proportion to the counts, by largest remainders. A class gives all its examples only if it must."""
    exact = counts * (total / counts.sum())
    quotas = np.floor(exact).astype(np.int64)
    while quotas.sum() < total:
        room = counts - 1 if (quotas < counts - 1).any() else counts
        remainder = np.where(quotas < room, exact - quotas, -np.inf)
        quotas[int(np.argmax(remainder))] += 1
    return quotas
