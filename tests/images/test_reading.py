"""`open_image` and `read_image`: every door reads the same file to the same pixels."""

import io

import datasets
import numpy as np
import pytest
import torch
from PIL import Image

from gae_hub import GAEImageProcessor, load_images
from gae_hub.images.reading import channels_of, open_image, read_image
from gae_hub.metrics.functional.image_batches import as_uint8

# a white band at the right of the stored pixels: at the bottom after a turn by 270 degrees
STORED = np.zeros((8, 12, 3), np.uint8)
STORED[:, 8:] = 255


@pytest.fixture
def photo(tmp_path):
    """A lossless file with EXIF orientation 6."""
    image = Image.fromarray(STORED)
    exif = image.getexif()
    exif[0x0112] = 6
    (tmp_path / "photos").mkdir()
    path = tmp_path / "photos" / "photo.png"
    image.save(path, exif=exif)
    return path


def test_every_door_turns_images_upright(photo):
    expected = torch.from_numpy(np.ascontiguousarray(np.rot90(STORED, -1).transpose(2, 0, 1)))
    assert expected.shape == (3, 12, 8) and (expected[:, 8:] == 255).all() and (expected[:, :8] == 0).all()
    processor = GAEImageProcessor((3, 12, 8))
    encoded = photo.read_bytes()
    rows = datasets.Dataset.from_dict({"image": [str(photo)]}).cast_column("image", datasets.Image())
    undecoded = rows.cast_column("image", datasets.Image(decode=False))[0]["image"]
    for source in (Image.open(photo), photo, str(photo), encoded, undecoded):
        assert torch.equal(processor(source)["pixel_values"][0], expected / 255), source
        assert torch.equal(as_uint8([source])[0], expected), source
    for source in (photo.parent, rows, [Image.open(photo)], [photo], [encoded]):
        assert torch.equal(load_images(source)[0]["pixel_values"], expected / 255), source


# More than 8 bits


def test_sixteen_bit_png(tmp_path):
    pixels = np.array([[0, 1, 256], [32768, 65534, 65535]], np.uint16)
    Image.fromarray(pixels).save(tmp_path / "deep.png")
    data = load_images(tmp_path)
    assert data.pixel_values.dtype == torch.float32 and data.input_shape == (1, 2, 3)
    expected = torch.from_numpy(pixels.astype(np.float32) / np.float32(65535))
    assert torch.equal(data.pixel_values[0, 0], expected)
    assert torch.equal(GAEImageProcessor((1, 2, 3))(tmp_path / "deep.png")["pixel_values"][0, 0], expected)
    assert load_images(tmp_path, channels=3).pixel_values[0, 2].equal(expected)


def test_float_tiff(tmp_path):
    pixels = np.array([[0.0, 0.25], [0.5, 1.0]], np.float32)
    Image.fromarray(pixels).save(tmp_path / "float.tiff")
    assert torch.equal(load_images(tmp_path).pixel_values[0, 0], torch.from_numpy(pixels))
    Image.fromarray(pixels * 300).save(tmp_path / "float.tiff")
    with pytest.raises(ValueError, match=r"an image of floats must have values in \[0, 1\], got 0 to 300: rescale it"):
        load_images(tmp_path)


def test_integer_tiff(tmp_path):
    pixels = np.array([[0, 2**31 - 1]], np.int32)
    Image.fromarray(pixels).save(tmp_path / "int.tiff")
    assert load_images(tmp_path).pixel_values[0, 0].tolist() == [[0, 1]]


def test_resized_deep_images_stay_in_range():
    pixels = np.zeros((16, 16), np.uint16)
    pixels[:, 8:] = 65535
    array = read_image(Image.fromarray(pixels), size=(7, 7))
    assert array.dtype == np.float32 and array.min() == 0 and array.max() == 1
    # the 8-bit image of the same pixels, resized by Pillow with the same filter
    eight_bit = read_image(Image.fromarray((pixels // 257).astype(np.uint8)), size=(7, 7))
    assert abs(array - eight_bit / 255).max() < 1 / 255


def test_depths_are_not_mixed(tmp_path):
    Image.fromarray(np.zeros((2, 2), np.uint8)).save(tmp_path / "0.png")
    Image.fromarray(np.zeros((2, 2), np.uint16)).save(tmp_path / "1.png")
    with pytest.raises(
        ValueError, match="differ in depth: the first one has 8 bits per channel, and another one has not"
    ):
        load_images(tmp_path)


# Transparency


@pytest.mark.parametrize(
    ("background", "expected"),
    [("white", [255, 255, 255]), ("black", [0, 0, 0]), ("#ff8000", [255, 128, 0]), ("red", [255, 0, 0])],
)
def test_transparent_pixels_show_the_background(tmp_path, background, expected):
    pixels = np.zeros((1, 3, 4), np.uint8)
    pixels[0, 0] = [10, 20, 30, 255]  # opaque
    pixels[0, 1] = [200, 200, 200, 0]  # transparent
    pixels[0, 2] = [100, 100, 100, 128]
    Image.fromarray(pixels).save(tmp_path / "a.png")
    found = load_images(tmp_path, background=background).pixel_values[0].permute(1, 2, 0)[0]
    assert found[0].tolist() == [10, 20, 30] and found[1].tolist() == expected
    mixed = (100 * 128 + np.array(expected) * 127) / 255
    assert np.abs(found[2].numpy() - mixed).max() <= 1
    processor = GAEImageProcessor((3, 1, 3), background=background)
    assert torch.equal(processor(tmp_path / "a.png")["pixel_values"][0].permute(1, 2, 0)[0] * 255, found.float())
    assert load_images(tmp_path, channels=4).pixel_values[0].permute(1, 2, 0).numpy().tolist() == pixels.tolist()


def test_grey_images_with_transparency():
    pixels = np.array([[[10, 255], [200, 0]]], np.uint8)
    image = Image.merge("LA", [Image.fromarray(pixels[..., 0]), Image.fromarray(pixels[..., 1])])
    assert channels_of(image) == 1
    assert read_image(image, background="black").tolist() == [[[10, 0]]]
    assert read_image(image).tolist() == [[[10, 255]]]
    assert read_image(image, channels=3, background="red")[:, 0, 1].tolist() == [255, 0, 0]


def test_palettes_with_a_transparent_colour():
    image = Image.new("P", (2, 1))
    image.putdata([0, 1])
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.info["transparency"] = 1
    assert read_image(image, channels=3)[:, 0].T.tolist() == [[10, 20, 30], [255, 255, 255]]


# Errors


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: open_image("nowhere.png"), FileNotFoundError, "there is no image file 'nowhere.png'"),
        (lambda: open_image(b"text"), OSError, "the bytes are not an image file"),
        (lambda: open_image(3), ValueError, "expected a PIL image, a path or the bytes of an image file, got 3"),
        (lambda: open_image({"bytes": None, "path": None}), ValueError, "got None"),
        (lambda: read_image(Image.new("L", (2, 2)), channels=2), ValueError, "channels must be 1, 3 or 4, got 2"),
        (
            lambda: read_image(Image.new("RGBA", (2, 2)), background="sky"),
            ValueError,
            "background must be the name of a colour or '#rrggbb', got the text 'sky'",
        ),
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_half_of_a_file():
    buffer = io.BytesIO()
    Image.fromarray(STORED).save(buffer, "JPEG")
    with pytest.raises(OSError, match="(?i)truncated"):
        open_image(buffer.getvalue()[:-40])
