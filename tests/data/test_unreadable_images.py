"""Images that cannot be read: named in an error, or skipped with their labels and named in one warning."""

import datasets
import pytest
import torch
from builders import pixels
from PIL import Image

from gae_hub import load_images
from gae_hub.data import datasets as data_sets
from gae_hub.data import split_reading
from gae_hub.data.datasets import OnDemandDataset
from gae_hub.data.loading import iterate_batches


@pytest.fixture
def folder(tmp_path):
    """Six PNG files of two classes. The first and the fourth are damaged: text, and half of a file."""
    for index, array in enumerate(pixels(6)):
        path = tmp_path / "ab"[index % 2] / f"{index}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(array).save(path)
    (tmp_path / "a" / "0.png").write_text("not an image")
    whole = (tmp_path / "b" / "3.png").read_bytes()
    (tmp_path / "b" / "3.png").write_bytes(whole[: len(whole) // 2])
    return tmp_path


# datasets lists a folder's files class by class: 0, 2, 4 of class a, and 1, 3, 5 of class b
READABLE = [2, 4, 1, 5]
EXPECTED = torch.from_numpy(pixels(6)).unsqueeze(1)[READABLE]


def warnings(caplog):
    return [record.message for record in caplog.records if "skipped" in record.message]


def test_the_default_names_the_first_file(folder):
    with pytest.raises(ValueError, match=r"cannot read the example '.*a.0\.png' of '.*': .*on_error='skip'"):
        load_images(folder)
    with pytest.raises(ValueError, match="on_error must be 'raise' or 'skip', got the text 'ignore'"):
        load_images(folder, on_error="ignore")


def test_skipped_images_are_counted_and_named_in_one_warning(folder, caplog):
    data = load_images(folder, on_error="skip")
    assert torch.equal(data.pixel_values, EXPECTED) and data.labels.tolist() == [0, 0, 1, 1]
    assert len(data.columns) == 4 and data.columns["label"][:] == [0, 0, 1, 1]
    (warning,) = warnings(caplog)
    assert "skipped 2 of 6 examples" in warning and "0.png" in warning and "3.png" in warning


def test_skipped_images_on_demand(folder, caplog, monkeypatch):
    monkeypatch.setattr(split_reading, "MEMORY_SHARE", 0)
    data = load_images(folder, on_error="skip")
    assert isinstance(data, OnDemandDataset) and len(data) == 4 and data.labels.tolist() == [0, 0, 1, 1]
    assert torch.equal(torch.cat(list(iterate_batches(data, 3))), EXPECTED / 255)
    assert len(warnings(caplog)) == 1


def test_skipped_images_of_a_stream(folder, caplog):
    stream = load_images(folder, on_error="skip", streaming=True)
    assert torch.equal(torch.cat(list(iterate_batches(stream, 3))), EXPECTED / 255)
    (warning,) = warnings(caplog)
    assert "skipped 2 of 6 examples" in warning
    with pytest.raises(ValueError, match="cannot read the example"):
        list(load_images(folder / "b", streaming=True))


def test_splits_keep_their_own_images(folder, caplog):
    parts = load_images(folder, ("train", "validation"), validation_size=2, on_error="skip")
    found = torch.cat([part.pixel_values for part in parts])
    assert sorted(map(str, found.tolist())) == sorted(map(str, EXPECTED.tolist()))
    skipped = [4 - len(parts[0]), 2 - len(parts[1])]
    assert len(warnings(caplog)) == sum(count > 0 for count in skipped)


def test_empty_cells_and_sources_without_a_readable_image(caplog):
    features = datasets.Features({"image": datasets.Image()})
    rows = datasets.Dataset.from_dict({"image": [None, Image.fromarray(pixels(1)[0])]}, features=features)
    with pytest.raises(ValueError, match="cannot read the example in row 0 of 'dataset': the cell is empty"):
        load_images(rows)
    assert len(load_images(rows, on_error="skip")) == 1 and "in row 0" in warnings(caplog)[0]
    with pytest.raises(ValueError, match="none of the 1 examples of 'dataset' can be read"):
        load_images(rows.select([0]), on_error="skip")


def test_images_of_another_size_are_not_skipped():
    """They can be read: the error says how to convert them."""
    arrays = [pixels(1)[0], pixels(1, (6, 9))[0]]
    rows = datasets.Dataset.from_dict({"image": [Image.fromarray(array) for array in arrays]})
    with pytest.raises(ValueError, match="differ in size"):
        load_images(rows, on_error="skip")


def test_errors_of_the_network_are_not_skipped(monkeypatch):
    def fail(self, cell):
        raise ConnectionError("no route to host")

    monkeypatch.setattr(datasets.Image, "decode_example", fail)
    rows = datasets.Dataset.from_dict({"image": ["https://example.org/a.png"]}).cast_column("image", datasets.Image())
    with pytest.raises(ConnectionError, match="no route to host"):
        load_images(rows, on_error="skip")


def test_long_lists_of_names_are_cut(caplog):
    data_sets.warn_about_skipped([f"'{index}.png'" for index in range(23)], 50, "photos", "test")
    (warning,) = warnings(caplog)
    assert warning.startswith("skipped 23 of 50 examples of 'photos', split test, that cannot be read: '0.png', ")
    assert warning.endswith("'19.png' and 3 more")


@pytest.mark.parametrize(
    ("image_size", "message"),
    [
        (0, "image_size must be 1 or more, got 0"),
        ((4, -1), "image_size must be 1 or more, got -1"),
        ((4, 5, 6), r"image_size must be an edge length, or \(height, width\), got 3 numbers"),
        ("28", "image_size must be an integer, got the text '28'"),
    ],
)
def test_wrong_image_sizes(image_size, message):
    rows = datasets.Dataset.from_dict({"image": [Image.fromarray(pixels(1)[0])]})
    with pytest.raises(ValueError, match=message):
        load_images(rows, image_size=image_size)
