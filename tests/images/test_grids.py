"""Grids of images, to the pixel."""

import pytest
import torch
from cases import images
from PIL import Image

from gae_hub.images.grids import image_grid, save_picture


def test_image_grid():
    grid = image_grid(images(5, (3, 10, 20)), columns=3, title="T", min_edge=20)
    assert grid.size == (3 * 44 + 4, 2 * 24 + 4 + 28) and grid.mode == "RGB"
    assert image_grid(images(4)).size == (2 * 52 + 4, 2 * 52 + 4)
    block = grid.crop((4, 32, 44, 52)).resize((20, 10), Image.Resampling.NEAREST)
    expected = (images(5, (3, 10, 20))[0] * 255).round().byte().permute(1, 2, 0).numpy()
    assert block.tobytes() == expected.tobytes()


def test_row_labels_have_their_own_column():
    black = torch.zeros(4, 1, 48, 48)
    plain, labelled = image_grid(black, columns=2), image_grid(black, columns=2, row_labels=["a", "z[12]  -2 to 2"])
    left = labelled.width - plain.width
    assert labelled.height == plain.height and left > 50
    assert labelled.crop((left, 0, *labelled.size)).tobytes() == plain.tobytes()
    for row in range(2):  # dark text inside the column and nothing at its edge, where it would touch the images
        column = labelled.crop((0, 4 + 52 * row, left, 52 + 52 * row))
        assert column.getextrema()[0] < 100 and column.crop((left - 3, 0, left, 48)).getextrema() == (255, 255)
    with pytest.raises(ValueError, match="a grid of 2 rows needs as many row_labels, got 1"):
        image_grid(black, columns=2, row_labels=["a"])


def test_a_grid_is_as_wide_as_its_title():
    title = "Originals, and below each its reconstruction"
    assert image_grid(images(1), title=title).width > 200 > image_grid(images(1)).width
    with pytest.raises(ValueError, match="a grid needs 1 or more images, got none"):
        image_grid([])


def test_a_picture_is_written_in_the_format_of_its_suffix(tmp_path):
    save_picture(image_grid(images(9)), tmp_path / "new" / "a.jpg")
    with Image.open(tmp_path / "new" / "a.jpg") as picture:
        assert picture.format == "JPEG" and picture.size == (160, 160)
