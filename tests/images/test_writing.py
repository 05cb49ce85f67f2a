"""`write_images` in each of its formats."""

import numpy as np
import pytest
from cases import images
from PIL import Image

from gae_hub import load_images
from gae_hub.images import writing
from gae_hub.images.processing import array_to_image
from gae_hub.images.writing import write_images


@pytest.mark.parametrize("format", ["folder", "npz", "dataset"])
def test_formats(tmp_path, monkeypatch, format):
    monkeypatch.setattr(writing, "_IMAGES_PER_SHARD", 8)
    pictures = [array_to_image(image) for image in images(20)]
    output = tmp_path / "out" / ("a.npz" if format == "npz" else "a")
    write_images(iter(pictures), 20, output, format)
    if format == "folder":
        files = sorted(output.iterdir())
        assert [file.name for file in files] == [f"{i:06d}.png" for i in range(20)]
        found = np.stack([np.asarray(Image.open(file)) for file in files])
    elif format == "npz":
        with np.load(output, allow_pickle=False) as file:
            found = file["arr_0"]
        assert found.dtype == np.uint8
    else:
        assert len(list(output.rglob("*.parquet"))) == 3
        found = load_images(output).pixel_values.squeeze(1).numpy()
    np.testing.assert_array_equal(found, np.stack([np.asarray(picture) for picture in pictures]))
    with pytest.raises(ValueError, match="exists already: choose another output"):
        write_images(pictures, 20, output, format)


def content(output):
    """Bytes of the files in a folder, by name."""
    return {str(file.relative_to(output)): file.read_bytes() for file in output.rglob("*") if file.is_file()}


def stopping(pictures, count):
    """The first pictures, and then an interruption."""
    yield from pictures[:count]
    raise KeyboardInterrupt


@pytest.mark.parametrize("format", ["folder", "dataset"])
def test_a_folder_is_completed(tmp_path, monkeypatch, format):
    """To the same bytes as without an interruption."""
    monkeypatch.setattr(writing, "_IMAGES_PER_SHARD", 8)
    pictures = [array_to_image(image) for image in images(20)]
    write_images(pictures, 20, tmp_path / "whole", format)
    with pytest.raises(KeyboardInterrupt):
        write_images(stopping(pictures, 11), 20, tmp_path / "cut", format)
    part = content(tmp_path / "cut")
    assert len(part) == (11 if format == "folder" else 1)
    assert part.items() < content(tmp_path / "whole").items()
    with pytest.raises(
        ValueError, match="does not hold the images of this run, which may have another model, sampler"
    ):
        write_images(pictures[::-1], 20, tmp_path / "cut", format)
    assert content(tmp_path / "cut") == part
    write_images(pictures, 20, tmp_path / "cut", format)
    assert content(tmp_path / "cut") == content(tmp_path / "whole")
    (tmp_path / "cut" / "mine.txt").write_text("mine")
    sorted(file for file in (tmp_path / "cut").rglob("*") if file.suffix in (".png", ".parquet"))[0].unlink()
    with pytest.raises(ValueError, match="exists already: choose another output"):
        write_images(pictures, 20, tmp_path / "cut", format)


def test_an_interrupted_npz_file_does_not_exist(tmp_path):
    pictures = [array_to_image(image) for image in images(20)]
    with pytest.raises(KeyboardInterrupt):
        write_images(stopping(pictures, 11), 20, tmp_path / "a.npz", "npz")
    assert list(tmp_path.iterdir()) == []


def test_colour(tmp_path):
    pictures = [Image.fromarray(np.full((4, 5, 3), i, np.uint8)) for i in range(3)]
    write_images(pictures, 3, tmp_path / "a.npz", "npz")
    assert np.load(tmp_path / "a.npz")["arr_0"].shape == (3, 4, 5, 3)
    write_images(pictures, 3, tmp_path / "b", "dataset")
    assert load_images(tmp_path / "b").pixel_values[:, 2, 1, 3].tolist() == [0, 1, 2]


def test_unknown_format(tmp_path):
    with pytest.raises(ValueError, match="format must be one of folder, npz, dataset, got 'jpg'"):
        write_images([], 0, tmp_path / "c", "jpg")
