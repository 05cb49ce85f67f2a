"""Class labels of data sets, for conditional models and for samplers with classes."""

__all__ = ["read_class_labels", "with_conditions"]

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..core.class_labels import check_class_labels
from ..modules.conditions import check_conditions
from .datasets import BatchedDataset
from .loading import as_dataset

if TYPE_CHECKING:
    from ..models.base import GAEPreTrainedModel


def read_class_labels(dataset: Any, num_classes: int) -> Tensor:
    """(num,) int64 class labels of a data set.

    Args:
        dataset: a data set from [`load_images`] or [`load_data`], or another source that they accept, except names.
        num_classes: number of classes that the labels must belong to.

    Raises:
        ValueError: if the data set has no labels, or labels that are not classes.
    """
    dataset = as_dataset(dataset)
    labels = getattr(dataset, "labels", None)
    if labels is None:
        raise ValueError(
            f"{dataset!r} has no labels, but num_classes = {num_classes} needs them: load data with labels "
            "(label_column=... names their column), or InMemoryDataset(images, labels)"
        )
    return check_class_labels(labels, num_classes, len(dataset), name=f"labels of {dataset!r}")


def with_conditions(model: "GAEPreTrainedModel", dataset: Any) -> Any:
    """A data set as a model needs it: its examples have `class_labels` if the model is conditional, else not.

    A torch `IterableDataset` is returned as it is: its examples must have the key "class_labels".

    Args:
        model: the model. One that `model.given` returned needs no labels.
        dataset: a data set from [`load_images`] or [`load_data`], or another source that they accept, except names.

    Raises:
        ValueError: if the data set has no labels, or ones that do not fit the model.
    """
    dataset = as_dataset(dataset, model.config.input_shape)
    if not isinstance(dataset, BatchedDataset):
        return dataset
    if not model.is_conditional or model.is_given:
        return dataset.without_class_labels()
    labelled = dataset.with_class_labels()
    try:
        check_conditions(labelled.class_labels, model.config, len(labelled), torch.device("cpu"))
    except ValueError as error:
        raise ValueError(f"{dataset!r} does not fit {type(model).__name__}: {error}") from error
    return labelled
