"""Fingerprints of data sets: equal ones have the same examples in the same order, as the model sees them."""

__all__ = ["fingerprint_data"]

from typing import Any

from .caches import hash_tensors
from .datasets import InMemoryDataset, OnDemandDataset
from .sources.datasets_objects import RowSplit


def fingerprint_data(dataset: Any) -> str | None:
    """Text that changes with the examples of a data set and how they are read.

    Labels are covered only if examples have them, as `class_labels`.

    None for a data set that is neither in memory nor a `datasets.Dataset`, which cannot be hashed.
    """
    if not isinstance(dataset, (InMemoryDataset, OnDemandDataset)):
        return None
    own = dataset.class_labels if dataset.has_class_labels else None
    labels = {} if own is None else {"class_labels": own}
    if isinstance(dataset, InMemoryDataset):
        return hash_tensors({"pixel_values": dataset.pixel_values, **labels})
    if type(dataset) is OnDemandDataset and type(dataset.source) is RowSplit:
        rows, reader = dataset.source.rows, dataset.source.reader
        changes = dataset.normalization, dataset.binarization
        found = (rows._fingerprint, reader.columns, reader.options, reader.input_shape, *changes)
        return repr((*found, hash_tensors(labels)) if labels else found)
    return None
