"""Class labels of data sets."""

__all__ = ["read_class_labels"]

from typing import Any

import torch
from torch import Tensor

from ..core.class_labels import check_class_labels
from .loading import as_dataset


def read_class_labels(dataset: Any, num_classes: int, allow_missing: bool = False) -> Tensor:
    """(num,) int64 class labels of a data set.

    Args:
        dataset: a data set from [`load_images`] or [`load_data`], or another source that they accept, except names.
        num_classes: number of classes that the labels must belong to.
        allow_missing: whether examples may have no label, -1.

    Raises:
        ValueError: if the data set has no labels, or labels that are not classes.
    """
    dataset = as_dataset(dataset)
    labels = getattr(dataset, "labels", None)
    name = f"labels of {dataset!r}"
    if labels is None:
        raise ValueError(
            f"{dataset!r} has no labels, but num_classes = {num_classes} needs them: load data with labels "
            "(label_column=... names their column), or InMemoryDataset(images, labels)"
        )
    return check_class_labels(torch.as_tensor(labels), num_classes, len(dataset), None, allow_missing, name)
