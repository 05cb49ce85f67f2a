"""The option `binarize`: the same pixels from every source, and in every kind of data set."""

import numpy as np
import pytest
import torch
from builders import hub_folder
from cases import VAE, images
from PIL import Image

from gae_hub import GAEImageProcessor, InMemoryDataset, embed_dataset, load_data, load_images
from gae_hub.data import split_reading
from gae_hub.data.datasets import OnDemandDataset, StreamedDataset
from gae_hub.data.loading import iterate_batches
from gae_hub.images.binarization import Binarization
from gae_hub.images.normalization import Normalization

OPTIONS = {"binarize": "stochastic", "seed": 3}
STOCHASTIC = Binarization("stochastic", 3)


def read_all(dataset):
    return torch.cat(list(iterate_batches(dataset, 7)))


@pytest.fixture
def folder(tmp_path):
    """A folder of 30 images, and what they become."""
    folder, pixels = hub_folder(tmp_path)
    return folder, STOCHASTIC.apply(pixels / 255)


def test_all_kinds_of_data_sets_hold_the_same_pixels(folder, monkeypatch):
    """In memory, on demand, streamed, of a torch data set, of arrays, and from the processor."""
    folder, expected = folder
    resident, stream = load_images(folder, **OPTIONS), load_images(folder, streaming=True, **OPTIONS)
    grey = load_images(folder)
    from_items = load_images([Image.fromarray(image[0].numpy()) for image in grey.pixel_values], **OPTIONS)
    monkeypatch.setattr(split_reading, "MEMORY_SHARE", 0)
    on_demand = load_images(folder, **OPTIONS)
    assert isinstance(resident, InMemoryDataset) and resident.pixel_values.dtype == torch.uint8
    assert isinstance(on_demand, OnDemandDataset) and isinstance(from_items, OnDemandDataset)
    assert isinstance(stream, StreamedDataset)
    for dataset in (resident, on_demand, stream, from_items):
        assert torch.equal(read_all(dataset), expected) and torch.equal(read_all(dataset), expected)
        assert dataset.binarization == STOCHASTIC
        processor = GAEImageProcessor.for_model(_Model((1, 6, 5)), dataset)
        assert torch.equal(processor(grey.pixel_values)["pixel_values"], expected)
        assert processor.data == OPTIONS
    assert torch.equal(on_demand[1]["pixel_values"], expected[1])
    monkeypatch.undo()
    floats = grey.pixel_values / 255
    for source in (grey.pixel_values, floats, floats.numpy(), grey.pixel_values.numpy(), grey):
        assert torch.equal(read_all(load_images(source, **OPTIONS)), expected)


class _Model:
    """A config with an input_shape."""

    def __init__(self, input_shape):
        self.config = self
        self.input_shape = input_shape


def test_held_out_images_keep_their_pixels(folder):
    folder, expected = folder
    parts = [read_all(part) for part in load_images(folder, ("train", "validation"), **OPTIONS)]
    rows = {tuple(row.flatten().tolist()) for row in expected}
    assert {tuple(row.flatten().tolist()) for part in parts for row in part} == rows
    grey = [part.pixel_values for part in load_images(folder, ("train", "validation"), seed=3)]
    for part, values in zip(parts, grey, strict=True):
        assert torch.equal(part, STOCHASTIC.apply(values / 255))


def test_a_threshold():
    found = load_images((255 * images(5)).byte(), binarize="threshold")
    assert torch.equal(read_all(found), ((255 * images(5)).byte() >= 128).float())


def test_binary_data_are_loaded_again(folder, monkeypatch):
    """They keep the record of their draw. Another draw is an error."""
    monkeypatch.setattr(split_reading, "MEMORY_SHARE", 0)
    on_demand = load_images(folder[0], **OPTIONS)
    monkeypatch.undo()
    for dataset in (load_images(folder[0], **OPTIONS), on_demand):
        again = load_data(dataset)
        assert torch.equal(read_all(again), folder[1]) and again.binarization == STOCHASTIC
        assert torch.equal(read_all(load_data(torch.utils.data.Subset(dataset, [5, 1]))), folder[1][[5, 1]])
        with pytest.raises(ValueError, match="is binary already, by 'stochastic'"):
            load_data(dataset, binarize="threshold")


def test_embeddings_of_another_draw_are_computed_anew(folder, monkeypatch, tmp_path):
    monkeypatch.setattr(split_reading, "MEMORY_SHARE", 0)
    model, found = VAE.build(input_shape=(1, 6, 5)), []
    grey = load_images(folder[0])
    for dataset in (grey, load_images(folder[0], binarize="stochastic"), load_data(grey, **OPTIONS)):
        found.append(embed_dataset(model, dataset, progress=False, cache=tmp_path / "cache"))
    assert not torch.equal(found[0], found[1]) and not torch.equal(found[1], found[2])
    torch.testing.assert_close(found[2], model.embed(folder[1]))


def test_values_beyond_the_range_are_mapped_first():
    """`normalize="unit"` maps them to [0, 1]; a model's means are restored to their units."""
    raw = np.random.default_rng(0).uniform(5, 25, (200, 3))
    found = load_data(raw, normalize="unit", binarize="stochastic")
    unit = load_data(raw, normalize="unit")
    assert torch.equal(read_all(found), Binarization("stochastic").apply(unit.pixel_values))
    assert found.normalization == unit.normalization and found.pixel_values.dtype == torch.uint8
    with pytest.raises(ValueError, match=r"pixel_values must lie in \[0, 1\], got values from 5"):
        load_data(raw, binarize="threshold")
    for normalize in ("standardize", Normalization("standardize", (0.0,) * 3, (1.0,) * 3)):
        with pytest.raises(ValueError, match="binarize needs values in .0, 1., but normalize='standardize'"):
            load_data(raw, normalize=normalize, binarize="threshold")


def test_an_unknown_kind_is_an_error():
    with pytest.raises(ValueError, match="binarize must be one of threshold, stochastic, got the text 'dynamic'"):
        load_images("digits", binarize="dynamic")
