"""Class labels of data sets, for conditional models and for samplers with classes."""

__all__ = ["read_class_labels", "repeat_conditions", "with_conditions"]

from copy import copy
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..core.class_labels import check_class_labels
from ..modules.conditions import check_conditions
from .datasets import BatchedDataset, StreamedDataset
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
    if isinstance(dataset, StreamedDataset):
        raise ValueError(
            f"{dataset!r} is a stream, whose labels are not known ahead, but num_classes = {num_classes} needs all of "
            "them: load the data without streaming=True"
        )
    labels = getattr(dataset, "labels", None)
    if labels is None:
        raise ValueError(
            f"{dataset!r} has no labels, but num_classes = {num_classes} needs them: load data with labels "
            "(label_column=... names their column), or InMemoryDataset(images, labels)"
        )
    return check_class_labels(labels, num_classes, len(dataset), name=f"labels of {dataset!r}")


def repeat_conditions(model: "GAEPreTrainedModel", class_labels: Tensor | None, num_samples: int) -> Tensor | None:
    """What `generate` needs for samples like the examples of some data: the vectors of these examples, in turn.

    Args:
        model: the model.
        class_labels: (num, condition_dim) vectors of examples.
        num_samples: number of samples.

    Returns:
        (num_samples, condition_dim); None for other models: classes are drawn by `generate`.
    """
    if class_labels is None or model.config.condition_dim is None:
        return None
    return class_labels[torch.arange(num_samples, device=class_labels.device) % len(class_labels)]


def with_conditions(model: "GAEPreTrainedModel", dataset: Any) -> Any:
    """A data set as a model needs it: its examples have `class_labels` if the model is conditional, else not.

    A torch `IterableDataset` that gae_hub did not load is returned unchanged: its examples must have the key
    "class_labels".

    Args:
        model: the model. One that `model.given` returned needs no labels.
        dataset: a data set from [`load_images`] or [`load_data`], or another source that they accept, except names.

    Raises:
        ValueError: if the data set has no labels, or ones that do not fit the model.
    """
    dataset = as_dataset(dataset, model.config.input_shape)
    needs_labels = model.is_conditional and not model.is_given
    if not isinstance(dataset, (BatchedDataset, StreamedDataset)):
        return dataset
    if not needs_labels:
        return dataset.without_class_labels()
    labelled = dataset.with_class_labels()
    if model.config.condition_dim is not None and dataset.conditions is None:
        raise ValueError(
            f"{dataset!r} has labels, but {type(model).__name__} needs vectors, as condition_dim is set: pass "
            "InMemoryDataset(images, conditions=vectors), or set num_classes instead"
        )
    if isinstance(labelled, StreamedDataset):
        labelled = copy(labelled)  # the model does not check labels on a GPU, which would wait for it
        cpu = torch.device("cpu")
        labelled.check_labels = lambda labels: check_conditions(labels, model.config, None, cpu)
        return labelled
    try:
        check_conditions(labelled.class_labels, model.config, len(labelled), torch.device("cpu"))
    except ValueError as error:
        raise ValueError(f"{dataset!r} does not fit {type(model).__name__}: {error}") from error
    return labelled
