"""Holds out validation and test splits: at random, stratified by class, or the last images of MNIST and CIFAR-10."""

__all__ = ["hold_out_test", "hold_out_validation", "split_rows"]

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
    rows, size = _rows_to_split(source, "validation"), source.options.validation_size
    if size is None:
        size = 10_000 if len(rows) >= 50_000 else 0.1
    num, num_validation = len(rows), _count_held_out(len(rows), size, "validation", source.name)
    if _PAPER_SPLITS.get(Path(source.name).name.lower()) != num:
        return _hold_out_at_random(source, rows, "validation", num_validation)
    how = f"the last {num_validation:,} of {num:,} training examples, as in the Pythae paper"
    rest, held_out = np.arange(num - num_validation), np.arange(num - num_validation, num)
    return _divide(source, rows, "validation", rest, held_out, how)


def hold_out_test(source: Source) -> Source:
    """This source with a part of its training split as its test split, drawn at random as `hold_out_validation` does.

    Raises:
        ValueError: if the options have no `test_size`, the training split is a stream, or a part would be empty.
    """
    rows, size = _rows_to_split(source, "test"), source.options.test_size
    if size is None:
        raise ValueError(
            f"'{source.name}' has no split 'test'; it has {', '.join(source.splits)}: pass test_size=0.1 to hold out "
            "10 % of the training examples"
        )
    return _hold_out_at_random(source, rows, "test", _count_held_out(len(rows), size, "test", source.name))


def _rows_to_split(source: Source, split: str) -> Split:
    """The training examples."""
    rows = source.get_split("train")
    if not isinstance(rows, Split):
        raise ValueError(
            f"'{source.name}' has no {split} split, and a part of a stream cannot be held out: pass splits=None"
        )
    return rows


def _hold_out_at_random(source: Source, rows: Split, split: str, num_held_out: int) -> Source:
    options = source.options
    found = rows.read_labels() if options.stratify else None
    labels = None if found is None else found.numpy()
    how = f"{num_held_out:,} of {len(rows):,} training examples, drawn at random with seed {options.seed}"
    how += "" if labels is None else ", stratified by class"
    return _divide(source, rows, split, *split_rows(len(rows), num_held_out, options.seed, labels), how)


def _divide(source: Source, rows: Split, split: str, rest: np.ndarray, held_out: np.ndarray, how: str) -> Source:
    """The source with these training examples, and a new split of the others."""
    splits = {**source.splits, "train": rows.select(rest), split: rows.select(held_out)}
    if split == "test" or source.held_out:
        how = "; ".join(filter(None, [source.held_out, f"{split}: {how}"]))
    return replace(source, splits=splits, held_out=how)


def _count_held_out(num: int, size: float, split: str, name: str) -> int:
    """How many of `num` training examples are held out: see `DataOptions`."""
    count = round(size * num) if isinstance(size, float) else size
    if not 0 < count < num:
        raise ValueError(f"{split}_size {size} leaves no training or no {split} examples: '{name}' has {num} to split")
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
