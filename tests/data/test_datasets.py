"""Data sets in ordinary torch code, and the collator."""

import datasets
import numpy as np
import pytest
import torch
from builders import hub_folder, pixels
from cases import VAE, images
from PIL import Image
from torch.utils.data import ConcatDataset, DataLoader, Dataset, Subset, random_split
from transformers import Trainer, TrainingArguments

from gae_hub import GAETrainer, GAETrainingArguments, load_data, load_images
from gae_hub.data import split_reading
from gae_hub.data.batches import Examples, collate
from gae_hub.data.datasets import InMemoryDataset, OnDemandDataset


def test_collate_accepts_examples_of_any_data_set():
    x = images(4)
    for examples in (
        Examples(x),
        {"pixel_values": x, "labels": torch.zeros(4)},
        [{"pixel_values": image, "label": 0} for image in x],
        [{"image": image.numpy()} for image in x],
        [(image, 0) for image in x],
        list(x),
        [image.numpy() for image in x],
    ):
        batch = collate(examples)
        assert batch.keys() == {"pixel_values"} and torch.equal(batch["pixel_values"], x)
    grey = pixels(2)
    batch = collate([{"image": Image.fromarray(array)} for array in grey])
    assert torch.equal(batch["pixel_values"][:, 0], torch.from_numpy(grey) / 255)
    with pytest.raises(ValueError, match="expected examples with the key pixel_values, image, .* got photo, label"):
        collate([{"photo": x[0], "label": 0}])
    with pytest.raises(ValueError, match="images or tensors of one shape, got an object of type Tensor"):
        collate([x[0], x[0, :, :3]])


def test_number_of_labels():
    with pytest.raises(ValueError, match="20 examples but 3 labels"):
        InMemoryDataset(images(20), torch.zeros(3))


# Ordinary torch code


@pytest.fixture(params=["memory", "disk"])
def data(request, tmp_path, monkeypatch):
    """30 images (1, 6, 5), and their pixel values."""
    if request.param == "disk":
        monkeypatch.setattr(split_reading, "MEMORY_SHARE", 0)
    folder, expected = hub_folder(tmp_path)
    return load_images(folder), expected / 255


def test_indices_and_slices(data):
    dataset, expected = data
    assert torch.equal(dataset[3]["pixel_values"], expected[3])
    assert torch.equal(dataset[-1]["pixel_values"], expected[-1])
    assert torch.equal(dataset[np.int64(4)]["pixel_values"], expected[4])
    for part in (slice(8), slice(2, 20, 3), slice(None, None, -1), slice(-3, None)):
        wanted = expected.numpy()[part]
        assert np.array_equal(dataset[part]["pixel_values"], wanted)
    for index in (30, -31):
        with pytest.raises(IndexError, match=f"index {index} is out of range for a data set of 30 examples"):
            dataset[index]
    assert sum(1 for _ in dataset) == 30  # iteration ends by IndexError


@pytest.mark.parametrize("collate_fn", [None, collate], ids=["default", "ours"])
def test_data_loaders(data, collate_fn):
    dataset, expected = data
    loader = DataLoader(dataset, batch_size=8, collate_fn=collate_fn)
    assert torch.equal(torch.cat([batch["pixel_values"] for batch in loader]), expected)
    part = Subset(dataset, [5, 2, 9])
    (batch,) = DataLoader(part, batch_size=8, collate_fn=collate_fn)
    assert torch.equal(batch["pixel_values"], expected[[5, 2, 9]])


def test_subsets_are_sources(data):
    dataset, expected = data
    one, other = random_split(dataset, [20, 10], generator=torch.Generator().manual_seed(0))
    for part in (one, other, Subset(one, [3, 1])):
        rows = [one.indices[3], one.indices[1]] if part is not one and part is not other else part.indices
        loaded = load_images(part)
        assert torch.equal(loaded[:]["pixel_values"], expected[rows])
        assert loaded.labels.tolist() == dataset.labels[rows].tolist()
    both = load_images(ConcatDataset([other, one]))
    assert torch.equal(both[:]["pixel_values"], expected[[*other.indices, *one.indices]])
    assert torch.equal(load_images(dataset[:8])[:]["pixel_values"], expected[:8])
    loader = DataLoader(dataset, batch_size=4, shuffle=True)
    assert torch.equal(load_images(loader)[:]["pixel_values"], expected)


def test_the_trainer_of_transformers(data, tmp_path):
    dataset, _ = data
    args = TrainingArguments(tmp_path, max_steps=2, per_device_train_batch_size=8, report_to="none", use_cpu=True)
    model = VAE.build(input_shape=(1, 6, 5))
    assert Trainer(model, args, train_dataset=dataset).train().global_step == 2


class Photos(Dataset):
    """PIL images of different sizes, with labels as torchvision has them."""

    targets = [0, 1, 0, 1]

    def __init__(self, form):
        self.form, self.reads = form, 0

    def __len__(self):
        return 4

    def __getitem__(self, index):
        self.reads += 1
        image = Image.fromarray(pixels(1, (6 + index, 5, 3))[0])
        return {"image": image, "label": index} if self.form == "dict" else (image, self.targets[index])


@pytest.mark.parametrize("form", ["tuple", "dict"])
def test_torch_data_sets_of_pil_images(form):
    photos = Photos(form)
    dataset = load_images(photos, image_size=4, channels=1)
    assert isinstance(dataset, OnDemandDataset) and dataset.input_shape == (1, 4, 4)
    assert dataset.labels.tolist() == Photos.targets
    reads = photos.reads
    assert torch.equal(dataset[:]["pixel_values"], dataset[:]["pixel_values"])
    assert photos.reads == reads + 8  # read again each time: random transforms stay random
    with pytest.raises(ValueError, match=r"differ in shape: \(3, 6, 5\) and \(3, 7, 5\) in row 1; image_size resizes"):
        load_images(photos)[:]
    with pytest.raises(ValueError, match="a DataLoader with its own collate_fn cannot be read by example"):
        load_images(DataLoader(photos, collate_fn=list))


def test_unreadable_items_of_a_torch_data_set():
    items = [Image.fromarray(array) for array in pixels(5)]
    items[1], items[3] = None, b"not an image"
    with pytest.raises(ValueError, match="the example in row 1 of '_Listed': it is None"):
        load_images(items)[:]
    loaded = load_images(items, on_error="skip")
    assert torch.equal(loaded[:]["pixel_values"][:, 0], torch.from_numpy(pixels(5)[[0, 2, 4]]) / 255)


@pytest.mark.parametrize(
    ("items", "message"),
    [
        (
            [np.zeros((1, 4, 4), np.uint8), np.full((1, 4, 4), 0.5, np.float32)],
            "differ in type: uint8 and float32 in row 1",
        ),
        ([Image.new("L", (4, 4)), Image.new("RGB", (4, 4))], "starts with a grey image but also holds one in colour"),
    ],
)
def test_items_of_several_kinds(items, message):
    with pytest.raises(ValueError, match=message):
        load_images(items, layout="channels_first")[:]


@pytest.mark.parametrize("is_resident", [True, False])
def test_a_normalization_is_neither_lost_nor_applied_twice(is_resident, monkeypatch, tmp_path):
    if not is_resident:
        monkeypatch.setattr(split_reading, "MEMORY_SHARE", 0)
    values = np.random.default_rng(0).normal(size=(20, 3)) * 50 + 10
    whole = load_data(datasets.Dataset.from_dict(dict(zip("abc", values.T, strict=True))), normalize="standardize")
    assert isinstance(whole, InMemoryDataset) == is_resident
    part, _ = random_split(whole, [15, 5])
    for source, rows in ((whole, range(20)), (part, part.indices)):
        again = load_data(source)
        assert torch.equal(again[:]["pixel_values"], whole.read(rows))
        assert again.normalization == whole.normalization and again.column_names == ("a", "b", "c")
    with pytest.raises(ValueError, match="normalize: 'dataset' is normalized already, by 'standardize'"):
        load_data(whole, normalize="unit")
    model = VAE.build(input_shape=(3,), output_activation="identity")
    args = GAETrainingArguments(tmp_path, max_steps=1, report_to="none", use_cpu=True)
    trainer = GAETrainer(model, args, train_dataset=part)
    np.testing.assert_allclose(trainer.processing_class.restore(whole.read(range(20))), values, rtol=1e-5, atol=1e-5)


def test_a_custom_collator_receives_the_items(tmp_path):
    class Items(Dataset):
        def __len__(self):
            return 16

        def __getitem__(self, index):
            return {"photo": torch.full((1, 8, 8), index / 16), "caption": "text"}

    def stack(items):
        assert all(item["caption"] == "text" for item in items)
        return {"pixel_values": torch.stack([item["photo"] for item in items])}

    args = GAETrainingArguments(tmp_path, max_steps=2, per_device_train_batch_size=8, report_to="none", use_cpu=True)
    trainer = GAETrainer(VAE.build(), args, data_collator=stack, train_dataset=Items())
    assert trainer.train().global_step == 2


def test_lists_of_images():
    arrays = pixels(3, (6, 5, 3))
    dataset = load_images([Image.fromarray(array) for array in arrays])
    assert torch.equal(dataset[:]["pixel_values"] * 255, torch.from_numpy(arrays).permute(0, 3, 1, 2).float())


def test_rows_keep_their_numbers_in_errors():
    rows = datasets.Dataset.from_dict({"a": [1.0] * 9 + [None], "b": [1.0] * 10})
    for splits in ("train", "validation"):
        try:
            load_data(rows, splits, validation_size=5)
        except ValueError as error:
            assert "in row 9" in str(error)
            break
    else:
        raise AssertionError("no split refused the empty cell")
