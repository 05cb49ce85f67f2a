"""Data from every kind of source, the paper's splits, and errors that say what to do."""

import datasets
import pytest
import torch
from builders import hub_folder, pixels
from cases import images
from PIL import Image

from gae_hub import embed_dataset, load_images
from gae_hub.data import sources
from gae_hub.data.datasets import DecodedOnDemand, ImageDataset, Streamed, collate
from gae_hub.data.loading import as_image_dataset, iterate_batches


def test_digits():
    train, validation, test = load_images("digits", splits=("train", "validation", "test"))
    assert [len(part) for part in (train, validation, test)] == [1397, 200, 200]
    assert train.input_shape == (1, 8, 8) and train.pixel_values.dtype == torch.uint8
    assert train.pixel_values.max() == 255 and set(train.labels.tolist()) == set(range(10))
    assert len(load_images("digits")) == 1397


def test_hub_folder_is_decoded_into_memory(tmp_path):
    folder, expected = hub_folder(tmp_path)
    whole = load_images(folder)
    assert isinstance(whole, ImageDataset) and torch.equal(whole.pixel_values, expected)
    assert whole.labels.tolist() == [i % 3 for i in range(30)]
    train, validation = load_images(str(folder), splits=("train", "validation"))
    assert torch.equal(train.pixel_values, expected[:27]) and torch.equal(validation.pixel_values, expected[27:])
    assert (train.split, validation.split) == ("train", "validation")
    assert len(load_images(folder, "validation", validation_size=7)) == 7


def test_ten_thousand_are_held_out_of_the_large_training_sets_of_the_paper():
    for num, size in ((60_000, 10_000), (50_000, 10_000), (1397, 140)):
        assert sources._validation_size(num, None, "x") == size
    with pytest.raises(ValueError, match="validation_size 30 leaves no training"):
        sources._validation_size(30, 30, "x")


def test_image_folder(tmp_path):
    for label, array in zip("aabb", pixels(4), strict=True):
        (tmp_path / label).mkdir(exist_ok=True)
        Image.fromarray(array).save(tmp_path / label / f"{array.sum()}.png")
    loaded = load_images(tmp_path)
    assert loaded.input_shape == (1, 6, 5) and loaded.labels.tolist() == [0, 0, 1, 1]


def test_colour_and_size(tmp_path):
    folder, _ = hub_folder(tmp_path, arrays=pixels(4, (10, 8, 3)))
    assert load_images(folder).input_shape == (3, 10, 8)
    assert load_images(folder, image_size=4).input_shape == (3, 4, 4)
    assert load_images(folder, image_size=(4, 6), channels=1).input_shape == (1, 4, 6)


def test_on_demand_gives_the_same_batches(tmp_path, monkeypatch):
    folder, expected = hub_folder(tmp_path)
    resident = load_images(folder)
    monkeypatch.setattr(sources, "MEMORY_SHARE", 0)
    lazy = load_images(folder)
    assert isinstance(lazy, DecodedOnDemand) and len(lazy) == 30 and lazy.labels.tolist() == resident.labels.tolist()
    assert lazy.input_shape == resident.input_shape
    for one, other in zip(iterate_batches(resident, 8), iterate_batches(lazy, 8), strict=True):
        assert torch.equal(one, other)
    assert torch.equal(lazy[3]["pixel_values"], expected[3] / 255)


def test_streaming(tmp_path):
    folder, expected = hub_folder(tmp_path)
    stream = load_images(folder, streaming=True)
    assert isinstance(stream, Streamed) and stream.input_shape == (1, 6, 5)
    stream.set_epoch(1)
    assert torch.equal(torch.cat(list(iterate_batches(stream, 8))), expected / 255)
    with pytest.raises(ValueError, match="the end of a stream cannot be held out"):
        load_images(folder, splits="train", streaming=True)


def test_arrays_tensors_and_datasets_objects():
    floats = images(20)
    for source in (floats, floats.numpy(), (floats * 255).to(torch.uint8)):
        loaded = load_images(source)
        assert len(loaded) == 20 and loaded.labels is None
        assert collate(loaded.__getitems__([1, 2]))["pixel_values"].dtype == torch.float32
    train, validation = load_images(floats, splits=("train", "validation"), validation_size=0.25)
    assert torch.equal(torch.cat([train.pixel_values, validation.pixel_values]), floats)
    rows = datasets.Dataset.from_dict({"img": [Image.fromarray(a) for a in pixels(3)]})
    assert len(as_image_dataset(rows)) == 3
    assert len(load_images(datasets.DatasetDict(test=rows), "test")) == 3
    assert as_image_dataset(train) is train
    assert len(load_images(train)) == 15


def test_collate_takes_what_data_sets_give():
    x = images(4)
    expected = {"pixel_values": x}
    for examples in (
        {"pixel_values": x, "labels": torch.zeros(4)},
        [{"pixel_values": image, "label": 0} for image in x],
        [(image, 0) for image in x],
        list(x),
        [image.numpy() for image in x],
    ):
        batch = collate(examples)
        assert batch.keys() == expected.keys() and torch.equal(batch["pixel_values"], x)
    with pytest.raises(ValueError, match="must hold 'pixel_values', but holds image, label"):
        collate([{"image": x[0], "label": 0}])


def test_embed_dataset_is_deterministic_in_order_and_batched(model, digits):
    train, _ = digits
    model.train()
    latents = embed_dataset(model, train, batch_size=100, progress=False)
    assert latents.shape == (1397, 4) and model.training
    torch.testing.assert_close(latents, embed_dataset(model, train, batch_size=1397, progress=True))
    torch.testing.assert_close(latents[:3], model.embed(train.__getitems__([0, 1, 2])["pixel_values"]))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (torch.rand(0, 1, 8, 8), "holds no images"),
        (torch.rand(8), "holds no images"),
        (torch.full((2, 1, 8, 8), torch.nan), "nan or infinite"),
        (torch.full((2, 1, 8, 8), 2.0), r"must lie in \[0, 1\]"),
        (torch.zeros(2, 1, 8, 8, dtype=torch.int64), "dtype torch.int64, but must be uint8"),
        (3, "cannot load images from a int"),
        (datasets.Dataset.from_dict({"text": ["a"]}), "no column of images; its columns are text"),
    ],
)
def test_wrong_sources_are_named(source, message):
    with pytest.raises(ValueError, match=message):
        load_images(source)


def test_wrong_folders_and_splits_are_named(tmp_path):
    with pytest.raises(ValueError, match="is empty: it has no images"):
        load_images(tmp_path)
    with pytest.raises(ValueError, match="'digits' has no split 'dev'; it has train, validation, test"):
        load_images("digits", "dev")
    with pytest.raises(ValueError, match="20 images but 3 labels"):
        ImageDataset(images(20), torch.zeros(3))
    with pytest.raises(ValueError, match="the data set is empty"):
        as_image_dataset([])
    with pytest.raises(ValueError, match="image_size and channels are for image files"):
        load_images("digits", image_size=4)
    empty = datasets.Dataset.from_dict({"image": []}, features=datasets.Features({"image": datasets.Image()}))
    with pytest.raises(ValueError, match="is empty: it has no images"):
        load_images(empty)


def test_photos_are_turned_upright_and_other_formats_put_aside(tmp_path):
    array = pixels(1, (6, 9))[0]
    image = Image.fromarray(array)
    exif = image.getexif()
    exif[0x0112] = 6  # the camera was held upright: turn by 270 degrees to see it so
    image.save(tmp_path / "photo.png", exif=exif)
    assert load_images(tmp_path).input_shape == (1, 9, 6)
    rows = datasets.Dataset.from_dict({"image": [Image.fromarray(array)]})
    assert torch.equal(load_images(rows.with_format("torch")).pixel_values[0, 0], torch.from_numpy(array))
    with pytest.raises(ValueError, match="has a transform of its own, which would be lost"):
        load_images(rows.with_transform(lambda batch: batch))


def test_images_of_unlike_size_or_colour_are_named():
    grey, wide, colour = pixels(1)[0], pixels(1, (6, 9))[0], pixels(1, (6, 5, 3))[0]

    def rows(*arrays):
        return datasets.Dataset.from_dict(
            {"image": [Image.fromarray(a) for a in arrays]}, features=datasets.Features({"image": datasets.Image()})
        )

    with pytest.raises(ValueError, match=r"differ in size: \(6, 5\) and \(6, 9\); pass image_size"):
        load_images(rows(grey, wide))
    with pytest.raises(ValueError, match="begins with a grey image but also holds one of mode 'RGB': pass channels"):
        load_images(rows(grey, colour))
    assert load_images(rows(grey, colour), channels=3).input_shape == (3, 6, 5)
    assert load_images(rows(grey, colour), channels=1).input_shape == (1, 6, 5)
    assert load_images(rows(grey, wide), image_size=4).input_shape == (1, 4, 4)
