"""`InMemoryDataset` and the collator."""

import pytest
import torch
from cases import images

from gae_hub.data.datasets import InMemoryDataset, collate


def test_collate_accepts_examples_of_any_data_set():
    x = images(4)
    for examples in (
        {"pixel_values": x, "labels": torch.zeros(4)},
        [{"pixel_values": image, "label": 0} for image in x],
        [(image, 0) for image in x],
        list(x),
        [image.numpy() for image in x],
    ):
        batch = collate(examples)
        assert batch.keys() == {"pixel_values"} and torch.equal(batch["pixel_values"], x)
    with pytest.raises(ValueError, match="expected examples with 'pixel_values', got image, label"):
        collate([{"image": x[0], "label": 0}])


def test_slice_keeps_labels_factors_and_revision():
    whole = InMemoryDataset(images(5), torch.arange(5), "name", "train")
    whole.factors, whole.revision = torch.arange(10).view(5, 2), "abc"
    part = whole.slice(1, 3, "test")
    assert (part.name, part.split, part.revision, part.columns) == ("name", "test", "abc", None)
    assert part.labels.tolist() == [1, 2] and part.factors.tolist() == [[2, 3], [4, 5]]
    assert torch.equal(part.pixel_values, whole.pixel_values[1:3])


def test_number_of_labels():
    with pytest.raises(ValueError, match="20 images but 3 labels"):
        InMemoryDataset(images(20), torch.zeros(3))
