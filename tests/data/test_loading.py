"""`load_images` on every kind of source, its splits, its errors, and reading in batches."""

import datasets
import numpy as np
import pytest
import torch
from builders import hub_folder, pixels
from cases import images
from PIL import Image

from gae_hub import load_images
from gae_hub.data import split_reading
from gae_hub.data.batches import collate
from gae_hub.data.datasets import InMemoryDataset, OnDemandDataset, StreamedDataset
from gae_hub.data.loading import as_dataset, iterate_batches

# Sources


def test_digits():
    train, validation, test = load_images("digits", splits=("train", "validation", "test"))
    assert [len(part) for part in (train, validation, test)] == [1397, 200, 200]
    assert train.input_shape == (1, 8, 8) and train.pixel_values.dtype == torch.uint8
    assert train.pixel_values.max() == 255 and set(train.labels.tolist()) == set(range(10))
    assert len(load_images("digits")) == 1397
    assert train.revision.startswith("scikit-learn ") and load_images("digits").revision == train.revision


@pytest.mark.parametrize("source", ["digits", torch.rand(9, 1, 4, 4), [torch.rand(1, 4, 4)] * 9, "x.npy"])
def test_unknown_options_are_not_ignored(source, tmp_path):
    """datasets calls the argument `split`: the training data would be read instead."""
    if source == "x.npy":
        source = str(tmp_path / source)
        np.save(source, np.random.rand(9, 1, 4, 4))
    with pytest.raises(ValueError, match="no option 'split': pass splits='test'"):
        load_images(source, split="test")
    with pytest.raises(ValueError, match="no option 'imagesize' for data of this kind: did you mean 'image_size'?"):
        load_images(source, imagesize=4)


def test_a_name_without_folder_and_network(monkeypatch):
    def fail(*args, **kwargs):
        raise ConnectionError("Couldn't reach 'digit' on the Hub")

    monkeypatch.setattr("datasets.load_dataset", fail)
    with pytest.raises(ValueError, match="no data set 'digit': it is neither 'digits' nor a file .*Couldn't reach"):
        load_images("digit")


def test_hub_folder_is_decoded_into_memory(tmp_path):
    folder, expected = hub_folder(tmp_path)
    whole = load_images(folder)
    assert isinstance(whole, InMemoryDataset) and torch.equal(whole.pixel_values, expected)
    assert whole.labels.tolist() == [i % 3 for i in range(30)]
    train, validation = load_images(str(folder), splits=("train", "validation"))
    assert sorted(validation.labels.tolist()) == [0, 1, 2] and len(train) == 27
    rows = [int((expected == image).flatten(1).all(1).nonzero()) for image in validation.pixel_values]
    rest = [row for row in range(30) if row not in rows]
    assert torch.equal(train.pixel_values, expected[rest])
    assert (train.split, validation.split) == ("train", "validation")
    assert len(load_images(folder, "validation", validation_size=7)) == 7


def test_image_folder(tmp_path):
    for label, array in zip("aabb", pixels(4), strict=True):
        (tmp_path / label).mkdir(exist_ok=True)
        Image.fromarray(array).save(tmp_path / label / f"{array.sum()}.png")
    loaded = load_images(tmp_path)
    assert loaded.input_shape == (1, 6, 5) and loaded.labels.tolist() == [0, 0, 1, 1]


def test_image_folder_of_which_a_part_is_read(tmp_path, caplog):
    """One file name contains "test", so `datasets` reads that file only: the warning counts the others."""
    for name in ("a", "b", "my test"):
        Image.fromarray(pixels(1)[0]).save(tmp_path / f"{name}.png")
    load_images(tmp_path, "test")
    assert "has 3 image files, of which 1 were read, as the splits test: where a folder or file name" in caplog.text
    caplog.clear()
    assert len(load_images(tmp_path, data_files={"train": "*.png"})) == 3
    (tmp_path / "my test.png").rename(tmp_path / "c.png")
    assert len(load_images(tmp_path)) == 3 and not caplog.text


def test_arrays_tensors_and_datasets_objects():
    floats = images(20)
    for source in (floats, floats.numpy(), (floats * 255).to(torch.uint8)):
        loaded = load_images(source)
        assert len(loaded) == 20 and loaded.labels is None and loaded.revision is None
        assert collate(loaded.__getitems__([1, 2]))["pixel_values"].dtype == torch.float32
    train, validation = load_images(floats, splits=("train", "validation"), validation_size=0.25)
    together = torch.cat([train.pixel_values, validation.pixel_values])
    assert len(validation) == 5 and torch.equal(together.sort(0).values, floats.sort(0).values)
    rows = datasets.Dataset.from_dict({"img": [Image.fromarray(a) for a in pixels(3)]})
    assert len(as_dataset(rows)) == 3
    assert len(load_images(datasets.DatasetDict(test=rows), "test")) == 3
    assert as_dataset(train) is train
    assert len(load_images(train)) == 15


def test_streaming(tmp_path):
    folder, expected = hub_folder(tmp_path)
    stream = load_images(folder, streaming=True)
    assert isinstance(stream, StreamedDataset) and stream.input_shape == (1, 6, 5)
    stream.set_epoch(1)
    assert torch.equal(torch.cat(list(iterate_batches(stream, 8))), expected / 255)
    for source in (folder, datasets.load_dataset(str(folder), streaming=True)):
        with pytest.raises(ValueError, match="a part of a stream cannot be held out"):
            load_images(source, splits="train", streaming=True)


# Decoding


def test_images_on_demand_equal_images_in_memory(tmp_path, monkeypatch):
    folder, expected = hub_folder(tmp_path)
    resident = load_images(folder)
    monkeypatch.setattr(split_reading, "MEMORY_SHARE", 0)
    on_demand = load_images(folder)
    assert isinstance(on_demand, OnDemandDataset) and len(on_demand) == 30
    assert on_demand.labels.tolist() == resident.labels.tolist()
    assert on_demand.input_shape == resident.input_shape
    for one, other in zip(iterate_batches(resident, 8), iterate_batches(on_demand, 8), strict=True):
        assert torch.equal(one, other)
    assert torch.equal(on_demand[3]["pixel_values"], expected[3] / 255)


def test_image_size_and_channels(tmp_path):
    folder, _ = hub_folder(tmp_path, arrays=pixels(4, (10, 8, 3)))
    assert load_images(folder).input_shape == (3, 10, 8)
    assert load_images(folder, image_size=4).input_shape == (3, 4, 4)
    assert load_images(folder, image_size=(4, 6), channels=1).input_shape == (1, 4, 6)


def test_exif_orientation_and_formats_of_datasets(tmp_path):
    array = pixels(1, (6, 9))[0]
    image = Image.fromarray(array)
    exif = image.getexif()
    exif[0x0112] = 6  # the camera was held upright: turn by 270 degrees
    image.save(tmp_path / "photo.png", exif=exif)
    assert load_images(tmp_path).input_shape == (1, 9, 6)
    rows = datasets.Dataset.from_dict({"image": [Image.fromarray(array)]})
    assert torch.equal(load_images(rows.with_format("torch")).pixel_values[0, 0], torch.from_numpy(array))
    with pytest.raises(ValueError, match="'dataset' has a custom transform, which would be lost"):
        load_images(rows.with_transform(lambda batch: batch))


def test_images_of_different_size_or_colour(tmp_path):
    grey, wide, colour = pixels(1)[0], pixels(1, (6, 9))[0], pixels(1, (6, 5, 3))[0]

    def rows(*arrays):
        return datasets.Dataset.from_dict(
            {"image": [Image.fromarray(a) for a in arrays]}, features=datasets.Features({"image": datasets.Image()})
        )

    with pytest.raises(ValueError, match=r"differ in size: \(6, 5\) and \(6, 9\); pass image_size"):
        load_images(rows(grey, wide))
    with pytest.raises(ValueError, match="starts with a grey image but also holds one of mode 'RGB': pass channels"):
        load_images(rows(grey, colour))
    assert load_images(rows(grey, colour), channels=3).input_shape == (3, 6, 5)
    assert load_images(rows(grey, colour), channels=1).input_shape == (1, 6, 5)
    assert load_images(rows(grey, wide), image_size=4).input_shape == (1, 4, 4)


# Errors


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (torch.rand(0, 1, 8, 8), "holds no examples"),
        (torch.rand(8), "holds no examples"),
        (torch.full((2, 1, 8, 8), torch.nan), "nan or infinite"),
        (torch.full((2, 1, 8, 8), 2.0), r"must lie in \[0, 1\]"),
        (torch.zeros(2, 1, 8, 8, dtype=torch.int64), "dtype torch.int64, but pixels must be uint8"),
        (3, "cannot load data from an object of type int"),
        (datasets.Dataset.from_dict({"text": ["a"]}), "no column of images; its columns are text"),
    ],
)
def test_wrong_sources(source, message):
    with pytest.raises(ValueError, match=message):
        load_images(source)


def test_empty_sources_and_missing_splits(tmp_path):
    with pytest.raises(ValueError, match="is empty: it has no examples"):
        load_images(tmp_path)
    empty = datasets.Dataset.from_dict({"image": []}, features=datasets.Features({"image": datasets.Image()}))
    with pytest.raises(ValueError, match="is empty: it has no examples"):
        load_images(empty)
    with pytest.raises(ValueError, match="the data set is empty"):
        as_dataset([])
    with pytest.raises(ValueError, match="'digits' has no split 'dev'; it has train, validation, test"):
        load_images("digits", "dev")
    with pytest.raises(ValueError, match="image_size and channels apply to image files only"):
        load_images("digits", image_size=4)


# Batches


def test_iterate_batches_of_a_part():
    whole = images(10)
    for data in (InMemoryDataset(whole), torch.utils.data.TensorDataset(whole)):
        found = list(iterate_batches(data, 4, start=3, stop=9))
        assert [len(part) for part in found] == [4, 2] and torch.equal(torch.cat(found), whole[3:9])
